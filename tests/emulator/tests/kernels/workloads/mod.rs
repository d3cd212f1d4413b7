//! Representative kernels with inputs and the results that plain Rust computes.

mod dense;
mod handovers;
mod hopper;
mod scans;

pub use dense::{attention, gemm_f16, gemm_wmma, layer_norm};
pub use handovers::{
    bulk_sum, early_exit, exchange, lock, mbarrier_ring, named_barriers, remote_arrival,
    shared_flag,
};
pub use hopper::{gemm_multicast, gemm_wgmma};
pub use scans::{bitonic_sort, compact, reduce_grid_barrier, reduce_last_block, topk};

use crate::harness::{Case, Run, SEEDS};

/// Says what is wrong with the results of a run.
type Verify = dyn Fn(&Run) -> Result<(), String> + Send + Sync;

/// A launch and what is wrong with its results.
pub struct Workload {
    /// The launch.
    pub case: Case,
    verify: Box<Verify>,
}

impl Workload {
    fn new(
        case: Case,
        verify: impl Fn(&Run) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Workload {
            case,
            verify: Box::new(verify),
        }
    }

    /// What is wrong with the results of a run.
    pub fn verify(&self, run: &Run) -> Result<(), String> {
        (self.verify)(run)
    }

    /// No schedule may draw a report, and in all of them the results are right. Gives the first run.
    pub fn check(&self) -> Run {
        let runs = SEEDS.map(|seed| {
            let run = self.case.run(seed);
            assert!(
                run.report.faults.is_empty(),
                "schedule {seed}:\n{}",
                run.faults()
            );
            self.verify(&run)
                .unwrap_or_else(|wrong| panic!("schedule {seed}: {wrong}"));
            run
        });
        runs.reduce(|first, _| first).expect("there are schedules")
    }
}
