//! Warp-wide exchange and votes.

mod find;
mod members;
mod reduce;
mod shuffle;
mod vote;

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
    match instruction.part(0) {
        "activemask" => vote::decode_active(instruction, decoder),
        _ if !instruction.has("sync") => Err(DecodeError::because(
            "without .sync it does not exist from sm_70 on: name the lanes with a mask",
        )),
        "shfl" => shuffle::decode(instruction, decoder),
        "vote" => vote::decode(instruction, decoder),
        "match" => find::decode(instruction, decoder),
        "elect" => vote::decode_elect(instruction, decoder),
        _ => reduce::decode(instruction, decoder),
    }
}
