//! Operations on an mbarrier object but the waits: begin and end, arrivals, bytes expected.

use super::access::OBJECT_BYTES;
use super::token::Token;
use crate::exec::{SharedPlace, Step};
use crate::fault::{FaultKind, Stop};
use crate::isa::{Address, Execute, Flow, Footprint, Space};
use crate::memory::ByteState;
use crate::race::Strength;

/// Most mbarriers of a cluster: agents are numbered with 16 bits.
const MBARRIERS_MAX: usize = 1 << 15;

/// What instructions on mbarriers access.
pub(super) const FOOTPRINT: Footprint = Footprint {
    shared: OBJECT_BYTES as u32,
    global: 0,
};

/// The object that an instruction names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub address: Address,
    pub space: Space,
}

/// `mbarrier.init`.
#[derive(Debug)]
pub(super) struct Init {
    pub target: Target,
    pub count: u16,
}

impl Execute for Init {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let addresses = step.addresses(self.target.address);
        for lane in step.lanes() {
            let place = step.mbarrier_place(lane, addresses[lane], self.target.space)?;
            let bytes = place.offset..place.offset + OBJECT_BYTES;
            if step.cluster.mbarrier(place).is_some() {
                let message = format!(
                    "the mbarrier at shared address {:#x} is initialised again without mbarrier.inval before",
                    place.offset
                );
                step.report(FaultKind::Barrier, lane, message);
                step.check_users(lane, place);
                step.cluster.blocks[place.rank]
                    .shared
                    .set_state(bytes.clone(), ByteState::Written);
            }
            step.check_shared_write(lane, lane as u8, place, OBJECT_BYTES, Strength::Plain);
            self.insert(step, lane, place)?;
            step.cluster.blocks[place.rank]
                .shared
                .set_state(bytes, ByteState::Barrier);
        }
        Ok(Flow::Next)
    }

    fn footprint(&self) -> Footprint {
        FOOTPRINT
    }
}

impl Init {
    fn insert(&self, step: &mut Step<'_>, lane: usize, place: SharedPlace) -> Result<(), Stop> {
        let count = step.warp.narrow[self.count as usize][lane];
        let made = step.as_use(lane);
        let cluster = &mut *step.cluster;
        if cluster.mbarriers_made >= MBARRIERS_MAX {
            let message = format!("the cluster has more than {MBARRIERS_MAX} mbarriers");
            return Err(step.fault(FaultKind::Barrier, lane, message));
        }
        let (made_so_far, agents) = (&mut cluster.mbarriers_made, cluster.agents);
        let new_agent = || {
            *made_so_far += 1;
            agents.mbarrier(*made_so_far - 1)
        };
        let inserted =
            cluster.blocks[place.rank]
                .mbarriers
                .insert(place.offset, count, made, new_agent);
        inserted.map_err(|misuse| step.misuse(lane, place, misuse))
    }
}

/// `mbarrier.inval`.
#[derive(Debug)]
pub(super) struct Inval(pub Target);

impl Execute for Inval {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let addresses = step.addresses(self.0.address);
        for lane in step.lanes() {
            let place = step.mbarrier_place(lane, addresses[lane], self.0.space)?;
            step.mbarrier(lane, place)?;
            step.check_users(lane, place);
            let block = &mut step.cluster.blocks[place.rank];
            block.mbarriers.end(place.offset);
            let bytes = place.offset..place.offset + OBJECT_BYTES;
            block.shared.set_state(bytes.clone(), ByteState::Written);
            step.check_shared_write(lane, lane as u8, place, OBJECT_BYTES, Strength::Plain);
            // What the object leaves behind is no value for anybody.
            step.cluster.blocks[place.rank]
                .shared
                .set_state(bytes, ByteState::Unwritten);
        }
        Ok(Flow::Next)
    }

    fn footprint(&self) -> Footprint {
        FOOTPRINT
    }
}

/// How an arrival counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// As it is.
    Plain,
    /// It must not complete the phase.
    NoComplete,
    /// It expects bytes first: the register that holds how many.
    ExpectBytes(u16),
}

/// `mbarrier.arrive` and `mbarrier.arrive_drop`.
///
/// The scopes `.cta` and `.cluster` make no difference: kernels use the default, `.cta`, for arrivals in other blocks too,
/// and hardware lets them.
#[derive(Debug)]
pub(super) struct Arrive {
    pub target: Target,
    /// Where the token goes.
    pub token: Option<u16>,
    /// Arrivals a lane; 1 where absent.
    pub count: Option<u16>,
    pub arrival: Arrival,
    /// `arrive_drop`: the later phases wait for fewer.
    pub drop: bool,
    /// What the warp did before is passed on.
    pub release: bool,
}

impl Execute for Arrive {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let addresses = step.addresses(self.target.address);
        let mut tokens = [0; 32];
        for lane in step.lanes() {
            let place = step.mbarrier_place(lane, addresses[lane], self.target.space)?;
            if self.token.is_some() && place.rank != step.warp.rank {
                let message = "an arrival in another block's mbarrier gives no token".into();
                return Err(step.fault(FaultKind::Barrier, lane, message));
            }
            tokens[lane] = self.arrive(step, lane, place)?.to_bits();
        }
        if let Some(token) = self.token {
            step.warp.set_wide(token, step.active, &tokens);
        }
        step.cluster.effects += 1;
        if self.release {
            step.warp.advance();
        }
        Ok(Flow::Next)
    }

    fn footprint(&self) -> Footprint {
        FOOTPRINT
    }
}

impl Arrive {
    fn arrive(&self, step: &mut Step<'_>, lane: usize, place: SharedPlace) -> Result<Token, Stop> {
        let count = self
            .count
            .map_or(1, |register| step.warp.narrow[register as usize][lane]);
        let bytes = match self.arrival {
            Arrival::ExpectBytes(register) => i64::from(step.warp.narrow[register as usize][lane]),
            Arrival::Plain | Arrival::NoComplete => 0,
        };
        step.mbarrier(lane, place)?;
        let object = step
            .cluster
            .mbarrier(place)
            .expect("the object was found above");
        let token = Token::of(object);
        if self.release {
            object.release(&step.warp.clock, &step.warp.proxy_clock);
        }
        let done = (|| {
            if self.drop {
                object.drop_expected(count)?;
            }
            match self.arrival {
                Arrival::Plain => object.arrive(count),
                Arrival::NoComplete => object.arrive_without_completing(count),
                Arrival::ExpectBytes(_) => {
                    object.expect_bytes(bytes)?;
                    object.arrive(count)
                }
            }
        })();
        done.map_err(|misuse| step.misuse(lane, place, misuse))?;
        Ok(token)
    }
}

/// `mbarrier.expect_tx` and `mbarrier.complete_tx`.
#[derive(Debug)]
pub(super) struct Transactions {
    pub target: Target,
    pub bytes: u16,
    /// The bytes have come, rather than are to come.
    pub complete: bool,
}

impl Execute for Transactions {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let addresses = step.addresses(self.target.address);
        for lane in step.lanes() {
            let place = step.mbarrier_place(lane, addresses[lane], self.target.space)?;
            let bytes = i64::from(step.warp.narrow[self.bytes as usize][lane]);
            let change = if self.complete { -bytes } else { bytes };
            let done = step.mbarrier(lane, place)?.expect_bytes(change);
            done.map_err(|misuse| step.misuse(lane, place, misuse))?;
        }
        step.cluster.effects += 1;
        Ok(Flow::Next)
    }

    fn footprint(&self) -> Footprint {
        FOOTPRINT
    }
}

/// `mbarrier.pending_count`.
#[derive(Debug)]
pub(super) struct PendingCount {
    pub destination: u16,
    pub token: u16,
}

impl Execute for PendingCount {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let tokens = step.warp.wide[self.token as usize];
        let counts = tokens.map(|token| Token::from_bits(token).pending);
        step.warp.set_narrow(self.destination, step.active, &counts);
        Ok(Flow::Next)
    }
}
