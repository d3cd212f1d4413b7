//! Double precision with directed rounding, from exact integer arithmetic.

use super::Rounding;

/// A number `mantissa * 2^exponent`, negative or not. The last bit may stand for everything non-zero below it.
#[derive(Clone, Copy, Debug)]
struct Exact {
    negative: bool,
    mantissa: u128,
    exponent: i32,
}

/// Where the leading bit of the larger summand is put: one bit is left for the carry of a sum.
const TOP: i32 = 125;

impl Exact {
    fn of(value: f64) -> Self {
        let bits = value.to_bits();
        let field = (bits >> 52 & 0x7ff) as i32;
        let fraction = bits & ((1 << 52) - 1);
        let mantissa = if field == 0 {
            fraction
        } else {
            fraction | 1 << 52
        };
        Exact {
            negative: value.is_sign_negative(),
            mantissa: mantissa.into(),
            exponent: field.max(1) - 1075,
        }
    }

    fn times(self, other: Self) -> Self {
        Exact {
            negative: self.negative != other.negative,
            mantissa: self.mantissa * other.mantissa,
            exponent: self.exponent + other.exponent,
        }
    }

    /// Exponent of the leading bit; zero is below everything.
    fn leading(self) -> i32 {
        if self.mantissa == 0 {
            i32::MIN
        } else {
            self.exponent + 127 - self.mantissa.leading_zeros() as i32
        }
    }

    /// The same number at a lower exponent, or a higher one with a sticky last bit.
    fn at(self, exponent: i32) -> u128 {
        let shift = self.exponent - exponent;
        if self.mantissa == 0 || shift >= 0 {
            return if self.mantissa == 0 {
                0
            } else {
                self.mantissa << shift
            };
        }
        let down = -shift as u32;
        let kept = self.mantissa.checked_shr(down).unwrap_or(0);
        let lost = kept.checked_shl(down).unwrap_or(0) != self.mantissa;
        kept | u128::from(lost)
    }

    /// Sum. A summand is cut off only where it is so far below the other that nothing cancels.
    fn plus(self, other: Self) -> Self {
        let leading = self.leading().max(other.leading());
        if leading == i32::MIN {
            return Exact {
                negative: self.negative && other.negative,
                ..self
            };
        }
        let exponent = leading - TOP;
        let (a, b) = (self.at(exponent), other.at(exponent));
        let (negative, mantissa) = match (self.negative == other.negative, a >= b) {
            (true, _) => (self.negative, a + b),
            (false, true) => (self.negative, a - b),
            (false, false) => (other.negative, b - a),
        };
        Exact {
            negative,
            mantissa,
            exponent,
        }
    }

    /// Rounds in a directed way.
    fn rounded(self, rounding: Rounding) -> f64 {
        let with_sign = |magnitude: u64| f64::from_bits(magnitude | u64::from(self.negative) << 63);
        let leading = self.leading().max(-1022);
        let exponent = leading - 52;
        // One bit more than fits, set where anything is cut off.
        let guarded = self.at(exponent - 1);
        let grown =
            (guarded >> 1) as u64 + u64::from(guarded & 1 == 1 && rounding.grows(self.negative));
        // The implicit bit of a normal number, and a carry out of the mantissa, count the exponent up.
        let code = (((leading + 1022) as u64) << 52) + grown;
        if leading <= 1023 && code < f64::INFINITY.to_bits() {
            return with_sign(code);
        }
        with_sign(
            if rounding.grows(self.negative) {
                f64::INFINITY
            } else {
                f64::MAX
            }
            .to_bits(),
        )
    }
}

/// `a * b + c`, rounded once in any direction.
pub fn fma_f64(a: f64, b: f64, c: f64, rounding: Rounding) -> f64 {
    if rounding == Rounding::Nearest || !(a.is_finite() && b.is_finite() && c.is_finite()) {
        return a.mul_add(b, c);
    }
    let product = Exact::of(a).times(Exact::of(b));
    let sum = product.plus(Exact::of(c));
    if sum.mantissa == 0 {
        let both = product.mantissa == 0 && c == 0.0 && product.negative == c.is_sign_negative();
        let negative = if both {
            product.negative
        } else {
            rounding == Rounding::Down
        };
        return if negative { -0.0 } else { 0.0 };
    }
    sum.rounded(rounding)
}

/// `a / b`, rounded in any direction.
pub fn div_f64(a: f64, b: f64, rounding: Rounding) -> f64 {
    let quotient = a / b;
    if !(a.is_finite() && b.is_finite()) || b == 0.0 || a == 0.0 {
        return quotient;
    }
    if quotient.is_infinite() {
        return beyond(quotient, rounding);
    }
    // The exact quotient lies above the rounded one where the rest has the sign of the divisor.
    let rest = Exact::of(-quotient).times(Exact::of(b)).plus(Exact::of(a));
    directed(
        quotient,
        rest.mantissa != 0,
        rest.negative == (b < 0.0),
        rounding,
    )
}

/// The square root, rounded in any direction.
pub fn sqrt_f64(value: f64, rounding: Rounding) -> f64 {
    let root = value.sqrt();
    if !root.is_finite() || root == 0.0 {
        return root;
    }
    let rest = Exact::of(-root)
        .times(Exact::of(root))
        .plus(Exact::of(value));
    directed(root, rest.mantissa != 0, !rest.negative, rounding)
}

/// What an infinity becomes that is one only by rounding.
fn beyond(infinity: f64, rounding: Rounding) -> f64 {
    let negative = infinity < 0.0;
    if rounding == Rounding::Nearest || rounding.grows(negative) {
        infinity
    } else {
        f64::MAX.copysign(infinity)
    }
}

/// Moves a value that was rounded to nearest to the neighbour that the direction asks for.
fn directed(nearest: f64, inexact: bool, exact_is_above: bool, rounding: Rounding) -> f64 {
    let up = match rounding {
        Rounding::Nearest | Rounding::Away => return nearest,
        Rounding::Up => true,
        Rounding::Down => false,
        Rounding::Zero => nearest.is_sign_negative(),
    };
    match (inexact, up, exact_is_above) {
        (true, true, true) => nearest.next_up(),
        (true, false, false) => nearest.next_down(),
        _ => nearest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers whose sums, products and quotients round, cancel, underflow and overflow.
    fn values() -> Vec<f64> {
        let magnitudes = [
            0.0,
            1.0,
            1.5,
            3.0,
            1.0 + f64::EPSILON,
            0.1,
            1e16,
            1e-16,
            5e-324,
            1e-310,
            f64::MAX,
            1e300,
            1e-300,
        ];
        magnitudes
            .iter()
            .flat_map(|&value| [value, -value])
            .collect()
    }

    /// The two directed results must enclose the nearest one, and be it or its neighbours.
    fn check(down: f64, up: f64, zero: f64, nearest: f64, what: &str) {
        if nearest.is_nan() {
            assert!(down.is_nan() && up.is_nan() && zero.is_nan(), "{what}");
            return;
        }
        assert!(
            down <= nearest && nearest <= up,
            "{what}: {down:e} {nearest:e} {up:e}"
        );
        assert!(
            down == up || down.next_up() == up,
            "{what}: {down:e} {up:e}"
        );
        let towards_zero = if nearest == 0.0 {
            down.abs().min(up.abs())
        } else if nearest > 0.0 {
            down
        } else {
            up
        };
        assert_eq!(zero.abs(), towards_zero.abs(), "{what}");
    }

    #[test]
    fn directed_results_enclose_the_exact_one() {
        let [down, up, zero] = [Rounding::Down, Rounding::Up, Rounding::Zero];
        for a in values() {
            check(
                sqrt_f64(a, down),
                sqrt_f64(a, up),
                sqrt_f64(a, zero),
                a.sqrt(),
                &format!("sqrt {a:e}"),
            );
            for b in values() {
                check(
                    div_f64(a, b, down),
                    div_f64(a, b, up),
                    div_f64(a, b, zero),
                    a / b,
                    &format!("{a:e} / {b:e}"),
                );
                for c in values() {
                    let fma = |rounding| fma_f64(a, b, c, rounding);
                    check(
                        fma(down),
                        fma(up),
                        fma(zero),
                        a.mul_add(b, c),
                        &format!("{a:e} * {b:e} + {c:e}"),
                    );
                }
            }
        }
    }

    #[test]
    fn exact_results_stay_and_tiny_parts_count() {
        assert_eq!(fma_f64(3.0, 5.0, -1.0, Rounding::Up), 14.0);
        assert_eq!(fma_f64(1.0, 1.0, 1e-300, Rounding::Up), 1.0 + f64::EPSILON);
        assert_eq!(
            fma_f64(1.0, 1.0, -1e-300, Rounding::Down),
            1.0 - f64::EPSILON / 2.0
        );
        assert_eq!(fma_f64(1.0, 1.0, -1e-300, Rounding::Up), 1.0);
        assert_eq!(fma_f64(f64::MAX, 2.0, 0.0, Rounding::Zero), f64::MAX);
        assert!(fma_f64(1.0, 1.0, -1.0, Rounding::Down).is_sign_negative());
        assert_eq!(div_f64(1.0, 3.0, Rounding::Up), (1.0f64 / 3.0).next_up());
        assert_eq!(div_f64(6.0, 3.0, Rounding::Up), 2.0);
        assert_eq!(sqrt_f64(2.0, Rounding::Down), 2f64.sqrt().next_down());
        assert_eq!(sqrt_f64(9.0, Rounding::Up), 3.0);
    }
}
