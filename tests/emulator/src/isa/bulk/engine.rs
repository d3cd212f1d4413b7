//! Memory accesses of a copy engine: on behalf of the thread that issued the copy, but later and with an agent of its own.

use std::ops::Range;

use super::reduction::Reduction;
use crate::exec::{Cluster, Launch, Origin, SharedPlace, Step, Ticket, race_message};
use crate::fault::{FaultKind, Stop};
use crate::memory::{AddressError, ByteState, Hint, Place};
use crate::race::{
    Access, COLLECTIVE, Cache, Clock, Conflict, ConflictKind, Event, EventId, Landed, Shadow,
    Strength,
};

/// Who issued a copy, and what they knew.
#[derive(Clone, Debug)]
pub(super) struct Issuer {
    /// The thread and instruction.
    pub origin: Origin,
    /// What happened before.
    clock: Clock,
    /// The part of it that the asynchronous proxy sees.
    proxy_clock: Clock,
}

/// A copy engine that accesses memory for an issuer, at one moment of its agent.
///
/// Reads see what the asynchronous proxy sees: ordinary writes need a proxy fence before. Writes only need what they
/// overwrite to be over: ordering alone does that.
#[derive(Debug)]
pub(super) struct Engine<'a> {
    issuer: &'a Issuer,
    ticket: Ticket,
    strength: Strength,
    event: EventId,
    /// Race caches: what reads and writes know differs.
    read_cache: Cache,
    write_cache: Cache,
    hint: Hint,
}

/// What an engine does to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Read,
    Write,
    /// An atomic change.
    Update,
}

impl Issuer {
    /// The lane of this instruction. What the warp does next is apart from what came before.
    pub fn of(step: &mut Step<'_>, lane: usize) -> Self {
        let issuer = Issuer {
            origin: step.origin(lane),
            clock: step.warp.clock.clone(),
            proxy_clock: step.warp.proxy_clock.clone(),
        };
        step.warp.advance();
        issuer
    }
}

impl<'a> Engine<'a> {
    /// An engine known as `ticket`. Strong ones update memory atomically; the others read and write it.
    pub fn new(
        issuer: &'a Issuer,
        ticket: Ticket,
        strength: Strength,
        cluster: &Cluster,
        launch: &Launch<'_>,
    ) -> Self {
        let (cluster, pc) = (cluster.number, issuer.origin.pc);
        let event = Event {
            cluster,
            agent: ticket.agent,
            clock: ticket.tick,
            pc,
            strength,
        };
        Engine {
            issuer,
            ticket,
            strength,
            event: launch.log.record(event),
            read_cache: Cache::default(),
            write_cache: Cache::default(),
            hint: Hint::default(),
        }
    }

    /// Reads shared memory into `out`.
    pub fn read_shared(
        &mut self,
        cluster: &mut Cluster,
        launch: &Launch<'_>,
        place: SharedPlace,
        out: &mut [u8],
    ) {
        let range = place.offset..place.offset + out.len();
        let shared = &cluster.blocks[place.rank].shared;
        out.copy_from_slice(shared.bytes(range.clone()));
        let irregular = shared.irregular(range);
        if let Some(state) = irregular {
            self.report_state(cluster, launch, "read", place, state);
        }
        self.check_shared(cluster, launch, place, out.len(), Deed::Read);
    }

    /// Writes shared memory.
    pub fn write_shared(
        &mut self,
        cluster: &mut Cluster,
        launch: &Launch<'_>,
        place: SharedPlace,
        data: &[u8],
    ) {
        self.check_shared(cluster, launch, place, data.len(), Deed::Write);
        cluster.blocks[place.rank].shared.write(place.offset, data);
    }

    /// Changes the bytes of shared memory by `change`, which gets the old ones.
    pub fn update_shared(
        &mut self,
        cluster: &mut Cluster,
        launch: &Launch<'_>,
        place: SharedPlace,
        bytes: usize,
        change: impl FnOnce(&mut [u8]),
    ) {
        let range = place.offset..place.offset + bytes;
        let irregular = cluster.blocks[place.rank].shared.irregular(range.clone());
        if let Some(state) = irregular {
            self.report_state(cluster, launch, "reduction", place, state);
        }
        self.check_shared(cluster, launch, place, bytes, Deed::Update);
        let shared = &mut cluster.blocks[place.rank].shared;
        let mut data = shared.bytes(range).to_vec();
        change(&mut data);
        shared.write(place.offset, &data);
    }

    /// Reads global memory into `out`.
    ///
    /// # Errors
    /// Out of bounds or freed.
    pub fn read_global(
        &mut self,
        cluster: &mut Cluster,
        launch: &Launch<'_>,
        address: u64,
        out: &mut [u8],
    ) -> Result<(), Stop> {
        let place = self.global_place(cluster, launch, address, out.len())?;
        self.check_written(cluster, launch, place, out.len());
        self.check_global(cluster, launch, place, out.len(), Deed::Read);
        launch
            .memory
            .allocation(place.allocation)
            .read(place.offset, out);
        Ok(())
    }

    /// Writes global memory.
    ///
    /// # Errors
    /// Out of bounds or freed.
    pub fn write_global(
        &mut self,
        cluster: &mut Cluster,
        launch: &Launch<'_>,
        address: u64,
        data: &[u8],
    ) -> Result<(), Stop> {
        let place = self.global_place(cluster, launch, address, data.len())?;
        self.check_global(cluster, launch, place, data.len(), Deed::Write);
        launch
            .memory
            .allocation(place.allocation)
            .write(place.offset, data);
        Ok(())
    }

    /// Reduces the elements of `data` into those in global memory, each atomically.
    ///
    /// # Errors
    /// Out of bounds or freed.
    pub fn update_global(
        &mut self,
        cluster: &mut Cluster,
        launch: &Launch<'_>,
        address: u64,
        data: &[u8],
        reduction: Reduction,
    ) -> Result<(), Stop> {
        let place = self.global_place(cluster, launch, address, data.len())?;
        self.check_written(cluster, launch, place, data.len());
        self.check_global(cluster, launch, place, data.len(), Deed::Update);
        let allocation = launch.memory.allocation(place.allocation);
        for (at, element) in data.chunks_exact(reduction.bytes).enumerate() {
            let offset = place.offset + (at * reduction.bytes) as u64;
            allocation.update(offset, reduction.bytes, |old| {
                reduction.apply(old, little_endian(element))
            });
        }
        Ok(())
    }

    fn global_place(
        &mut self,
        cluster: &Cluster,
        launch: &Launch<'_>,
        address: u64,
        bytes: usize,
    ) -> Result<Place, Stop> {
        launch
            .memory
            .find(address, bytes as u64, &mut self.hint)
            .map_err(|error| {
                let kind = match error {
                    AddressError::Freed { .. } => FaultKind::UseAfterFree,
                    AddressError::PastEnd { .. } | AddressError::Unmapped => FaultKind::OutOfBounds,
                };
                let message =
                    format!("copy of {bytes} bytes at global address {address:#x}: {error}");
                self.issuer.origin.fault(cluster, launch, kind, message)
            })
    }

    fn check_written(
        &self,
        cluster: &mut Cluster,
        launch: &Launch<'_>,
        place: Place,
        bytes: usize,
    ) {
        let allocation = launch.memory.allocation(place.allocation);
        if !allocation.is_written(place.offset, bytes as u64) {
            let message = format!(
                "copy of {bytes} bytes at offset {} of an allocation of {} bytes, some of which were never written",
                place.offset,
                allocation.bytes()
            );
            self.issuer
                .origin
                .report(cluster, launch, FaultKind::Uninitialised, message);
        }
    }

    fn check_shared(
        &mut self,
        cluster: &mut Cluster,
        launch: &Launch<'_>,
        place: SharedPlace,
        bytes: usize,
        deed: Deed,
    ) {
        let range = place.offset..place.offset + bytes;
        let shadow = cluster.blocks[place.rank].shared.shadow();
        if let Some(conflict) = self.check(shadow, range, deed, cluster.number, launch) {
            self.report_race(cluster, launch, "shared memory", &conflict);
        }
    }

    fn check_global(
        &mut self,
        cluster: &mut Cluster,
        launch: &Launch<'_>,
        place: Place,
        bytes: usize,
        deed: Deed,
    ) {
        let range = place.offset as usize..place.offset as usize + bytes;
        let shadow = launch.shadow(place.allocation, range.clone());
        if let Some(conflict) = self.check(shadow, range, deed, cluster.number, launch) {
            self.report_race(cluster, launch, "global memory", &conflict);
        }
    }

    fn check(
        &mut self,
        shadow: &Shadow,
        range: Range<usize>,
        deed: Deed,
        cluster: u32,
        launch: &Launch<'_>,
    ) -> Option<Conflict> {
        // Of a granule that the copy touches in part, the rest may be another's.
        let granule = shadow.granule();
        let range = range.start.next_multiple_of(granule)..range.end / granule * granule;
        if range.is_empty() {
            return None;
        }
        let reads = deed == Deed::Read;
        let access = Access {
            event: self.event,
            agent: self.ticket.agent,
            tick: self.ticket.tick,
            landed: Landed::NONE,
            cluster,
            clock: if reads {
                &self.issuer.proxy_clock
            } else {
                &self.issuer.clock
            },
            lane: COLLECTIVE,
            strength: self.strength,
            log: &launch.log,
            readers: &launch.readers,
        };
        match deed {
            Deed::Read => shadow.read(range, &access, &mut self.read_cache),
            Deed::Write => shadow.write(range, &access, &mut self.write_cache),
            Deed::Update => shadow.strong_write(range, &access, &mut self.write_cache),
        }
    }

    #[cold]
    fn report_race(
        &self,
        cluster: &mut Cluster,
        launch: &Launch<'_>,
        memory: &str,
        conflict: &Conflict,
    ) {
        let mut message = race_message(memory, conflict, launch, cluster.number);
        if conflict.kind == ConflictKind::ReadAfterWrite
            && self.issuer.clock.covers(cluster.number, &conflict.with)
        {
            message += ". The other came before, but fence.proxy.async between it and this copy is missing";
        }
        self.issuer
            .origin
            .report(cluster, launch, FaultKind::Race, message);
    }

    #[cold]
    fn report_state(
        &self,
        cluster: &mut Cluster,
        launch: &Launch<'_>,
        deed: &str,
        place: SharedPlace,
        state: ByteState,
    ) {
        let (kind, what) = match state {
            ByteState::InFlight => (
                FaultKind::Asynchronous,
                "are the target of another copy that was not waited for",
            ),
            ByteState::Barrier => (FaultKind::Barrier, "belong to an mbarrier"),
            ByteState::Unwritten | ByteState::Written => {
                (FaultKind::Uninitialised, "were never written")
            }
        };
        let message = format!(
            "{deed} of shared memory at {:#x} by a copy: bytes there {what}",
            place.offset
        );
        self.issuer.origin.report(cluster, launch, kind, message);
    }
}

/// Up to 8 bytes as a number.
pub(super) fn little_endian(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, &byte| value << 8 | u64::from(byte))
}
