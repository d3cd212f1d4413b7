//! How instructions find an mbarrier object, and the order they must be in.
//!
//! Operations on an object are atomic and never race with each other. Its initialisation and its end are ordinary writes:
//! everything else must be ordered after the one and before the other.

use super::object::{Mbarrier, Misuse, Use};
use crate::exec::{Cluster, SharedPlace, Step};
use crate::fault::{FaultKind, Stop};
use crate::isa::Space;
use crate::memory::{SHARED_WINDOW, WINDOW_BYTES};

/// Bytes of an object.
pub(super) const OBJECT_BYTES: usize = 8;

impl Cluster {
    /// The live mbarrier object at a place.
    pub(in crate::isa) fn mbarrier(&mut self, place: SharedPlace) -> Option<&mut Mbarrier> {
        self.blocks[place.rank].mbarriers.get_mut(place.offset)
    }
}

impl Step<'_> {
    /// Resolves an address operand that must point into shared memory, in the block or its cluster.
    pub(in crate::isa) fn shared_operand(
        &self,
        lane: usize,
        address: u64,
        space: Space,
        bytes: usize,
        align: usize,
    ) -> Result<SharedPlace, Stop> {
        let offset = match space {
            Space::Shared | Space::Cluster => address,
            _ => address.wrapping_sub(SHARED_WINDOW),
        };
        if offset >= WINDOW_BYTES {
            let message = format!("address {address:#x} does not point into shared memory");
            return Err(self.fault(FaultKind::InvalidOperand, lane, message));
        }
        self.shared_place(lane, offset, bytes, align)
    }

    /// The place of the mbarrier object at an address.
    pub(in crate::isa) fn mbarrier_place(
        &self,
        lane: usize,
        address: u64,
        space: Space,
    ) -> Result<SharedPlace, Stop> {
        self.shared_operand(lane, address, space, OBJECT_BYTES, OBJECT_BYTES)
    }

    /// This instruction as an operation of a lane on an object.
    pub(super) fn as_use(&self, lane: usize) -> Use {
        Use {
            agent: self.warp.agent,
            tick: self.warp.tick(),
            lane: lane as u8,
            pc: self.pc,
        }
    }

    /// The live object at a place, for an operation of this instruction: checks that the initialisation happened before.
    ///
    /// # Errors
    /// When there is no object.
    pub(in crate::isa) fn mbarrier(
        &mut self,
        lane: usize,
        place: SharedPlace,
    ) -> Result<&mut Mbarrier, Stop> {
        let by = self.as_use(lane);
        let Some(object) = self.cluster.mbarrier(place) else {
            return Err(self.no_mbarrier(lane, place));
        };
        let made = object.made();
        object.note(by);
        let same_warp = made.agent == by.agent;
        let ordered = match same_warp {
            true => made.lane == by.lane || made.tick < by.tick,
            false => self.warp.clock.get(made.agent) >= made.tick,
        };
        if !ordered {
            self.unordered(
                lane,
                place,
                made,
                "was initialised",
                "before this use of it",
            );
        }
        Ok(self
            .cluster
            .mbarrier(place)
            .expect("the object was found above"))
    }

    /// Reports operations of other warps that are not ordered before this one, which ends or replaces the object.
    pub(super) fn check_users(&mut self, lane: usize, place: SharedPlace) {
        let Some(object) = self.cluster.mbarrier(place) else {
            return;
        };
        let known = |user: &Use| {
            user.agent == self.warp.agent || self.warp.clock.get(user.agent) >= user.tick
        };
        if let Some(user) = object.users().iter().find(|user| !known(user)).copied() {
            self.unordered(lane, place, user, "was used", "before its end here");
        }
    }

    /// Turns misuse of an object into a fault.
    #[cold]
    pub(super) fn misuse(&self, lane: usize, place: SharedPlace, misuse: Misuse) -> Stop {
        let message = format!("mbarrier at shared address {:#x}: {misuse}", place.offset);
        self.fault(FaultKind::Barrier, lane, message)
    }

    #[cold]
    fn no_mbarrier(&self, lane: usize, place: SharedPlace) -> Stop {
        let message = format!(
            "no mbarrier lives at shared address {:#x} of block {} of the cluster: mbarrier.init is missing, or mbarrier.inval ended it",
            place.offset, place.rank
        );
        self.fault(FaultKind::Barrier, lane, message)
    }

    #[cold]
    fn unordered(&mut self, lane: usize, place: SharedPlace, other: Use, what: &str, when: &str) {
        let location = &self.launch.kernel.locations[other.pc as usize];
        let remedy = if other.agent == self.warp.agent {
            "__syncwarp"
        } else {
            "a barrier between"
        };
        let message = format!(
            "mbarrier at shared address {:#x} {what} at {} `{}`, with nothing to order that {when}: {remedy} is missing",
            place.offset, location.source, location.text
        );
        self.report(FaultKind::Race, lane, message);
    }
}
