//! Double precision.

use super::approximate;
use crate::isa::lanewise::lanewise;
use crate::isa::numeric::{Rounding, div_f64, fma_f64, sqrt_f64};
use crate::isa::{DecodeError, Decoder, Execute};
use crate::ptx::Instruction;

/// The one that comes first in the order of numbers, -0 before +0; of a number and a NaN the number.
fn first(a: f64, b: f64, descending: bool) -> f64 {
    let a_first = a.total_cmp(&b).is_le() != descending;
    if b.is_nan() || a_first && !a.is_nan() {
        a
    } else {
        b
    }
}

pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    type One = (f64,);
    type Two = (f64, f64);
    let (i, d) = (instruction, decoder);
    let rounding = Rounding::named(i).unwrap_or(Rounding::Nearest);
    let nearest = rounding == Rounding::Nearest;
    let flush = i.has("ftz");
    match i.part(0) {
        "add" if nearest => lanewise(i, d, |(a, b): Two| a + b),
        "add" => lanewise(i, d, move |(a, b): Two| fma_f64(a, 1.0, b, rounding)),
        "sub" if nearest => lanewise(i, d, |(a, b): Two| a - b),
        "sub" => lanewise(i, d, move |(a, b): Two| fma_f64(b, -1.0, a, rounding)),
        "mul" if nearest => lanewise(i, d, |(a, b): Two| a * b),
        "mul" => lanewise(i, d, move |(a, b): Two| {
            fma_f64(a, b, 0f64.copysign(a * b), rounding)
        }),
        "fma" | "mad" if nearest => lanewise(i, d, |(a, b, c): (f64, f64, f64)| a.mul_add(b, c)),
        "fma" | "mad" => lanewise(i, d, move |(a, b, c): (f64, f64, f64)| {
            fma_f64(a, b, c, rounding)
        }),
        "div" => lanewise(i, d, move |(a, b): Two| div_f64(a, b, rounding)),
        "rcp" if i.has("approx") => lanewise(i, d, |(a,): One| approximate::reciprocal_f64(a)),
        "rcp" => lanewise(i, d, move |(a,): One| div_f64(1.0, a, rounding)),
        "sqrt" => lanewise(i, d, move |(a,): One| sqrt_f64(a, rounding)),
        "rsqrt" => lanewise(i, d, move |(a,): One| {
            approximate::reciprocal_root_f64(a, flush)
        }),
        "min" => lanewise(i, d, |(a, b): Two| first(a, b, false)),
        "max" => lanewise(i, d, |(a, b): Two| first(a, b, true)),
        "abs" => lanewise(i, d, |(a,): One| a.abs()),
        "neg" => lanewise(i, d, |(a,): One| -a),
        "copysign" => lanewise(i, d, |(a, b): Two| b.copysign(a)),
        _ => Err(DecodeError::unsupported()),
    }
}

#[cfg(test)]
mod tests {
    use crate::isa::testing::{Bench, check_binary, check_ternary, check_unary};

    /// NaN payloads are no part of the comparison.
    fn quiet(value: f64) -> f64 {
        if value.is_nan() { f64::NAN } else { value }
    }

    #[test]
    fn to_nearest() {
        check_binary("min.f64 %rd0, %rd1, %rd2;", |a: f64, b: f64| {
            super::first(a, b, false)
        });
        check_unary("neg.f64 %rd0, %rd1;", |a: f64| -a);
        check_unary("abs.f64 %rd0, %rd1;", f64::abs);
        check_binary("copysign.f64 %rd0, %rd1, %rd2;", |a: f64, b: f64| {
            b.copysign(a)
        });
        check_unary("rcp.rn.f64 %rd0, %rd1;", |a: f64| 1.0 / a);
        check_ternary(
            "fma.rn.f64 %rd0, %rd1, %rd2, %rd3;",
            |a: f64, b: f64, c: f64| a.mul_add(b, c),
        );
    }

    #[test]
    fn the_operations_and_their_directions() {
        let (a, b) = (1.0f64 / 3.0, -7.1);
        let text = "add.f64 %rd3, %rd1, %rd2;\nsub.f64 %rd4, %rd1, %rd2;\nmul.f64 %rd5, %rd1, %rd2;\n\
                    div.rn.f64 %rd6, %rd1, %rd2;\nsqrt.rn.f64 %rd7, %rd1;\nmul.rm.f64 %rd8, %rd1, %rd2;\n\
                    mul.rp.f64 %rd9, %rd1, %rd2;\nadd.rz.f64 %rd10, %rd1, %rd2;\nmax.f64 %rd11, %rd2, %rd12;\n\
                    max.f64 %rd13, %rd14, %rd15;\nmin.f64 %rd16, %rd14, %rd15;";
        let outcome = Bench::new(text)
            .set(1, &[a])
            .set(2, &[b])
            .set(12, &[f64::NAN])
            .set(14, &[-0.0f64])
            .set(15, &[0.0f64])
            .run();
        let get = |register: u16| quiet(outcome.get::<f64>(register)[0]);
        assert_eq!(
            [3, 4, 5, 6, 7].map(get),
            [a + b, a - b, a * b, a / b, a.sqrt()]
        );
        assert!(get(8) <= a * b && a * b <= get(9) && get(8).next_up() == get(9));
        assert!(get(10).abs() <= (a + b).abs());
        assert_eq!(get(11), b);
        assert!(get(13).is_sign_positive() && get(16).is_sign_negative());
    }

    #[test]
    fn where_division_routines_begin() {
        let text = "rcp.approx.ftz.f64 %rd2, %rd1;\nrsqrt.approx.f64 %rd3, %rd1;";
        let outcome = Bench::new(text).set(1, &[3.0f64, 1e-310]).run();
        let (reciprocal, root) = (outcome.get::<f64>(2), outcome.get::<f64>(3));
        assert!((reciprocal[0] * 3.0 - 1.0).abs() < 1e-6);
        assert_eq!(reciprocal[0].to_bits() & 0xffff_ffff, 0);
        assert_eq!(reciprocal[1], f64::INFINITY);
        assert!((root[0] * 3f64.sqrt() - 1.0).abs() < 1e-15);
    }
}
