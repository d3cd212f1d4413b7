//! Conversions between number types.

mod float;
mod integer;
mod pack;
mod types;

use half::{bf16, f16};

use super::{DecodeError, Decoder, Execute};
use crate::ptx::{Class, Instruction, Operand};

/// Everything that may follow `cvt`.
const PARTS: [&str; 34] = [
    "rn",
    "rz",
    "rm",
    "rp",
    "rna",
    "rni",
    "rzi",
    "rmi",
    "rpi",
    "ftz",
    "sat",
    "satfinite",
    "relu",
    "u8",
    "s8",
    "u16",
    "s16",
    "u32",
    "s32",
    "u64",
    "s64",
    "f16",
    "bf16",
    "f32",
    "f64",
    "tf32",
    "f16x2",
    "bf16x2",
    "e4m3x2",
    "e5m2x2",
    "pack",
    "b32",
    "u4",
    "s4",
];

/// Decodes an instruction of this family.
///
/// # Errors
/// For forms that the stand-in does not know.
pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let (i, d) = (instruction, decoder);
    i.expect_parts(&PARTS)?;
    let count = i.opcode.len();
    if count < 3 {
        return Err(DecodeError::unsupported());
    }
    if i.has("pack") {
        return pack::decode_saturated(i, d);
    }
    let (to, from) = (i.part(count - 2), i.part(count - 1));
    if to.ends_with("x2") || from.ends_with("x2") {
        return pack::decode_pair(i, d, to, from);
    }
    if matches!(i.operands.get(1), Some(Operand::Register(source)) if source.class == Class::Bits64)
        && matches!(from, "u8" | "s8" | "u16" | "s16" | "u32" | "s32")
    {
        return integer::decode_low(i, d, to, from);
    }
    match from {
        "u8" => integer::decode::<u8>(i, d, to),
        "s8" => integer::decode::<i8>(i, d, to),
        "u16" => integer::decode::<u16>(i, d, to),
        "s16" => integer::decode::<i16>(i, d, to),
        "u32" => integer::decode::<u32>(i, d, to),
        "s32" => integer::decode::<i32>(i, d, to),
        "u64" => integer::decode::<u64>(i, d, to),
        "s64" => integer::decode::<i64>(i, d, to),
        "f16" => float::decode::<f16>(i, d, to),
        "bf16" => float::decode::<bf16>(i, d, to),
        "f32" => float::decode::<f32>(i, d, to),
        "f64" => float::decode::<f64>(i, d, to),
        _ => Err(DecodeError::unsupported()),
    }
}
