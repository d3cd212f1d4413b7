//! The shadow of one allocation: coarse until something smaller is accessed.
//!
//! A kernel that stores single halves somewhere mostly reads its large inputs in whole vectors. With granules of their own
//! size these cost a fraction of the memory and of the time.

use std::ops::Range;
use std::sync::OnceLock;

use super::Shadow;

/// Granule of an allocation in which no smaller piece was accessed: the largest vector that a thread loads on sm_80 and sm_90.
const COARSE: u32 = 16;

/// A shadow that is refined when it must be.
#[derive(Debug)]
pub struct AdaptiveShadow {
    bytes: usize,
    /// Smallest access of the kernel to any global memory.
    granule: u32,
    coarse: Shadow,
    fine: OnceLock<Shadow>,
}

impl AdaptiveShadow {
    /// Shadow of `bytes` bytes for a kernel whose smallest access has `granule` bytes (a power of two).
    pub fn new(bytes: usize, granule: u32) -> Self {
        AdaptiveShadow {
            bytes,
            granule,
            coarse: Shadow::new(bytes, granule.max(COARSE)),
            fine: OnceLock::new(),
        }
    }

    /// The shadow for an access to the bytes `range`. What other workers record in this very moment can be lost when it is
    /// refined: as in every shadow, accesses in one moment may miss each other.
    #[inline]
    pub fn for_range(&self, range: Range<usize>) -> &Shadow {
        match self.fine.get() {
            Some(fine) => fine,
            None if (range.start | range.end).is_multiple_of(self.coarse.granule()) => &self.coarse,
            None => self.refine(),
        }
    }

    #[cold]
    fn refine(&self) -> &Shadow {
        self.fine
            .get_or_init(|| self.coarse.refined(self.bytes, self.granule))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_accesses_refine_once_and_for_all() {
        let shadow = AdaptiveShadow::new(100, 2);
        assert_eq!(shadow.for_range(0..32).granule(), 16);
        assert_eq!(shadow.for_range(16..20).granule(), 2);
        assert_eq!(shadow.for_range(0..32).granule(), 2);
        let never = AdaptiveShadow::new(100, 32);
        assert_eq!(never.for_range(0..32).granule(), 32);
    }
}
