//! Rounding to odd: an inexact result gets an odd last bit. Rounding it again to a format with at least two bits fewer, in
//! any direction, gives what a single rounding of the exact value gives.

/// A sum of two numbers rounded to nearest, and what is missing to the exact one.
#[inline(always)]
fn sum_f64(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let back = sum - a;
    (sum, (a - (sum - back)) + (b - back))
}

/// As [`sum_f64`].
#[inline(always)]
fn sum_f32(a: f32, b: f32) -> (f32, f32) {
    let sum = a + b;
    let back = sum - a;
    (sum, (a - (sum - back)) + (b - back))
}

/// Moves a value that was rounded to nearest to its odd neighbour on the side of the exact one. NaN for `error`, from values
/// that are not finite: exact.
#[inline(always)]
fn odd_f64(nearest: f64, error: f64) -> f64 {
    let bits = nearest.to_bits();
    let away = (error > 0.0) == (nearest > 0.0);
    let step = if away { 1 } else { u64::MAX };
    let inexact = error.abs() > 0.0;
    f64::from_bits(if inexact && bits & 1 == 0 {
        bits.wrapping_add(step)
    } else {
        bits
    })
}

/// As [`odd_f64`].
#[inline(always)]
fn odd_f32(nearest: f32, error_positive: bool, error_negative: bool) -> f32 {
    let bits = nearest.to_bits();
    let away = error_positive == (nearest > 0.0);
    let step = if away { 1 } else { u32::MAX };
    let inexact = error_positive || error_negative;
    f32::from_bits(if inexact && bits & 1 == 0 {
        bits.wrapping_add(step)
    } else {
        bits
    })
}

/// `a * b + c`, rounded to odd. The product must be exact in f64: operands of at most 26 bits.
#[inline(always)]
pub fn fma_to_odd(a: f64, b: f64, c: f64) -> f64 {
    let (sum, error) = sum_f64(a * b, c);
    odd_f64(sum, error)
}

/// `a * b + c` of half-precision values, rounded to odd: their products are exact in f32.
#[inline(always)]
pub fn half_fma_to_odd(a: f32, b: f32, c: f32) -> f32 {
    let (sum, error) = sum_f32(a * b, c);
    odd_f32(sum, error > 0.0, error < 0.0)
}

/// An f64 as f32, rounded to odd; beyond the largest number it is that number.
#[inline(always)]
pub fn double_to_odd(value: f64) -> f32 {
    let nearest = value as f32;
    let error = value - f64::from(nearest);
    odd_f32(nearest, error > 0.0, error < 0.0)
}

/// An integer of at most 65 bits as f64, rounded to odd.
pub fn integer_to_odd(value: i128) -> f64 {
    let nearest = value as f64;
    let error = value - nearest as i128;
    if error == 0 || nearest.to_bits() & 1 == 1 {
        return nearest;
    }
    if error > 0 {
        nearest.next_up()
    } else {
        nearest.next_down()
    }
}
