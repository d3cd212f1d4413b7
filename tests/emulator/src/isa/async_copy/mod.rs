//! `cp.async`: copies to shared memory that land when waited for.

mod arrival;
mod queue;

use super::memory_operand::is_place_or_hint;
use super::{Address, DecodeError, Decoder, Execute, Flow, Footprint, Lanes};
use crate::exec::{Step, sectors};
use crate::fault::{FaultKind, Stop};
use crate::lanes::{lanes, lanes_where};
use crate::ptx::{Class, Instruction, Operand};
pub use queue::CopyQueue;
use queue::{Partial, Transfer};

/// Decodes an instruction of this family.
///
/// # Errors
/// For forms that the stand-in does not know.
pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    match instruction.part(2) {
        "commit_group" => Ok(Box::new(Commit)),
        "wait_all" => Ok(Box::new(Wait { younger: None })),
        "wait_group" => {
            let younger = decoder.immediate(instruction.operand(0)?)?;
            Ok(Box::new(Wait {
                younger: Some(younger.min(u64::from(u32::MAX)) as u32),
            }))
        }
        "mbarrier" => arrival::decode(instruction, decoder),
        "ca" | "cg"
            if instruction.opcode[3..]
                .iter()
                .all(|part| is_place_or_hint(part)) =>
        {
            let bytes = decoder.immediate(instruction.operand(2)?)? as usize;
            if !matches!(
                (instruction.part(2), bytes),
                ("ca", 4 | 8 | 16) | ("cg", 16)
            ) {
                return Err(DecodeError::because(format!(
                    "copies of {bytes} bytes do not exist"
                )));
            }
            let policies = usize::from(instruction.has("L2::cache_hint"));
            let amount = match &instruction.operands[3..instruction.operands.len() - policies] {
                [] => Amount::All,
                [Operand::Register(register)] if register.class == Class::Predicate => {
                    Amount::Unless(register.index, false)
                }
                [Operand::Not(register)] => Amount::Unless(register.index, true),
                [size] => Amount::Bytes(decoder.source32(size)?),
                _ => return Err(DecodeError::unsupported()),
            };
            Ok(Box::new(Copy {
                target: decoder.address(instruction.operand(0)?)?,
                source: decoder.address(instruction.operand(1)?)?,
                bytes,
                amount,
            }))
        }
        _ => Err(DecodeError::unsupported()),
    }
}

/// How much of a copy comes from its source; zeros fill the rest.
#[derive(Clone, Copy, Debug)]
enum Amount {
    All,
    /// `src-size`: as many bytes as the register says.
    Bytes(u16),
    /// `ignore-src`: nothing where the predicate (negated or not) holds, else all.
    Unless(u16, bool),
}

/// `cp.async.ca` and `cp.async.cg`.
#[derive(Debug)]
struct Copy {
    target: Address,
    source: Address,
    bytes: usize,
    amount: Amount,
}

impl Execute for Copy {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let (targets, sources) = (step.addresses(self.target), step.addresses(self.source));
        let targets = step.shared_rows(step.active, &targets, self.bytes)?;
        if targets.rank != step.warp.rank || targets.lanes != step.active {
            let lane = (step.active & !targets.lanes).checked_ilog2().unwrap_or(0) as usize;
            let message = "cp.async to the shared memory of another block of the cluster: only the own block's can be its target";
            return Err(step.fault(FaultKind::InvalidOperand, lane, message.into()));
        }
        let wanted = self.wanted(step)?;
        let mut transfer = Transfer {
            targets,
            sources: Vec::new(),
            partial: Vec::new(),
        };
        let mut whole = lanes_where(step.active, |lane| usize::from(wanted[lane]) == self.bytes);
        let mut moved = u64::from(whole.count_ones()) * self.bytes as u64;
        let partial = lanes_where(step.active & !whole, |lane| wanted[lane] != 0);
        let reading = whole | partial;
        while whole != 0 {
            let rows = step.global_rows(whole, &sources, self.bytes)?;
            whole &= !rows.lanes;
            transfer.sources.push(rows);
        }
        for lane in lanes(partial) {
            let bytes = usize::from(wanted[lane]);
            let place = step.global_place(lane, sources[lane], bytes, self.bytes)?;
            transfer.partial.push(Partial { lane, place, bytes });
            moved += bytes as u64;
        }
        if reading != 0 {
            step.counters.global_load_requests += 1;
            step.counters.global_load_sectors += sectors(&sources, reading);
            step.counters.global_load_bytes += moved;
        }
        step.begin_copies(transfer);
        Ok(Flow::Next)
    }

    fn footprint(&self) -> Footprint {
        // `src-size` can be as small as a byte, but neighbouring copies still lie a whole copy apart.
        Footprint {
            shared: self.bytes as u32,
            global: self.bytes as u32,
        }
    }
}

impl Copy {
    /// Bytes that each lane copies.
    fn wanted(&self, step: &Step<'_>) -> Result<Lanes<u8>, Stop> {
        let all = self.bytes as u8;
        match self.amount {
            Amount::All => Ok([all; 32]),
            Amount::Unless(predicate, negated) => {
                let ignored =
                    step.warp.predicates[predicate as usize] ^ if negated { u32::MAX } else { 0 };
                Ok(std::array::from_fn(|lane| {
                    if ignored >> lane & 1 == 1 { 0 } else { all }
                }))
            }
            Amount::Bytes(register) => {
                let sizes = &step.warp.narrow[register as usize];
                if let Some(lane) = step.lanes().find(|&lane| sizes[lane] > u32::from(all)) {
                    let message = format!(
                        "src-size is {}, more than the {all} bytes of the copy",
                        sizes[lane]
                    );
                    return Err(step.fault(FaultKind::InvalidOperand, lane, message));
                }
                Ok(sizes.map(|size| size as u8))
            }
        }
    }
}

/// `cp.async.commit_group`.
#[derive(Debug)]
struct Commit;

impl Execute for Commit {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        step.warp.copies.commit(step.active);
        Ok(Flow::Next)
    }
}

/// `cp.async.wait_group` and `cp.async.wait_all`.
#[derive(Debug)]
struct Wait {
    /// Youngest groups that need not have landed; `None`: everything lands, committed or not.
    younger: Option<u32>,
}

impl Execute for Wait {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        step.land_handed_over()?;
        step.land_copies(self.younger);
        Ok(Flow::Next)
    }
}

#[cfg(test)]
mod tests;
