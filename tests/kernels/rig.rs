//! A GPU, real or stand-in, and what the stand-in saw.

use std::sync::{Mutex, MutexGuard, PoisonError};

use lexpeak::cuda::Gpu;
use standin::client::{Launch, Standin};

/// Schedules that every kernel runs under: the default order and random ones.
pub const SCHEDULES: std::ops::Range<u64> = 0..4;

/// One test at a time: schedules are chosen for the whole process.
static TURN: Mutex<()> = Mutex::new(());

/// A GPU for one test.
pub struct Rig {
    pub gpu: Gpu,
    pub standin: Option<&'static Standin>,
    _turn: MutexGuard<'static, ()>,
}

impl Rig {
    pub fn new() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let standin = Standin::load().expect("a GPU or the stand-in");
        if let Some(standin) = standin {
            standin.reset();
        }
        let gpu = Gpu::new(0).expect("there is a device");
        Self {
            gpu,
            standin,
            _turn: turn,
        }
    }

    /// Runs `work` under every schedule (once on a real GPU) and asserts that nothing is wrong with it.
    pub fn under_all_schedules(&self, mut work: impl FnMut()) {
        let Some(standin) = self.standin else {
            return work();
        };
        for seed in SCHEDULES {
            standin.set_seed(seed);
            work();
            self.gpu.synchronize().expect("the work succeeds");
            let faults = standin.faults();
            assert!(faults.is_empty(), "schedule {seed}: {faults:#?}");
        }
        standin.set_seed(0);
    }

    /// Asserts that nothing was wrong with what ran so far.
    pub fn assert_sound(&self) {
        self.gpu.synchronize().expect("the work succeeds");
        if let Some(standin) = self.standin {
            let faults = standin.faults();
            assert!(faults.is_empty(), "{faults:#?}");
        }
    }

    /// The last launch, with its counters; `None` on a real GPU.
    pub fn last_launch(&self) -> Option<Launch> {
        self.gpu.synchronize().expect("the work succeeds");
        let launches = self.standin?.launches();
        Some(
            launches
                .into_iter()
                .next_back()
                .expect("something was launched"),
        )
    }
}

/// What every row kernel keeps: full sectors, no bank conflict, no atomics, nothing spilled.
pub fn assert_clean_traffic(launch: &Launch) {
    let counters = launch.record.counters;
    assert_eq!(counters.global_load_bytes % 32, 0, "{counters:?}");
    assert_eq!(
        counters.shared_waves, counters.shared_ideal_waves,
        "{counters:?}"
    );
    assert_eq!(
        counters.global_atomics + counters.shared_atomics + counters.local_bytes,
        0,
        "{counters:?}"
    );
}
