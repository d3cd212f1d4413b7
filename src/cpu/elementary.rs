//! Elementary functions in f32, written without branches so that the compiler vectorises loops of them.
//! Errors were measured against f64 over the ranges that the tests below walk.

#![forbid(unsafe_code)]

use std::f32::consts::{LN_2, LOG2_E};

use super::simd::larger;

/// Adding and subtracting it rounds a number below 2²² to the nearest integer.
const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23

/// ln 2 in two parts; the first has trailing zeros, so that its product with a small integer is exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// Below it, e^x is less than the smallest normal number.
const EXP_MIN: f32 = -87.0;

/// e^x for x <= 0, within 2 units in the last place; inputs below -87 count as -87 (e^-87 = 1.6e-38).
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let x = larger(x, EXP_MIN);
    let rounded = x * LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    // Taylor to r^7 / 7!: |r| <= ln 2 / 2, so the next term is below 6e-9.
    let p = 1.0 / 5040.0;
    let p = p * r + 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let p = p * r * r + r + 1.0;
    // The integer sits in the low bits of `rounded`; shifted into the exponent it is 2^n.
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    p * power
}

/// ln(1 + x) for x >= 0, within 3 units in the last place.
#[inline(always)]
pub(super) fn ln_1p(x: f32) -> f32 {
    let u = 1.0 + x;
    // What rounding took from 1 + x, to first order in the result.
    let lost = (x - (u - 1.0)) / u;
    // u = 2^n * m with m in [sqrt(1/2), sqrt(2)).
    let shifted = u
        .to_bits()
        .wrapping_sub(std::f32::consts::FRAC_1_SQRT_2.to_bits());
    let n = (shifted as i32 >> 23) as f32;
    let m = f32::from_bits(
        (shifted & 0x007f_ffff).wrapping_add(std::f32::consts::FRAC_1_SQRT_2.to_bits()),
    );
    // ln m = 2 artanh s with s = (m - 1) / (m + 1), |s| < 0.172: the term after s^9 is below 1e-9.
    let s = (m - 1.0) / (m + 1.0);
    let q = s * s;
    let p = 2.0 / 9.0;
    let p = p * q + 2.0 / 7.0;
    let p = p * q + 2.0 / 5.0;
    let p = p * q + 2.0 / 3.0;
    n * LN_2 + (2.0 * s + s * q * p + lost)
}

/// x·Φ(x), Φ the normal distribution (the erf form of GELU), within 2e-7 · max(1, |x|).
///
/// Φ(-a) = e^(-a²/2) · P(t) with t = 1 / (1 + 0.3 a); P is a least-squares fit of the largest relative
/// error over 0 <= a <= 14 (1.5e-7), so the tail keeps its relative precision where 1 + erf would cancel.
#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    let a = x.abs();
    let t = 1.0 / (1.0 + 0.3 * a);
    let p = 0.035_675_246;
    let p = p * t - 0.157_204_93;
    let p = p * t + 0.206_356_48;
    let p = p * t - 0.053_686_16;
    let p = p * t + 0.128_562_84;
    let p = p * t + 0.099_913_16;
    let p = p * t + 0.120_754;
    let p = p * t + 0.119_629_25;
    let tail = exp(-0.5 * a * a) * p * t;
    larger(x, 0.0) - a * tail
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Largest `|actual - expected| / scale` over a walk from `from` to `to`.
    fn worst(
        from: f32,
        to: f32,
        actual: impl Fn(f32) -> f32,
        expected: impl Fn(f64) -> (f64, f64),
    ) -> f64 {
        const STEPS: i32 = 400_000;
        (0..=STEPS)
            .map(|i| {
                let x = from + (to - from) * (i as f32 / STEPS as f32);
                let (value, scale) = expected(f64::from(x));
                (f64::from(actual(x)) - value).abs() / scale
            })
            .fold(
                0.0,
                |worst: f64, error| if error <= worst { worst } else { error },
            )
    }

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        let error = worst(-86.9, 0.0, exp, |x| (x.exp(), x.exp()));
        assert!(error <= 2.0 * f64::from(f32::EPSILON), "{error:e}");
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(-1e30) > 0.0 && exp(f32::NEG_INFINITY) < 2e-38);
    }

    #[test]
    fn ln_1p_is_within_three_units_in_the_last_place() {
        for (from, to) in [(0.0, 1e-3), (0.0, 1.0), (0.0, 100.0), (0.0, 1e30)] {
            let error = worst(from, to, ln_1p, |x| (x.ln_1p(), x.ln_1p().max(1e-30)));
            assert!(
                error <= 3.0 * f64::from(f32::EPSILON),
                "{from}..{to}: {error:e}"
            );
        }
        assert_eq!(ln_1p(0.0), 0.0);
    }

    #[test]
    fn gelu_follows_the_error_function() {
        let error = worst(-12.0, 12.0, gelu, |x| (x * normal(x), x.abs().max(1.0)));
        assert!(error <= 2e-7, "{error:e}");
        assert_eq!(gelu(0.0), 0.0);
        assert_eq!(gelu(1e20), 1e20);
        assert!(gelu(-1e20).abs() <= 1e-17);
    }

    /// Φ(x) in f64 by its power series, Φ(x) = 1/2 + φ(x)·(x + x³/3 + x⁵/15 + ...); below -6 it is 0 to
    /// the precision needed here.
    fn normal(x: f64) -> f64 {
        if x.abs() > 7.0 {
            return if x > 0.0 { 1.0 } else { 0.0 };
        }
        let (mut term, mut sum, mut odd) = (x, x, 1.0);
        while term.abs() > 1e-18 * sum.abs() {
            odd += 2.0;
            term *= x * x / odd;
            sum += term;
        }
        0.5 + sum * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
    }
}
