//! Swizzles of shared memory: TMA writes with them, `wgmma` descriptors read with them.

/// Permutes the 16-byte chunks of shared memory so that a column of chunks spreads over all banks.
///
/// The chunk number within a swizzle row (address bits 4 and up) is combined with the row number (bits 7 and up):
///
/// ```text
/// 128 bytes, row r of 8:   chunk c lies at place c ^ r         (pattern repeats every 1024 bytes)
///  64 bytes:               chunk c lies at place c ^ (r & 3)   (every 512 bytes; r counts 128-byte lines)
///  32 bytes:               chunk c lies at place c ^ (r & 1)   (every 256 bytes; r counts 128-byte lines)
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Swizzle {
    /// Chunks stay where they are.
    #[default]
    None,
    /// Rows of 32 bytes.
    Bytes32,
    /// Rows of 64 bytes.
    Bytes64,
    /// Rows of 128 bytes.
    Bytes128,
}

impl Swizzle {
    /// Bytes of a row: the extent within which chunks change places. 16 without a swizzle: one chunk.
    pub fn row_bytes(self) -> u32 {
        match self {
            Swizzle::None => 16,
            Swizzle::Bytes32 => 32,
            Swizzle::Bytes64 => 64,
            Swizzle::Bytes128 => 128,
        }
    }

    /// Bytes after which the pattern repeats; tiles begin at a multiple of it.
    pub fn repeat(self) -> u32 {
        8 * self.row_bytes()
    }

    /// Where the byte that is at `address` without a swizzle lies with it. The pattern is fixed to absolute addresses of the
    /// block's shared memory, and is its own inverse.
    #[inline]
    pub fn apply(self, address: u32) -> u32 {
        self.apply_from(address, 0)
    }

    /// The same for a pattern that begins `lines` 128-byte lines past a multiple of its repeat.
    #[inline]
    pub fn apply_from(self, address: u32, lines: u32) -> u32 {
        let chunks = self.row_bytes() / 16;
        let line = (address >> 7).wrapping_sub(lines);
        address ^ (line & (chunks - 1)) << 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Swizzle; 4] = [
        Swizzle::None,
        Swizzle::Bytes32,
        Swizzle::Bytes64,
        Swizzle::Bytes128,
    ];

    #[test]
    fn a_swizzle_is_a_permutation_of_chunks_and_its_own_inverse() {
        for swizzle in ALL {
            let mut seen = vec![false; 4096];
            for address in 0..4096 {
                let at = swizzle.apply(address);
                assert_eq!(at % 16, address % 16);
                assert_eq!(
                    at / swizzle.row_bytes(),
                    address / swizzle.row_bytes(),
                    "{swizzle:?}: chunks stay in their row"
                );
                assert_eq!(swizzle.apply(at), address);
                assert!(!std::mem::replace(&mut seen[at as usize], true));
            }
        }
    }

    #[test]
    fn the_pattern_repeats_where_it_says() {
        for swizzle in [Swizzle::Bytes32, Swizzle::Bytes64, Swizzle::Bytes128] {
            let pattern = |address| swizzle.apply(address) ^ address;
            for address in 0..2048 {
                assert_eq!(pattern(address), pattern(address + swizzle.repeat()));
            }
            assert!(
                (0..2048)
                    .any(|address| pattern(address) != pattern(address + swizzle.repeat() / 2)),
                "{swizzle:?}"
            );
        }
    }

    #[test]
    fn eight_rows_of_one_chunk_column_spread_over_the_banks() {
        // Tiles whose rows are as long as the swizzle's: 8 rows, one 16-byte chunk each.
        for swizzle in ALL {
            let mut banks: Vec<u32> = (0..8)
                .map(|row| swizzle.apply(row * swizzle.row_bytes()) % 128 / 16)
                .collect();
            banks.sort_unstable();
            banks.dedup();
            assert_eq!(banks.len(), 8, "{swizzle:?}");
        }
    }

    #[test]
    fn known_places() {
        assert_eq!(Swizzle::Bytes128.apply(0x80), 0x90);
        assert_eq!(Swizzle::Bytes128.apply(0x3f0), 0x380);
        assert_eq!(Swizzle::Bytes64.apply(0x180), 0x1b0);
        assert_eq!(Swizzle::Bytes64.apply(0x200), 0x200);
        assert_eq!(Swizzle::Bytes32.apply(0x80), 0x90);
        assert_eq!(Swizzle::Bytes32.apply(0x100), 0x100);
        assert_eq!(Swizzle::Bytes128.apply_from(0x80, 1), 0x80);
    }
}
