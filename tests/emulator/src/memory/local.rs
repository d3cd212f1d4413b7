//! Local memory of the threads of one warp: spilled registers and arrays with a run-time index.

use super::POISON;

/// The same number of bytes for each of 32 lanes.
#[derive(Debug, Default)]
pub struct LocalMemory {
    per_lane: usize,
    bytes: Vec<u8>,
    written: Vec<bool>,
}

impl LocalMemory {
    /// `per_lane` bytes a lane.
    pub fn new(per_lane: usize) -> Self {
        LocalMemory {
            per_lane,
            bytes: vec![POISON; 32 * per_lane],
            written: vec![false; 32 * per_lane],
        }
    }

    /// Bytes a lane.
    pub fn per_lane(&self) -> usize {
        self.per_lane
    }

    /// The bytes of a lane, and whether all of them were written; `None` outside.
    pub fn read(&self, lane: usize, offset: usize, len: usize) -> Option<(&[u8], bool)> {
        let at = self.place(lane, offset, len)?;
        Some((
            &self.bytes[at..at + len],
            self.written[at..at + len].iter().all(|&written| written),
        ))
    }

    /// Writes bytes of a lane; `None` outside.
    pub fn write(&mut self, lane: usize, offset: usize, data: &[u8]) -> Option<()> {
        let at = self.place(lane, offset, data.len())?;
        self.bytes[at..at + data.len()].copy_from_slice(data);
        self.written[at..at + data.len()].fill(true);
        Some(())
    }

    fn place(&self, lane: usize, offset: usize, len: usize) -> Option<usize> {
        (offset.checked_add(len)? <= self.per_lane).then(|| lane * self.per_lane + offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_apart_and_bounds_hold() {
        let mut memory = LocalMemory::new(8);
        memory.write(3, 4, &[1, 2, 3, 4]).unwrap();
        assert_eq!(memory.read(3, 4, 4), Some((&[1, 2, 3, 4][..], true)));
        assert!(!memory.read(2, 4, 4).unwrap().1);
        assert_eq!(memory.read(3, 6, 4), None);
        assert_eq!(memory.write(31, usize::MAX, &[0]), None);
    }
}
