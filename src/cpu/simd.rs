//! Run-time choice of vector instructions.

#![forbid(unsafe_code)]

use pulp::Arch;

/// Number of partial sums or maxima that a reduction keeps: two AVX-512 registers' worth, so that
/// neighbouring additions do not wait for each other.
pub(super) const LANES: usize = 32;

/// Runs `loops` compiled for the best vector instructions that this CPU has.
///
/// The loops are plain Rust that the compiler vectorises; what they call must be `#[inline(always)]`,
/// or it is compiled once for the oldest CPU.
#[inline(always)]
pub(super) fn vectorized<R>(loops: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(loops)
}

/// The vector instructions that [`vectorized`] chooses on this CPU.
pub(crate) fn instructions() -> &'static str {
    match Arch::new() {
        #[cfg(target_arch = "x86_64")]
        Arch::V4(_) => "AVX-512",
        #[cfg(target_arch = "x86_64")]
        Arch::V3(_) => "AVX2",
        #[cfg(target_arch = "aarch64")]
        Arch::Neon(_) => "NEON",
        _ => "no vector instructions",
    }
}

/// The sum of `term(x)` over `values`.
#[inline(always)]
pub(super) fn sum(values: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += term(x);
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().map(|&x| term(x)).sum::<f32>()
}

/// The largest of `values`; minus infinity of none.
#[inline(always)]
pub(super) fn max(values: &[f32]) -> f32 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, x);
        }
    }
    lanes
        .iter()
        .chain(rest)
        .copied()
        .fold(f32::NEG_INFINITY, larger)
}

/// The larger of two numbers, in one instruction: `f32::max` takes three to treat NaN its way.
#[inline(always)]
pub(super) fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}
