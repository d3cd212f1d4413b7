//! Shifts.

use crate::isa::element::Integer;
use crate::isa::lanewise::lanewise;
use crate::isa::{DecodeError, Decoder, Execute};
use crate::ptx::Instruction;

pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    if instruction.part(0) == "shf" {
        return funnel(instruction, decoder);
    }
    match instruction.kind() {
        "b16" | "u16" => shift::<u16>(instruction, decoder),
        "s16" => shift::<i16>(instruction, decoder),
        "b32" | "u32" => shift::<u32>(instruction, decoder),
        "s32" => shift::<i32>(instruction, decoder),
        "b64" | "u64" => shift::<u64>(instruction, decoder),
        "s64" => shift::<i64>(instruction, decoder),
        _ => Err(DecodeError::unsupported()),
    }
}

fn shift<T: Integer>(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    match instruction.part(0) {
        "shl" => lanewise(instruction, decoder, |(a, by): (T, u32)| a.shift_left(by)),
        _ => lanewise(instruction, decoder, |(a, by): (T, u32)| a.shift_right(by)),
    }
}

/// `shf`: one half of a shifted pair of words.
fn funnel(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    let wraps = instruction.has("wrap");
    let amount = move |by: u32| if wraps { by & 31 } else { by.min(32) };
    match instruction.part(1) {
        "l" => lanewise(instruction, decoder, move |(a, b, by): (u32, u32, u32)| {
            (pair(a, b) << amount(by) >> 32) as u32
        }),
        "r" => lanewise(instruction, decoder, move |(a, b, by): (u32, u32, u32)| {
            (pair(a, b) >> amount(by)) as u32
        }),
        _ => Err(DecodeError::unsupported()),
    }
}

#[cfg(test)]
mod tests {
    use crate::isa::testing::{check_binary, check_ternary};

    #[test]
    fn amounts_from_the_width_on_shift_everything_out() {
        check_binary(
            "shl.b32 %r0, %r1, %r2;",
            |a: u32, by: u32| if by < 32 { a << by } else { 0 },
        );
        check_binary("shl.b64 %rd0, %rd1, %r2;", |a: u64, by: u32| {
            if by < 64 { a << by } else { 0 }
        });
        check_binary(
            "shl.b16 %r0, %r1, %r2;",
            |a: u16, by: u32| if by < 16 { a << by } else { 0 },
        );
        check_binary(
            "shr.u32 %r0, %r1, %r2;",
            |a: u32, by: u32| if by < 32 { a >> by } else { 0 },
        );
        check_binary("shr.s32 %r0, %r1, %r2;", |a: i32, by: u32| a >> by.min(31));
        check_binary("shr.s64 %rd0, %rd1, %r2;", |a: i64, by: u32| {
            a >> by.min(63)
        });
        check_binary("shr.s16 %r0, %r1, %r2;", |a: i16, by: u32| a >> by.min(15));
        check_binary("shr.u64 %rd0, %rd1, %r2;", |a: u64, by: u32| {
            if by < 64 { a >> by } else { 0 }
        });
    }

    #[test]
    fn funnels() {
        let pair = |a: u32, b: u32| u64::from(a) | u64::from(b) << 32;
        check_ternary(
            "shf.l.wrap.b32 %r0, %r1, %r2, %r3;",
            |a: u32, b: u32, by: u32| ((pair(a, b) << (by & 31)) >> 32) as u32,
        );
        check_ternary(
            "shf.l.clamp.b32 %r0, %r1, %r2, %r3;",
            |a: u32, b: u32, by: u32| {
                if by >= 32 {
                    a
                } else {
                    ((pair(a, b) << by) >> 32) as u32
                }
            },
        );
        check_ternary(
            "shf.r.wrap.b32 %r0, %r1, %r2, %r3;",
            |a: u32, b: u32, by: u32| (pair(a, b) >> (by & 31)) as u32,
        );
        check_ternary(
            "shf.r.clamp.b32 %r0, %r1, %r2, %r3;",
            |a: u32, b: u32, by: u32| {
                if by >= 32 {
                    b
                } else {
                    (pair(a, b) >> by) as u32
                }
            },
        );
    }
}
