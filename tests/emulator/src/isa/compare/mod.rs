//! Comparison and selection.

mod relation;
mod select;
mod set;

use half::{bf16, f16};

use super::numeric::flush;
use super::small::Small;
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
    let (i, d) = (instruction, decoder);
    match i.part(0) {
        "selp" => return select::decode_by_predicate(i, d),
        "slct" => return select::decode_by_sign(i, d),
        "testp" => return select::decode_class(i, d),
        _ => {}
    }
    let flushes = i.has("ftz");
    match i.kind() {
        "b16" | "u16" => set::decode(i, d, |a: u16| a),
        "s16" => set::decode(i, d, |a: i16| a),
        "b32" | "u32" => set::decode(i, d, |a: u32| a),
        "s32" => set::decode(i, d, |a: i32| a),
        "b64" | "u64" => set::decode(i, d, |a: u64| a),
        "s64" => set::decode(i, d, |a: i64| a),
        "f32" if flushes => set::decode(i, d, flush),
        "f32" => set::decode(i, d, |a: f32| a),
        "f64" => set::decode(i, d, |a: f64| a),
        "f16" if flushes => set::decode(i, d, f16::flushed),
        "f16" => set::decode(i, d, f16::widen),
        "bf16" => set::decode(i, d, bf16::widen),
        "f16x2" if flushes => set::decode_pair(i, d, f16::flushed),
        "f16x2" => set::decode_pair(i, d, f16::widen),
        "bf16x2" => set::decode_pair(i, d, bf16::widen),
        _ => Err(DecodeError::unsupported()),
    }
}
