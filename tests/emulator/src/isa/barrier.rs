//! Barriers of blocks (`bar`, `barrier`), warps (`bar.warp`) and clusters (`barrier.cluster`).

use super::{DecodeError, Decoder, Execute, Flow};
use crate::counters::Counters;
use crate::exec::{Cluster, Launch, Step, Wait, Warp};
use crate::fault::{FaultKind, Stop};
use crate::ptx::{Instruction, Operand};
use crate::race::Clock;

/// One of a block's sixteen named barriers.
#[derive(Debug, Default)]
pub struct NamedBarrier {
    /// Threads that have arrived, whole warps each.
    arrived: u32,
    /// Threads expected, from the first arrival; `None`: all live threads of the block.
    expected: Option<u32>,
    /// Whether any warp has arrived since the last completion.
    open: bool,
    clock: Clock,
    proxy_clock: Clock,
    votes: Votes,
}

/// What the threads that arrived at a barrier with reduction voted.
#[derive(Clone, Copy, Debug, Default)]
struct Votes {
    yes: u32,
    all: u32,
}

/// What a barrier with reduction delivers to a waiting warp.
#[derive(Clone, Copy, Debug)]
pub struct Reduction {
    kind: ReductionKind,
    register: u16,
    lanes: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReductionKind {
    Count,
    And,
    Or,
}

/// Decodes an instruction of this family.
///
/// # Errors
/// For forms that the stand-in does not know.
pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let optional = |decoder: &mut Decoder<'_>, index: usize| {
        instruction
            .operands
            .get(index)
            .map(|operand| decoder.source32(operand))
            .transpose()
    };
    if instruction.has("warp") {
        return Ok(Box::new(WarpBarrier(
            decoder.source32(instruction.operand(0)?)?,
        )));
    }
    if instruction.has("cluster") {
        return Ok(match instruction.part(2) {
            "arrive" => Box::new(ClusterArrive {
                release: !instruction.has("relaxed"),
            }),
            "wait" => Box::new(ClusterWait),
            _ => return Err(DecodeError::unsupported()),
        });
    }
    if instruction.has("sync") {
        return Ok(Box::new(BlockBarrier {
            barrier: decoder.source32(instruction.operand(0)?)?,
            threads: optional(decoder, 1)?,
            reduction: None,
            waits: true,
        }));
    }
    if instruction.has("arrive") {
        return Ok(Box::new(BlockBarrier {
            barrier: decoder.source32(instruction.operand(0)?)?,
            threads: Some(decoder.source32(instruction.operand(1)?)?),
            reduction: None,
            waits: false,
        }));
    }
    if instruction.has("red") {
        let kind = match () {
            () if instruction.has("popc") => ReductionKind::Count,
            () if instruction.has("and") => ReductionKind::And,
            () if instruction.has("or") => ReductionKind::Or,
            () => return Err(DecodeError::unsupported()),
        };
        let register = match kind {
            ReductionKind::Count => decoder.destination32(instruction.operand(0)?)?,
            _ => decoder.predicate(instruction.operand(0)?)?,
        };
        let last = instruction.operands.len() - 1;
        let (vote, negated) = decoder.signed_predicate(instruction.operand(last)?)?;
        let threads = if last == 3 {
            optional(decoder, 2)?
        } else {
            None
        };
        return Ok(Box::new(BlockBarrier {
            barrier: decoder.source32(instruction.operand(1)?)?,
            threads,
            reduction: Some(VoteOf {
                kind,
                register,
                vote,
                negated,
            }),
            waits: true,
        }));
    }
    match instruction.operands.first() {
        // `barrier.cta.sync` without further parts is spelled with `sync`; anything else is unknown.
        Some(Operand::Sink) | None | Some(_) => Err(DecodeError::unsupported()),
    }
}

#[derive(Clone, Copy, Debug)]
struct VoteOf {
    kind: ReductionKind,
    register: u16,
    vote: u16,
    negated: bool,
}

/// `bar.sync`, `bar.arrive`, `bar.red`.
#[derive(Debug)]
struct BlockBarrier {
    barrier: u16,
    threads: Option<u16>,
    reduction: Option<VoteOf>,
    waits: bool,
}

impl Execute for BlockBarrier {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let number = step.uniform(self.barrier, "the number of the barrier")?;
        if number >= 16 {
            return Err(step.fault(
                FaultKind::Barrier,
                0,
                format!("barrier {number}: a block has barriers 0 to 15"),
            ));
        }
        let threads = self
            .threads
            .map(|register| step.uniform(register, "the thread count of the barrier"))
            .transpose()?;
        if let Some(threads) = threads
            && (threads == 0 || threads % 32 != 0 || threads > step.launch.warps_per_block() * 32)
        {
            let message = format!(
                "barrier {number} for {threads} threads: a positive multiple of 32 up to the block's {}",
                step.launch.threads_per_block()
            );
            return Err(step.fault(FaultKind::Barrier, 0, message));
        }
        let barrier = &mut step.cluster.blocks[step.warp.rank].barriers[number as usize];
        if barrier.open && barrier.expected != threads {
            let (now, first) = (threads, barrier.expected);
            let message = format!(
                "barrier {number}: this warp expects {now:?} threads, an earlier one {first:?}"
            );
            return Err(step.fault(FaultKind::Barrier, 0, message));
        }
        barrier.open = true;
        barrier.expected = threads;
        barrier.arrived += 32;
        if let Some(expected) = threads
            && barrier.arrived > expected
        {
            let message =
                format!("barrier {number}: more than the expected {expected} threads arrived");
            return Err(step.fault(FaultKind::Barrier, 0, message));
        }
        barrier.clock.join(&step.warp.clock);
        barrier.proxy_clock.join(&step.warp.proxy_clock);
        if let Some(VoteOf {
            kind,
            register,
            vote,
            negated,
        }) = self.reduction
        {
            let votes = step.warp.predicates[vote as usize] ^ if negated { u32::MAX } else { 0 };
            barrier.votes.yes += (votes & step.active).count_ones();
            barrier.votes.all += step.active.count_ones();
            step.warp.reduction = Some(Reduction {
                kind,
                register,
                lanes: step.active,
            });
        }
        step.warp.advance();
        step.cluster.effects += 1;
        if !self.waits {
            return Ok(Flow::Next);
        }
        step.warp.state = Wait::Barrier(number as u8);
        Ok(Flow::Wait)
    }

    fn participants(&self, warp: &Warp, _executing: u32) -> Option<u32> {
        Some(warp.live)
    }
}

/// `bar.warp.sync`.
#[derive(Debug)]
struct WarpBarrier(u16);

impl Execute for WarpBarrier {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        step.warp.advance();
        Ok(Flow::Next)
    }

    fn participants(&self, warp: &Warp, executing: u32) -> Option<u32> {
        Some(warp.narrow[self.0 as usize][executing.trailing_zeros() as usize])
    }
}

/// `barrier.cluster.arrive`.
#[derive(Debug)]
struct ClusterArrive {
    release: bool,
}

impl Execute for ClusterArrive {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let index = step.warp.index;
        if step.cluster.arrivals[index].is_some() {
            return Err(step.fault(
                FaultKind::Barrier,
                0,
                "the warp arrives a second time at the cluster barrier without waiting".into(),
            ));
        }
        let barrier = &mut step.cluster.barrier;
        barrier.arrived += 1;
        if self.release {
            barrier.clock.join(&step.warp.clock);
            barrier.proxy_clock.join(&step.warp.proxy_clock);
        }
        step.cluster.arrivals[index] = Some(step.cluster.barrier.phase);
        step.warp.advance();
        step.cluster.effects += 1;
        Ok(Flow::Next)
    }

    fn participants(&self, warp: &Warp, _executing: u32) -> Option<u32> {
        Some(warp.live)
    }
}

/// `barrier.cluster.wait`.
#[derive(Debug)]
struct ClusterWait;

impl Execute for ClusterWait {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        if step.cluster.arrivals[step.warp.index].is_none() {
            return Err(step.fault(
                FaultKind::Barrier,
                0,
                "the warp waits at the cluster barrier without having arrived".into(),
            ));
        }
        step.warp.state = Wait::Cluster;
        Ok(Flow::Wait)
    }

    fn participants(&self, warp: &Warp, _executing: u32) -> Option<u32> {
        Some(warp.live)
    }
}

/// Completes barriers whose threads have all arrived, and lets the warps go on that wait at them.
///
/// # Errors
/// When a warp ended with an arrival at the cluster barrier that it never waited for.
pub(crate) fn release_barriers(
    warps: &mut [Warp],
    cluster: &mut Cluster,
    _launch: &Launch<'_>,
    counters: &mut Counters,
) -> Result<(), Stop> {
    for rank in 0..cluster.blocks.len() {
        for number in 0..cluster.blocks[rank].barriers.len() {
            if cluster.blocks[rank].barriers[number].open {
                release_named(warps, cluster, rank, number, counters);
            }
        }
    }
    release_cluster(warps, cluster, counters);
    Ok(())
}

fn release_named(
    warps: &mut [Warp],
    cluster: &mut Cluster,
    rank: usize,
    number: usize,
    counters: &mut Counters,
) {
    let live = warps
        .iter()
        .filter(|warp| warp.rank == rank && warp.state != Wait::Exited)
        .count() as u32;
    let barrier = &mut cluster.blocks[rank].barriers[number];
    if barrier.arrived < barrier.expected.unwrap_or(32 * live) {
        return;
    }
    let done = std::mem::take(barrier);
    cluster.effects += 1;
    counters.barriers += 1;
    for warp in warps
        .iter_mut()
        .filter(|warp| warp.rank == rank && warp.state == Wait::Barrier(number as u8))
    {
        warp.state = Wait::Ready;
        warp.clock.join(&done.clock);
        warp.proxy_clock.join(&done.proxy_clock);
        if let Some(Reduction {
            kind,
            register,
            lanes,
        }) = warp.reduction.take()
        {
            match kind {
                ReductionKind::Count => warp.set_narrow(register, lanes, &[done.votes.yes; 32]),
                ReductionKind::And => {
                    warp.set_predicate(register, lanes, mask(done.votes.yes == done.votes.all))
                }
                ReductionKind::Or => warp.set_predicate(register, lanes, mask(done.votes.yes > 0)),
            }
        }
    }
}

fn mask(all: bool) -> u32 {
    if all { u32::MAX } else { 0 }
}

fn release_cluster(warps: &mut [Warp], cluster: &mut Cluster, counters: &mut Counters) {
    // A warp that has ended is not waited for, whether or not it arrived before.
    let phase = cluster.barrier.phase;
    let missing =
        |warp: &Warp| warp.state != Wait::Exited && cluster.arrivals[warp.index] != Some(phase);
    let complete = cluster.barrier.arrived > 0 && !warps.iter().any(missing);
    let barrier = &mut cluster.barrier;
    if complete {
        barrier.completed = (
            std::mem::take(&mut barrier.clock),
            std::mem::take(&mut barrier.proxy_clock),
        );
        barrier.arrived = 0;
        barrier.phase += 1;
        cluster.effects += 1;
        counters.barriers += 1;
    }
    for warp in warps.iter_mut().filter(|warp| warp.state == Wait::Cluster) {
        let arrived = cluster.arrivals[warp.index];
        if arrived.is_some_and(|phase| phase < cluster.barrier.phase) {
            cluster.arrivals[warp.index] = None;
            warp.state = Wait::Ready;
            warp.clock.join(&cluster.barrier.completed.0);
            warp.proxy_clock.join(&cluster.barrier.completed.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::exec::Wait;
    use crate::exec::machine::Machine;
    use crate::fault::FaultKind::*;

    const ARRIVE: u32 = 0;
    const WAIT: u32 = 1;
    const STORE: u32 = 2;
    const LOAD: u32 = 3;
    const ARRIVE_RELAXED: u32 = 4;

    fn machine() -> Machine {
        Machine::new(
            "barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;\nst.shared.u32 [buffer], 1;
ld.shared::cluster.u32 %r1, [%r2];\nbarrier.cluster.arrive.relaxed.aligned;",
        )
    }

    #[test]
    fn the_cluster_barrier_orders_what_was_released() {
        for (arrive, expected) in [(ARRIVE, vec![]), (ARRIVE_RELAXED, vec![Race])] {
            let machine = machine();
            let mut run = machine.launch_clusters(1, 2, 1);
            run.active = 1;
            run.execute((0, 1), STORE);
            run.synchronise_cluster(0, arrive, WAIT);
            run.set32((0, 0), 2, |_| {
                2 * crate::memory::CLUSTER_STRIDE + crate::exec::machine::BUFFER
            });
            run.execute((0, 0), LOAD);
            assert_eq!(run.kinds(), expected);
        }
    }

    #[test]
    fn arrival_and_wait_take_turns() {
        let machine = machine();
        let mut run = machine.launch_clusters(1, 2, 1);
        assert_eq!(run.stop((0, 0), WAIT).kind, Barrier);
        run.execute((0, 0), ARRIVE);
        assert_eq!(run.stop((0, 0), ARRIVE).kind, Barrier);
        run.execute((0, 0), WAIT);
        run.release_barriers(0);
        assert_eq!(
            run.warp(0, 0).state,
            Wait::Cluster,
            "the other warp has not arrived"
        );
        run.execute((0, 1), ARRIVE);
        run.release_barriers(0);
        assert_eq!(run.warp(0, 0).state, Wait::Ready);
    }

    #[test]
    fn a_warp_that_arrived_and_ended_is_not_waited_for_again() {
        let machine = machine();
        let mut run = machine.launch_clusters(1, 2, 1);
        run.execute((0, 1), ARRIVE);
        run.warp(0, 1).state = Wait::Exited;
        for _ in 0..2 {
            run.execute((0, 0), ARRIVE);
            run.execute((0, 0), WAIT);
            run.release_barriers(0);
            assert_eq!(run.warp(0, 0).state, Wait::Ready);
        }
    }
}
