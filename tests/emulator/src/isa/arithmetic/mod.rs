//! Integer and floating-point arithmetic.

mod approximate;
mod carry;
mod dot;
mod double;
mod half;
mod integer;
mod single;
mod video;

use ::half::{bf16, f16};

use super::element::Pair;
use super::{DecodeError, Decoder, Execute};
use crate::ptx::Instruction;

/// Everything that may follow the operation.
const PARTS: [&str; 30] = [
    "rn", "rz", "rm", "rp", "approx", "full", "ftz", "sat", "relu", "NaN", "xorsign", "abs", "lo",
    "hi", "wide", "cc", "u16", "s16", "u32", "s32", "u64", "s64", "u16x2", "s16x2", "f32", "f64",
    "f16", "bf16", "f16x2", "bf16x2",
];

/// Decodes an instruction of this family.
///
/// # Errors
/// For forms that the stand-in does not know.
pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    if instruction.part(0).starts_with("vabsdiff") {
        return video::decode(instruction, decoder);
    }
    instruction.expect_parts(&PARTS)?;
    match instruction.part(0) {
        "dp4a" | "dp2a" => return dot::decode(instruction, decoder),
        "addc" | "subc" | "madc" => return carry::decode(instruction, decoder),
        _ if instruction.has("cc") => return carry::decode(instruction, decoder),
        "mul24" | "mad24" => return integer::decode24(instruction, decoder),
        "mul" | "mad" if instruction.has("wide") => {
            return integer::decode_wide(instruction, decoder);
        }
        _ => {}
    }
    // `max.s32.relu` is written in this order too.
    let kind = instruction
        .opcode
        .iter()
        .rfind(|part| *part != "relu")
        .map_or("", String::as_str);
    match kind {
        "u16" => integer::decode::<u16>(instruction, decoder),
        "s16" => integer::decode::<i16>(instruction, decoder),
        "u32" => integer::decode::<u32>(instruction, decoder),
        "s32" => integer::decode::<i32>(instruction, decoder),
        "u64" => integer::decode::<u64>(instruction, decoder),
        "s64" => integer::decode::<i64>(instruction, decoder),
        "u16x2" => integer::decode_pair::<u16>(instruction, decoder),
        "s16x2" => integer::decode_pair::<i16>(instruction, decoder),
        "f32" => single::decode(instruction, decoder),
        "f64" => double::decode(instruction, decoder),
        "f16" => half::decode::<f16>(instruction, decoder),
        "bf16" => half::decode::<bf16>(instruction, decoder),
        "f16x2" => half::decode::<Pair<f16>>(instruction, decoder),
        "bf16x2" => half::decode::<Pair<bf16>>(instruction, decoder),
        _ => Err(DecodeError::unsupported()),
    }
}

#[cfg(test)]
mod tests {
    use crate::isa::testing::Bench;

    #[test]
    fn unknown_modifiers_are_refused() {
        let error = Bench::new("fma.rn.oob.f16 %r0, %r1, %r2, %r3;")
            .try_run(32)
            .unwrap_err();
        assert!(error.contains("does not know .oob"), "{error}");
    }
}
