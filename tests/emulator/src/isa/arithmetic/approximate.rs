//! The approximate functions of the hardware, within the error that PTX grants, without branches: loops over lanes become
//! vector code.

use std::f32::consts::{LN_2, LOG2_E};

/// 2^x, within 2 ulp.
#[inline(always)]
pub(super) fn exp2(x: f32) -> f32 {
    // Beyond these bounds the result is 0 or infinite in any case.
    let bounded = x.clamp(-200.0, 200.0);
    let whole = bounded.round_ties_even();
    let t = (bounded - whole) * LN_2;
    // e^t for |t| <= ln(2) / 2: the next term is below 1/20 ulp.
    let fraction = (1.0f32 / 5040.0)
        .mul_add(t, 1.0 / 720.0)
        .mul_add(t, 1.0 / 120.0)
        .mul_add(t, 1.0 / 24.0)
        .mul_add(t, 1.0 / 6.0)
        .mul_add(t, 0.5)
        .mul_add(t, 1.0)
        .mul_add(t, 1.0);
    // In two steps, for 2^whole alone may be subnormal or too large.
    let half = (whole * 0.5).floor();
    let result = fraction * power_of_two(half) * power_of_two(whole - half);
    if x.is_nan() { x } else { result }
}

/// 2^exponent for integral exponents of normal numbers.
#[inline(always)]
fn power_of_two(exponent: f32) -> f32 {
    // Added to 1.5 * 2^23 an integer stands in the last places of the sum; the shift drops everything else.
    const SHIFT: f32 = 12_582_912.0;
    f32::from_bits((exponent + SHIFT).to_bits().wrapping_add(127) << 23)
}

/// The hyperbolic tangent, within 2 ulp.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let magnitude = x.abs();
    let square = x * x;
    // Near zero: the continued fraction to its seventh part.
    let upper = (square + 378.0)
        .mul_add(square, 17_325.0)
        .mul_add(square, 135_135.0);
    let lower = 28f32
        .mul_add(square, 3_150.0)
        .mul_add(square, 62_370.0)
        .mul_add(square, 135_135.0);
    let near = magnitude * upper / lower;
    let far = 1.0 - 2.0 / (exp2(magnitude * (2.0 * LOG2_E)) + 1.0);
    (if magnitude < 1.0 { near } else { far }).copysign(x)
}

/// Base-2 logarithm.
pub(super) fn log2(x: f32) -> f32 {
    x.log2()
}

/// 1 / sqrt(x).
pub(super) fn reciprocal_root(x: f32) -> f32 {
    (1.0 / f64::from(x).sqrt()) as f32
}

/// `div.approx`: divisors beyond 2^126 have a reciprocal of zero.
pub(super) fn divide(a: f32, b: f32) -> f32 {
    const LARGEST: f32 = f32::from_bits((126 + 127) << 23);
    if b.abs() > LARGEST && b.is_finite() {
        a * 0f32.copysign(b)
    } else {
        a / b
    }
}

/// 1 / x with the upper half of the bits, subnormals being zero: where division routines begin.
pub(super) fn reciprocal_f64(x: f64) -> f64 {
    let flushed = if x.is_subnormal() {
        0f64.copysign(x)
    } else {
        x
    };
    let result = f64::from_bits((1.0 / flushed).to_bits() & !0xffff_ffff);
    if result.is_subnormal() {
        0f64.copysign(result)
    } else {
        result
    }
}

/// 1 / sqrt(x) for f64; `flush`: subnormals are zero.
pub(super) fn reciprocal_root_f64(x: f64, flush: bool) -> f64 {
    let x = if flush && x.is_subnormal() {
        0f64.copysign(x)
    } else {
        x
    };
    1.0 / x.sqrt()
}
