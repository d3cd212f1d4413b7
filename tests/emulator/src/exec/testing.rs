//! Runs the warps of one block in tests, with registers that the test sets and looks at.

use super::cluster::{Resident, Turn};
use super::{Dimensions, Launch, Options, Warp};
use crate::counters::Counters;
use crate::fault::Fault;
use crate::isa::Kernel;
use crate::memory::View;

/// What is left when a cluster has ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Its warps.
    pub warps: Vec<Warp>,
    /// Everything the checks found.
    pub faults: Vec<Fault>,
    /// What it cost.
    pub counters: Counters,
}

/// Runs the first cluster of a launch to its end. `prepare` sets registers before the first instruction.
pub(crate) fn run_cluster(
    kernel: &Kernel,
    memory: &View,
    dimensions: Dimensions,
    parameters: &[u8],
    prepare: impl FnOnce(&mut [Warp]),
) -> Outcome {
    let launch = Launch::new(kernel, memory, dimensions, parameters, Options::default());
    let mut resident = Resident::new(&launch);
    resident.start(0, &launch);
    prepare(&mut resident.warps);
    let mut counters = Counters::default();
    let stopped = loop {
        match resident.turn(&launch, &mut counters) {
            Ok(Turn::Done) => break None,
            Ok(Turn::Moved | Turn::Idle) => {}
            Err(fault) => break Some(*fault),
        }
    };
    let mut faults = resident.cluster.faults;
    faults.extend(stopped);
    Outcome {
        warps: resident.warps,
        faults,
        counters,
    }
}
