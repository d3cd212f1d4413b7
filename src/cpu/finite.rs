//! Numbers that are none are found, not passed on.

#![forbid(unsafe_code)]

use rayon::prelude::*;

use super::simd::{Loops, MultiplyAdd, sum, vectorized};
use crate::error::{Error, Result};

pub(super) fn overflow() -> Error {
    Error::numeric(
        "the model computes numbers beyond f32",
        "its weights are damaged or its training diverged: get another copy of the model",
    )
}

/// Fails where a hidden state is no number: a maximum would lose it silently.
pub(super) fn check_finite(hidden: &[f32]) -> Result<()> {
    let sum: f32 = hidden
        .par_chunks(1 << 14)
        .map(|chunk| vectorized(SumOfZeros(chunk)))
        .sum();
    if sum == 0.0 { Ok(()) } else { Err(overflow()) }
}

/// The sum of x·0 is 0 if every x is finite, and no number otherwise.
struct SumOfZeros<'a>(&'a [f32]);

impl Loops for SumOfZeros<'_> {
    type Output = f32;

    #[inline(always)]
    fn run(self, _: MultiplyAdd) -> f32 {
        sum(self.0, |x| x * 0.0)
    }
}
