//! mbarrier objects: barriers in shared memory that count arrivals of threads and bytes of asynchronous copies.
//!
//! The object's eight bytes are opaque to a kernel; its state is kept beside them, in [`Mbarriers`]. Arrivals pass on what
//! their warps did before; a successful wait takes it over. Copies that complete on an object act as the object's own agent,
//! so that whoever waits for it is ordered after them.

mod access;
mod copies;
mod object;
mod operations;
mod table;
mod token;
mod wait;

pub(super) use copies::ArrivalAfterCopies;
pub use table::Mbarriers;

use operations::{Arrival, Arrive, Init, Inval, PendingCount, Target, Transactions};
use wait::{Phase, Wait};

use super::decoder::space;
use super::{DecodeError, Decoder, Execute};
use crate::ptx::{Instruction, Operand};

/// Decodes an instruction of this family.
///
/// # Errors
/// For forms that the stand-in does not know.
pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    if instruction.kind() != "b64" {
        return Err(DecodeError::unsupported());
    }
    match instruction.part(1) {
        "init" => {
            let target = target(instruction, decoder, 0)?;
            Ok(Box::new(Init {
                target,
                count: decoder.source32(instruction.operand(1)?)?,
            }))
        }
        "inval" => Ok(Box::new(Inval(target(instruction, decoder, 0)?))),
        "expect_tx" | "complete_tx" => Ok(Box::new(Transactions {
            target: target(instruction, decoder, 0)?,
            bytes: decoder.source32(instruction.operand(1)?)?,
            complete: instruction.part(1) == "complete_tx",
        })),
        "arrive" | "arrive_drop" => arrive(instruction, decoder),
        "test_wait" | "try_wait" => wait(instruction, decoder),
        "pending_count" => Ok(Box::new(PendingCount {
            destination: decoder.destination32(instruction.operand(0)?)?,
            token: decoder.source64(instruction.operand(1)?)?,
        })),
        _ => Err(DecodeError::unsupported()),
    }
}

fn target(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
    operand: usize,
) -> Result<Target, DecodeError> {
    let address = decoder.address(instruction.operand(operand)?)?;
    Ok(Target {
        address,
        space: space(instruction),
    })
}

fn arrive(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let token = match instruction.operand(0)? {
        Operand::Sink => None,
        register => Some(decoder.destination64(register)?),
    };
    let last = instruction
        .operands
        .get(2)
        .map(|operand| decoder.source32(operand))
        .transpose()?;
    let missing = || DecodeError::because("operand 3 is missing");
    let (arrival, count) = match () {
        () if instruction.has("expect_tx") => {
            (Arrival::ExpectBytes(last.ok_or_else(missing)?), None)
        }
        () if instruction.has("noComplete") => {
            (Arrival::NoComplete, Some(last.ok_or_else(missing)?))
        }
        () => (Arrival::Plain, last),
    };
    Ok(Box::new(Arrive {
        target: target(instruction, decoder, 1)?,
        token,
        count,
        arrival,
        drop: instruction.part(1) == "arrive_drop",
        release: !instruction.has("relaxed"),
    }))
}

fn wait(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    // The time that a try may take is a hint: here it always returns at once.
    if let Some(hint) = instruction.operands.get(3) {
        decoder.source32(hint)?;
    }
    let phase = instruction.operand(2)?;
    Ok(Box::new(Wait {
        target: target(instruction, decoder, 1)?,
        predicate: decoder.predicate(instruction.operand(0)?)?,
        phase: if instruction.has("parity") {
            Phase::Parity(decoder.source32(phase)?)
        } else {
            Phase::Token(decoder.source64(phase)?)
        },
        acquire: !instruction.has("relaxed"),
    }))
}

#[cfg(test)]
mod tests;
