//! Operations of asynchronous engines: issued by a thread, landing later.

use super::{Cluster, Launch, Step};
use crate::counters::Counters;
use crate::fault::{FaultKind, Stop};
use crate::race::Agent;

/// An operation of an asynchronous engine that lands later.
pub trait Asynchronous: Send + std::fmt::Debug {
    /// Lands.
    ///
    /// # Errors
    /// A fault after which the kernel cannot go on.
    fn complete(
        self: Box<Self>,
        cluster: &mut Cluster,
        launch: &Launch<'_>,
        counters: &mut Counters,
    ) -> Result<(), Stop>;

    /// Who issued it, where that is known: faults are reported there.
    fn origin(&self) -> Option<Origin> {
        None
    }

    /// The name under which a thread waits for it, for operations that threads wait for one by one.
    fn ticket(&self) -> Option<Ticket> {
        None
    }

    /// Reads its source in shared memory, which may be reused after that.
    ///
    /// # Errors
    /// A fault after which the kernel cannot go on.
    fn read_source(&mut self, _cluster: &mut Cluster, _launch: &Launch<'_>) -> Result<(), Stop> {
        Ok(())
    }

    /// Whether it needs no block of the cluster any more: what is left to do is in global memory.
    fn outlives_blocks(&self) -> bool {
        false
    }
}

/// The name of an operation within its cluster: its agent and the agent's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Who carries it out.
    pub agent: Agent,
    /// When, by the agent's clock.
    pub tick: u32,
}

/// The thread and instruction that issued an asynchronous operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The instruction.
    pub pc: u32,
    /// Rank of the thread's block within its cluster.
    pub rank: usize,
    /// Number of the thread within its block.
    pub thread: u32,
}

impl Origin {
    /// A fault of the operation that ends the launch.
    #[cold]
    pub fn fault(
        &self,
        cluster: &Cluster,
        launch: &Launch<'_>,
        kind: FaultKind,
        message: String,
    ) -> Stop {
        launch.fault(
            kind,
            message,
            self.pc,
            cluster.blocks[self.rank].index,
            self.thread,
        )
    }

    /// Reports a fault of the operation after which the kernel goes on.
    #[cold]
    pub fn report(
        &self,
        cluster: &mut Cluster,
        launch: &Launch<'_>,
        kind: FaultKind,
        message: String,
    ) {
        let fault = self.fault(cluster, launch, kind, message);
        cluster.report(*fault);
    }
}

impl Cluster {
    /// Takes the oldest operation out of the queue of those under way whose name is `wanted`.
    pub fn take_pending(
        &mut self,
        wanted: impl Fn(Ticket) -> bool,
    ) -> Option<Box<dyn Asynchronous>> {
        let at = self
            .pending
            .iter()
            .position(|operation| operation.ticket().is_some_and(&wanted))?;
        self.pending.remove(at)
    }
}

impl Step<'_> {
    /// This instruction as executed by a lane.
    pub fn origin(&self, lane: usize) -> Origin {
        let thread = self.warp.warp_in_block * 32 + lane as u32;
        Origin {
            pc: self.pc,
            rank: self.warp.rank,
            thread,
        }
    }
}
