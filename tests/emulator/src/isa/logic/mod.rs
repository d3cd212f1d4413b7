//! Bitwise logic, shifts and bit fields.

mod field;
mod permute;
mod predicate;
mod shift;

use super::element::Integer;
use super::lanewise::lanewise;
use super::{DecodeError, Decoder, Execute};
use crate::ptx::Instruction;

/// Decodes an instruction of this family.
///
/// # Errors
/// For forms that the stand-in does not know.
pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let kind = instruction.kind();
    match instruction.part(0) {
        "and" | "or" | "xor" | "not" | "cnot" => match kind {
            "pred" => predicate::decode(instruction, decoder),
            "b16" => bitwise::<u16>(instruction, decoder),
            "b32" => bitwise::<u32>(instruction, decoder),
            "b64" => bitwise::<u64>(instruction, decoder),
            _ => Err(DecodeError::unsupported()),
        },
        "lop3" => predicate::decode_lop3(instruction, decoder),
        "shl" | "shr" | "shf" => shift::decode(instruction, decoder),
        "prmt" => permute::decode(instruction, decoder),
        _ => field::decode(instruction, decoder),
    }
}

fn bitwise<T: Integer>(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let (i, d) = (instruction, decoder);
    // Bits above the width of T are cut off when the result is written.
    match i.part(0) {
        "and" => lanewise(i, d, |(a, b): (T, T)| {
            T::truncated(a.extended() & b.extended())
        }),
        "or" => lanewise(i, d, |(a, b): (T, T)| {
            T::truncated(a.extended() | b.extended())
        }),
        "xor" => lanewise(i, d, |(a, b): (T, T)| {
            T::truncated(a.extended() ^ b.extended())
        }),
        "not" => lanewise(i, d, |(a,): (T,)| T::truncated(!a.extended())),
        _ => lanewise(i, d, |(a,): (T,)| {
            T::truncated(u64::from(a.extended() == 0))
        }),
    }
}

#[cfg(test)]
mod tests {
    use crate::isa::testing::{check_binary, check_unary};

    #[test]
    fn words_of_every_width() {
        check_binary("and.b32 %r0, %r1, %r2;", |a: u32, b: u32| a & b);
        check_binary("or.b64 %rd0, %rd1, %rd2;", |a: u64, b: u64| a | b);
        check_binary("xor.b16 %r0, %r1, %r2;", |a: u16, b: u16| a ^ b);
        check_unary("not.b32 %r0, %r1;", |a: u32| !a);
        check_unary("not.b16 %r0, %r1;", |a: u16| u32::from(!a));
        check_unary("cnot.b64 %rd0, %rd1;", |a: u64| u64::from(a == 0));
    }
}
