//! Checks of accesses to shared and global memory: state of the bytes, and races.

use super::{Cluster, GlobalRows, Launch, SharedPlace, SharedRows, Step};
use crate::fault::FaultKind;
use crate::lanes::lanes;
use crate::memory::{ByteState, Place};
use crate::race::{Access, Agent, COLLECTIVE, Cache, Clock, Event, EventId, Landed, Strength};

impl Step<'_> {
    /// Checks a write of `bytes` bytes (a power of two, at most 32) to shared memory by the warp itself and records it; the
    /// caller then writes. `lane` for the report, `by` for the race check ([`COLLECTIVE`] for warp-collective instructions).
    pub fn check_shared_write(
        &mut self,
        lane: usize,
        by: u8,
        place: SharedPlace,
        bytes: usize,
        strength: Strength,
    ) {
        let rows = SharedRows {
            rank: place.rank,
            lanes: 1 << lane,
            offsets: [place.offset as u32; 32],
            bytes,
        };
        self.check_shared_writes(&rows, strength, by == COLLECTIVE);
        self.cluster.effects += 1;
    }

    /// Checks reads of shared memory by several lanes and records them; `collective`: as one access of the whole warp.
    #[inline]
    pub fn check_shared_reads(&mut self, rows: &SharedRows, strength: Strength, collective: bool) {
        let Recorded {
            access,
            shared_cache,
            cluster,
            ..
        } = self.recorded(strength);
        let shared = &cluster.blocks[rows.rank].shared;
        let irregular = shared.irregular_lanes(rows.lanes, &rows.offsets, rows.bytes);
        let mut sound = rows.lanes;
        if irregular != 0 {
            // What is in flight is reported as that, and needs no report of a race besides.
            let busy = shared.forbidden_lanes(irregular, &rows.offsets, rows.bytes);
            sound &= !busy;
        }
        let offset = |lane: usize| rows.offsets[lane] as usize;
        let race =
            shared
                .shadow()
                .read_rows(sound, rows.bytes, offset, collective, access, shared_cache);
        if irregular != 0 {
            self.irregular_read(rows, irregular);
        }
        if let Some((lane, conflict)) = race {
            self.race(lane, "shared memory", conflict);
        }
    }

    /// Checks writes to shared memory by several lanes and records them; the caller then writes and counts the effect.
    #[inline]
    pub fn check_shared_writes(&mut self, rows: &SharedRows, strength: Strength, collective: bool) {
        let Recorded {
            access,
            shared_cache,
            cluster,
            ..
        } = self.recorded(strength);
        let shared = &cluster.blocks[rows.rank].shared;
        let forbidden = shared.forbidden_lanes(rows.lanes, &rows.offsets, rows.bytes);
        let sound = rows.lanes & !forbidden;
        let offset = |lane: usize| rows.offsets[lane] as usize;
        let race =
            shared
                .shadow()
                .write_rows(sound, rows.bytes, offset, collective, access, shared_cache);
        if forbidden != 0 {
            self.forbidden_write(rows, forbidden);
        }
        if let Some((lane, conflict)) = race {
            self.race(lane, "shared memory", conflict);
        }
    }

    /// Reports a value in shared memory that was never written and that an atomic is about to change.
    pub fn check_shared_values(&mut self, rows: &SharedRows) {
        let shared = &self.cluster.blocks[rows.rank].shared;
        let irregular = shared.irregular_lanes(rows.lanes, &rows.offsets, rows.bytes);
        let unwritten = irregular & !shared.forbidden_lanes(irregular, &rows.offsets, rows.bytes);
        if unwritten != 0 {
            self.irregular_read(rows, unwritten);
        }
    }

    /// Reports a read of bytes that hold no value, by the first of `irregular`.
    #[cold]
    fn irregular_read(&mut self, rows: &SharedRows, irregular: u32) {
        let lane = irregular.trailing_zeros() as usize;
        let range = rows.range(lane);
        let (kind, what) = match self.cluster.blocks[rows.rank]
            .shared
            .irregular(range.clone())
        {
            Some(ByteState::InFlight) => (
                FaultKind::Asynchronous,
                "is the target of an asynchronous copy that was not waited for",
            ),
            Some(ByteState::Barrier) => (FaultKind::Barrier, "belongs to an mbarrier"),
            _ => (FaultKind::Uninitialised, "was never written"),
        };
        let message = format!(
            "read of {} bytes of shared memory at {:#x}, some of which {what}",
            range.len(),
            range.start
        );
        self.report(kind, lane, message);
    }

    /// Reports a write to bytes that must not be written now, by the first of `forbidden`.
    #[cold]
    pub(crate) fn forbidden_write(&mut self, rows: &SharedRows, forbidden: u32) {
        let lane = forbidden.trailing_zeros() as usize;
        let range = rows.range(lane);
        let (kind, what) = match self.cluster.blocks[rows.rank]
            .shared
            .forbids_write(range.clone())
        {
            Some(ByteState::Barrier) => (FaultKind::Barrier, "belongs to an mbarrier"),
            _ => (
                FaultKind::Asynchronous,
                "is the target of an asynchronous copy that was not waited for",
            ),
        };
        let message = format!(
            "write to {} bytes of shared memory at {:#x}, some of which {what}",
            range.len(),
            range.start
        );
        self.report(kind, lane, message);
    }

    /// Checks reads of global memory by several lanes and records them; `collective`: as one access of the whole warp.
    #[inline]
    pub fn check_global_reads(&mut self, rows: &GlobalRows, strength: Strength, collective: bool) {
        self.check_global_values(rows);
        let Recorded {
            access,
            global_cache,
            launch,
            ..
        } = self.recorded(strength);
        let shadow = launch.shadow(rows.allocation, 0..rows.bytes);
        let offset = |lane: usize| rows.offsets[lane] as usize;
        let race = shadow.read_rows(
            rows.lanes,
            rows.bytes,
            offset,
            collective,
            access,
            global_cache,
        );
        if let Some((lane, conflict)) = race {
            self.race(lane, "global memory", conflict);
        }
    }

    /// Checks writes to global memory by several lanes, records them and marks the bytes written; the caller then writes and
    /// counts the effect.
    #[inline]
    pub fn check_global_writes(&mut self, rows: &GlobalRows, strength: Strength, collective: bool) {
        let Recorded {
            access,
            global_cache,
            launch,
            ..
        } = self.recorded(strength);
        let (memory, shadow) = (
            launch.memory.allocation(rows.allocation),
            launch.shadow(rows.allocation, 0..rows.bytes),
        );
        for lane in lanes(rows.lanes) {
            memory.mark_written(rows.offsets[lane], rows.bytes as u64);
        }
        let offset = |lane: usize| rows.offsets[lane] as usize;
        let race = shadow.write_rows(
            rows.lanes,
            rows.bytes,
            offset,
            collective,
            access,
            global_cache,
        );
        if let Some((lane, conflict)) = race {
            self.race(lane, "global memory", conflict);
        }
    }

    /// Reports a load past the coherent caches of what this launch has written, however well ordered.
    pub fn check_never_written(&mut self, rows: &GlobalRows) {
        let shadow = self.launch.shadow(rows.allocation, 0..rows.bytes);
        let writer =
            lanes(rows.lanes).find_map(|lane| Some((lane, shadow.writer(rows.range(lane))?)));
        if let Some((lane, writer)) = writer {
            let writer = self.launch.log.get(writer);
            let place = &self.launch.kernel.locations[writer.pc as usize];
            let message = format!(
                "ld.global.nc (__ldg) at offset {:#x} of what this kernel writes, at {} `{}`: it may give the old value",
                rows.offsets[lane], place.source, place.text
            );
            self.report(FaultKind::Race, lane, message);
        }
    }

    /// Reports a value in global memory that was never written and that this instruction reads.
    #[inline]
    pub fn check_global_values(&mut self, rows: &GlobalRows) {
        let memory = self.launch.memory.allocation(rows.allocation);
        let unwritten = memory.unwritten_lanes(rows.lanes, &rows.offsets, rows.bytes);
        if unwritten != 0 {
            let lane = unwritten.trailing_zeros() as usize;
            self.unwritten_read(lane, rows.place(lane), rows.bytes);
        }
    }

    /// Reports a read of global memory that was never written.
    #[cold]
    pub(crate) fn unwritten_read(&mut self, lane: usize, place: Place, bytes: usize) {
        let size = self.launch.memory.allocation(place.allocation).bytes();
        let message = format!(
            "read of {bytes} bytes at offset {} of an allocation of {size} bytes, some of which were never written",
            place.offset
        );
        self.report(FaultKind::Uninitialised, lane, message);
    }

    /// The event of this instruction's accesses at this moment.
    #[inline]
    pub fn event(&mut self, strength: Strength) -> EventId {
        if let Some(id) = self.warp.known_event(self.pc, strength) {
            return id;
        }
        let event = Event {
            cluster: self.cluster.number,
            agent: self.warp.agent,
            clock: self.warp.tick(),
            pc: self.pc,
            strength,
        };
        let id = self.launch.log.record(event);
        self.warp.remember_event(self.pc, strength, id);
        id
    }

    /// An access of the warp itself.
    #[inline]
    pub fn access(&self, event: EventId, lane: u8, strength: Strength) -> Access<'_> {
        let Step {
            warp,
            cluster,
            launch,
            ..
        } = self;
        Access {
            lane,
            ..access(
                &warp.clock,
                warp.agent,
                warp.landed,
                cluster.number,
                launch,
                event,
                strength,
            )
        }
    }

    /// Records an access of the warp as a whole.
    #[inline]
    fn recorded(&mut self, strength: Strength) -> Recorded<'_> {
        let event = self.event(strength);
        let Step {
            warp,
            cluster,
            launch,
            ..
        } = self;
        Recorded {
            access: access(
                &warp.clock,
                warp.agent,
                warp.landed,
                cluster.number,
                launch,
                event,
                strength,
            ),
            cluster,
            launch,
            shared_cache: &mut warp.shared_cache,
            global_cache: &mut warp.global_cache,
        }
    }
}

/// An access of the warp as a whole, and what its check works on.
struct Recorded<'a> {
    access: Access<'a>,
    cluster: &'a Cluster,
    launch: &'a Launch<'a>,
    shared_cache: &'a mut Cache,
    global_cache: &'a mut Cache,
}

/// An access of a warp as a whole.
#[inline]
fn access<'a>(
    clock: &'a Clock,
    agent: Agent,
    landed: Landed,
    cluster: u32,
    launch: &'a Launch<'_>,
    event: EventId,
    strength: Strength,
) -> Access<'a> {
    let (log, readers) = (&launch.log, &launch.readers);
    Access {
        event,
        agent,
        tick: clock.get(agent),
        landed,
        cluster,
        clock,
        lane: COLLECTIVE,
        strength,
        log,
        readers,
    }
}
