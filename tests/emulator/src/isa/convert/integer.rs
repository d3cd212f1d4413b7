//! Conversions from integers.

use half::{bf16, f16};

use super::types::Float;
use crate::isa::element::{Element, Integer, Register};
use crate::isa::lanewise::lanewise;
use crate::isa::numeric::{Rounding, integer_to_odd};
use crate::isa::{DecodeError, Decoder, Execute};
use crate::ptx::Instruction;

/// An integer whose register is filled up with its sign, for narrow results in wider registers.
#[derive(Clone, Copy)]
pub(super) struct Extended<T>(pub T);

impl<T: Integer> Element for Extended<T> {
    type Register = T::Register;

    #[inline(always)]
    fn from_register(bits: T::Register) -> Self {
        Extended(T::from_register(bits))
    }

    #[inline(always)]
    fn to_register(self) -> T::Register {
        T::Register::from_low_bits(self.0.extended())
    }
}

/// From the integer type `S`.
pub(super) fn decode<S: Integer>(
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
        "f32" if Rounding::named(i) == Some(Rounding::Nearest) => {
            lanewise(i, d, |(a,): (S,)| a.to_f32())
        }
        "f32" => to_float::<S, f32>(i, d),
        "f64" => to_double::<S>(i, d),
        _ => Err(DecodeError::unsupported()),
    }
}

fn to_integer<S: Integer, T: Integer>(
    i: &Instruction,
    d: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    if i.has("sat") {
        return lanewise(i, d, |(a,): (S,)| Extended(T::saturated(a.exact())));
    }
    lanewise(i, d, |(a,): (S,)| Extended(T::truncated(a.extended())))
}

/// To an integer from the low bits of a 64-bit register: a source may lie in a register wider than its type.
pub(super) fn decode_low(
    i: &Instruction,
    d: &mut Decoder<'_>,
    to: &str,
    from: &str,
) -> Result<Box<dyn Execute>, DecodeError> {
    match from {
        "u8" => low::<u8>(i, d, to),
        "s8" => low::<i8>(i, d, to),
        "u16" => low::<u16>(i, d, to),
        "s16" => low::<i16>(i, d, to),
        "u32" => low::<u32>(i, d, to),
        "s32" => low::<i32>(i, d, to),
        _ => Err(DecodeError::unsupported()),
    }
}

fn low<S: Integer>(
    i: &Instruction,
    d: &mut Decoder<'_>,
    to: &str,
) -> Result<Box<dyn Execute>, DecodeError> {
    match to {
        "u32" | "s32" => lanewise(i, d, |(a,): (u64,)| S::truncated(a).extended() as u32),
        "u64" | "s64" => lanewise(i, d, |(a,): (u64,)| S::truncated(a).extended()),
        _ => Err(DecodeError::unsupported()),
    }
}

fn to_float<S: Integer, T: Float>(
    i: &Instruction,
    d: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let rounding = Rounding::named(i).ok_or_else(DecodeError::unsupported)?;
    lanewise(i, d, move |(a,): (S,)| {
        T::rounded(integer_to_odd(a.exact()), rounding, false)
    })
}

fn to_double<S: Integer>(
    i: &Instruction,
    d: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    match Rounding::named(i) {
        // Without a direction the integer fits: 32 bits and less.
        None | Some(Rounding::Nearest) => lanewise(i, d, |(a,): (S,)| a.to_f64()),
        Some(rounding) => lanewise(i, d, move |(a,): (S,)| directed(a.exact(), rounding)),
    }
}

/// An integer of at most 65 bits as f64, rounded in a direction.
fn directed(value: i128, rounding: Rounding) -> f64 {
    let nearest = value as f64;
    let up = match rounding {
        Rounding::Nearest | Rounding::Away => return nearest,
        Rounding::Up => true,
        Rounding::Down => false,
        Rounding::Zero => value < 0,
    };
    let back = nearest as i128;
    if up && back < value {
        nearest.next_up()
    } else if !up && back > value {
        nearest.next_down()
    } else {
        nearest
    }
}

#[cfg(test)]
mod tests {
    use crate::isa::testing::{Bench, check_unary};

    #[test]
    fn widths_and_signs() {
        check_unary("cvt.s64.s32 %rd0, %r1;", |a: i32| i64::from(a));
        check_unary("cvt.u64.u32 %rd0, %r1;", |a: u32| u64::from(a));
        check_unary("cvt.u32.u64 %r0, %rd1;", |a: u64| a as u32);
        check_unary("cvt.s32.s8 %r0, %r1;", |a: u32| i32::from(a as i8));
        check_unary("cvt.u32.u16 %r0, %r1;", |a: u32| a & 0xffff);
        check_unary("cvt.u16.u32 %r0, %r1;", |a: u32| a & 0xffff);
        check_unary("cvt.u64.s32 %rd0, %r1;", |a: i32| a as u64);
        // A narrow source may lie in a wide register.
        check_unary("cvt.s64.s32 %rd0, %rd1;", |a: u64| i64::from(a as i32));
        check_unary("cvt.u64.u8 %rd0, %rd1;", |a: u64| a & 0xff);
        check_unary("cvt.u32.s16 %r0, %rd1;", |a: u64| i32::from(a as i16));
        // A narrow signed result fills its register with the sign.
        check_unary("cvt.s8.s32 %r0, %r1;", |a: i32| i32::from(a as i8));
        check_unary("cvt.s16.s64 %r0, %rd1;", |a: i64| i32::from(a as i16));
    }

    #[test]
    fn saturation() {
        check_unary("cvt.sat.s8.s32 %r0, %r1;", |a: i32| a.clamp(-128, 127));
        check_unary("cvt.sat.u8.s32 %r0, %r1;", |a: i32| a.clamp(0, 255));
        check_unary("cvt.sat.u32.s64 %r0, %rd1;", |a: i64| {
            a.clamp(0, i64::from(u32::MAX)) as u32
        });
        check_unary("cvt.sat.s32.u32 %r0, %r1;", |a: u32| a.min(i32::MAX as u32));
        check_unary("cvt.sat.s64.u64 %rd0, %rd1;", |a: u64| {
            a.min(i64::MAX as u64)
        });
    }

    #[test]
    fn to_floating_point() {
        check_unary("cvt.rn.f32.s32 %r0, %r1;", |a: i32| a as f32);
        check_unary("cvt.rn.f32.u32 %r0, %r1;", |a: u32| a as f32);
        check_unary("cvt.rn.f32.u64 %r0, %rd1;", |a: u64| a as f32);
        check_unary("cvt.rn.f64.s64 %rd0, %rd1;", |a: i64| a as f64);
        check_unary("cvt.rn.f64.u64 %rd0, %rd1;", |a: u64| a as f64);
        check_unary("cvt.f64.s32 %rd0, %r1;", |a: i32| f64::from(a));
        check_unary("cvt.rn.f16.s32 %r0, %r1;", |a: i32| {
            half::f16::from_f64(f64::from(a))
        });
        check_unary("cvt.rn.f32.s8 %r0, %r1;", |a: u32| f32::from(a as i8));
        check_unary("cvt.rn.f32.u16 %r0, %r1;", |a: u16| f32::from(a));
    }

    #[test]
    fn directions() {
        let text = "cvt.rz.f32.u32 %r2, %r1;\ncvt.rp.f32.u32 %r3, %r1;\ncvt.rm.f32.s32 %r4, %r1;\n\
                    cvt.rz.f64.s64 %rd2, %rd1;\ncvt.rp.f64.s64 %rd3, %rd1;\ncvt.rm.f32.s64 %r5, %rd1;";
        let outcome = Bench::new(text)
            .set(1, &[0xffff_ffffu32])
            .set(1, &[-(1i64 << 60) - 1])
            .run();
        assert_eq!(outcome.get::<f32>(2)[0], 4_294_967_040.0);
        assert_eq!(outcome.get::<f32>(3)[0], 4_294_967_296.0);
        assert_eq!(outcome.get::<f32>(4)[0], -1.0);
        assert_eq!(outcome.get::<f64>(2)[0], -(2f64.powi(60)));
        assert_eq!(outcome.get::<f64>(3)[0], -(2f64.powi(60)));
        assert_eq!(outcome.get::<f32>(5)[0], (-(2f32.powi(60))).next_down());
    }
}
