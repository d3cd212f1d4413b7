//! One warp: registers, divergence, clocks.

use super::Scope;
use crate::isa::{BulkQueue, CopyQueue, Lanes, Reduction, Undefined};
use crate::lanes::lanes;
use crate::memory::{Hint, LocalMemory};
use crate::race::{Agent, Cache, Clock, EventId, Landed, Strength};

/// Lanes that are at one place of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Next instruction.
    pub pc: u32,
    /// Which lanes.
    pub lanes: u32,
    /// Waits at a collective instruction for other lanes.
    pub parked: bool,
    /// Had its turn and only waited: the other lanes of the warp come first now, for one may be what it waits for.
    pub tired: bool,
}

impl Split {
    /// Lanes that go on at a place.
    pub fn at(pc: u32, lanes: u32) -> Self {
        Split {
            pc,
            lanes,
            parked: false,
            tired: false,
        }
    }
}

/// What a warp waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Nothing: it can run.
    Ready,
    /// A named barrier of its block.
    Barrier(u8),
    /// The cluster's barrier.
    Cluster,
    /// It has ended.
    Exited,
}

/// A warp.
#[derive(Debug)]
pub struct Warp {
    /// 32-bit registers, one value a lane.
    pub narrow: Vec<Lanes<u32>>,
    /// 64-bit registers, one value a lane.
    pub wide: Vec<Lanes<u64>>,
    /// Predicate registers, one bit a lane.
    pub predicates: Vec<u32>,
    /// Carry or borrow of the extended-precision instructions (`add.cc` and its like), one bit a lane.
    pub carry: u32,
    /// Where the lanes are. Every live lane is in exactly one split.
    pub splits: Vec<Split>,
    /// Lanes that have not ended.
    pub live: u32,
    /// What it waits for.
    pub state: Wait,
    /// Index within the cluster.
    pub index: usize,
    /// Rank of its block within the cluster.
    pub rank: usize,
    /// Index within its block.
    pub warp_in_block: u32,
    /// Local memory.
    pub local: LocalMemory,
    /// `cp.async` copies under way.
    pub copies: CopyQueue,
    /// Those of them that lanes have waited for since the warp's last synchronisation.
    pub landed: Landed,
    /// Bulk copies under way that are tracked by groups.
    pub bulk: BulkQueue,
    /// The agent that the warp is, equal to `index`.
    pub agent: Agent,
    /// What happened before the warp's next access.
    pub clock: Clock,
    /// The part of it that the asynchronous proxy sees: up to the last `fence.proxy.async` on the way.
    pub proxy_clock: Clock,
    /// What the last fence released, and how far it reaches: published by the next strong store.
    pub released: Option<(Scope, Clock)>,
    /// What strong loads have heard: acquired by the next fence.
    pub heard: Option<Clock>,
    /// Result that a barrier with reduction delivers when it completes.
    pub reduction: Option<Reduction>,
    /// Lanes in which registers hold nothing yet, for kernels where that can matter.
    pub undefined: Option<Undefined>,
    /// Race cache for shared memory.
    pub shared_cache: Cache,
    /// Race cache for global memory.
    pub global_cache: Cache,
    /// Allocation found last.
    pub hint: Hint,
    /// Instructions left before the watchdog ends the launch.
    pub budget: u64,
    events: Vec<KnownEvent>,
}

/// An event that the warp has recorded already.
#[derive(Clone, Copy, Debug, Default)]
struct KnownEvent {
    pc: u32,
    tick: u32,
    strength: u8,
    id: EventId,
}

/// Known events are found by the low bits of the program counter.
const KNOWN_EVENTS: usize = 64;

impl Warp {
    /// A warp of a block: all of `live` at the first instruction. Registers are sized but hold poison.
    pub fn new(registers: [usize; 3], local_bytes: usize) -> Self {
        let [predicates, narrow, wide] = registers;
        Warp {
            narrow: vec![[u32::MAX; 32]; narrow],
            wide: vec![[u64::MAX; 32]; wide],
            predicates: vec![0; predicates],
            carry: 0,
            splits: Vec::with_capacity(4),
            live: 0,
            state: Wait::Exited,
            index: 0,
            rank: 0,
            warp_in_block: 0,
            local: LocalMemory::new(local_bytes),
            copies: CopyQueue::default(),
            landed: Landed::NONE,
            bulk: BulkQueue::default(),
            agent: 0,
            clock: Clock::default(),
            proxy_clock: Clock::default(),
            released: None,
            heard: None,
            reduction: None,
            undefined: None,
            shared_cache: Cache::default(),
            global_cache: Cache::default(),
            hint: Hint::default(),
            budget: 0,
            events: vec![KnownEvent::default(); KNOWN_EVENTS],
        }
    }

    /// The warp's own clock.
    pub fn tick(&self) -> u32 {
        self.clock.get(self.agent)
    }

    /// Begins a new moment: what was done before is apart from what comes.
    pub fn advance(&mut self) {
        let next = self.tick() + 1;
        self.clock.advance(self.agent, next);
        self.landed.since = Landed::NONE.since;
    }

    /// The id under which an access of this instruction at this moment is known, if it was recorded.
    pub(super) fn known_event(&self, pc: u32, strength: Strength) -> Option<EventId> {
        let known = &self.events[pc as usize % KNOWN_EVENTS];
        (known.id != 0
            && known.pc == pc
            && known.tick == self.tick()
            && known.strength == strength as u8)
            .then_some(known.id)
    }

    /// Remembers the id of an access of this instruction at this moment.
    pub(super) fn remember_event(&mut self, pc: u32, strength: Strength, id: EventId) {
        let tick = self.tick();
        self.events[pc as usize % KNOWN_EVENTS] = KnownEvent {
            pc,
            tick,
            strength: strength as u8,
            id,
        };
    }

    /// Writes a 32-bit register in the lanes of `active`.
    #[inline]
    pub fn set_narrow(&mut self, register: u16, active: u32, value: &Lanes<u32>) {
        let target = &mut self.narrow[register as usize];
        if active == u32::MAX {
            *target = *value;
        } else {
            merge(target, active, value);
        }
    }

    /// Writes a 64-bit register in the lanes of `active`.
    #[inline]
    pub fn set_wide(&mut self, register: u16, active: u32, value: &Lanes<u64>) {
        let target = &mut self.wide[register as usize];
        if active == u32::MAX {
            *target = *value;
        } else {
            merge(target, active, value);
        }
    }

    /// Writes a predicate register in the lanes of `active`.
    #[inline(always)]
    pub fn set_predicate(&mut self, register: u16, active: u32, value: u32) {
        let target = &mut self.predicates[register as usize];
        *target = *target & !active | value & active;
    }
}

/// Takes the values of the lanes of `active`. Out of line: every instruction would carry a copy of the loop.
#[inline(never)]
fn merge<T: Copy>(target: &mut Lanes<T>, active: u32, value: &Lanes<T>) {
    for lane in lanes(active) {
        target[lane] = value[lane];
    }
}
