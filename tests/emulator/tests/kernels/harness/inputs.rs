//! Inputs that are the same in every run.

use half::{bf16, f16};

/// A generator of inputs (splitmix64).
pub struct Inputs(u64);

impl Inputs {
    /// Other seeds give other inputs.
    pub fn new(seed: u64) -> Self {
        Inputs(seed)
    }

    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Any 32-bit numbers.
    pub fn words(&mut self, len: usize) -> Vec<u32> {
        self.many(len, |inputs| (inputs.bits() >> 32) as u32)
    }

    /// Numbers below `bound`.
    pub fn below(&mut self, len: usize, bound: u32) -> Vec<u32> {
        self.many(len, |inputs| {
            ((inputs.bits() >> 32) % u64::from(bound)) as u32
        })
    }

    /// Numbers between -1 and 1.
    pub fn floats(&mut self, len: usize) -> Vec<f32> {
        self.many(len, |inputs| {
            (inputs.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
    }

    /// The same as halves.
    pub fn halves(&mut self, len: usize) -> Vec<f16> {
        self.floats(len).into_iter().map(f16::from_f32).collect()
    }

    /// Integers from -3 to 3 as halves: sums of their products are exact.
    pub fn small_halves(&mut self, len: usize) -> Vec<f16> {
        self.below(len, 7)
            .into_iter()
            .map(|value| f16::from_f32(value as f32 - 3.0))
            .collect()
    }

    /// The same in bf16.
    pub fn small_bf16(&mut self, len: usize) -> Vec<bf16> {
        self.small_halves(len)
            .into_iter()
            .map(|value| bf16::from_f32(value.to_f32()))
            .collect()
    }

    fn many<T>(&mut self, len: usize, mut next: impl FnMut(&mut Self) -> T) -> Vec<T> {
        std::iter::repeat_with(|| next(self)).take(len).collect()
    }
}
