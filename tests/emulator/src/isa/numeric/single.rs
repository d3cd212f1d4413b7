//! Single precision: rounding in any direction, flushing, minima and maxima.

use super::{F32, Rounding, fma_to_odd};

/// `a * b + c` in single precision, rounded in any direction.
pub fn fma_f32(a: f32, b: f32, c: f32, rounding: Rounding) -> f32 {
    let (a, b, c) = (f64::from(a), f64::from(b), f64::from(c));
    let value = fma_to_odd(a, b, c);
    let product = a * b;
    let same_zeros =
        product == 0.0 && c == 0.0 && product.is_sign_negative() == c.is_sign_negative();
    if value == 0.0 && !same_zeros {
        return if rounding == Rounding::Down {
            -0.0
        } else {
            0.0
        };
    }
    f64_to_f32(value, rounding)
}

/// An f64 rounded to single precision in any direction. Quotients and square roots of f32 values, computed in f64, come
/// out as if rounded once: an f64 has more than twice the bits.
pub fn f64_to_f32(value: f64, rounding: Rounding) -> f32 {
    f32::from_bits(F32.encode(value, rounding, false))
}

/// NaN of single-precision arithmetic.
pub const CANONICAL_NAN: u32 = 0x7fff_ffff;

/// Subnormals become zeros of their sign.
#[inline(always)]
pub fn flush(value: f32) -> f32 {
    let bits = value.to_bits();
    f32::from_bits(if bits & 0x7f80_0000 == 0 {
        bits & 0x8000_0000
    } else {
        bits
    })
}

/// The smaller value: -0 is below +0, and of a number and a NaN the number counts, or the NaN where `keep_nan`.
#[inline(always)]
pub fn minimum(a: f32, b: f32, keep_nan: bool) -> f32 {
    let first = a < b || a == b && a.is_sign_negative();
    select(a, b, first, keep_nan)
}

/// The larger value, as [`minimum`].
#[inline(always)]
pub fn maximum(a: f32, b: f32, keep_nan: bool) -> f32 {
    let first = a > b || a == b && a.is_sign_positive();
    select(a, b, first, keep_nan)
}

#[inline(always)]
fn select(a: f32, b: f32, first: bool, keep_nan: bool) -> f32 {
    let pick_nan = keep_nan && (a.is_nan() || b.is_nan());
    let chosen = if first || b.is_nan() { a } else { b };
    if pick_nan { f32::NAN } else { chosen }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directed_results_enclose_the_exact_one() {
        let tiny = f32::from_bits(1);
        let values = [
            0.0,
            1.0,
            1.5,
            0.1,
            3.0,
            1.0 + f32::EPSILON,
            1e8,
            1e-8,
            tiny,
            1e-40,
            f32::MAX,
            1e38,
            1e-38,
        ];
        let signed = || values.iter().flat_map(|&value| [value, -value]);
        for a in signed() {
            for b in signed() {
                for c in signed() {
                    let [down, up, zero, nearest] = [
                        Rounding::Down,
                        Rounding::Up,
                        Rounding::Zero,
                        Rounding::Nearest,
                    ]
                    .map(|mode| fma_f32(a, b, c, mode));
                    assert_eq!(
                        nearest.to_bits(),
                        a.mul_add(b, c).to_bits(),
                        "{a:e} * {b:e} + {c:e}"
                    );
                    assert!(down <= nearest && nearest <= up, "{a:e} * {b:e} + {c:e}");
                    assert!(
                        down == up || down.next_up() == up,
                        "{a:e} * {b:e} + {c:e}: {down:e} {up:e}"
                    );
                    assert!(
                        zero == if up <= 0.0 { up } else { down },
                        "{a:e} * {b:e} + {c:e}"
                    );
                }
            }
        }
        assert!(fma_f32(1.0, 1.0, -1.0, Rounding::Down).is_sign_negative());
        assert_eq!(fma_f32(1.0, 1.0, 1e-30, Rounding::Up), 1.0 + f32::EPSILON);
        assert_eq!(f64_to_f32(1.0 + 1e-12, Rounding::Up), 1.0 + f32::EPSILON);
    }

    #[test]
    fn minima_order_zeros_and_prefer_numbers() {
        assert!(minimum(0.0, -0.0, false).is_sign_negative());
        assert!(maximum(-0.0, 0.0, false).is_sign_positive());
        assert_eq!(minimum(f32::NAN, 2.0, false), 2.0);
        assert_eq!(maximum(2.0, f32::NAN, false), 2.0);
        assert!(maximum(2.0, f32::NAN, true).is_nan());
        assert!(minimum(f32::NAN, f32::NAN, false).is_nan());
        assert_eq!(minimum(-1.0, 2.0, true), -1.0);
    }
}
