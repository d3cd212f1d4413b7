//! Copies under way.
//!
//! Everything that can be checked is checked when a copy is issued: it may happen at any moment from then on. The bytes move
//! as late as they may: when they are waited for. Until then the target's bytes are in flight, and touching them is a fault.

use std::collections::VecDeque;

use crate::exec::{Cluster, GlobalRows, Launch, SharedRows, Step};
use crate::isa::Lanes;
use crate::lanes::{lanes, lanes_where};
use crate::memory::{ByteState, Place, Row};
use crate::race::{Access, Cache, Event, Strength};

/// Copies of a warp that are under way. Every lane has groups of its own.
#[derive(Debug)]
pub struct CopyQueue {
    /// Oldest first.
    pending: VecDeque<Pending>,
    /// Groups that each lane has committed.
    committed: Lanes<u32>,
    /// Clock of the agent that carries the copies out.
    tick: u32,
    /// The agent's clock of the last copies that were handed to an mbarrier; 0: none.
    handed_over: u32,
    shared_cache: Cache,
    global_cache: Cache,
}

impl Default for CopyQueue {
    fn default() -> Self {
        CopyQueue {
            pending: VecDeque::new(),
            committed: [0; 32],
            tick: 1,
            handed_over: 0,
            shared_cache: Cache::default(),
            global_cache: Cache::default(),
        }
    }
}

impl CopyQueue {
    /// Closes the open group of some lanes.
    pub(super) fn commit(&mut self, active: u32) {
        for lane in lanes(active) {
            self.committed[lane] += 1;
        }
        self.tick += 1;
    }

    /// Takes out the copies of some lanes, for an mbarrier that they are to arrive at; gives them with the agent's clock.
    pub(super) fn hand_over(&mut self, active: u32) -> (Vec<Transfer>, u32) {
        let mut handed = Vec::new();
        for Pending { transfer, .. } in &mut self.pending {
            let mut taken = transfer.clone();
            taken.targets.lanes &= active;
            transfer.targets.lanes &= !active;
            if taken.targets.lanes != 0 {
                handed.push(taken);
            }
        }
        self.pending
            .retain(|pending| pending.transfer.targets.lanes != 0);
        self.handed_over = self.tick;
        self.tick += 1;
        (handed, self.handed_over)
    }

    /// The agent's clock of the last copies that were handed over.
    pub(super) fn handed_over(&self) -> u32 {
        self.handed_over
    }
}

/// Copies of one instruction, one a lane.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    /// What is written, by the lanes whose copy has not landed.
    pub(super) targets: SharedRows,
    /// Sources of the lanes that copy as much as they write, by allocation.
    pub(super) sources: Vec<GlobalRows>,
    /// Lanes that copy less than they write: zeros fill the rest. Lanes that copy nothing are in neither list.
    pub(super) partial: Vec<Partial>,
}

/// The source of a lane that copies less than it writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Partial {
    pub(super) lane: usize,
    pub(super) place: Place,
    pub(super) bytes: usize,
}

#[derive(Debug)]
struct Pending {
    transfer: Transfer,
    /// Number of the group within each lane.
    groups: Lanes<u32>,
    tick: u32,
}

impl Step<'_> {
    /// Checks copies and puts them under way.
    pub(super) fn begin_copies(&mut self, transfer: Transfer) {
        let mut queue = std::mem::take(&mut self.warp.copies);
        self.check_copies(&transfer, &mut queue);
        let SharedRows {
            rank,
            lanes,
            ref offsets,
            bytes,
        } = transfer.targets;
        self.cluster.blocks[rank]
            .shared
            .set_states(lanes, offsets, bytes, ByteState::InFlight);
        queue.pending.push_back(Pending {
            transfer,
            groups: queue.committed,
            tick: queue.tick,
        });
        self.warp.copies = queue;
        self.cluster.effects += 1;
    }

    /// Reports what is wrong with copies, and records them for the race check as accesses of their own agent.
    fn check_copies(&mut self, transfer: &Transfer, queue: &mut CopyQueue) {
        let agent = self.cluster.agents.copies(self.warp.index);
        let cluster = self.cluster.number;
        let event = Event {
            cluster,
            agent,
            clock: queue.tick,
            pc: self.pc,
            strength: Strength::Plain,
        };
        let event = self.launch.log.record(event);
        // Each comes after what its own lane did before, as an access of the warp does.
        let access = self.access(event, 0, Strength::Plain);
        let (mut unwritten, mut read_race) = (None, None);
        for rows in &transfer.sources {
            let memory = self.launch.memory.allocation(rows.allocation);
            if let Some(lane) = memory
                .unwritten_lanes(rows.lanes, &rows.offsets, rows.bytes)
                .checked_ilog2()
            {
                unwritten =
                    unwritten.or(Some((lane as usize, rows.place(lane as usize), rows.bytes)));
            }
            let offset = |lane: usize| rows.offsets[lane] as usize;
            let shadow = self.launch.shadow(rows.allocation, 0..rows.bytes);
            let found = shadow.read_rows(
                rows.lanes,
                rows.bytes,
                offset,
                false,
                access,
                &mut queue.global_cache,
            );
            read_race = read_race.or(found);
        }
        for &Partial { lane, place, bytes } in &transfer.partial {
            if !self
                .launch
                .memory
                .allocation(place.allocation)
                .is_written(place.offset, bytes as u64)
            {
                unwritten = unwritten.or(Some((lane, place, bytes)));
            }
            let range = place.offset as usize..place.offset as usize + bytes;
            let access = Access {
                lane: lane as u8,
                ..access
            };
            let found = self.launch.shadow(place.allocation, range.clone()).read(
                range,
                &access,
                &mut queue.global_cache,
            );
            read_race = read_race.or(found.map(|conflict| (lane, conflict)));
        }
        let targets = &transfer.targets;
        let shared = &self.cluster.blocks[targets.rank].shared;
        let forbidden = shared.forbidden_lanes(targets.lanes, &targets.offsets, targets.bytes);
        let offset = |lane: usize| targets.offsets[lane] as usize;
        let sound = targets.lanes & !forbidden;
        let write_race = shared.shadow().write_rows(
            sound,
            targets.bytes,
            offset,
            false,
            access,
            &mut queue.shared_cache,
        );
        if let Some((lane, place, bytes)) = unwritten {
            self.unwritten_read(lane, place, bytes);
        }
        if let Some((lane, conflict)) = read_race {
            self.race(lane, "global memory", conflict);
        }
        if forbidden != 0 {
            self.forbidden_write(targets, forbidden);
        }
        if let Some((lane, conflict)) = write_race {
            self.race(lane, "shared memory", conflict);
        }
    }

    /// Lands the copies of the active lanes, but for the `younger` groups that were committed last; with `None` all copies.
    pub(super) fn land_copies(&mut self, younger: Option<u32>) {
        let mut queue = std::mem::take(&mut self.warp.copies);
        let mut landed = None;
        for Pending {
            transfer,
            groups,
            tick,
        } in &mut queue.pending
        {
            let due = match younger {
                None => transfer.targets.lanes & self.active,
                Some(younger) => lanes_where(transfer.targets.lanes & self.active, |lane| {
                    groups[lane] < queue.committed[lane].saturating_sub(younger)
                }),
            };
            if due != 0 {
                transfer.land(self.cluster, self.launch, due);
                transfer.targets.lanes &= !due;
                landed = Some(*tick);
            }
        }
        queue
            .pending
            .retain(|pending| pending.transfer.targets.lanes != 0);
        if let Some(tick) = landed {
            // Bytes of other lanes that are still in flight are protected by their state.
            let agent = self.warp.landed.agent;
            let known = self.warp.clock.get(agent);
            self.warp.landed.since = self.warp.landed.since.min(known + 1);
            self.warp.clock.advance(agent, tick);
            queue.tick = queue.tick.max(tick + 1);
            self.cluster.effects += 1;
        }
        self.warp.copies = queue;
    }
}

impl Transfer {
    /// Lands the copies of the lanes `due`.
    pub(super) fn land(&self, cluster: &mut Cluster, launch: &Launch<'_>, due: u32) {
        let SharedRows {
            rank,
            offsets,
            bytes,
            ..
        } = self.targets;
        let mut rows: Lanes<Row<2>> = [[0; 2]; 32];
        for source in &self.sources {
            let memory = launch.memory.allocation(source.allocation);
            memory.rows(source.lanes & due, &source.offsets, bytes, &mut rows);
        }
        for partial in self
            .partial
            .iter()
            .filter(|partial| due >> partial.lane & 1 == 1)
        {
            let mut padded = [[0; 8]; 2];
            let memory = launch.memory.allocation(partial.place.allocation);
            memory.read(
                partial.place.offset,
                &mut padded.as_flattened_mut()[..partial.bytes],
            );
            rows[partial.lane] = padded.map(u64::from_le_bytes);
        }
        cluster.blocks[rank]
            .shared
            .set_rows(due, &offsets, bytes, &rows);
    }
}
