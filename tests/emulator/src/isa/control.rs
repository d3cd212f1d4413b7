//! Branches and ends; `nanosleep`, and hints without effect here.

use super::{DecodeError, Decoder, Execute, Flow};
use crate::exec::Step;
use crate::fault::{FaultKind, Stop};
use crate::ptx::{Instruction, Operand};

/// Decodes an instruction of this family.
///
/// # Errors
/// For forms that the stand-in does not know.
pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    Ok(match (instruction.part(0), instruction.part(1)) {
        ("bra", _) => Box::new(Branch(label(instruction.operand(0)?)?)),
        ("brx", "idx") => {
            let index = decoder.source32(instruction.operand(0)?)?;
            let targets = decoder
                .members(instruction.operand(1)?)
                .iter()
                .map(label)
                .collect::<Result<_, _>>()?;
            Box::new(IndexedBranch { index, targets })
        }
        ("ret" | "exit", _) => end(),
        ("trap", _) => Box::new(Trap),
        ("nanosleep", _) => Box::new(Sleep),
        // Launches run one after the other, so a dependent grid never has to wait; the other two are hints to tools.
        ("griddepcontrol", "wait" | "launch_dependents") | ("pmevent" | "brkpt", _) => {
            Box::new(Nothing)
        }
        _ => return Err(DecodeError::unsupported()),
    })
}

/// `ret`: also appended to every kernel.
pub(super) fn end() -> Box<dyn Execute> {
    Box::new(End)
}

fn label(operand: &Operand) -> Result<u32, DecodeError> {
    match operand {
        Operand::Label(target) => Ok(*target),
        other => Err(DecodeError::operand(other, "a label")),
    }
}

#[derive(Debug)]
struct Branch(u32);

impl Execute for Branch {
    fn execute(&self, _step: &mut Step<'_>) -> Result<Flow, Stop> {
        Ok(Flow::Jump(self.0))
    }
}

#[derive(Debug)]
struct IndexedBranch {
    index: u16,
    targets: Vec<u32>,
}

impl Execute for IndexedBranch {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let index = step.warp.narrow[self.index as usize];
        let mut groups: Vec<(u32, u32)> = Vec::new();
        for lane in step.lanes() {
            let Some(&target) = self.targets.get(index[lane] as usize) else {
                let message = format!(
                    "branch index {} of {} targets",
                    index[lane],
                    self.targets.len()
                );
                return Err(step.fault(FaultKind::InvalidOperand, lane, message));
            };
            match groups.iter_mut().find(|group| group.0 == target) {
                Some(group) => group.1 |= 1 << lane,
                None => groups.push((target, 1 << lane)),
            }
        }
        Ok(Flow::Scatter(groups))
    }
}

#[derive(Debug)]
struct End;

impl Execute for End {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        step.check_bulk_end()?;
        Ok(Flow::Exit)
    }
}

#[derive(Debug)]
struct Trap;

impl Execute for Trap {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let lane = step.active.trailing_zeros() as usize;
        Err(step.fault(FaultKind::Trap, lane, "the kernel executed trap".into()))
    }
}

#[derive(Debug)]
struct Sleep;

impl Execute for Sleep {
    fn execute(&self, _step: &mut Step<'_>) -> Result<Flow, Stop> {
        Ok(Flow::Sleep)
    }
}

/// An instruction that has no effect on the stand-in.
#[derive(Debug)]
pub(super) struct Nothing;

impl Execute for Nothing {
    fn execute(&self, _step: &mut Step<'_>) -> Result<Flow, Stop> {
        Ok(Flow::Next)
    }
}
