//! `cp.async.mbarrier.arrive`: an arrival that follows when the copies of a thread have landed.

use crate::exec::{Cluster, Launch, Origin, SharedPlace, Step, Ticket};
use crate::fault::{FaultKind, Stop};
use crate::isa::Space;

/// An arrival that is to follow copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArrivalAfterCopies {
    place: SharedPlace,
    origin: Origin,
}

impl Step<'_> {
    /// Announces the arrival of a lane at the mbarrier at `address` once its copies have landed. Without `counted`
    /// (`.noinc`), the phase is made to wait for it on top of the arrivals that it expects.
    ///
    /// # Errors
    /// When there is no mbarrier, or too much is pending.
    pub fn announce_arrival(
        &mut self,
        lane: usize,
        address: u64,
        space: Space,
        counted: bool,
    ) -> Result<ArrivalAfterCopies, Stop> {
        let place = self.mbarrier_place(lane, address, space)?;
        let object = self.mbarrier(lane, place)?;
        let announced = if counted {
            Ok(())
        } else {
            object.expect_arrival()
        };
        announced.map_err(|misuse| self.misuse(lane, place, misuse))?;
        self.cluster.effects += 1;
        Ok(ArrivalAfterCopies {
            place,
            origin: self.origin(lane),
        })
    }
}

impl ArrivalAfterCopies {
    /// Arrives: the copies, known as `copies`, have landed. Who waits for the mbarrier sees what they wrote.
    ///
    /// # Errors
    /// When the mbarrier does not live any more, or does not wait for the arrival.
    pub fn arrive(
        &self,
        cluster: &mut Cluster,
        launch: &Launch<'_>,
        copies: Ticket,
    ) -> Result<(), Stop> {
        let done = match cluster.mbarrier(self.place) {
            Some(object) => {
                object.release_agent(copies.agent, copies.tick);
                object.arrive(1).map_err(|misuse| misuse.to_string())
            }
            None => Err("it was ended before the copies landed".into()),
        };
        cluster.effects += 1;
        done.map_err(|what| {
            let message = format!(
                "mbarrier at shared address {:#x}: {what}",
                self.place.offset
            );
            self.origin
                .fault(cluster, launch, FaultKind::Barrier, message)
        })
    }
}
