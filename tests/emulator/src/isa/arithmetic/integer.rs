//! Integer arithmetic.

use crate::isa::element::{Integer, Pair};
use crate::isa::lanewise::lanewise;
use crate::isa::{DecodeError, Decoder, Execute};
use crate::ptx::Instruction;

fn zero<T: Integer>() -> T {
    T::truncated(0)
}

fn difference<T: Integer>(a: T, b: T) -> T {
    if a < b { b.sub(a) } else { a.sub(b) }
}

/// Instructions whose operands all have one type.
pub(super) fn decode<T: Integer>(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let (i, d) = (instruction, decoder);
    let (low, high) = (i.has("lo"), i.has("hi"));
    let (saturates, clamps) = (i.has("sat"), i.has("relu"));
    match i.part(0) {
        "add" if saturates => lanewise(i, d, |(a, b): (T, T)| a.add_saturating(b)),
        "add" => lanewise(i, d, |(a, b): (T, T)| a.add(b)),
        "sub" if saturates => lanewise(i, d, |(a, b): (T, T)| a.sub_saturating(b)),
        "sub" => lanewise(i, d, |(a, b): (T, T)| a.sub(b)),
        "mul" if low => lanewise(i, d, |(a, b): (T, T)| a.mul(b)),
        "mul" if high => lanewise(i, d, |(a, b): (T, T)| a.mul_high(b)),
        "mad" if low => lanewise(i, d, |(a, b, c): (T, T, T)| a.mul(b).add(c)),
        "mad" if high && saturates => {
            lanewise(i, d, |(a, b, c): (T, T, T)| a.mul_high(b).add_saturating(c))
        }
        "mad" if high => lanewise(i, d, |(a, b, c): (T, T, T)| a.mul_high(b).add(c)),
        "div" => lanewise(i, d, |(a, b): (T, T)| a.div(b)),
        "rem" => lanewise(i, d, |(a, b): (T, T)| a.rem(b)),
        "abs" => lanewise(
            i,
            d,
            |(a,): (T,)| if a < zero() { zero::<T>().sub(a) } else { a },
        ),
        "neg" => lanewise(i, d, |(a,): (T,)| zero::<T>().sub(a)),
        "min" if clamps => lanewise(i, d, |(a, b): (T, T)| a.min(b).max(zero())),
        "min" => lanewise(i, d, |(a, b): (T, T)| a.min(b)),
        "max" if clamps => lanewise(i, d, |(a, b): (T, T)| a.max(b).max(zero())),
        "max" => lanewise(i, d, |(a, b): (T, T)| a.max(b)),
        "sad" => lanewise(i, d, |(a, b, c): (T, T, T)| c.add(difference(a, b))),
        _ => Err(DecodeError::unsupported()),
    }
}

/// `mul.wide` and `mad.wide`: results of twice the width.
pub(super) fn decode_wide(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    match instruction.kind() {
        "u16" => wide::<u16, u32>(instruction, decoder),
        "s16" => wide::<i16, i32>(instruction, decoder),
        "u32" => wide::<u32, u64>(instruction, decoder),
        "s32" => wide::<i32, i64>(instruction, decoder),
        _ => Err(DecodeError::unsupported()),
    }
}

fn wide<T: Integer, W: Integer>(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let product = |a: T, b: T| W::truncated(a.extended()).mul(W::truncated(b.extended()));
    match instruction.part(0) {
        "mul" => lanewise(instruction, decoder, move |(a, b): (T, T)| product(a, b)),
        _ => lanewise(instruction, decoder, move |(a, b, c): (T, T, W)| {
            product(a, b).add(c)
        }),
    }
}

/// `mul24` and `mad24`: the operands have 24 bits, `.hi` are the upper 32 of the product's 48 bits.
pub(super) fn decode24(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    match instruction.kind() {
        "u32" => product24::<u32>(instruction, decoder),
        "s32" => product24::<i32>(instruction, decoder),
        _ => Err(DecodeError::unsupported()),
    }
}

fn product24<T: Integer>(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let down = match instruction.part(1) {
        "lo" => 0,
        "hi" => 16,
        _ => return Err(DecodeError::unsupported()),
    };
    let product = move |a: T, b: T| {
        let [a, b] = [a, b].map(|value| value.shift_left(8).shift_right(8).extended());
        T::truncated(a.wrapping_mul(b) >> down)
    };
    match instruction.part(0) {
        "mul24" => lanewise(instruction, decoder, move |(a, b): (T, T)| product(a, b)),
        _ if instruction.has("sat") => {
            lanewise(instruction, decoder, move |(a, b, c): (T, T, T)| {
                product(a, b).add_saturating(c)
            })
        }
        _ => lanewise(instruction, decoder, move |(a, b, c): (T, T, T)| {
            product(a, b).add(c)
        }),
    }
}

/// Two 16-bit integers a register.
pub(super) fn decode_pair<T: Integer<Register = u32>>(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let floor = instruction.has("relu");
    let relu = move |value: T| if floor { value.max(zero()) } else { value };
    let operation: fn(T, T) -> T = match instruction.part(0) {
        "add" => T::add,
        "sub" => T::sub,
        "min" => T::min,
        "max" => T::max,
        _ => return Err(DecodeError::unsupported()),
    };
    lanewise(instruction, decoder, move |(a, b): (Pair<T>, Pair<T>)| {
        Pair([0, 1].map(|half| relu(operation(a.0[half], b.0[half]))))
    })
}

#[cfg(test)]
mod tests {
    use crate::isa::testing::{Bench, check_binary, check_ternary, check_unary};

    #[test]
    fn sums_and_products() {
        check_binary("add.u32 %r0, %r1, %r2;", u32::wrapping_add);
        check_binary("add.s64 %rd0, %rd1, %rd2;", i64::wrapping_add);
        check_binary("add.s16 %r0, %r1, %r2;", i16::wrapping_add);
        check_binary("add.sat.s32 %r0, %r1, %r2;", i32::saturating_add);
        check_binary("sub.s32 %r0, %r1, %r2;", i32::wrapping_sub);
        check_binary("sub.sat.s32 %r0, %r1, %r2;", i32::saturating_sub);
        check_binary("mul.lo.s32 %r0, %r1, %r2;", i32::wrapping_mul);
        check_binary("mul.lo.u16 %r0, %r1, %r2;", u16::wrapping_mul);
        check_binary("mul.lo.s64 %rd0, %rd1, %rd2;", i64::wrapping_mul);
        check_binary("mul.hi.u32 %r0, %r1, %r2;", |a: u32, b: u32| {
            ((u64::from(a) * u64::from(b)) >> 32) as u32
        });
        check_binary("mul.hi.s32 %r0, %r1, %r2;", |a: i32, b: i32| {
            ((i64::from(a) * i64::from(b)) >> 32) as i32
        });
        check_binary("mul.hi.s64 %rd0, %rd1, %rd2;", |a: i64, b: i64| {
            ((i128::from(a) * i128::from(b)) >> 64) as i64
        });
        check_binary("mul.hi.u64 %rd0, %rd1, %rd2;", |a: u64, b: u64| {
            ((u128::from(a) * u128::from(b)) >> 64) as u64
        });
        check_binary("mul.wide.s16 %r0, %r1, %r2;", |a: i16, b: i16| {
            i32::from(a) * i32::from(b)
        });
        check_binary("mul.wide.u16 %r0, %r1, %r2;", |a: u16, b: u16| {
            u32::from(a) * u32::from(b)
        });
        check_binary("mul.wide.s32 %rd0, %r1, %r2;", |a: i32, b: i32| {
            i64::from(a) * i64::from(b)
        });
        check_binary("mul.wide.u32 %rd0, %r1, %r2;", |a: u32, b: u32| {
            u64::from(a) * u64::from(b)
        });
        check_ternary(
            "mad.lo.s32 %r0, %r1, %r2, %r3;",
            |a: i32, b: i32, c: i32| a.wrapping_mul(b).wrapping_add(c),
        );
        check_ternary(
            "mad.hi.u32 %r0, %r1, %r2, %r3;",
            |a: u32, b: u32, c: u32| (((u64::from(a) * u64::from(b)) >> 32) as u32).wrapping_add(c),
        );
        check_ternary(
            "mad.wide.s32 %rd0, %r1, %r2, %rd3;",
            |a: i32, b: i32, c: i64| (i64::from(a) * i64::from(b)).wrapping_add(c),
        );
        check_binary("mul24.hi.s32 %r0, %r1, %r2;", |a: i32, b: i32| {
            ((i64::from(a << 8 >> 8) * i64::from(b << 8 >> 8)) >> 16) as i32
        });
        check_ternary(
            "mad24.lo.u32 %r0, %r1, %r2, %r3;",
            |a: u32, b: u32, c: u32| (a & 0xff_ffff).wrapping_mul(b & 0xff_ffff).wrapping_add(c),
        );
        check_ternary("sad.s32 %r0, %r1, %r2, %r3;", |a: i32, b: i32, c: i32| {
            (c as u32).wrapping_add(a.abs_diff(b))
        });
        check_ternary("sad.u16 %r0, %r1, %r2, %r3;", |a: u16, b: u16, c: u16| {
            c.wrapping_add(a.abs_diff(b))
        });
    }

    #[test]
    fn quotients_with_a_zero_divisor_are_all_ones() {
        check_binary("div.u32 %r0, %r1, %r2;", |a: u32, b: u32| {
            a.checked_div(b).unwrap_or(u32::MAX)
        });
        check_binary("rem.u32 %r0, %r1, %r2;", |a: u32, b: u32| {
            a.checked_rem(b).unwrap_or(u32::MAX)
        });
        let div = |a: i32, b: i32| if b == 0 { -1 } else { a.wrapping_div(b) };
        check_binary("div.s32 %r0, %r1, %r2;", div);
        check_binary("rem.s64 %rd0, %rd1, %rd2;", |a: i64, b: i64| {
            if b == 0 { -1 } else { a.wrapping_rem(b) }
        });
        check_binary("div.s16 %r0, %r1, %r2;", |a: i16, b: i16| {
            if b == 0 { -1 } else { a.wrapping_div(b) }
        });
    }

    #[test]
    fn signs_and_order() {
        check_unary("abs.s32 %r0, %r1;", i32::wrapping_abs);
        check_unary("neg.s16 %r0, %r1;", i16::wrapping_neg);
        check_unary("neg.s64 %rd0, %rd1;", i64::wrapping_neg);
        check_binary("min.s32 %r0, %r1, %r2;", |a: i32, b: i32| a.min(b));
        check_binary("min.u32 %r0, %r1, %r2;", |a: u32, b: u32| a.min(b));
        check_binary("max.s16 %r0, %r1, %r2;", |a: i16, b: i16| a.max(b));
        check_binary("max.u64 %rd0, %rd1, %rd2;", |a: u64, b: u64| a.max(b));
        check_binary("max.relu.s32 %r0, %r1, %r2;", |a: i32, b: i32| {
            a.max(b).max(0)
        });
        check_binary("min.s32.relu %r0, %r1, %r2;", |a: i32, b: i32| {
            a.min(b).max(0)
        });
        check_binary("max.s16x2 %r0, %r1, %r2;", |a: u32, b: u32| {
            let half = |shift: u32| {
                u32::from(((a >> shift) as i16).max((b >> shift) as i16) as u16) << shift
            };
            half(0) | half(16)
        });
        check_binary("add.u16x2 %r0, %r1, %r2;", |a: u32, b: u32| {
            a.wrapping_add(b) & 0xffff | (a >> 16).wrapping_add(b >> 16) << 16
        });
    }

    #[test]
    fn inactive_lanes_keep_their_value() {
        let outcome = Bench::new("@%p0 add.s32 %r0, %r1, 5;\n@!%p0 add.s32 %r2, %r1, -1;")
            .set(0, &[7u32])
            .set(1, &[1u32])
            .set(2, &[9u32])
            .predicate(0, 0x0000_fff0)
            .run();
        for lane in 0..32 {
            let active = (4..16).contains(&lane);
            assert_eq!(outcome.narrow(0)[lane], if active { 6 } else { 7 });
            assert_eq!(outcome.narrow(2)[lane], if active { 9 } else { 0 });
        }
        assert_eq!(outcome.counters.thread_instructions, 12 + 20 + 32);
    }
}
