//! A cluster of blocks (usually one) and the order in which its warps run.

use std::collections::VecDeque;

use super::{Agents, Asynchronous, Launch, Random, Step, Wait, Warp};
use crate::counters::Counters;
use crate::fault::{Fault, FaultKind, Stop};
use crate::isa::{Constant, Mbarriers, NamedBarrier, Special, Tracking, Warpgroup};
use crate::lanes::lanes;
use crate::memory::SharedMemory;
use crate::race::{Agent, Clock};

/// Named barriers of a block.
const BARRIERS: usize = 16;

/// Instructions that a warp runs before the next has its turn.
const SLICE: u64 = 20_000;

/// Slices of seeded schedules: short ones find more orders.
const SEEDED_SLICES: [u64; 4] = [7, 50, 400, SLICE];

/// One block.
#[derive(Debug)]
pub struct Block {
    /// blockIdx.
    pub index: [u32; 3],
    /// Its shared memory.
    pub shared: SharedMemory,
    /// `bar.sync` and its like.
    pub barriers: [NamedBarrier; BARRIERS],
    /// Its mbarrier objects.
    pub mbarriers: Mbarriers,
    /// State of `wgmma` per warpgroup.
    pub warpgroups: Vec<Warpgroup>,
    /// Warps that have not ended. At 0 the block's shared memory is gone.
    pub live_warps: u32,
}

/// The cluster's barrier.
#[derive(Debug, Default)]
pub struct ClusterBarrier {
    /// Warps that have arrived in this phase.
    pub arrived: usize,
    /// Completed phases.
    pub phase: u64,
    /// What the arrivals of this phase released.
    pub clock: Clock,
    /// The same for the asynchronous proxy.
    pub proxy_clock: Clock,
    /// What the last completed phase released.
    pub completed: (Clock, Clock),
}

/// A cluster.
#[derive(Debug)]
pub struct Cluster {
    /// Number within the grid.
    pub number: u32,
    /// Its blocks by rank.
    pub blocks: Vec<Block>,
    /// Who may access memory.
    pub agents: Agents,
    /// Asynchronous operations under way.
    pub pending: VecDeque<Box<dyn Asynchronous>>,
    /// `barrier.cluster`.
    pub barrier: ClusterBarrier,
    /// Phase of the cluster barrier at which each warp has arrived and not yet waited.
    pub arrivals: Vec<Option<u64>>,
    /// Faults found that let the kernel go on.
    pub faults: Vec<Fault>,
    /// Counts everything that another warp could notice: the watchdog looks at it.
    pub effects: u64,
    /// Places at which an mbarrier was initialised so far: gives each its number.
    pub mbarriers_made: usize,
}

/// A cluster with its warps.
pub(super) struct Resident {
    pub cluster: Cluster,
    pub warps: Vec<Warp>,
    random: Option<Random>,
    order: Vec<usize>,
    /// Instructions since anything that others could notice.
    idle: u64,
    /// Those of them in turns in which all warps only tried barriers of their cluster.
    quiet: u64,
}

/// How a turn of a cluster ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// All its warps have ended.
    Done,
    /// Something moved.
    Moved,
    /// Nothing that others could notice happened.
    Idle,
}

/// Faults kept per cluster: the first ones say it all.
const FAULTS_KEPT: usize = 32;

impl Cluster {
    /// Keeps a fault, once per kind and place.
    pub fn report(&mut self, fault: Fault) {
        let known = self
            .faults
            .iter()
            .any(|known| known.kind == fault.kind && known.ptx_line == fault.ptx_line);
        if !known && self.faults.len() < FAULTS_KEPT {
            self.faults.push(fault);
        }
    }
}

impl Resident {
    /// Memory and warps for clusters of this launch, to be [started](Resident::start) with one after the other.
    pub fn new(launch: &Launch<'_>) -> Self {
        let blocks = launch.cluster_blocks() as usize;
        let warps = launch.warps_per_block() as usize;
        let granule = launch.kernel.footprint.shared.max(1);
        let block = || Block {
            index: [0; 3],
            shared: SharedMemory::new(launch.shared_bytes() as usize, granule),
            barriers: Default::default(),
            mbarriers: Mbarriers::default(),
            warpgroups: Vec::new(),
            live_warps: 0,
        };
        let cluster = Cluster {
            number: 0,
            blocks: std::iter::repeat_with(block).take(blocks).collect(),
            agents: launch.agents(),
            pending: VecDeque::new(),
            barrier: ClusterBarrier::default(),
            arrivals: Vec::new(),
            faults: Vec::new(),
            effects: 0,
            mbarriers_made: 0,
        };
        let warp = || Warp::new(launch.kernel.registers, launch.kernel.local_bytes as usize);
        Resident {
            cluster,
            warps: std::iter::repeat_with(warp).take(blocks * warps).collect(),
            random: None,
            order: Vec::new(),
            idle: 0,
            quiet: 0,
        }
    }

    /// Makes it cluster `number` of the grid, at its first instruction.
    pub fn start(&mut self, number: u32, launch: &Launch<'_>) {
        let cluster = &mut self.cluster;
        cluster.number = number;
        for (rank, block) in cluster.blocks.iter_mut().enumerate() {
            block.index = launch.block_index(number, rank as u32);
            block.shared.reset();
            block.barriers = Default::default();
            block.mbarriers = Mbarriers::default();
            block.live_warps = launch.warps_per_block();
            block.warpgroups.clear();
            block.warpgroups.resize_with(
                launch.warps_per_block().div_ceil(4) as usize,
                Warpgroup::default,
            );
        }
        cluster.barrier = ClusterBarrier::default();
        cluster.arrivals = vec![None; self.warps.len()];
        cluster.mbarriers_made = 0;
        self.random = (launch.options.seed != 0).then(|| Random::new(launch.options.seed, number));
        self.order = (0..self.warps.len()).collect();
        self.idle = 0;
        self.quiet = 0;
        let per_block = launch.warps_per_block() as usize;
        for (index, warp) in self.warps.iter_mut().enumerate() {
            let fresh = (index / per_block, index % per_block);
            start_warp(warp, index, fresh, launch, &cluster.blocks[fresh.0]);
        }
    }

    /// Gives every warp a turn.
    ///
    /// # Errors
    /// A fault after which the kernel cannot go on.
    pub fn turn(&mut self, launch: &Launch<'_>, counters: &mut Counters) -> Result<Turn, Stop> {
        let effects = self.cluster.effects;
        let executed = counters.warp_instructions;
        if let Some(random) = &mut self.random {
            random.shuffle(&mut self.order);
        }
        let mut ran_on = false;
        for at in 0..self.order.len() {
            let index = self.order[at];
            if self.warps[index].state != Wait::Ready {
                continue;
            }
            let mut slice = SLICE;
            if let Some(random) = &mut self.random {
                slice = SEEDED_SLICES[random.below(SEEDED_SLICES.len())];
                if random.below(3) == 0 {
                    continue;
                }
                if random.below(2) == 0 {
                    self.land(launch, counters)?;
                }
            }
            ran_on |= Step::run(
                &mut self.warps[index],
                &mut self.cluster,
                launch,
                counters,
                slice,
            )?;
            self.release_barriers(launch, counters)?;
        }
        if self.warps.iter().all(|warp| warp.state == Wait::Exited) {
            return self.finish(launch, counters).map(|()| Turn::Done);
        }
        if self.cluster.effects != effects {
            self.idle = 0;
            self.quiet = 0;
            return Ok(Turn::Moved);
        }
        // Asynchronous operations land as late as possible: when nothing else moves.
        if self.land(launch, counters)? {
            return Ok(Turn::Moved);
        }
        let all_blocked = self.warps.iter().all(|warp| warp.state != Wait::Ready);
        let executed = (counters.warp_instructions - executed).max(1);
        self.idle += executed;
        // A warp that ran on waits for something that is no barrier of its cluster, perhaps for another cluster. In a random
        // order not every warp has its turn, so one quiet turn alone says nothing.
        self.quiet = if ran_on { 0 } else { self.quiet + executed };
        if all_blocked || self.quiet > QUIET || self.idle > launch.options.idle_limit {
            return Err(self.hang(launch, all_blocked));
        }
        Ok(Turn::Idle)
    }

    /// Lands one asynchronous operation: the oldest, or with a seed any.
    pub(super) fn land(
        &mut self,
        launch: &Launch<'_>,
        counters: &mut Counters,
    ) -> Result<bool, Stop> {
        if self.cluster.pending.is_empty() {
            return Ok(false);
        }
        let at = self
            .random
            .as_mut()
            .map_or(0, |random| random.below(self.cluster.pending.len()));
        let operation = self
            .cluster
            .pending
            .remove(at)
            .expect("the index is in range");
        self.cluster.effects += 1;
        operation.complete(&mut self.cluster, launch, counters)?;
        Ok(true)
    }

    /// Lets warps go on whose barrier is complete.
    pub fn release_barriers(
        &mut self,
        launch: &Launch<'_>,
        counters: &mut Counters,
    ) -> Result<(), Stop> {
        crate::isa::release_barriers(&mut self.warps, &mut self.cluster, launch, counters)
    }

    /// The checks at a cluster's end. What only has to reach global memory still does.
    pub(super) fn finish(
        &mut self,
        launch: &Launch<'_>,
        counters: &mut Counters,
    ) -> Result<(), Stop> {
        while let Some(operation) = self.cluster.pending.pop_front() {
            if operation.outlives_blocks() {
                operation.complete(&mut self.cluster, launch, counters)?;
                continue;
            }
            let message = "the block ended while this asynchronous copy was under way: wait for it before the end".into();
            return Err(match operation.origin() {
                Some(origin) => {
                    origin.fault(&self.cluster, launch, FaultKind::Asynchronous, message)
                }
                None => self.fault(FaultKind::Asynchronous, 0, message, launch),
            });
        }
        crate::isa::left_over(&self.cluster, launch)
    }

    #[cold]
    fn hang(&self, launch: &Launch<'_>, all_blocked: bool) -> Stop {
        let places: Vec<String> = (self.warps.iter())
            .filter(|warp| warp.state != Wait::Exited)
            .take(8)
            .map(|warp| {
                let place = &launch.kernel.locations[whereabouts(warp, launch)];
                format!(
                    "warp {} of block {:?} at {} `{}` ({:?})",
                    warp.warp_in_block,
                    self.cluster.blocks[warp.rank].index,
                    place.source,
                    place.text,
                    warp.state
                )
            })
            .collect();
        let what = if all_blocked {
            "deadlock: every warp waits"
        } else {
            "no warp makes progress"
        };
        let stuck = self
            .warps
            .iter()
            .position(|warp| warp.state != Wait::Exited)
            .unwrap_or(0);
        self.fault(
            FaultKind::Hang,
            stuck,
            format!("{what}: {}", places.join("; ")),
            launch,
        )
    }

    fn fault(&self, kind: FaultKind, warp: usize, message: String, launch: &Launch<'_>) -> Stop {
        let warp = &self.warps[warp];
        let at = whereabouts(warp, launch);
        let lane = lanes(warp.live.max(1)).next().unwrap_or(0);
        launch.fault(
            kind,
            message,
            at as u32,
            self.cluster.blocks[warp.rank].index,
            warp.warp_in_block * 32 + lane as u32,
        )
    }
}

/// The instruction that a warp waits at, or is about to execute; of one that has ended the end.
fn whereabouts(warp: &Warp, launch: &Launch<'_>) -> usize {
    match (warp.state, warp.splits.first()) {
        (Wait::Ready, Some(split)) => split.pc as usize,
        // A warp that waits is past the instruction already.
        (_, Some(split)) => split.pc.saturating_sub(1) as usize,
        (_, None) => launch.kernel.code.len() - 1,
    }
}

/// Instructions after which a cluster whose warps only try barriers is stuck: every warp has tried many times.
const QUIET: u64 = 4096;

fn start_warp(
    warp: &mut Warp,
    index: usize,
    (rank, in_block): (usize, usize),
    launch: &Launch<'_>,
    block: &Block,
) {
    let threads = launch.threads_per_block();
    let first = in_block as u32 * 32;
    let live = if threads - first >= 32 {
        u32::MAX
    } else {
        (1 << (threads - first)) - 1
    };
    let mut fresh = Warp::new([0; 3], 0);
    std::mem::swap(&mut fresh.narrow, &mut warp.narrow);
    std::mem::swap(&mut fresh.wide, &mut warp.wide);
    std::mem::swap(&mut fresh.predicates, &mut warp.predicates);
    if launch.kernel.local_bytes > 0 {
        fresh.local = crate::memory::LocalMemory::new(launch.kernel.local_bytes as usize);
    }
    *warp = fresh;
    warp.live = live;
    warp.splits.push(super::Split::at(0, live));
    warp.state = Wait::Ready;
    warp.index = index;
    warp.rank = rank;
    warp.warp_in_block = in_block as u32;
    warp.agent = index as Agent;
    warp.clock.advance(warp.agent, 1);
    warp.landed.agent = launch.agents().copies(index);
    warp.budget = launch.options.instruction_budget;
    warp.undefined = launch.kernel.tracking.as_ref().map(Tracking::start);
    for &(register, constant) in &launch.kernel.constants32 {
        warp.narrow[register as usize] = match constant {
            Constant::Value(value) => [value as u32; 32],
            Constant::Special(special) => std::array::from_fn(|lane| {
                special_value(special, first + lane as u32, rank as u32, launch, block)
            }),
        };
    }
    for &(register, constant) in &launch.kernel.constants64 {
        if let Constant::Value(value) = constant {
            warp.wide[register as usize] = [value; 32];
        }
    }
}

fn special_value(
    special: Special,
    thread: u32,
    rank: u32,
    launch: &Launch<'_>,
    block: &Block,
) -> u32 {
    let [x, y, z] = launch.dimensions.block;
    let lane = thread % 32;
    let cluster = launch.cluster();
    let axis = |values: [u32; 3], dimension: u8| values[dimension as usize];
    let by_cluster = |values: [u32; 3]| std::array::from_fn(|axis| values[axis] / cluster[axis]);
    match special {
        Special::Thread(dimension) => axis(
            [thread % x, thread / x % y, thread / x / y % z.max(1)],
            dimension,
        ),
        Special::Threads(dimension) => axis([x, y, z], dimension),
        Special::Block(dimension) => axis(block.index, dimension),
        Special::Blocks(dimension) => axis(launch.dimensions.grid, dimension),
        Special::Lane => lane,
        Special::Warp => thread / 32,
        Special::Warps => launch.warps_per_block(),
        Special::Multiprocessor => 0,
        Special::Multiprocessors => launch.options.multiprocessors,
        Special::LanesBelow => (1 << lane) - 1,
        Special::LanesUpTo => u32::MAX >> (31 - lane),
        Special::LanesAbove => !(u32::MAX >> (31 - lane)),
        Special::LanesFrom => u32::MAX << lane,
        Special::LaneMask => 1 << lane,
        Special::Cluster(dimension) => axis(by_cluster(block.index), dimension),
        Special::Clusters(dimension) => axis(by_cluster(launch.dimensions.grid), dimension),
        Special::BlockInCluster(dimension) => axis(
            std::array::from_fn(|axis| block.index[axis] % cluster[axis]),
            dimension,
        ),
        Special::BlocksInCluster(dimension) => axis(cluster, dimension),
        Special::RankInCluster => rank,
        Special::RanksInCluster => launch.cluster_blocks(),
        Special::DynamicShared => launch.dimensions.dynamic_shared,
        Special::TotalShared => launch.shared_bytes(),
    }
}
