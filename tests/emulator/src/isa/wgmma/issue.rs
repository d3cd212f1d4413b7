//! `wgmma.mma_async`.

use std::sync::Arc;

use super::super::{DecodeError, Decoder, Execute, Flow, Footprint};
use super::WARPS;
use super::form::{Form, ROWS, Source};
use super::warpgroup::Operation;
use crate::exec::{Step, Warp};
use crate::fault::{FaultKind, Stop};
use crate::ptx::{Instruction, Operand};

/// Issues an operation.
#[derive(Debug)]
pub(super) struct Issue {
    form: Arc<Form>,
    /// 64-bit register with the descriptor of A, where A is in shared memory.
    a: Option<u16>,
    b: u16,
    accumulate: Accumulate,
}

/// scale-d.
#[derive(Clone, Copy, Debug)]
enum Accumulate {
    Always(bool),
    If { predicate: u16, negated: bool },
}

impl Issue {
    pub(super) fn decode(
        opcode: &[&str],
        instruction: &Instruction,
        decoder: &mut Decoder<'_>,
    ) -> Result<Self, DecodeError> {
        let form = Form::decode(opcode, instruction, decoder)?;
        let a = match form.a_source {
            Source::Shared(_) => Some(decoder.source64(instruction.operand(1)?)?),
            Source::Registers(_) => None,
        };
        let accumulate = match instruction.operand(3)? {
            Operand::Immediate(value) => Accumulate::Always(*value != 0),
            operand => {
                let (predicate, negated) = decoder.signed_predicate(operand)?;
                Accumulate::If { predicate, negated }
            }
        };
        Ok(Issue {
            form: Arc::new(form),
            a,
            b: decoder.source64(instruction.operand(2)?)?,
            accumulate,
        })
    }

    /// Descriptors and scale-d, which must be the same in all lanes.
    fn operands(&self, step: &Step<'_>) -> Result<([u64; 2], bool), Stop> {
        let uniform = |register: u16, name: &str| {
            let values = &step.warp.wide[register as usize];
            match values.iter().position(|value| *value != values[0]) {
                None => Ok(values[0]),
                Some(lane) => {
                    let message = format!(
                        "the matrix descriptor of {name} differs between lanes: {:#x} and {:#x}",
                        values[0], values[lane]
                    );
                    Err(step.fault(FaultKind::InvalidOperand, lane, message))
                }
            }
        };
        let accumulate = match self.accumulate {
            Accumulate::Always(accumulate) => accumulate,
            Accumulate::If { predicate, negated } => match step.warp.predicates[predicate as usize]
            {
                0 => negated,
                u32::MAX => !negated,
                mixed => {
                    let message = format!("scale-d differs between lanes: true in {mixed:08x}");
                    return Err(step.fault(FaultKind::InvalidOperand, 0, message));
                }
            },
        };
        let a = self.a.map_or(Ok(0), |register| uniform(register, "A"))?;
        Ok(([a, uniform(self.b, "B")?], accumulate))
    }
}

impl Execute for Issue {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        step.check_warpgroup()?;
        let (descriptors, accumulate) = self.operands(step)?;
        step.touch_operands(&self.form);
        let (pc, member) = (step.pc, step.member());
        let (clock, proxy_clock) = (step.warp.clock.clone(), step.warp.proxy_clock.clone());
        let warpgroup = step.warpgroup();
        let number = warpgroup.members[member].issued;
        warpgroup.members[member].issued += 1;
        let at = (number - warpgroup.first) as usize;
        match warpgroup.operations.get_mut(at) {
            None => warpgroup.operations.push_back(Operation {
                form: Arc::clone(&self.form),
                pc,
                descriptors,
                accumulate,
                issued: 1,
                clock,
                proxy_clock,
                operands: None,
            }),
            Some(operation) => {
                let (other_pc, other) =
                    (operation.pc, (operation.descriptors, operation.accumulate));
                operation.issued += 1;
                operation.clock.meet(&clock);
                operation.proxy_clock.meet(&proxy_clock);
                if other_pc != pc {
                    let place = &step.launch.kernel.locations[other_pc as usize];
                    let message = format!(
                        "another warp of the warpgroup executes {} `{}` instead of this",
                        place.source, place.text
                    );
                    return Err(step.fault(FaultKind::Divergence, 0, message));
                }
                if other != (descriptors, accumulate) {
                    let message = format!(
                        "the warps of the warpgroup differ in descriptors or scale-d: {descriptors:#x?} {accumulate} and {:#x?} {}",
                        other.0, other.1
                    );
                    return Err(step.fault(FaultKind::InvalidOperand, 0, message));
                }
            }
        }
        if step.warpgroup().operations[at].issued == WARPS {
            step.counters.wgmma += 1;
            step.counters.tensor_multiply_adds += (ROWS * self.form.n * self.form.k()) as u64;
        }
        // What the warp does from here on is not known to the operation.
        step.warp.advance();
        step.cluster.effects += 1;
        Ok(Flow::Next)
    }

    fn participants(&self, _warp: &Warp, _executing: u32) -> Option<u32> {
        Some(u32::MAX)
    }

    fn footprint(&self) -> Footprint {
        Footprint {
            shared: 16,
            global: 0,
        }
    }
}
