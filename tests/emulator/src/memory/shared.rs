//! Shared memory of one block.

use std::ops::Range;

use super::{POISON, Row};
use crate::lanes::{lanes, lanes_where};
use crate::race::Shadow;

/// State of one byte of shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ByteState {
    /// Never written by this block.
    Unwritten = 0,
    /// Holds a value.
    Written = 1,
    /// An asynchronous copy into it has begun and was not waited for.
    InFlight = 2,
    /// Part of a live mbarrier object: no plain access.
    Barrier = 3,
}

/// Bytes, their states, and the race shadow.
#[derive(Debug)]
pub struct SharedMemory {
    bytes: Vec<u8>,
    states: Vec<u8>,
    shadow: Shadow,
}

impl SharedMemory {
    /// `len` bytes, with race checks in granules of `granule` bytes.
    pub fn new(len: usize, granule: u32) -> Self {
        SharedMemory {
            bytes: vec![POISON; len],
            states: vec![0; len],
            shadow: Shadow::new(len, granule),
        }
    }

    /// As new: for the next block.
    pub fn reset(&mut self) {
        self.bytes.fill(POISON);
        self.states.fill(0);
        self.shadow.clear();
    }

    /// Size in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the block has no shared memory.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes of a range, which must be inside.
    #[inline]
    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// The `bytes` bytes (a power of two, at most `8 W`) at the offset of each lane of `active` as little-endian words.
    #[inline]
    pub fn rows<const W: usize>(
        &self,
        active: u32,
        offsets: &[u32; 32],
        bytes: usize,
        rows: &mut [Row<W>; 32],
    ) {
        match bytes {
            1 => self.rows_of::<1, W>(active, offsets, rows),
            2 => self.rows_of::<2, W>(active, offsets, rows),
            4 => self.rows_of::<4, W>(active, offsets, rows),
            8 => self.rows_of::<8, W>(active, offsets, rows),
            16 => self.rows_of::<16, W>(active, offsets, rows),
            _ => self.rows_of::<32, W>(active, offsets, rows),
        }
    }

    #[inline]
    fn rows_of<const B: usize, const W: usize>(
        &self,
        active: u32,
        offsets: &[u32; 32],
        rows: &mut [Row<W>; 32],
    ) {
        for lane in lanes(active) {
            let mut padded = [[0; 8]; W];
            padded.as_flattened_mut()[..B].copy_from_slice(chunk::<B>(&self.bytes, offsets[lane]));
            rows[lane] = padded.map(u64::from_le_bytes);
        }
    }

    /// Writes the `bytes` bytes of the row of each lane of `active`, the counterpart of [`SharedMemory::rows`], and marks
    /// them written.
    #[inline]
    pub fn set_rows<const W: usize>(
        &mut self,
        active: u32,
        offsets: &[u32; 32],
        bytes: usize,
        rows: &[Row<W>; 32],
    ) {
        match bytes {
            1 => self.set_rows_of::<1, W>(active, offsets, rows),
            2 => self.set_rows_of::<2, W>(active, offsets, rows),
            4 => self.set_rows_of::<4, W>(active, offsets, rows),
            8 => self.set_rows_of::<8, W>(active, offsets, rows),
            16 => self.set_rows_of::<16, W>(active, offsets, rows),
            _ => self.set_rows_of::<32, W>(active, offsets, rows),
        }
    }

    #[inline]
    fn set_rows_of<const B: usize, const W: usize>(
        &mut self,
        active: u32,
        offsets: &[u32; 32],
        rows: &[Row<W>; 32],
    ) {
        for lane in lanes(active) {
            let row = rows[lane].map(u64::to_le_bytes);
            let offset = offsets[lane] as usize;
            self.bytes[offset..offset + B].copy_from_slice(&row.as_flattened()[..B]);
            self.states[offset..offset + B].copy_from_slice(&[ByteState::Written as u8; B]);
        }
    }

    /// The lanes of `active` whose `bytes` bytes are not all in state [`ByteState::Written`].
    #[inline]
    pub fn irregular_lanes(&self, active: u32, offsets: &[u32; 32], bytes: usize) -> u32 {
        match bytes {
            1 => irregular::<1>(&self.states, active, offsets),
            2 => irregular::<2>(&self.states, active, offsets),
            4 => irregular::<4>(&self.states, active, offsets),
            8 => irregular::<8>(&self.states, active, offsets),
            16 => irregular::<16>(&self.states, active, offsets),
            _ => irregular::<32>(&self.states, active, offsets),
        }
    }

    /// The lanes of `active` some of whose `bytes` bytes must not be written by a plain write.
    #[inline]
    pub fn forbidden_lanes(&self, active: u32, offsets: &[u32; 32], bytes: usize) -> u32 {
        match bytes {
            1 => forbidden::<1>(&self.states, active, offsets),
            2 => forbidden::<2>(&self.states, active, offsets),
            4 => forbidden::<4>(&self.states, active, offsets),
            8 => forbidden::<8>(&self.states, active, offsets),
            16 => forbidden::<16>(&self.states, active, offsets),
            _ => forbidden::<32>(&self.states, active, offsets),
        }
    }

    /// Marks the `bytes` bytes of each lane of `active`.
    #[inline]
    pub fn set_states(&mut self, active: u32, offsets: &[u32; 32], bytes: usize, state: ByteState) {
        for lane in lanes(active) {
            let offset = offsets[lane] as usize;
            self.states[offset..offset + bytes].fill(state as u8);
        }
    }

    /// Writes bytes and marks them written.
    #[inline]
    pub fn write(&mut self, offset: usize, data: &[u8]) {
        self.bytes[offset..offset + data.len()].copy_from_slice(data);
        self.set_state(offset..offset + data.len(), ByteState::Written);
    }

    /// The first state other than [`ByteState::Written`] in the range, if any.
    #[inline]
    pub fn irregular(&self, range: Range<usize>) -> Option<ByteState> {
        let states = &self.states[range];
        let irregular = states.iter().fold(0, |all, &state| all | (state ^ 1));
        if irregular == 0 {
            return None;
        }
        states
            .iter()
            .find(|&&state| state != 1)
            .map(|&state| match state {
                0 => ByteState::Unwritten,
                2 => ByteState::InFlight,
                _ => ByteState::Barrier,
            })
    }

    /// The first state in the range that forbids a plain write: in flight, or part of a barrier.
    #[inline]
    pub fn forbids_write(&self, range: Range<usize>) -> Option<ByteState> {
        let states = &self.states[range];
        if states.iter().fold(0, |all, &state| all | state) < 2 {
            return None;
        }
        states.iter().find(|&&state| state >= 2).map(|&state| {
            if state == 2 {
                ByteState::InFlight
            } else {
                ByteState::Barrier
            }
        })
    }

    /// Marks a range.
    #[inline]
    pub fn set_state(&mut self, range: Range<usize>, state: ByteState) {
        self.states[range].fill(state as u8);
    }

    /// The race shadow.
    #[inline]
    pub fn shadow(&self) -> &Shadow {
        &self.shadow
    }
}

/// The `B` bytes at an offset.
#[inline]
fn chunk<const B: usize>(bytes: &[u8], offset: u32) -> &[u8; B] {
    bytes[offset as usize..]
        .first_chunk()
        .expect("the range was checked")
}

#[inline]
fn irregular<const B: usize>(states: &[u8], active: u32, offsets: &[u32; 32]) -> u32 {
    let all = [ByteState::Written as u8; B];
    lanes_where(active, |lane| *chunk::<B>(states, offsets[lane]) != all)
}

#[inline]
fn forbidden<const B: usize>(states: &[u8], active: u32, offsets: &[u32; 32]) -> u32 {
    let busy = |states: &[u8; B]| {
        states.iter().fold(0, |all, &state| all | state) >= ByteState::InFlight as u8
    };
    lanes_where(active, |lane| busy(chunk::<B>(states, offsets[lane])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_little_endian_words() {
        let mut memory = SharedMemory::new(64, 4);
        let offsets = std::array::from_fn(|lane| 16 * (lane as u32 % 4));
        memory.set_rows(0b10, &offsets, 16, &[[0x0807_0605_0403_0201, 9]; 32]);
        assert_eq!(memory.bytes(16..25), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let mut rows = [[0]; 32];
        memory.rows(0b10, &[18; 32], 2, &mut rows);
        assert_eq!(rows[..3], [[0], [0x0403], [0]]);
        let mut rows = [[0; 2]; 32];
        memory.rows(0b10, &offsets, 16, &mut rows);
        assert_eq!(rows[1], [0x0807_0605_0403_0201, 9]);
        assert_eq!(memory.irregular_lanes(0b111, &offsets, 16), 0b101);
        assert_eq!(memory.irregular(16..33), Some(ByteState::Unwritten));
        memory.set_state(35..36, ByteState::InFlight);
        assert_eq!(memory.forbidden_lanes(0b1111, &offsets, 16), 0b100);
        assert_eq!(memory.forbidden_lanes(0b1111, &offsets, 2), 0);
    }

    #[test]
    fn states_follow_writes() {
        let mut memory = SharedMemory::new(64, 4);
        assert_eq!(memory.irregular(0..4), Some(ByteState::Unwritten));
        memory.write(0, &[1, 2, 3, 4]);
        assert_eq!(memory.irregular(0..4), None);
        assert_eq!(memory.irregular(2..6), Some(ByteState::Unwritten));
        memory.set_state(8..24, ByteState::InFlight);
        assert_eq!(memory.forbids_write(4..12), Some(ByteState::InFlight));
        assert_eq!(memory.forbids_write(0..8), None);
        memory.reset();
        assert_eq!(memory.irregular(0..1), Some(ByteState::Unwritten));
        assert_eq!(memory.bytes(0..2), [POISON; 2]);
    }
}
