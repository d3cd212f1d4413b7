//! State of one warpgroup: operations issued and not complete, and how far each of its warps is.

use std::collections::VecDeque;
use std::sync::Arc;

use super::WARPS;
use super::form::Form;
use super::operands::Operands;
use super::touch::Touches;
use crate::exec::{Cluster, Launch};
use crate::fault::{FaultKind, Stop};
use crate::race::{Agent, Clock};

/// `wgmma` state of one warpgroup.
#[derive(Debug, Default)]
pub struct Warpgroup {
    /// Operations that some warp has issued and some warp has not finished, in order.
    pub(super) operations: VecDeque<Operation>,
    /// Number of the first of them. Operations are numbered from 0 in the order of issue.
    pub(super) first: u64,
    pub(super) members: [Member; WARPS],
}

/// One warp of a warpgroup. The counts are numbers of operations.
#[derive(Debug, Default)]
pub(super) struct Member {
    pub(super) issued: u64,
    /// Where each committed group ends that was not waited for.
    pub(super) groups: VecDeque<u64>,
    /// Those before have their results in this warp's registers.
    pub(super) finished: u64,
    pub(super) touches: Touches,
    /// Registers a thread since the last `setmaxnreg`.
    pub(super) registers: Option<u32>,
    /// `setmaxnreg` executed.
    pub(super) register_changes: u32,
}

/// A `wgmma.mma_async`.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) form: Arc<Form>,
    pub(super) pc: u32,
    /// Of A (0 if in registers) and B.
    pub(super) descriptors: [u64; 2],
    /// scale-d: whether the product is added to D.
    pub(super) accumulate: bool,
    /// Warps that issued it.
    pub(super) issued: usize,
    /// What every one of these warps knew to have happened.
    pub(super) clock: Clock,
    /// The same for the asynchronous proxy.
    pub(super) proxy_clock: Clock,
    /// A and B as read from shared memory.
    pub(super) operands: Option<Operands>,
}

impl Warpgroup {
    /// Forgets the operations that all four warps have finished.
    pub(super) fn forget_finished(&mut self) {
        let finished = self
            .members
            .iter()
            .map(|member| member.finished)
            .min()
            .unwrap_or(0);
        while self.first < finished {
            self.operations.pop_front();
            self.first += 1;
        }
    }
}

/// The agent of a warpgroup of the block with `rank`.
pub(super) fn agent(
    cluster: &Cluster,
    launch: &Launch<'_>,
    rank: usize,
    warpgroup: usize,
) -> Agent {
    let per_block = (launch.warps_per_block() as usize).div_ceil(WARPS);
    cluster
        .agents
        .warpgroup((rank * per_block + warpgroup) * WARPS)
}

/// At the end of a cluster: no operation may be left, and the warps of a warpgroup have changed their registers together.
///
/// # Errors
/// When it is otherwise.
pub(crate) fn left_over(cluster: &Cluster, launch: &Launch<'_>) -> Result<(), Stop> {
    for block in &cluster.blocks {
        for (number, warpgroup) in block.warpgroups.iter().enumerate() {
            let thread = (number * WARPS * 32) as u32;
            if let Some(operation) = warpgroup.operations.front() {
                let message = match operation.issued {
                    WARPS => {
                        "the block ended without a wgmma.wait_group that covers this".to_owned()
                    }
                    some => format!("only {some} of the four warps of the warpgroup executed this"),
                };
                let kind = if operation.issued == WARPS {
                    FaultKind::Asynchronous
                } else {
                    FaultKind::Divergence
                };
                return Err(launch.fault(kind, message, operation.pc, block.index, thread));
            }
            let changes = warpgroup
                .members
                .each_ref()
                .map(|member| (member.register_changes, member.registers));
            if changes.iter().any(|&other| other != changes[0]) {
                let counts = changes.map(|(count, _)| count);
                let message = format!(
                    "the four warps of a warpgroup executed setmaxnreg {counts:?} times, and not all with the same counts"
                );
                let end = launch.kernel.code.len() as u32 - 1;
                return Err(launch.fault(FaultKind::Divergence, message, end, block.index, thread));
            }
        }
    }
    Ok(())
}
