//! A launch: checks its configuration and spreads its clusters over workers.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock};

use super::cluster::{Resident, Turn};
use super::{Agents, Flags, Printed, Random};
use crate::counters::Counters;
use crate::fault::{Fault, FaultKind, Stop};
use crate::isa::Kernel;
use crate::memory::View;
use crate::race::{AdaptiveShadow, EventLog, Readers, Shadow};

/// Shape of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dimensions {
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads a block.
    pub block: [u32; 3],
    /// Blocks a cluster, from a launch attribute; the kernel's own where `None`.
    pub cluster: Option<[u32; 3]>,
    /// Dynamic shared memory a block, in bytes.
    pub dynamic_shared: u32,
}

/// What the device allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Shared memory a block, in bytes: 48 KiB, or what the function attribute allows.
    pub shared: u32,
}

/// How a launch is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// 0: the default order, blocks spread over `workers`. Else one worker and a random order.
    pub seed: u64,
    /// Threads that run blocks.
    pub workers: usize,
    /// Warp instructions without any effect on others after which the launch hangs.
    pub idle_limit: u64,
    /// Instructions a warp may execute.
    pub instruction_budget: u64,
    /// All blocks are on the device at once, as a cooperative launch promises: they may wait for each other.
    pub cooperative: bool,
    /// Multiprocessors of the device.
    pub multiprocessors: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            seed: 0,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            idle_limit: 1 << 25,
            instruction_budget: 1 << 30,
            cooperative: false,
            multiprocessors: 132,
        }
    }
}

/// What a launch did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Its counters.
    pub counters: Counters,
    /// Everything the checks found, in the order of blocks.
    pub faults: Vec<Fault>,
    /// What `printf` of the kernel printed, in the order of blocks.
    pub printed: String,
}

/// A launch under way: what all its workers share.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The kernel.
    pub kernel: &'a Kernel,
    /// Shape.
    pub dimensions: Dimensions,
    /// Bytes of the parameters.
    pub parameters: &'a [u8],
    /// Global memory.
    pub memory: &'a View,
    /// How it is run.
    pub options: Options,
    /// Every access so far.
    pub log: EventLog,
    /// Sets of accesses.
    pub readers: Readers,
    /// Flags in memory.
    pub flags: Flags,
    /// What its `printf` printed.
    pub printed: Printed,
    shadows: Vec<OnceLock<AdaptiveShadow>>,
    next: AtomicU32,
    stopped: AtomicBool,
}

/// Runs a kernel. `parameters` are the bytes of its parameters as they lie in parameter memory.
pub fn launch(
    kernel: &Kernel,
    memory: &View,
    dimensions: Dimensions,
    parameters: &[u8],
    limits: Limits,
    options: Options,
) -> Report {
    let launch = Launch::new(kernel, memory, dimensions, parameters, options);
    if let Err(fault) = launch.check(limits) {
        return Report {
            counters: Counters::default(),
            faults: vec![*fault],
            printed: String::new(),
        };
    }
    let workers = if options.seed != 0 {
        1
    } else {
        options.workers.clamp(1, launch.clusters() as usize)
    };
    let order = launch.cluster_order();
    let done = Mutex::new((Counters::default(), Vec::new()));
    if workers == 1 {
        launch.work(&order, &done);
    } else {
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| launch.work(&order, &done));
            }
        });
    }
    let (counters, mut faults) = done.into_inner().expect("no worker panicked");
    faults.sort_by_key(|(cluster, _): &(u32, Fault)| *cluster);
    Report {
        counters,
        faults: faults.into_iter().map(|(_, fault)| fault).collect(),
        printed: launch.printed.into_text(),
    }
}

/// Clusters that one worker keeps alive when all of them wait for others: as many blocks as an H100 has multiprocessors, twice.
const RESIDENT: usize = 264;

/// Clusters under way at once in a seeded schedule, until these only wait.
const SEEDED_RESIDENT: usize = 4;

impl<'a> Launch<'a> {
    /// A launch about to begin.
    pub(super) fn new(
        kernel: &'a Kernel,
        memory: &'a View,
        dimensions: Dimensions,
        parameters: &'a [u8],
        options: Options,
    ) -> Self {
        Launch {
            kernel,
            dimensions,
            parameters,
            memory,
            options,
            log: EventLog::default(),
            readers: Readers::default(),
            flags: Flags::default(),
            printed: Printed::default(),
            shadows: std::iter::repeat_with(OnceLock::new)
                .take(memory.len())
                .collect(),
            next: AtomicU32::new(0),
            stopped: AtomicBool::new(false),
        }
    }
}

impl Launch<'_> {
    /// Blocks of a cluster per dimension.
    pub fn cluster(&self) -> [u32; 3] {
        self.dimensions
            .cluster
            .or(self.kernel.cluster)
            .unwrap_or([1; 3])
    }

    /// Blocks of a cluster.
    pub fn cluster_blocks(&self) -> u32 {
        self.cluster().iter().product()
    }

    /// Threads of a block.
    pub fn threads_per_block(&self) -> u32 {
        self.dimensions.block.iter().product()
    }

    /// Warps of a block, a partial one included.
    pub fn warps_per_block(&self) -> u32 {
        self.threads_per_block().div_ceil(32)
    }

    /// The agents of a cluster.
    pub(super) fn agents(&self) -> Agents {
        Agents::new(
            self.cluster_blocks() as usize,
            self.warps_per_block() as usize,
        )
    }

    /// Shared memory of a block: reserved, static and dynamic.
    pub fn shared_bytes(&self) -> u32 {
        self.kernel.static_shared + self.dimensions.dynamic_shared
    }

    /// Race shadow of an allocation, for an access to the bytes `range`.
    #[inline]
    pub fn shadow(&self, allocation: usize, range: Range<usize>) -> &Shadow {
        let shadow = self.shadows[allocation].get_or_init(|| {
            let bytes = self.memory.allocation(allocation).bytes() as usize;
            AdaptiveShadow::new(bytes, self.kernel.footprint.global.max(1))
        });
        shadow.for_range(range)
    }

    /// blockIdx of the block with `rank` in cluster `number`.
    pub(super) fn block_index(&self, number: u32, rank: u32) -> [u32; 3] {
        let shape = self.cluster();
        let clusters: [u32; 3] =
            std::array::from_fn(|axis| self.dimensions.grid[axis] / shape[axis]);
        let cluster = [
            number % clusters[0],
            number / clusters[0] % clusters[1],
            number / clusters[0] / clusters[1],
        ];
        let inner = [
            rank % shape[0],
            rank / shape[0] % shape[1],
            rank / shape[0] / shape[1],
        ];
        std::array::from_fn(|axis| cluster[axis] * shape[axis] + inner[axis])
    }

    /// A fault of this launch: `thread` is the number of the thread in its block.
    #[cold]
    pub fn fault(
        &self,
        kind: FaultKind,
        message: String,
        pc: u32,
        block: [u32; 3],
        thread: u32,
    ) -> Stop {
        let location = &self.kernel.locations[pc as usize];
        let [x, y, _] = self.dimensions.block.map(|side| side.max(1));
        Box::new(Fault {
            kind,
            message,
            kernel: self.kernel.name.clone(),
            source: location.source.clone(),
            ptx_line: location.ptx_line,
            instruction: location.text.clone(),
            block,
            thread: [thread % x, thread / x % y, thread / x / y],
            seed: self.options.seed,
        })
    }

    fn clusters(&self) -> u32 {
        self.dimensions.grid.iter().product::<u32>() / self.cluster_blocks()
    }

    /// A GPU promises no order of blocks: seeded schedules shuffle it.
    fn cluster_order(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.clusters()).collect();
        if self.options.seed != 0 {
            Random::new(self.options.seed, u32::MAX).shuffle(&mut order);
        }
        order
    }

    fn check(&self, limits: Limits) -> Result<(), Stop> {
        let Dimensions { grid, block, .. } = self.dimensions;
        let refuse = |kind, message: String| Err(self.fault(kind, message, 0, [0; 3], 0));
        let threads = block.iter().map(|&side| u64::from(side)).product::<u64>();
        let invalid = FaultKind::InvalidOperand;
        if threads == 0 || threads > 1024 || block[2] > 64 {
            return refuse(
                invalid,
                format!("blocks of {block:?} threads: at least 1 and at most 1024, 64 in z"),
            );
        }
        if grid.contains(&0) || grid[0] > i32::MAX as u32 || grid[1] > 65_535 || grid[2] > 65_535 {
            return refuse(
                invalid,
                format!("a grid of {grid:?} blocks: 1 to 2147483647, 65535 and 65535"),
            );
        }
        if let Some(most) = self.kernel.max_threads {
            let allowed = u64::from(most.iter().product::<u32>());
            if threads > allowed || self.kernel.exact_threads && block != most {
                return refuse(
                    invalid,
                    format!(
                        "blocks of {threads} threads, but the kernel was compiled for at most {allowed} (launch bounds)"
                    ),
                );
            }
        }
        let cluster = self.cluster();
        if cluster.contains(&0)
            || self.cluster_blocks() > 8
            || (0..3).any(|axis| grid[axis] % cluster[axis] != 0)
        {
            return refuse(
                invalid,
                format!(
                    "clusters of {cluster:?} blocks in a grid of {grid:?}: at most 8 blocks, dividing the grid"
                ),
            );
        }
        if self
            .dimensions
            .cluster
            .is_some_and(|shape| self.kernel.cluster.is_some_and(|own| own != shape))
        {
            return refuse(
                invalid,
                format!(
                    "clusters of {cluster:?} blocks asked for, but the kernel was compiled for another shape"
                ),
            );
        }
        if self.shared_bytes() > limits.shared + crate::isa::RESERVED_SHARED {
            let (asked, most) = (
                self.shared_bytes() - crate::isa::RESERVED_SHARED,
                limits.shared,
            );
            return refuse(
                invalid,
                format!(
                    "{asked} bytes of shared memory a block, {most} allowed: set the function attribute MAX_DYNAMIC_SHARED_SIZE_BYTES"
                ),
            );
        }
        if self.parameters.len() != self.kernel.parameter_bytes as usize {
            return refuse(
                invalid,
                format!(
                    "{} bytes of parameters, the kernel takes {}",
                    self.parameters.len(),
                    self.kernel.parameter_bytes
                ),
            );
        }
        Ok(())
    }

    /// One worker: runs clusters until none is left. Where one only waits, it starts another beside it.
    fn work(&self, order: &[u32], done: &Mutex<(Counters, Vec<(u32, Fault)>)>) {
        let mut counters = Counters::default();
        let mut faults = Vec::new();
        let mut running: VecDeque<Resident> = VecDeque::new();
        let mut free: Vec<Resident> = Vec::new();
        let seeded = self.options.seed != 0;
        let mut random = Random::new(self.options.seed, u32::MAX - 1);
        let mut widen = true;
        loop {
            let room = if self.options.cooperative {
                usize::MAX
            } else {
                RESIDENT
            };
            while running.len() < room && (widen || seeded && running.len() < SEEDED_RESIDENT) {
                widen = false;
                let Some(&number) = order.get(self.next.fetch_add(1, Relaxed) as usize) else {
                    break;
                };
                let mut resident = free.pop().unwrap_or_else(|| Resident::new(self));
                resident.start(number, self);
                running.push_back(resident);
            }
            let Some(mut resident) = running.pop_front() else {
                break;
            };
            if self.stopped.load(Relaxed) {
                break;
            }
            match resident.turn(self, &mut counters) {
                Ok(Turn::Done) => {
                    counters.blocks += u64::from(self.cluster_blocks());
                    let number = resident.cluster.number;
                    faults.extend(
                        resident
                            .cluster
                            .faults
                            .drain(..)
                            .map(|fault| (number, fault)),
                    );
                    widen = running.is_empty();
                    free.push(resident);
                }
                Ok(Turn::Moved) if seeded => {
                    let at = random.below(running.len() + 1);
                    running.insert(at, resident);
                }
                Ok(Turn::Moved) => running.push_front(resident),
                Ok(Turn::Idle) => {
                    widen = true;
                    running.push_back(resident);
                }
                Err(fault) => {
                    self.stopped.store(true, Relaxed);
                    let number = resident.cluster.number;
                    faults.extend(
                        resident
                            .cluster
                            .faults
                            .drain(..)
                            .map(|fault| (number, fault)),
                    );
                    faults.push((number, *fault));
                    break;
                }
            }
        }
        for resident in running {
            let number = resident.cluster.number;
            faults.extend(
                resident
                    .cluster
                    .faults
                    .into_iter()
                    .map(|fault| (number, fault)),
            );
        }
        let mut all = done.lock().expect("no worker panicked");
        all.0.add(&counters);
        all.1.extend(faults);
    }
}
