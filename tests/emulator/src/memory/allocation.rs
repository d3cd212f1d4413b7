//! One allocation of global memory: its bytes, and one bit a byte that says whether it was ever written.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use super::{POISON, Row};
use crate::lanes::{lanes, lanes_where};

/// A range of global memory. Shared by the workers of a launch: values are relaxed atomics, so a racing kernel is a reported
/// race and no undefined behaviour.
#[derive(Debug)]
pub struct Allocation {
    base: u64,
    bytes: u64,
    /// The complement of the values: fresh zero pages then read as [`POISON`], and memory that nobody touches costs nothing.
    words: Box<[AtomicU64]>,
    /// Bit `i` of cell `n`: byte `8 n + i` was written.
    written: Box<[AtomicU8]>,
}

impl Allocation {
    /// A new, never-written allocation at device address `base`, a multiple of 256.
    pub fn new(base: u64, bytes: u64) -> Self {
        let cells = bytes.div_ceil(8) as usize;
        const { assert!(POISON == !0, "complemented zero pages must read as poison") };
        Allocation {
            base,
            bytes,
            words: bytemuck::zeroed_slice_box(cells),
            written: bytemuck::zeroed_slice_box(cells),
        }
    }

    /// Device address of the first byte.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The `bytes` (1, 2, 4 or 8) bytes at `offset`, a multiple of `bytes`, as a little-endian number.
    #[inline]
    pub fn load(&self, offset: u64, bytes: usize) -> u64 {
        let word = !self.words[(offset / 8) as usize].load(Relaxed);
        if bytes == 8 {
            return word;
        }
        (word >> (8 * (offset % 8))) & ((1 << (8 * bytes)) - 1)
    }

    /// Stores the low `bytes` (1, 2, 4 or 8) bytes of `value` at `offset`, a multiple of `bytes`.
    #[inline]
    pub fn store(&self, offset: u64, bytes: usize, value: u64) {
        let word = &self.words[(offset / 8) as usize];
        if bytes == 8 {
            return word.store(!value, Relaxed);
        }
        let shift = 8 * (offset % 8);
        let mask = ((1u64 << (8 * bytes)) - 1) << shift;
        // Another worker may write the neighbouring bytes at the same time.
        let _ = word.fetch_update(Relaxed, Relaxed, |old| {
            Some(old & !mask | (!value << shift) & mask)
        });
    }

    /// The `bytes` bytes (a power of two, at most `8 W`) at the offset of each lane of `active`, multiples of `bytes`, as
    /// little-endian words.
    #[inline]
    pub fn rows<const W: usize>(
        &self,
        active: u32,
        offsets: &[u64; 32],
        bytes: usize,
        rows: &mut [Row<W>; 32],
    ) {
        if bytes < 8 {
            for lane in lanes(active) {
                rows[lane][0] = self.load(offsets[lane], bytes);
            }
            return;
        }
        for lane in lanes(active) {
            let first = (offsets[lane] / 8) as usize;
            for (word, cell) in rows[lane]
                .iter_mut()
                .zip(&self.words[first..first + bytes / 8])
            {
                *word = !cell.load(Relaxed);
            }
        }
    }

    /// Stores the `bytes` bytes of the row of each lane of `active`: the counterpart of [`Allocation::rows`].
    #[inline]
    pub fn set_rows<const W: usize>(
        &self,
        active: u32,
        offsets: &[u64; 32],
        bytes: usize,
        rows: &[Row<W>; 32],
    ) {
        for lane in lanes(active) {
            if bytes < 8 {
                self.store(offsets[lane], bytes, rows[lane][0]);
                continue;
            }
            let first = (offsets[lane] / 8) as usize;
            for (word, cell) in rows[lane].iter().zip(&self.words[first..first + bytes / 8]) {
                cell.store(!word, Relaxed);
            }
        }
    }

    /// The lanes of `active` whose `bytes` bytes (a power of two, at most 32; offsets are multiples of it) were not all written.
    #[inline]
    pub fn unwritten_lanes(&self, active: u32, offsets: &[u64; 32], bytes: usize) -> u32 {
        if bytes < 8 {
            return lanes_where(active, |lane| !self.is_written(offsets[lane], bytes as u64));
        }
        lanes_where(active, |lane| {
            let first = (offsets[lane] / 8) as usize;
            self.written[first..first + bytes / 8]
                .iter()
                .any(|cell| cell.load(Relaxed) != u8::MAX)
        })
    }

    /// Replaces the `bytes` (1, 2, 4 or 8) bytes at `offset`, a multiple of `bytes`, by `change` of them, atomically; gives the old ones.
    pub fn update(&self, offset: u64, bytes: usize, change: impl Fn(u64) -> u64) -> u64 {
        let (shift, mask) = if bytes == 8 {
            (0, u64::MAX)
        } else {
            let shift = 8 * (offset % 8);
            (shift, ((1u64 << (8 * bytes)) - 1) << shift)
        };
        let old = self.words[(offset / 8) as usize]
            .fetch_update(Relaxed, Relaxed, |old| {
                let new = change((!old & mask) >> shift);
                Some(old & !mask | (!new << shift) & mask)
            })
            .expect("the change always gives a value");
        (!old & mask) >> shift
    }

    /// Copies bytes from `offset` on, at any alignment, into `out`.
    pub fn read(&self, offset: u64, out: &mut [u8]) {
        let mut at = offset;
        let mut rest = out;
        while !rest.is_empty() {
            let skip = (at % 8) as usize;
            let take = rest.len().min(8 - skip);
            let word = (!self.words[(at / 8) as usize].load(Relaxed)).to_le_bytes();
            let (now, later) = rest.split_at_mut(take);
            now.copy_from_slice(&word[skip..skip + take]);
            rest = later;
            at += take as u64;
        }
    }

    /// Copies `data` to `offset` and on, at any alignment, and marks it written.
    pub fn write(&self, offset: u64, data: &[u8]) {
        self.mark_written(offset, data.len() as u64);
        let mut at = offset;
        let mut rest = data;
        while !rest.is_empty() {
            let skip = (at % 8) as usize;
            let take = rest.len().min(8 - skip);
            let (now, later) = rest.split_at(take);
            if take == 8 {
                let word = u64::from_le_bytes(now.try_into().expect("eight bytes"));
                self.words[(at / 8) as usize].store(!word, Relaxed);
            } else {
                for (i, &byte) in now.iter().enumerate() {
                    self.store(at + i as u64, 1, u64::from(byte));
                }
            }
            rest = later;
            at += take as u64;
        }
    }

    /// Whether all of the `bytes` bytes at `offset` were written.
    #[inline]
    pub fn is_written(&self, offset: u64, bytes: u64) -> bool {
        if let Some((cell, bits)) = single_cell(offset, bytes) {
            return self.written[cell].load(Relaxed) & bits == bits;
        }
        cells(offset, bytes).all(|(cell, bits)| self.written[cell].load(Relaxed) & bits == bits)
    }

    /// Marks the `bytes` bytes at `offset` as written.
    #[inline]
    pub fn mark_written(&self, offset: u64, bytes: u64) {
        let mark = |(cell, bits): (usize, u8)| {
            let cell = &self.written[cell];
            if cell.load(Relaxed) & bits != bits {
                cell.fetch_or(bits, Relaxed);
            }
        };
        match single_cell(offset, bytes) {
            Some(one) => mark(one),
            None => cells(offset, bytes).for_each(mark),
        }
    }

    /// Copies `bytes` bytes and their states from `source`.
    pub fn copy_from(&self, offset: u64, source: &Allocation, from: u64, bytes: u64) {
        let mut at = 0;
        while at < bytes {
            let (to, from) = (offset + at, from + at);
            // Whole cells at once: nearly all of a large copy.
            if to.is_multiple_of(8) && from.is_multiple_of(8) && bytes - at >= 8 {
                let (to, from) = ((to / 8) as usize, (from / 8) as usize);
                self.words[to].store(source.words[from].load(Relaxed), Relaxed);
                self.written[to].store(source.written[from].load(Relaxed), Relaxed);
                at += 8;
                continue;
            }
            self.store(to, 1, source.load(from, 1));
            if source.is_written(from, 1) {
                self.mark_written(to, 1);
            } else {
                self.written[(to / 8) as usize].fetch_and(!(1 << (to % 8)), Relaxed);
            }
            at += 1;
        }
    }
}

/// The cell and its bits of a range within one cell.
#[inline]
fn single_cell(offset: u64, bytes: u64) -> Option<(usize, u8)> {
    let low = offset % 8;
    (low + bytes <= 8).then(|| ((offset / 8) as usize, (((1u16 << bytes) - 1) << low) as u8))
}

/// The cells of eight bytes that a range touches, with the bits of the bytes it covers.
#[inline]
fn cells(offset: u64, bytes: u64) -> impl Iterator<Item = (usize, u8)> {
    let end = offset + bytes;
    (offset / 8..end.div_ceil(8)).map(move |cell| {
        let low = offset.max(cell * 8) - cell * 8;
        let high = end.min(cell * 8 + 8) - cell * 8;
        (cell as usize, ((1u16 << high) - (1u16 << low)) as u8)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_all_sizes_come_back() {
        let memory = Allocation::new(0x1000, 32);
        memory.store(3, 1, 0xab);
        memory.store(4, 4, 0x1234_5678);
        memory.store(8, 8, u64::MAX - 1);
        memory.store(18, 2, 0xbeef);
        assert_eq!(memory.load(3, 1), 0xab);
        assert_eq!(memory.load(4, 4), 0x1234_5678);
        assert_eq!(memory.load(4, 2), 0x5678);
        assert_eq!(memory.load(8, 8), u64::MAX - 1);
        assert_eq!(memory.load(18, 2), 0xbeef);
        assert_eq!(memory.load(2, 1), u64::from(POISON));
        assert_eq!(memory.update(4, 4, |old| old + 1), 0x1234_5678);
        assert_eq!(memory.load(4, 4), 0x1234_5679);
    }

    #[test]
    fn rows_are_little_endian_words() {
        let memory = Allocation::new(0x1000, 64);
        let offsets = |base: u64| std::array::from_fn(|lane| base + 8 * (lane as u64 % 2));
        memory.set_rows(1, &offsets(32), 32, &[[1, 2, 3, 4]; 32]);
        memory.set_rows(3, &offsets(4), 4, &[[0x0102_0304]; 32]);
        let mut rows = [[0; 4]; 32];
        memory.rows(1, &offsets(32), 32, &mut rows);
        assert_eq!(rows[..2], [[1, 2, 3, 4], [0; 4]]);
        let mut rows = [[0]; 32];
        memory.rows(3, &offsets(6), 2, &mut rows);
        assert_eq!(rows[..3], [[0x0102], [0x0102], [0]]);
        memory.mark_written(4, 4);
        memory.mark_written(8, 16);
        assert_eq!(memory.unwritten_lanes(3, &offsets(4), 4), 0);
        assert_eq!(memory.unwritten_lanes(3, &offsets(0), 8), 1);
        assert_eq!(memory.unwritten_lanes(3, &offsets(8), 16), 2);
    }

    #[test]
    fn unaligned_copies_and_their_states() {
        let memory = Allocation::new(0x1000, 40);
        let data: Vec<u8> = (1..=21).collect();
        memory.write(5, &data);
        let mut back = [0; 21];
        memory.read(5, &mut back);
        assert_eq!(back[..], data[..]);
        assert!(memory.is_written(5, 21) && !memory.is_written(4, 2) && !memory.is_written(25, 2));
        let other = Allocation::new(0x2000, 40);
        other.mark_written(0, 40);
        other.copy_from(1, &memory, 3, 10);
        assert!(!other.is_written(2, 1) && other.is_written(3, 8));
        assert_eq!(other.load(3, 1), 1);
        // The same distance from a cell's beginning on both sides: byte by byte, whole cells, byte by byte.
        let aligned = Allocation::new(0x3000, 40);
        aligned.mark_written(0, 40);
        aligned.copy_from(3, &memory, 3, 24);
        assert!(aligned.is_written(0, 3) && !aligned.is_written(3, 1) && !aligned.is_written(4, 1));
        assert!(
            aligned.is_written(5, 21) && !aligned.is_written(26, 1) && aligned.is_written(27, 13)
        );
        let mut back = [0; 21];
        aligned.read(5, &mut back);
        assert_eq!(back[..], data[..]);
    }
}
