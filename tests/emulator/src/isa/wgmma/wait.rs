//! `wgmma.commit_group` and `wgmma.wait_group`.

use super::super::{Execute, Flow};
use super::WARPS;
use super::operands::WarpProduct;
use super::warpgroup::agent;
use crate::exec::{Step, Warp};
use crate::fault::Stop;
use crate::tensor::vectorised;

/// Makes a group of the operations issued since the last one.
#[derive(Debug)]
pub(super) struct Commit;

impl Execute for Commit {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        step.check_warpgroup()?;
        let member = step.member();
        let member = &mut step.warpgroup().members[member];
        member.groups.push_back(member.issued);
        Ok(Flow::Next)
    }

    fn participants(&self, _warp: &Warp, _executing: u32) -> Option<u32> {
        Some(u32::MAX)
    }
}

/// Waits until at most the `newest` groups are under way.
#[derive(Debug)]
pub(super) struct Wait {
    pub(super) newest: usize,
}

impl Execute for Wait {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        step.check_warpgroup()?;
        let member = step.member();
        let warpgroup = step.warpgroup();
        let groups = &warpgroup.members[member].groups;
        let Some(done) = groups
            .len()
            .checked_sub(self.newest)
            .filter(|&done| done > 0)
        else {
            return Ok(Flow::Next);
        };
        let until = groups[done - 1];
        let waited_for = (until - warpgroup.first) as usize;
        if warpgroup
            .operations
            .iter()
            .take(waited_for)
            .any(|operation| operation.issued < WARPS)
        {
            return Ok(Flow::Retry);
        }
        let from = warpgroup.members[member].finished;
        for number in from..until {
            step.finish_operation(number, member)?;
        }
        let warpgroup = step.warpgroup();
        warpgroup.members[member].groups.drain(..done);
        warpgroup.members[member].finished = until;
        warpgroup.forget_finished();
        // The operands of all four warps have been read: whoever hears of this warp from now on may overwrite them. So may
        // the asynchronous proxy, of which wgmma is part.
        let agent = agent(
            step.cluster,
            step.launch,
            step.warp.rank,
            step.warp.warp_in_block as usize / WARPS,
        );
        step.warp.clock.advance(agent, until as u32);
        step.warp.proxy_clock.advance(agent, until as u32);
        step.cluster.effects += 1;
        Ok(Flow::Next)
    }

    fn participants(&self, _warp: &Warp, _executing: u32) -> Option<u32> {
        Some(u32::MAX)
    }
}

impl Step<'_> {
    /// Reads the operands of the operation if no other warp's wait has, and adds the product to this warp's accumulators.
    fn finish_operation(&mut self, number: u64, member: usize) -> Result<(), Stop> {
        let warpgroup = self.warpgroup();
        let at = (number - warpgroup.first) as usize;
        // Taken out while shared memory, which belongs to the same block, is read.
        let mut operation = warpgroup
            .operations
            .remove(at)
            .expect("the operation was issued and not finished");
        let operands = match operation.operands.take() {
            Some(operands) => operands,
            None => self.read_operands(&operation, number)?,
        };
        vectorised(WarpProduct {
            form: &operation.form,
            operands: &operands,
            accumulate: operation.accumulate,
            member,
            registers: &mut self.warp.narrow,
        });
        operation.operands = Some(operands);
        self.warpgroup().operations.insert(at, operation);
        Ok(())
    }
}
