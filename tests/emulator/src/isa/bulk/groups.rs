//! Groups of copies to global memory, and the waits for them.

use std::collections::VecDeque;

use crate::exec::{Agents, Origin, Step, Ticket};
use crate::fault::{FaultKind, Stop};
use crate::isa::{Execute, Flow};

/// Copies of a warp to global memory, by the lanes that issued them: each lane has groups of its own.
#[derive(Debug, Default)]
pub struct BulkQueue {
    /// Copies issued so far: the clock of their agents.
    tick: u32,
    /// One entry a lane; empty until the first copy.
    lanes: Vec<Groups>,
}

/// The groups of one lane.
#[derive(Clone, Debug, Default)]
struct Groups {
    open: Vec<Issued>,
    committed: VecDeque<Vec<Issued>>,
    /// So many of the committed groups, from the oldest, have been waited for with `.read`.
    read: usize,
}

#[derive(Clone, Copy, Debug)]
struct Issued {
    ticket: Ticket,
    origin: Origin,
}

impl BulkQueue {
    /// Names a new copy and puts it into the open group of a lane.
    pub(super) fn issue(
        &mut self,
        lane: usize,
        agents: Agents,
        warp: usize,
        origin: Origin,
    ) -> Ticket {
        self.tick += 1;
        let ticket = Ticket {
            agent: agents.bulk(warp),
            tick: self.tick,
        };
        self.groups(lane).open.push(Issued { ticket, origin });
        ticket
    }

    fn groups(&mut self, lane: usize) -> &mut Groups {
        self.lanes.resize_with(32, Groups::default);
        &mut self.lanes[lane]
    }
}

impl Groups {
    /// Takes all copies whose source nobody has waited for.
    fn take_unread(&mut self) -> impl Iterator<Item = Issued> + use<> {
        let committed = std::mem::take(&mut self.committed)
            .into_iter()
            .skip(self.read)
            .flatten();
        self.read = 0;
        committed.chain(std::mem::take(&mut self.open))
    }
}

/// `cp.async.bulk.commit_group`.
#[derive(Debug)]
pub(super) struct CommitGroup;

impl Execute for CommitGroup {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        for lane in step.lanes() {
            let groups = step.warp.bulk.groups(lane);
            let group = std::mem::take(&mut groups.open);
            groups.committed.push_back(group);
        }
        Ok(Flow::Next)
    }
}

/// `cp.async.bulk.wait_group`.
#[derive(Debug)]
pub(super) struct WaitGroup {
    /// So many of the newest groups may still be under way.
    pub newest: usize,
    /// Only the sources must have been read.
    pub read: bool,
}

impl Execute for WaitGroup {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        for lane in step.lanes() {
            let groups = step.warp.bulk.groups(lane);
            let oldest = groups.committed.len().saturating_sub(self.newest);
            let waited: Vec<Issued> = if self.read {
                let from = groups.read.min(oldest);
                groups.read = groups.read.max(oldest);
                groups
                    .committed
                    .range(from..oldest)
                    .flatten()
                    .copied()
                    .collect()
            } else {
                groups.read = groups.read.saturating_sub(oldest);
                groups.committed.drain(..oldest).flatten().collect()
            };
            for copy in waited {
                self.wait(step, copy.ticket)?;
            }
        }
        Ok(Flow::Next)
    }
}

impl WaitGroup {
    /// Copies are as late as they may be: they do now what is waited for.
    fn wait(&self, step: &mut Step<'_>, ticket: Ticket) -> Result<(), Stop> {
        match step.cluster.take_pending(|other| other == ticket) {
            Some(mut copy) if self.read => {
                copy.read_source(step.cluster, step.launch)?;
                step.cluster.pending.push_back(copy);
            }
            Some(copy) => copy.complete(step.cluster, step.launch, step.counters)?,
            // It has landed before.
            None => {}
        }
        let warp = &mut *step.warp;
        let mut finished = vec![ticket.agent];
        if !self.read {
            finished.push(step.cluster.agents.bulk_writes(warp.index));
        }
        for agent in finished {
            warp.clock.advance(agent, ticket.tick);
            warp.proxy_clock.advance(agent, ticket.tick);
        }
        Ok(())
    }
}

impl Step<'_> {
    /// The check at the end of threads: nobody else can wait for the sources of their copies, and shared memory may be gone
    /// before they are read.
    ///
    /// # Errors
    /// A fault after which the kernel cannot go on.
    pub fn check_bulk_end(&mut self) -> Result<(), Stop> {
        if self.warp.bulk.lanes.is_empty() {
            return Ok(());
        }
        for lane in self.lanes() {
            for copy in self.warp.bulk.lanes[lane].take_unread() {
                let message = "the thread ended without waiting until this copy has read shared memory: \
                               cp.async.bulk.commit_group and wait_group.read are missing";
                copy.origin.report(
                    self.cluster,
                    self.launch,
                    FaultKind::Asynchronous,
                    message.into(),
                );
                if let Some(mut pending) = self.cluster.take_pending(|other| other == copy.ticket) {
                    pending.read_source(self.cluster, self.launch)?;
                    self.cluster.pending.push_back(pending);
                }
            }
        }
        Ok(())
    }
}
