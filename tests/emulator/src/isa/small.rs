//! 16-bit floating-point types, one or two in a register.

use half::{bf16, f16};

use super::element::{Element, Pair};
use super::numeric::{
    bf16_to_f32, double_to_odd, f16_to_f32, f32_to_bf16, f32_to_f16, fma_to_odd, half_fma_to_odd,
};

/// A 16-bit floating-point type.
pub trait Small: Element<Register = u32> {
    /// Below this, positive numbers are subnormal.
    const SMALLEST_NORMAL: f32;

    /// The value, exact.
    fn widen(self) -> f32;

    /// The value, or a zero of its sign in place of a subnormal.
    #[inline(always)]
    fn flushed(self) -> f32 {
        let wide = self.widen();
        if wide.abs() < Self::SMALLEST_NORMAL {
            0f32.copysign(wide)
        } else {
            wide
        }
    }

    /// Rounds to nearest even. Every NaN becomes 0x7fff.
    fn narrow(value: f32) -> Self;

    /// a * b + c, rounded once.
    fn fma(a: f32, b: f32, c: f32) -> Self;
}

impl Small for f16 {
    const SMALLEST_NORMAL: f32 = 6.103_515_6e-5;

    #[inline(always)]
    fn widen(self) -> f32 {
        f16_to_f32(self.to_bits())
    }

    #[inline(always)]
    fn narrow(value: f32) -> Self {
        f16::from_bits(f32_to_f16(value))
    }

    /// The product is exact in f32, and the sum is rounded there to odd.
    #[inline(always)]
    fn fma(a: f32, b: f32, c: f32) -> Self {
        Self::narrow(half_fma_to_odd(a, b, c))
    }
}

impl Small for bf16 {
    const SMALLEST_NORMAL: f32 = f32::MIN_POSITIVE;

    #[inline(always)]
    fn widen(self) -> f32 {
        bf16_to_f32(self.to_bits())
    }

    #[inline(always)]
    fn narrow(value: f32) -> Self {
        bf16::from_bits(f32_to_bf16(value))
    }

    /// The product has f32's range, squared: this takes f64.
    #[inline(always)]
    fn fma(a: f32, b: f32, c: f32) -> Self {
        Self::narrow(double_to_odd(fma_to_odd(a.into(), b.into(), c.into())))
    }
}

/// One or two 16-bit floating-point values in a register.
pub trait Halves: Element<Register = u32> {
    /// Their type.
    type Item: Small;

    /// Applies an operation to the values at the same place of every source.
    fn each<const N: usize>(
        sources: [Self; N],
        operation: impl Fn([Self::Item; N]) -> Self::Item,
    ) -> Self;
}

impl<T: Small> Halves for T {
    type Item = T;

    #[inline(always)]
    fn each<const N: usize>(sources: [T; N], operation: impl Fn([T; N]) -> T) -> T {
        operation(sources)
    }
}

impl<T: Small> Halves for Pair<T> {
    type Item = T;

    #[inline(always)]
    fn each<const N: usize>(sources: [Self; N], operation: impl Fn([T; N]) -> T) -> Self {
        Pair([
            operation(sources.map(|pair| pair.0[0])),
            operation(sources.map(|pair| pair.0[1])),
        ])
    }
}
