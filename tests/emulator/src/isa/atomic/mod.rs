//! Atomics and reductions in memory.

pub(super) mod operation;

use super::decoder::space;
use super::memory_operand::{DataRegister, OrderParts, footprint, is_place_or_hint, vector};
use super::{Address, DecodeError, Decoder, Execute, Flow, Footprint, Lanes, Space};
use crate::exec::{Order, SharedPlace, Step};
use crate::fault::{FaultKind, Stop};
use crate::lanes::lanes;
use crate::ptx::{Instruction, Operand};
use operation::{Operation, operation};

/// Decodes an instruction of this family.
///
/// # Errors
/// For forms that the stand-in does not know.
pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let mut order = OrderParts::default();
    let (mut name, mut count) = (None, 1);
    let Some((kind, modifiers)) = instruction.opcode[1..].split_last() else {
        return Err(DecodeError::unsupported());
    };
    for part in modifiers {
        if let Some(elements) = vector(part) {
            count = elements;
        } else if part != "noftz"
            && !order.take(part)
            && !is_place_or_hint(part)
            && name.replace(part).is_some()
        {
            return Err(DecodeError::unsupported());
        }
    }
    let name = name.ok_or_else(DecodeError::unsupported)?;
    let operation = operation(name, kind)?;
    let returns = instruction.part(0) == "atom";
    let first = usize::from(returns);
    let mut sources = |index: usize| {
        registers(
            instruction.operand(index)?,
            count,
            operation,
            decoder,
            DataRegister::source,
        )
    };
    let operand = sources(first + 1)?;
    let replacement = if name == "cas" {
        Some(sources(first + 2)?)
    } else {
        None
    };
    let results = match returns {
        true => registers(
            instruction.operand(0)?,
            count,
            operation,
            decoder,
            DataRegister::destination,
        )?,
        false => Vec::new(),
    };
    Ok(Box::new(Atomic {
        space: space(instruction),
        address: decoder.address(instruction.operand(first)?)?,
        order: order.atomic_order(),
        operation,
        reads: name != "exch",
        operand,
        replacement,
        results,
    }))
}

fn registers<'a>(
    operand: &Operand,
    count: usize,
    operation: Operation,
    decoder: &mut Decoder<'a>,
    one: impl Fn(&Operand, usize, &mut Decoder<'a>) -> Result<DataRegister, DecodeError>,
) -> Result<Vec<DataRegister>, DecodeError> {
    let members = decoder.members(operand);
    if members.len() != count {
        return Err(DecodeError::because(format!(
            "a vector of {} where {count} are expected",
            members.len()
        )));
    }
    members
        .iter()
        .map(|member| one(member, operation.bytes, decoder))
        .collect()
}

/// `atom` and `red`. A vector is one atomic an element.
#[derive(Debug)]
struct Atomic {
    space: Space,
    address: Address,
    order: Order,
    operation: Operation,
    /// Whether the new value depends on the old one: all but `exch`.
    reads: bool,
    operand: Vec<DataRegister>,
    /// `cas`: what replaces a value equal to the operand.
    replacement: Option<Vec<DataRegister>>,
    /// Registers for the old values; none for `red`.
    results: Vec<DataRegister>,
}

impl Execute for Atomic {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let addresses = step.addresses(self.address);
        match self.space {
            Space::Generic => step.by_window(&addresses, |step, space, addresses| {
                self.in_space(step, space, addresses)
            })?,
            space => self.in_space(step, space, &addresses)?,
        }
        Ok(Flow::Next)
    }

    fn footprint(&self) -> Footprint {
        footprint(self.space, self.bytes())
    }
}

impl Atomic {
    /// Bytes of a lane's access.
    fn bytes(&self) -> usize {
        self.operation.bytes * self.operand.len()
    }

    fn in_space(
        &self,
        step: &mut Step<'_>,
        space: Space,
        addresses: &Lanes<u64>,
    ) -> Result<(), Stop> {
        match space {
            Space::Global => self.in_global(step, addresses),
            Space::Shared | Space::Cluster => self.in_shared(step, addresses),
            _ => {
                let lane = step.active.trailing_zeros() as usize;
                let message = format!(
                    "an atomic at {:#x}, which is in local memory or a parameter",
                    addresses[lane]
                );
                Err(step.fault(FaultKind::OutOfBounds, lane, message))
            }
        }
    }

    fn in_shared(&self, step: &mut Step<'_>, addresses: &Lanes<u64>) -> Result<(), Stop> {
        let mut rest = step.active;
        while rest != 0 {
            let rows = step.shared_rows(rest, addresses, self.bytes())?;
            rest &= !rows.lanes;
            if self.reads {
                step.check_shared_values(&rows);
            }
            step.check_shared_writes(&rows, self.order.strength(), false);
            self.apply(step, rows.lanes, |step, Element { lane, at, b, c }| {
                let SharedPlace { rank, offset } = rows.place(lane);
                let range = offset + at..offset + at + self.operation.bytes;
                let old = number(step.cluster.blocks[rank].shared.bytes(range.clone()));
                if self.declines(old, b) {
                    return old;
                }
                step.publish(step.shared_cell(rows.place(lane)), self.order);
                let new = (self.operation.shared)(old, b, c);
                step.cluster.blocks[rank]
                    .shared
                    .write(range.start, &new.to_le_bytes()[..self.operation.bytes]);
                old
            });
            for lane in lanes(rows.lanes).filter(|_| !self.results.is_empty()) {
                step.hear(step.shared_cell(rows.place(lane)), self.order);
            }
        }
        step.count_shared(step.active, addresses, self.bytes());
        step.counters.shared_atomics += u64::from(step.active.count_ones());
        Ok(())
    }

    fn in_global(&self, step: &mut Step<'_>, addresses: &Lanes<u64>) -> Result<(), Stop> {
        let mut rest = step.active;
        while rest != 0 {
            let rows = step.global_rows(rest, addresses, self.bytes())?;
            rest &= !rows.lanes;
            if self.reads {
                step.check_global_values(&rows);
            }
            step.check_global_writes(&rows, self.order.strength(), false);
            let memory = step.launch.memory.allocation(rows.allocation);
            self.apply(step, rows.lanes, |step, Element { lane, at, b, c }| {
                let at = rows.offsets[lane] + at as u64;
                let now = memory.load(at, self.operation.bytes);
                if self.declines(now, b) {
                    return now;
                }
                step.publish(addresses[lane], self.order);
                memory.update(at, self.operation.bytes, |old| {
                    (self.operation.global)(old, b, c)
                })
            });
        }
        for lane in step.lanes().filter(|_| !self.results.is_empty()) {
            step.hear(addresses[lane], self.order);
        }
        step.counters.global_atomics += u64::from(step.active.count_ones());
        Ok(())
    }

    /// Whether this is a `cas` that finds another value than it looks for: it writes nothing, so it releases nothing.
    fn declines(&self, old: u64, wanted: u64) -> bool {
        self.replacement.is_some() && old != wanted
    }

    /// Changes one element after the other, one lane after the other. `change` gives the old value.
    fn apply(
        &self,
        step: &mut Step<'_>,
        active: u32,
        mut change: impl FnMut(&mut Step<'_>, Element) -> u64,
    ) {
        let mask = u64::MAX >> (64 - 8 * self.operation.bytes);
        for index in 0..self.operand.len() {
            let operand = self.operand[index].values(step.warp);
            let replacement = self
                .replacement
                .as_ref()
                .map_or([0; 32], |registers| registers[index].values(step.warp));
            let mut results = [0; 32];
            for lane in lanes(active) {
                let (b, c) = (operand[lane] & mask, replacement[lane] & mask);
                let old = change(
                    step,
                    Element {
                        lane,
                        at: index * self.operation.bytes,
                        b,
                        c,
                    },
                );
                results[lane] = old;
                // A lock that is tried in vain changes nothing: others must not take it for progress.
                if (self.operation.shared)(old, b, c) & mask != old {
                    step.cluster.effects += 1;
                }
            }
            if let Some(register) = self.results.get(index) {
                register.set(step.warp, active, &results);
            }
        }
    }
}

/// The number in some bytes, at most eight.
fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// One element of one lane.
#[derive(Clone, Copy, Debug)]
struct Element {
    lane: usize,
    /// Offset in bytes from the lane's address.
    at: usize,
    /// The operands.
    b: u64,
    c: u64,
}

#[cfg(test)]
mod tests;
