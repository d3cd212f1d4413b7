//! Conversions from floating-point numbers.

use half::{bf16, f16};

use super::integer::Extended;
use super::types::{Float, Modifiers, Tf32};
use crate::isa::element::Integer;
use crate::isa::lanewise::lanewise;
use crate::isa::numeric::{
    CANONICAL_NAN, Rounding, bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16, flush,
};
use crate::isa::{DecodeError, Decoder, Execute};
use crate::ptx::Instruction;

/// From the type `S`.
pub(super) fn decode<S: Float>(
    i: &Instruction,
    d: &mut Decoder<'_>,
    to: &str,
) -> Result<Box<dyn Execute>, DecodeError> {
    match to {
        "u8" => to_integer::<S, u8>(i, d),
        "s8" => to_integer::<S, i8>(i, d),
        "u16" => to_integer::<S, u16>(i, d),
        "s16" => to_integer::<S, i16>(i, d),
        "u32" => to_integer::<S, u32>(i, d),
        "s32" => to_integer::<S, i32>(i, d),
        "u64" => to_integer::<S, u64>(i, d),
        "s64" => to_integer::<S, i64>(i, d),
        "f16" => to_float::<S, f16>(i, d),
        "bf16" => to_float::<S, bf16>(i, d),
        "tf32" => to_float::<S, Tf32>(i, d),
        "f32" => to_float::<S, f32>(i, d),
        "f64" => to_float::<S, f64>(i, d),
        _ => Err(DecodeError::unsupported()),
    }
}

fn to_integer<S: Float, T: Integer>(
    i: &Instruction,
    d: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let modifiers = Modifiers::of(i);
    let rounding = modifiers.integral.ok_or_else(DecodeError::unsupported)?;
    if let Some(fast) = common(i, d, modifiers) {
        return fast;
    }
    let flushes = i.has("ftz");
    // NaN becomes 0, but with 64 bits on either side the value with only the top bit set.
    let wide = i.kind() == "f64" || T::BITS == 64;
    let nan = if wide {
        T::truncated(1 << (T::BITS - 1))
    } else {
        T::truncated(0)
    };
    lanewise(i, d, move |(a,): (S,)| {
        let mut value = a.wide();
        if flushes && value.abs() < f64::from(f32::MIN_POSITIVE) {
            value = 0.0;
        }
        Extended(if value.is_nan() {
            nan
        } else {
            T::from_f64(rounding.integral(value))
        })
    })
}

fn to_float<S: Float, T: Float>(
    i: &Instruction,
    d: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let modifiers = Modifiers::of(i);
    if let Some(fast) = common(i, d, modifiers) {
        return fast;
    }
    if modifiers.flush {
        return flushed(i, d, modifiers);
    }
    lanewise(i, d, move |(a,): (S,)| modifiers.apply::<T>(a.wide()))
}

/// The conversions of every other kernel, as code that becomes vector instructions.
fn common(
    i: &Instruction,
    d: &mut Decoder<'_>,
    modifiers: Modifiers,
) -> Option<Result<Box<dyn Execute>, DecodeError>> {
    let types = (i.part(i.opcode.len() - 2), i.kind());
    let canonical = |value: f32| {
        if value.is_nan() {
            f32::from_bits(CANONICAL_NAN)
        } else {
            value
        }
    };
    let [nearest, cut] = [Rounding::Nearest, Rounding::Zero].map(|rounding| {
        modifiers
            == Modifiers {
                integral: Some(rounding),
                ..Modifiers::default()
            }
    });
    Some(match types {
        ("f16", "f32") if modifiers.is_plain() => {
            lanewise(i, d, |(a,): (f32,)| f16::from_bits(f32_to_f16(a)))
        }
        ("bf16", "f32") if modifiers.is_plain() => {
            lanewise(i, d, |(a,): (f32,)| bf16::from_bits(f32_to_bf16(a)))
        }
        ("f32", "f64") if modifiers.is_plain() => {
            lanewise(i, d, move |(a,): (f64,)| canonical(a as f32))
        }
        ("f32", "f16") if i.opcode.len() == 3 => {
            lanewise(i, d, move |(a,): (f16,)| canonical(f16_to_f32(a.to_bits())))
        }
        ("f32", "bf16") if i.opcode.len() == 3 => lanewise(i, d, move |(a,): (bf16,)| {
            canonical(bf16_to_f32(a.to_bits()))
        }),
        ("f64", "f32") if i.opcode.len() == 3 => lanewise(i, d, |(a,): (f32,)| f64::from(a)),
        ("s32", "f32") if nearest => lanewise(i, d, |(a,): (f32,)| a.round_ties_even() as i32),
        ("s32", "f32") if cut => lanewise(i, d, |(a,): (f32,)| a as i32),
        ("u32", "f32") if cut => lanewise(i, d, |(a,): (f32,)| a as u32),
        _ => return None,
    })
}

/// With `.ftz`: single-precision subnormals are zeros, coming and going.
fn flushed(
    i: &Instruction,
    d: &mut Decoder<'_>,
    modifiers: Modifiers,
) -> Result<Box<dyn Execute>, DecodeError> {
    match (i.part(i.opcode.len() - 2), i.kind()) {
        ("f32", "f32") => lanewise(i, d, move |(a,): (f32,)| {
            flush(modifiers.apply::<f32>(flush(a).wide()))
        }),
        ("f32", "f16") => lanewise(i, d, move |(a,): (f16,)| {
            flush(modifiers.apply::<f32>(a.wide()))
        }),
        ("f32", "f64") => lanewise(i, d, move |(a,): (f64,)| flush(modifiers.apply::<f32>(a))),
        ("f16", "f32") => lanewise(i, d, move |(a,): (f32,)| {
            modifiers.apply::<f16>(flush(a).wide())
        }),
        ("f64", "f32") => lanewise(i, d, move |(a,): (f32,)| {
            modifiers.apply::<f64>(flush(a).wide())
        }),
        _ => Err(DecodeError::unsupported()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::numeric::{BF16, F16, F32, TF32};
    use crate::isa::testing::{Bench, check_unary};

    fn canonical(value: f32) -> u32 {
        if value.is_nan() {
            CANONICAL_NAN
        } else {
            value.to_bits()
        }
    }

    fn half(value: f64) -> u32 {
        F16.encode(value, Rounding::Nearest, false)
    }

    #[test]
    fn between_floating_point_types() {
        check_unary("cvt.rn.f16.f32 %r0, %r1;", |a: f32| half(f64::from(a)));
        check_unary("cvt.rn.bf16.f32 %r0, %r1;", |a: f32| {
            BF16.encode(f64::from(a), Rounding::Nearest, false)
        });
        check_unary("cvt.f32.f16 %r0, %r1;", |a: f16| canonical(a.to_f32()));
        check_unary("cvt.f32.bf16 %r0, %r1;", |a: bf16| canonical(a.to_f32()));
        check_unary("cvt.f64.f32 %rd0, %r1;", |a: f32| f64::from(a));
        check_unary("cvt.rn.f32.f64 %r0, %rd1;", |a: f64| canonical(a as f32));
        check_unary("cvt.rz.f32.f64 %r0, %rd1;", |a: f64| {
            F32.encode(a, Rounding::Zero, false)
        });
        check_unary("cvt.rn.f16.f64 %r0, %rd1;", half);
        check_unary("cvt.f64.f16 %rd0, %r1;", |a: f16| a.to_f64());
        check_unary("cvt.rn.satfinite.f16.f32 %r0, %r1;", |a: f32| {
            F16.encode(f64::from(a), Rounding::Nearest, true)
        });
        check_unary("cvt.rn.relu.bf16.f32 %r0, %r1;", |a: f32| {
            BF16.encode(
                f64::from(if a <= 0.0 { 0.0 } else { a }),
                Rounding::Nearest,
                false,
            )
        });
    }

    #[test]
    fn to_integral_values() {
        check_unary("cvt.rni.f32.f32 %r0, %r1;", |a: f32| {
            canonical(a.round_ties_even())
        });
        check_unary("cvt.rzi.f32.f32 %r0, %r1;", |a: f32| canonical(a.trunc()));
        check_unary("cvt.rmi.f64.f64 %rd0, %rd1;", f64::floor);
        check_unary("cvt.rpi.f16.f16 %r0, %r1;", |a: f16| {
            half(a.to_f64().ceil())
        });
        check_unary("cvt.sat.f32.f32 %r0, %r1;", |a: f32| {
            if a > 0.0 { a.min(1.0) } else { 0.0 }
        });
        check_unary("cvt.ftz.sat.f32.f32 %r0, %r1;", |a: f32| {
            if a >= f32::MIN_POSITIVE {
                a.min(1.0)
            } else {
                0.0
            }
        });
    }

    #[test]
    fn to_integers() {
        check_unary("cvt.rni.s32.f32 %r0, %r1;", |a: f32| {
            a.round_ties_even() as i32
        });
        check_unary("cvt.rzi.s32.f32 %r0, %r1;", |a: f32| a as i32);
        check_unary("cvt.rzi.u32.f32 %r0, %r1;", |a: f32| a as u32);
        check_unary("cvt.rmi.ftz.s32.f32 %r0, %r1;", |a: f32| {
            (if a.abs() < f32::MIN_POSITIVE { 0.0 } else { a }).floor() as i32
        });
        check_unary("cvt.rpi.u8.f32 %r0, %r1;", |a: f32| {
            u32::from(a.ceil() as u8)
        });
        check_unary("cvt.rni.s8.f32 %r0, %r1;", |a: f32| {
            i32::from(a.round_ties_even() as i8)
        });
        check_unary("cvt.rzi.s32.f16 %r0, %r1;", |a: f16| a.to_f32() as i32);
        check_unary("cvt.rzi.s64.f32 %rd0, %r1;", |a: f32| {
            if a.is_nan() { i64::MIN } else { a as i64 }
        });
        check_unary("cvt.rzi.u64.f64 %rd0, %rd1;", |a: f64| {
            if a.is_nan() { 1 << 63 } else { a as u64 }
        });
        check_unary("cvt.rzi.u32.f64 %r0, %rd1;", |a: f64| {
            if a.is_nan() { 1 << 31 } else { a as u32 }
        });
    }

    #[test]
    fn tf32_rounds_half_away_or_to_even() {
        let text =
            "cvt.rna.tf32.f32 %r2, %r1;\ncvt.rn.tf32.f32 %r3, %r1;\ncvt.rz.tf32.f32 %r4, %r1;";
        let outcome = Bench::new(text).narrow(1, [0x3f80_1000; 32]).run();
        assert_eq!(
            [2, 3, 4].map(|register| outcome.narrow(register)[0]),
            [0x3f80_2000, 0x3f80_0000, 0x3f80_0000]
        );
        check_unary("cvt.rna.tf32.f32 %r0, %r1;", |a: f32| {
            if a.is_nan() {
                CANONICAL_NAN
            } else {
                TF32.encode(f64::from(a), Rounding::Away, false) << 13
            }
        });
    }
}
