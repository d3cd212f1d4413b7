//! Run-time choice of vector instructions.

#![forbid(unsafe_code)]

use pulp::{Arch, Simd, WithSimd};

/// Number of partial sums or maxima that a reduction keeps: two AVX-512 registers' worth, so that
/// neighbouring additions do not wait for each other.
pub(super) const LANES: usize = 32;

/// Loops in plain Rust that the compiler vectorises, with what they work on.
///
/// `run` and all that it calls must be `#[inline(always)]`: what is left out of line is compiled once,
/// for the oldest CPU. That is why loops are a type and not a closure, which cannot be marked so.
pub(super) trait Loops {
    type Output;

    fn run(self, fma: MultiplyAdd) -> Self::Output;
}

/// Runs `loops` compiled for the best vector instructions that this CPU has.
#[inline(always)]
pub(super) fn vectorized<L: Loops>(loops: L) -> L::Output {
    Arch::new().dispatch(Dispatched(loops))
}

struct Dispatched<L>(L);

impl<L: Loops> WithSimd for Dispatched<L> {
    type Output = L::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> L::Output {
        self.0.run(MultiplyAdd {
            fused: !S::IS_SCALAR,
        })
    }
}

/// a·b + c, in one instruction where the loops are compiled for a CPU that has it: without one,
/// `f32::mul_add` would be a slow call.
#[derive(Clone, Copy, Debug)]
pub(super) struct MultiplyAdd {
    fused: bool,
}

impl MultiplyAdd {
    /// With and without the instruction.
    #[cfg(test)]
    pub(super) const BOTH: [Self; 2] = [Self { fused: true }, Self { fused: false }];

    #[inline(always)]
    pub(super) fn of(self, a: f32, b: f32, c: f32) -> f32 {
        if self.fused {
            a.mul_add(b, c)
        } else {
            a * b + c
        }
    }

    /// `coefficients[0] + coefficients[1]·x + ...`
    #[inline(always)]
    pub(super) fn polynomial<const N: usize>(self, x: f32, coefficients: [f32; N]) -> f32 {
        let mut value = coefficients[N - 1];
        for i in (0..N - 1).rev() {
            value = self.of(value, x, coefficients[i]);
        }
        value
    }
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
        _ => "portable",
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

/// The sum of the products of two slices of one length.
#[inline(always)]
pub(super) fn dot(fma: MultiplyAdd, a: &[f32], b: &[f32]) -> f32 {
    let ((chunks, rest), (others, other_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (chunk, other) in chunks.iter().zip(others) {
        for ((lane, &x), &y) in lanes.iter_mut().zip(chunk).zip(other) {
            *lane = fma.of(x, y, *lane);
        }
    }
    let rest = rest.iter().zip(other_rest).map(|(&x, &y)| x * y);
    lanes.iter().sum::<f32>() + rest.sum::<f32>()
}

/// Replaces every x by `map(x)`, and gives the sum of the results.
#[inline(always)]
pub(super) fn map_and_sum(values: &mut [f32], map: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = values.as_chunks_mut::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *x = map(*x);
            *lane += *x;
        }
    }
    let mut total = lanes.iter().sum::<f32>();
    for x in rest {
        *x = map(*x);
        total += *x;
    }
    total
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

/// The smaller of two numbers, in one instruction.
#[inline(always)]
pub(super) fn smaller(a: f32, b: f32) -> f32 {
    if b < a { b } else { a }
}
