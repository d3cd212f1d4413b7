//! The order in which warps run: fixed, or random from a seed.

/// A xorshift generator: the same seed gives the same schedule.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator for one cluster of one launch.
    pub fn new(seed: u64, cluster: u32) -> Self {
        let mixed = (seed ^ u64::from(cluster).wrapping_mul(0xd6e8_feb8_6659_fd93))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Random(mixed | 1)
    }

    /// A number below `bound` (at least 1).
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % bound
    }

    /// Puts the items into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
