//! How the dense bytes of a copy lie in shared memory.

use std::ops::Range;

use crate::tensor::Swizzle;

/// Unit that a swizzle moves.
const CHUNK: usize = 16;

/// A piece of a copy that is contiguous on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Its place among the dense bytes.
    pub dense: Range<usize>,
    /// Its offset in shared memory.
    pub shared: usize,
}

/// The place of a copy in a block's shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Rank of the block.
    pub rank: usize,
    /// Offset of the first byte, before the swizzle.
    pub offset: usize,
    /// Bytes.
    pub bytes: usize,
    /// Swizzle, on absolute addresses of the block's shared memory.
    pub swizzle: Swizzle,
}

impl Layout {
    /// The bytes that must be there: a swizzle may reach to the end of its row.
    pub fn extent(bytes: usize, swizzle: Swizzle) -> usize {
        bytes.next_multiple_of(if swizzle == Swizzle::None {
            1
        } else {
            swizzle.row_bytes() as usize
        })
    }

    /// Where a range of the dense bytes lies.
    pub fn segments(self, dense: Range<usize>) -> impl Iterator<Item = Segment> {
        let unit = if self.swizzle == Swizzle::None {
            usize::MAX
        } else {
            CHUNK
        };
        let mut at = dense.start;
        std::iter::from_fn(move || {
            (at < dense.end).then(|| {
                let end = dense
                    .end
                    .min((at / unit).saturating_add(1).saturating_mul(unit));
                let shared = self.swizzle.apply((self.offset + at) as u32) as usize;
                let segment = Segment {
                    dense: at..end,
                    shared,
                };
                at = end;
                segment
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dense_copy_is_one_segment() {
        let layout = Layout {
            rank: 0,
            offset: 1040,
            bytes: 64,
            swizzle: Swizzle::None,
        };
        let segments: Vec<_> = layout.segments(8..64).collect();
        assert_eq!(
            segments,
            [Segment {
                dense: 8..64,
                shared: 1048
            }]
        );
    }

    #[test]
    fn a_swizzled_copy_is_cut_at_chunks() {
        // Line 9 of 128 bytes: chunks are combined with 1.
        let layout = Layout {
            rank: 0,
            offset: 1152,
            bytes: 128,
            swizzle: Swizzle::Bytes128,
        };
        let segments: Vec<_> = layout.segments(8..40).collect();
        let expected = [(8..16, 1176), (16..32, 1152), (32..40, 1200)];
        let expected = expected.map(|(dense, shared)| Segment { dense, shared });
        assert_eq!(segments, expected);
        assert_eq!(Layout::extent(144, Swizzle::Bytes64), 192);
        assert_eq!(Layout::extent(144, Swizzle::None), 144);
    }
}
