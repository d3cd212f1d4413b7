//! `wmma`: tiles between memory and registers, and their product, in a layout of registers that the PTX ISA leaves open.
//!
//! Here it is that of `mma.sync`, several fragments in a row, so `wmma.mma` is an [`Mma`](super::mma::Mma) of larger tiles. A
//! kernel that relies on this order is wrong, and one that does not cannot tell.

mod fragment;
mod product;
mod transfer;

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
    match instruction.part(1) {
        "load" | "store" => transfer::decode(instruction, decoder),
        "mma" => Ok(Box::new(product::decode(instruction, decoder)?)),
        _ => Err(DecodeError::unsupported()),
    }
}

#[cfg(test)]
mod tests;
