//! Elementary functions in f32, written without branches so that the compiler vectorises loops of them.
//! Errors were measured against f64 over the ranges that the tests below walk.

#![forbid(unsafe_code)]

use std::f32::consts::{FRAC_1_SQRT_2, LN_2, LOG2_E};

use super::simd::{MultiplyAdd, larger, smaller};

/// Adding and subtracting it rounds a number below 2²² to the nearest integer.
const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23

/// ln 2 in two parts; the first has trailing zeros, so that its product with a small integer is exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// e^-80 = 1.8e-35 is nothing beside a largest weight of 1, and its multiples in a product stay
/// clear of the subnormal numbers, with which many CPUs are slow.
const EXP_MIN: f32 = -80.0;

/// e^x for x <= 0, within 2 units in the last place; inputs below -80 count as -80.
#[inline(always)]
pub(super) fn exp(fma: MultiplyAdd, x: f32) -> f32 {
    let x = larger(x, EXP_MIN);
    let rounded = fma.of(x, LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = fma.of(n, -LN_2_LOW, fma.of(n, -LN_2_HIGH, x));
    // e^r = 1 + r + r²·p(r) with the smallest largest relative error, 1.1e-7, on |r| <= ln 2 / 2.
    let p = fma.polynomial(r, [0.499_992_3, 0.166_671_15, 0.041_890_34, 0.008_312_5]);
    let p = fma.of(p * r, r, r) + 1.0;
    // The integer sits in the low bits of `rounded`; shifted into the exponent it is 2^n.
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    p * power
}

/// ln(1 + x) for x >= 0, within 3 units in the last place.
#[inline(always)]
pub(super) fn ln_1p(fma: MultiplyAdd, x: f32) -> f32 {
    let u = 1.0 + x;
    // What rounding took from 1 + x, to first order in the result.
    let lost = (x - (u - 1.0)) / u;
    // u = 2^n * m with m in [sqrt(1/2), sqrt(2)).
    let shifted = u.to_bits().wrapping_sub(FRAC_1_SQRT_2.to_bits());
    let n = (shifted as i32 >> 23) as f32;
    let m = f32::from_bits((shifted & 0x007f_ffff).wrapping_add(FRAC_1_SQRT_2.to_bits()));
    // ln m = 2 artanh s with s = (m - 1) / (m + 1), |s| < 0.172: the term after s^9 is below 1e-9.
    let s = (m - 1.0) / (m + 1.0);
    let q = s * s;
    let p = fma.polynomial(q, [2.0 / 3.0, 2.0 / 5.0, 2.0 / 7.0, 2.0 / 9.0]);
    fma.of(n, LN_2, fma.of(s * q, p, 2.0 * s) + lost)
}

/// Beyond it, Φ is 0 or 1 to the precision of f32.
const GELU_MAX: f32 = 5.4;

/// x·Φ(x), Φ the normal distribution (the erf form of GELU), within 3e-7 · max(1, |x|).
///
/// Φ(x) = 1/2 + x·P(x²)/Q(x²), a rational fit of the smallest largest error over |x| <= 5.4.
#[inline(always)]
pub(super) fn gelu(fma: MultiplyAdd, x: f32) -> f32 {
    let c = larger(smaller(x, GELU_MAX), -GELU_MAX);
    let z = c * c;
    let p = fma.polynomial(
        z,
        [
            0.398_942_2,
            0.033_559_423,
            0.004_662_883,
            1.663_422_9e-4,
            6.384_447e-6,
            2.329_830_6e-8,
        ],
    );
    let q = fma.polynomial(
        z,
        [
            1.0,
            0.250_786_7,
            0.028_487_455,
            0.001_870_163_5,
            7.310_965e-5,
            1.215_868_2e-6,
        ],
    );
    x * (c * p / q + 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks from `from` to `to` and compares; `expected` gives a value and the error allowed there.
    fn compare(
        from: f32,
        to: f32,
        actual: impl Fn(MultiplyAdd, f32) -> f32,
        expected: impl Fn(f64) -> (f64, f64),
    ) {
        const STEPS: i32 = 400_000;
        for fma in MultiplyAdd::BOTH {
            for i in 0..=STEPS {
                let x = from + (to - from) * (i as f32 / STEPS as f32);
                let (value, allowed) = expected(f64::from(x));
                let error = (f64::from(actual(fma, x)) - value).abs();
                assert!(
                    error <= allowed,
                    "{error:e} over {allowed:e} at {x} with {fma:?}"
                );
            }
        }
    }

    const ULP: f64 = f32::EPSILON as f64;

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        compare(-79.9, 0.0, exp, |x| (x.exp(), 2.0 * ULP * x.exp()));
        for fma in MultiplyAdd::BOTH {
            assert_eq!(exp(fma, 0.0), 1.0);
            for x in [-80.0, -1e30, f32::NEG_INFINITY] {
                let value = exp(fma, x);
                assert!(value > f32::MIN_POSITIVE && value < 2e-35, "{value:e}");
            }
        }
    }

    #[test]
    fn ln_1p_is_within_three_units_in_the_last_place() {
        for (from, to) in [(0.0, 1e-3), (0.0, 1.0), (0.0, 100.0), (0.0, 1e30)] {
            compare(from, to, ln_1p, |x| (x.ln_1p(), 3.0 * ULP * x.ln_1p()));
        }
    }

    #[test]
    fn gelu_follows_the_error_function() {
        compare(-12.0, 12.0, gelu, |x| {
            (x * normal(x), 3e-7 * x.abs().max(1.0))
        });
        for fma in MultiplyAdd::BOTH {
            assert_eq!(gelu(fma, 0.0), 0.0);
            assert!((gelu(fma, 1e20) / 1e20 - 1.0).abs() <= f32::EPSILON);
        }
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
