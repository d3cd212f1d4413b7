//! The forms of bulk copies.

use super::LinearOperand;
use super::groups::{CommitGroup, WaitGroup};
use super::load::{Load, SourceOperand};
use super::reduction::{self, Reduction};
use super::store::{DestinationOperand, Store};
use super::tile::TileOperand;
use crate::isa::control::Nothing;
use crate::isa::{DecodeError, Decoder, Execute};
use crate::ptx::{Instruction, Operand};

/// Decodes an instruction of this family.
///
/// # Errors
/// For forms that the stand-in does not know.
pub(in crate::isa) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let reduces = instruction.part(1) == "reduce";
    let first = if reduces { 4 } else { 3 };
    if instruction.part(first - 1) != "bulk" {
        return Err(DecodeError::unsupported());
    }
    let parts: Vec<&str> = instruction.opcode[first..]
        .iter()
        .map(String::as_str)
        .collect();
    match parts[..] {
        ["commit_group"] => Ok(Box::new(CommitGroup)),
        ["wait_group"] => wait_group(instruction, decoder, false),
        ["wait_group", "read"] => wait_group(instruction, decoder, true),
        // Fills a cache.
        ["prefetch", ..] => Ok(Box::new(Nothing)),
        [
            "tensor",
            rank,
            "shared::cluster" | "shared::cta",
            "global",
            ref modes @ ..,
        ] if !reduces => {
            let source = SourceOperand::Tile(tile(instruction.operand(1)?, rank, decoder)?);
            load(instruction, decoder, source, 2, Modes::of(modes, reduces)?)
        }
        ["tensor", rank, "global", "shared::cta", ref modes @ ..] => {
            let tile = tile(instruction.operand(0)?, rank, decoder)?;
            let modes = Modes::of(modes, reduces)?;
            store(
                instruction,
                decoder,
                DestinationOperand::Tile(tile, modes.reduction),
                2,
                modes,
            )
        }
        ["shared::cluster" | "shared::cta", "global", ref modes @ ..] if !reduces => {
            let source = SourceOperand::Global(linear(instruction, decoder, 1)?);
            load(instruction, decoder, source, 3, Modes::of(modes, reduces)?)
        }
        ["shared::cluster", "shared::cta", ref modes @ ..] => {
            let modes = Modes::of(untyped(modes, reduces), reduces)?;
            let reduction = modes.reduction(instruction, Reduction::in_shared)?;
            let source = SourceOperand::Shared(linear(instruction, decoder, 1)?, reduction);
            load(instruction, decoder, source, 3, modes)
        }
        ["global", "shared::cta", ref modes @ ..] => {
            let modes = Modes::of(untyped(modes, reduces), reduces)?;
            let reduction = modes.reduction(instruction, Reduction::in_global)?;
            let destination =
                DestinationOperand::Global(linear(instruction, decoder, 0)?, reduction);
            store(instruction, decoder, destination, 3, modes)
        }
        _ => Err(DecodeError::unsupported()),
    }
}

/// The parts without the type that ends those of a reduction.
fn untyped<'p, 'a>(parts: &'p [&'a str], reduces: bool) -> &'p [&'a str] {
    &parts[..parts.len() - usize::from(reduces && !parts.is_empty())]
}

/// What an opcode says besides where from and where to.
#[derive(Clone, Copy, Debug, Default)]
struct Modes {
    reduction: Option<&'static str>,
    multicast: bool,
    mbarrier: bool,
    groups: bool,
    cache_hint: bool,
}

impl Modes {
    /// Reads the parts of an opcode.
    fn of(parts: &[&str], reduces: bool) -> Result<Self, DecodeError> {
        let mut modes = Modes::default();
        for &part in parts {
            match part {
                "tile" => {}
                "mbarrier::complete_tx::bytes" => modes.mbarrier = true,
                "bulk_group" => modes.groups = true,
                "multicast::cluster" => modes.multicast = true,
                "L2::cache_hint" => modes.cache_hint = true,
                part if part.starts_with("im2col") || part.starts_with("tile::") => {
                    return Err(DecodeError::because(format!(
                        "of the load modes only .tile is supported, not .{part}"
                    )));
                }
                part if reduces && reduction::name(part).is_some() => {
                    modes.reduction = reduction::name(part)
                }
                // Additions of 16-bit floats must say it, and it is what they do.
                "noftz" if reduces => {}
                part => {
                    return Err(DecodeError::because(format!(
                        "bulk copies with .{part} are not supported"
                    )));
                }
            }
        }
        if reduces && modes.reduction.is_none() {
            return Err(DecodeError::because("the reduction is missing"));
        }
        Ok(modes)
    }

    /// The reduction of a type, the last part of the opcode.
    fn reduction(
        self,
        instruction: &Instruction,
        of: fn(&str, &str) -> Result<Reduction, DecodeError>,
    ) -> Result<Option<Reduction>, DecodeError> {
        self.reduction
            .map(|name| of(name, instruction.kind()))
            .transpose()
    }
}

/// A copy that completes on the mbarrier at operand `barrier`; behind it come the multicast mask and the cache policy.
fn load(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
    source: SourceOperand,
    barrier: usize,
    modes: Modes,
) -> Result<Box<dyn Execute>, DecodeError> {
    if !modes.mbarrier {
        return Err(DecodeError::because(
            "a copy into shared memory completes on an mbarrier",
        ));
    }
    let mask = modes
        .multicast
        .then(|| decoder.source32(instruction.operand(barrier + 1)?));
    check_cache_policy(
        instruction,
        decoder,
        barrier + 1 + usize::from(modes.multicast),
        modes,
    )?;
    Ok(Box::new(Load {
        target: decoder.address(instruction.operand(0)?)?,
        barrier: decoder.address(instruction.operand(barrier)?)?,
        source,
        multicast: mask.transpose()?,
    }))
}

/// A copy to global memory; behind its `operands` operands comes the cache policy.
fn store(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
    destination: DestinationOperand,
    operands: usize,
    modes: Modes,
) -> Result<Box<dyn Execute>, DecodeError> {
    if !modes.groups || modes.multicast {
        return Err(DecodeError::because(
            "a copy to global memory is tracked by groups",
        ));
    }
    check_cache_policy(instruction, decoder, operands, modes)?;
    let source = decoder.address(instruction.operand(1)?)?;
    Ok(Box::new(Store {
        source,
        destination,
    }))
}

/// The policy has no effect here, but must be one.
fn check_cache_policy(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
    operand: usize,
    modes: Modes,
) -> Result<(), DecodeError> {
    if modes.cache_hint {
        decoder.source64(instruction.operand(operand)?)?;
    }
    Ok(())
}

fn wait_group(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
    read: bool,
) -> Result<Box<dyn Execute>, DecodeError> {
    let newest = decoder.immediate(instruction.operand(0)?)? as usize;
    Ok(Box::new(WaitGroup { newest, read }))
}

/// `[address], size`, from operand `address` on; the size follows the two addresses.
fn linear(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
    address: usize,
) -> Result<LinearOperand, DecodeError> {
    Ok(LinearOperand {
        address: decoder.address(instruction.operand(address)?)?,
        bytes: decoder.source32(instruction.operand(2)?)?,
    })
}

/// `[map, {c0, c1, ...}]` of an instruction for tensors of `rank`: `1d` to `5d`.
fn tile(
    operand: &Operand,
    rank: &str,
    decoder: &mut Decoder<'_>,
) -> Result<TileOperand, DecodeError> {
    let Operand::Tensor(map, coordinates) = operand else {
        return Err(DecodeError::operand(
            operand,
            "a tensor map with coordinates",
        ));
    };
    if !matches!(rank, "1d" | "2d" | "3d" | "4d" | "5d")
        || rank[..1] != coordinates.len().to_string()
    {
        return Err(DecodeError::because(format!(
            "{} coordinates for .{rank}",
            coordinates.len()
        )));
    }
    let corner = coordinates
        .iter()
        .map(|coordinate| decoder.source32(coordinate))
        .collect::<Result<_, _>>()?;
    Ok(TileOperand {
        map: decoder.source64(map)?,
        corner,
    })
}
