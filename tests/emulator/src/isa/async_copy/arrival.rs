//! `cp.async.mbarrier.arrive`: the copies that a thread has issued so far arrive at an mbarrier when they have landed.
//!
//! From then on they land at any moment, not only when they are waited for.

use super::queue::Transfer;
use crate::counters::Counters;
use crate::exec::{Asynchronous, Cluster, Launch, Origin, Step, Ticket};
use crate::fault::Stop;
use crate::isa::decoder::space;
use crate::isa::mbarrier::ArrivalAfterCopies;
use crate::isa::{Address, DecodeError, Decoder, Execute, Flow, Footprint, Space};
use crate::ptx::Instruction;

/// Decodes `cp.async.mbarrier.arrive`.
///
/// # Errors
/// For forms that do not exist.
pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    if instruction.part(3) != "arrive" || instruction.kind() != "b64" {
        return Err(DecodeError::unsupported());
    }
    Ok(Box::new(Arrive {
        address: decoder.address(instruction.operand(0)?)?,
        space: space(instruction),
        counted: instruction.has("noinc"),
    }))
}

/// `cp.async.mbarrier.arrive`.
#[derive(Debug)]
struct Arrive {
    address: Address,
    space: Space,
    /// `.noinc`: the arrivals are among those that the mbarrier expects.
    counted: bool,
}

/// Copies that arrive at mbarriers, under way.
#[derive(Debug)]
struct Copies {
    ticket: Ticket,
    origin: Origin,
    transfers: Vec<Transfer>,
    arrivals: Vec<ArrivalAfterCopies>,
}

impl Execute for Arrive {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let addresses = step.addresses(self.address);
        let mut arrivals = Vec::new();
        for lane in step.lanes() {
            arrivals.push(step.announce_arrival(
                lane,
                addresses[lane],
                self.space,
                self.counted,
            )?);
        }
        let (transfers, tick) = step.warp.copies.hand_over(step.active);
        let ticket = Ticket {
            agent: step.cluster.agents.copies(step.warp.index),
            tick,
        };
        let origin = step.origin(step.active.trailing_zeros() as usize);
        step.cluster.pending.push_back(Box::new(Copies {
            ticket,
            origin,
            transfers,
            arrivals,
        }));
        Ok(Flow::Next)
    }

    fn footprint(&self) -> Footprint {
        Footprint {
            shared: 8,
            global: 0,
        }
    }
}

impl Asynchronous for Copies {
    fn complete(
        self: Box<Self>,
        cluster: &mut Cluster,
        launch: &Launch<'_>,
        _counters: &mut Counters,
    ) -> Result<(), Stop> {
        for transfer in &self.transfers {
            transfer.land(cluster, launch, transfer.targets.lanes);
        }
        self.arrivals
            .iter()
            .try_for_each(|arrival| arrival.arrive(cluster, launch, self.ticket))
    }

    fn origin(&self) -> Option<Origin> {
        Some(self.origin)
    }

    fn ticket(&self) -> Option<Ticket> {
        Some(self.ticket)
    }
}

impl Step<'_> {
    /// Lands the copies that the warp has handed to mbarriers: a wait for copies waits for them too.
    ///
    /// # Errors
    /// When an mbarrier does not wait for the arrival.
    pub(super) fn land_handed_over(&mut self) -> Result<(), Stop> {
        let agent = self.cluster.agents.copies(self.warp.index);
        let last = self.warp.copies.handed_over();
        while let Some(copies) = self.cluster.take_pending(|ticket| ticket.agent == agent) {
            copies.complete(self.cluster, self.launch, self.counters)?;
        }
        self.warp.clock.advance(agent, last);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::exec::machine::{BUFFER, Launched, Machine};
    use crate::fault::FaultKind::*;
    use crate::isa::Flow;

    const FIRST: (usize, usize) = (0, 0);
    const SECOND: (usize, usize) = (0, 1);

    const INIT: u32 = 0;
    const COPY: u32 = 1;
    const ARRIVE: u32 = 2;
    const WAIT: u32 = 3;
    const READ: u32 = 4;
    const WAIT_ALL: u32 = 5;

    /// A machine whose copies arrive at the mbarrier behind the first KiB of the buffer.
    fn machine(arrive: &str) -> (Machine, u64) {
        let mut machine = Machine::new(&format!(
            "mbarrier.init.shared.b64 [buffer+1024], %r2;
cp.async.cg.shared.global [%r1], [%rd1], 16;
{arrive} [buffer+1024];
mbarrier.try_wait.parity.shared.b64 %p1, [buffer+1024], 0;
ld.shared.v4.u32 {{%r10, %r11, %r12, %r13}}, [%r1];
cp.async.wait_all;"
        ));
        let base = machine.upload(&[7; 512]);
        (machine, base)
    }

    /// The first warp has made an mbarrier for `count` arrivals, and issued a copy in every lane that arrives at it.
    fn arriving(machine: &Machine, base: u64, count: u32) -> Launched<'_> {
        let mut run = machine.launch(1, 2);
        run.set32(FIRST, 2, |_| count);
        run.active = 1;
        run.execute(FIRST, INIT);
        run.active = u32::MAX;
        run.synchronise(0);
        for warp in [FIRST, SECOND] {
            run.set32(warp, 1, |lane| BUFFER + 16 * lane);
            run.set64(warp, 1, |lane| base + 16 * lane);
        }
        run.execute(FIRST, COPY);
        run.execute(FIRST, ARRIVE);
        run
    }

    fn waited(run: &mut Launched<'_>, warp: (usize, usize)) -> bool {
        run.try_execute(warp, WAIT) == Ok(Flow::Next)
    }

    #[test]
    fn the_phase_waits_for_the_copies() {
        let (machine, base) = machine("cp.async.mbarrier.arrive.noinc.shared::cta.b64");
        let mut run = arriving(&machine, base, 32);
        assert!(!waited(&mut run, SECOND));
        run.execute(SECOND, READ);
        assert_eq!(run.kinds(), [Asynchronous]);
        run.land(0);
        assert!(waited(&mut run, SECOND));
        run.execute(SECOND, READ);
        assert_eq!(run.warp(0, 1).narrow[10], [0x0707_0707; 32]);
        assert_eq!(run.kinds(), []);
        run.execute(FIRST, READ);
        assert_eq!(run.kinds(), [Race], "the issuer itself has not waited");
    }

    #[test]
    fn arrivals_that_are_not_counted_are_added() {
        let (machine, base) = machine("cp.async.mbarrier.arrive.shared.b64");
        let mut run = arriving(&machine, base, 1);
        run.land(0);
        assert!(
            !waited(&mut run, SECOND),
            "the one arrival that the mbarrier expects is not theirs"
        );
        assert_eq!(run.kinds(), []);
    }

    #[test]
    fn a_wait_for_copies_lands_them_too() {
        let (machine, base) = machine("cp.async.mbarrier.arrive.noinc.shared.b64");
        for landed in [false, true] {
            let mut run = arriving(&machine, base, 32);
            if landed {
                run.land(0);
            }
            run.execute(FIRST, WAIT_ALL);
            run.execute(FIRST, READ);
            assert!(waited(&mut run, SECOND));
            assert_eq!(run.kinds(), []);
        }
    }

    #[test]
    fn unknown_forms_are_refused() {
        assert!(
            Machine::error("cp.async.mbarrier.frob.shared.b64 [%r1];").contains("does not know")
        );
    }
}
