//! `setmaxnreg`: warps hand registers back to their block's pool and take more from it.

use super::super::{DecodeError, Decoder, Execute, Flow};
use super::warpgroup::Member;
use crate::exec::{Launch, Step, Warp};
use crate::fault::{FaultKind, Stop};
use crate::ptx::Instruction;

/// Registers of a multiprocessor.
const REGISTERS: u32 = 65_536;

/// Most registers a thread can have.
const MOST: u32 = 255;

/// Registers are given out in units of this many a thread.
const UNIT: u32 = 8;

/// `setmaxnreg.inc` or `.dec`.
#[derive(Debug)]
pub(super) struct SetRegisters {
    count: u32,
    more: bool,
}

impl SetRegisters {
    pub(super) fn decode(
        more: bool,
        instruction: &Instruction,
        decoder: &Decoder<'_>,
    ) -> Result<Self, DecodeError> {
        let count = decoder.immediate(instruction.operand(0)?)?;
        if !(24..=256).contains(&count) || count % u64::from(UNIT) != 0 {
            return Err(DecodeError::because(format!(
                "setmaxnreg {count}: a multiple of 8 from 24 to 256 is needed"
            )));
        }
        Ok(SetRegisters {
            count: count as u32,
            more,
        })
    }
}

/// Registers a thread has when the kernel begins: what the compiler was allowed to use.
fn at_launch(launch: &Launch<'_>) -> u32 {
    let share = REGISTERS / (launch.warps_per_block() * 32) / UNIT * UNIT;
    launch
        .kernel
        .max_registers
        .unwrap_or(share)
        .min(MOST)
        .next_multiple_of(UNIT)
}

impl Execute for SetRegisters {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        step.check_warpgroup()?;
        let at_launch = at_launch(step.launch);
        let warps = step.launch.warps_per_block();
        let has = |member: &Member| member.registers.unwrap_or(at_launch);
        let member = step.member();
        let now = has(&step.warpgroup().members[member]);
        if self.more && self.count < now || !self.more && self.count > now {
            let direction = if self.more { "inc" } else { "dec" };
            let message = format!(
                "setmaxnreg.{direction} to {} registers from {now}",
                self.count
            );
            return Err(step.fault(FaultKind::InvalidOperand, 0, message));
        }
        let all = &step.cluster.blocks[step.warp.rank].warpgroups;
        // Warps beyond the block's last one are members of its last warpgroup, but have no registers.
        let taken: u32 = all
            .iter()
            .flat_map(|warpgroup| &warpgroup.members)
            .take(warps as usize)
            .map(has)
            .sum();
        if taken - now + self.count > warps * at_launch {
            return Ok(Flow::Retry);
        }
        let member = &mut step.warpgroup().members[member];
        member.registers = Some(self.count);
        member.register_changes += 1;
        step.cluster.effects += 1;
        Ok(Flow::Next)
    }

    fn participants(&self, _warp: &Warp, _executing: u32) -> Option<u32> {
        Some(u32::MAX)
    }
}
