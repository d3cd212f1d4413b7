//! `mbarrier.test_wait` and `mbarrier.try_wait`.

use super::operations::{FOOTPRINT, Target};
use super::token::Token;
use crate::exec::{SharedPlace, Step};
use crate::fault::{FaultKind, Stop};
use crate::isa::{Execute, Flow, Footprint};

/// Which phase is waited for: a register that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its parity.
    Parity(u16),
    /// The token of an arrival in it.
    Token(u16),
}

/// `mbarrier.test_wait` and `mbarrier.try_wait`: asks whether a phase is complete. A warp that is told no gives way.
#[derive(Debug)]
pub(super) struct Wait {
    pub target: Target,
    pub predicate: u16,
    pub phase: Phase,
    /// What the arrivals released is acquired.
    pub acquire: bool,
}

impl Execute for Wait {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let addresses = step.addresses(self.target.address);
        let mut done = 0;
        // Usually all lanes wait for one phase of one object, and most often in vain: the answer for one is that for all.
        let mut last = None;
        for lane in step.lanes() {
            let question = (addresses[lane], self.phase.value(step, lane));
            let complete = match last {
                Some((asked, complete)) if asked == question => complete,
                _ => self.ask(step, lane, addresses[lane])?,
            };
            last = Some((question, complete));
            done |= u32::from(complete) << lane;
        }
        step.warp.set_predicate(self.predicate, step.active, done);
        Ok(if done == step.active {
            Flow::Next
        } else {
            Flow::Yield
        })
    }

    fn footprint(&self) -> Footprint {
        FOOTPRINT
    }
}

impl Phase {
    /// The parity or token of a lane.
    fn value(self, step: &Step<'_>, lane: usize) -> u64 {
        match self {
            Phase::Parity(register) => u64::from(step.warp.narrow[register as usize][lane]),
            Phase::Token(register) => step.warp.wide[register as usize][lane],
        }
    }
}

impl Wait {
    /// Whether the phase that a lane waits for is complete; if so, what it released is acquired.
    fn ask(&self, step: &mut Step<'_>, lane: usize, address: u64) -> Result<bool, Stop> {
        let place = step.mbarrier_place(lane, address, self.target.space)?;
        if place.rank != step.warp.rank {
            let message =
                "a wait for the mbarrier of another block: only the own block's can be waited for";
            return Err(step.fault(FaultKind::Barrier, lane, message.into()));
        }
        step.mbarrier(lane, place)?;
        let value = self.phase.value(step, lane);
        let complete = match self.phase {
            Phase::Parity(_) => parity_complete(step, lane, place, value)?,
            Phase::Token(_) => token_complete(step, lane, place, value)?,
        };
        if complete {
            self.acquire(step, place);
        }
        Ok(complete)
    }

    fn acquire(&self, step: &mut Step<'_>, place: SharedPlace) {
        let agent = step.warp.agent;
        let object = step
            .cluster
            .mbarrier(place)
            .expect("the object was found before");
        object.saw(agent);
        if self.acquire {
            let completed = object.completed();
            step.warp.clock.join(&completed.clock);
            step.warp.proxy_clock.join(&completed.proxy_clock);
            if step.warp.landed.any() {
                // What lanes know of their own copies may now be known to all, as with `cp.async.mbarrier.arrive`.
                step.warp.advance();
            }
        }
    }
}

fn parity_complete(
    step: &mut Step<'_>,
    lane: usize,
    place: SharedPlace,
    parity: u64,
) -> Result<bool, Stop> {
    if parity > 1 {
        let message = format!("a wait for a phase of parity {parity}: 0 or 1");
        return Err(step.fault(FaultKind::InvalidOperand, lane, message));
    }
    let agent = step.warp.agent;
    let object = step
        .cluster
        .mbarrier(place)
        .expect("the object was found before");
    if object.phase() & 1 != parity {
        return Ok(true);
    }
    if !object.knows_last(agent, &step.warp.clock) {
        let phase = object.phase();
        let message = format!(
            "mbarrier at shared address {:#x}: the wait for parity {parity} blocks in phase {phase}, but nothing told this \
             warp that phase {} is complete: it lags behind, and the phase that it means has passed",
            place.offset,
            phase - 1
        );
        step.report(FaultKind::Barrier, lane, message);
    }
    Ok(false)
}

fn token_complete(
    step: &mut Step<'_>,
    lane: usize,
    place: SharedPlace,
    token: u64,
) -> Result<bool, Stop> {
    let token = Token::from_bits(token);
    let now = Token::of(
        step.cluster
            .mbarrier(place)
            .expect("the object was found before"),
    );
    let what = if token.object != now.object {
        "is of another mbarrier"
    } else if token.phase == now.phase {
        return Ok(false);
    } else if token.phase + 1 == now.phase {
        return Ok(true);
    } else {
        "is older than the last phase"
    };
    let message = format!(
        "mbarrier at shared address {:#x}: the state token {what}",
        place.offset
    );
    Err(step.fault(FaultKind::Barrier, lane, message))
}
