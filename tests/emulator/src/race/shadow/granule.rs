//! Granule by granule: every rule, where no cache knows the answer.

use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

use super::{Access, Conflict, ConflictKind, Shadow, note_reader, written_by};
use crate::race::cache::{Cache, History, Own};
use crate::race::{COLLECTIVE, Event, EventId, SetId, Strength};

/// How the last write of a granule is ordered with an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastWrite {
    /// There is none, or it happened before.
    Before,
    /// The lane itself wrote, and the warp was not synchronised since.
    SameLane,
    /// Nothing orders the two.
    Unordered { within_warp: bool },
}

impl Shadow {
    /// Reads of some granules; gives the first race found.
    pub(super) fn read_each(
        &self,
        granules: Range<usize>,
        access: &Access<'_>,
        cache: &mut Cache,
    ) -> Option<Conflict> {
        let mut conflict = None;
        let any_strong = access.strength == Strength::Plain && self.any_strong.load(Relaxed);
        for at in granules {
            let history = History(self.histories[at].load(Relaxed));
            if any_strong {
                let found = self.unobserved(ConflictKind::ReadAfterWrite, at, access);
                conflict = conflict.or(found);
            }
            let next = cache.after_read(history, access.event).unwrap_or_else(|| {
                let next = history.read_by(access.readers.with(
                    history.readers(),
                    access.event,
                    access.log,
                ));
                match self.last_write(history, at, access, cache) {
                    LastWrite::Before => cache.remember_read(history, access.event, next),
                    LastWrite::SameLane => {}
                    LastWrite::Unordered { within_warp } => {
                        let kind = ConflictKind::ReadAfterWrite;
                        conflict = conflict.or_else(|| {
                            self.conflict(kind, history.written(), at, within_warp, access)
                        });
                    }
                }
                next
            });
            note_reader(&self.lanes[at], access.lane, next != history);
            if next != history {
                self.histories[at].store(next.0, Relaxed);
            }
        }
        conflict
    }

    /// Plain writes of some granules; gives the first race found.
    pub(super) fn write_each(
        &self,
        granules: Range<usize>,
        access: &Access<'_>,
        cache: &mut Cache,
    ) -> Option<Conflict> {
        let mut conflict = None;
        let any_strong = self.any_strong.load(Relaxed);
        for at in granules {
            let history = History(self.histories[at].load(Relaxed));
            if !cache.may_write(history) && !self.same_lanes(history, at, access, cache) {
                let last_write = self.last_write(history, at, access, cache);
                let read_now = read_now(history.readers(), access);
                let found = self.unordered(history, at, last_write, read_now, access);
                if found.is_none() {
                    let own = Own {
                        write: last_write == LastWrite::SameLane,
                        read: read_now.is_some(),
                    };
                    match own {
                        Own {
                            write: false,
                            read: false,
                        } => cache.remember_writable(history),
                        _ => cache.remember_lanewise(history, access.tick, own),
                    }
                }
                conflict = conflict.or(found);
            }
            if any_strong {
                let found = self.unobserved(ConflictKind::WriteAfterWrite, at, access);
                conflict = conflict.or(found);
                self.strong[at].store(0, Relaxed);
            }
            self.histories[at].store(History::written_by(access.event).0, Relaxed);
            self.lanes[at].store(written_by(access.lane), Relaxed);
        }
        conflict
    }

    /// The race of a plain write with the history, if any.
    fn unordered(
        &self,
        history: History,
        at: usize,
        last_write: LastWrite,
        read_now: Option<EventId>,
        access: &Access<'_>,
    ) -> Option<Conflict> {
        if let LastWrite::Unordered { within_warp } = last_write {
            return self.conflict(
                ConflictKind::WriteAfterWrite,
                history.written(),
                at,
                within_warp,
                access,
            );
        }
        let set = history.readers();
        if let Some(other) = unordered_in(set, access, |_| true) {
            return self.conflict(ConflictKind::WriteAfterRead, other, at, false, access);
        }
        let reader = (self.lanes[at].load(Relaxed) >> 8) as u8;
        let other = read_now.filter(|_| !same_lane(reader, access.lane))?;
        self.conflict(ConflictKind::WriteAfterRead, other, at, true, access)
    }

    /// Whether a write is known to race with nothing because only its own lane touched the granule in this moment.
    fn same_lanes(&self, history: History, at: usize, access: &Access<'_>, cache: &Cache) -> bool {
        let Some(own) = cache.lanes_decide(history, access.tick) else {
            return false;
        };
        let [writer, reader] = self.lanes[at].load(Relaxed).to_le_bytes();
        (!own.write || same_lane(writer, access.lane))
            && (!own.read || same_lane(reader, access.lane))
    }

    /// How the last write of a granule is ordered with an access.
    pub(super) fn last_write(
        &self,
        history: History,
        at: usize,
        access: &Access<'_>,
        cache: &mut Cache,
    ) -> LastWrite {
        let written = history.written();
        if written == 0 {
            return LastWrite::Before;
        }
        if !cache.is_now(written, access.tick) {
            let event = access.log.get(written);
            if !same_moment(&event, access) {
                return match access.clock.covers(access.cluster, &event) {
                    true => LastWrite::Before,
                    false => LastWrite::Unordered { within_warp: false },
                };
            }
            cache.remember_now(written, access.tick);
        }
        let writer = self.lanes[at].load(Relaxed) as u8;
        if same_lane(writer, access.lane) {
            LastWrite::SameLane
        } else {
            LastWrite::Unordered { within_warp: true }
        }
    }

    /// The race of a plain access with the last strong one since the last plain write, if any. An atomic has observed all
    /// those before it: a thread whose own atomic came last may go on with plain accesses, as the block that counts itself
    /// last does when it resets the counter.
    fn unobserved(&self, kind: ConflictKind, at: usize, access: &Access<'_>) -> Option<Conflict> {
        let last = self.strong[at].load(Relaxed);
        let (other, lane) = ((last >> 8) as EventId, last as u8);
        if other == 0 {
            return None;
        }
        let event = access.log.get(other);
        let within_warp = same_moment(&event, access);
        let ordered = match within_warp {
            true => same_lane(lane, access.lane),
            false => access.clock.covers(access.cluster, &event),
        };
        if ordered {
            return None;
        }
        self.conflict(kind, other, at, within_warp, access)
    }

    #[cold]
    pub(super) fn conflict(
        &self,
        kind: ConflictKind,
        other: EventId,
        at: usize,
        within_warp: bool,
        access: &Access<'_>,
    ) -> Option<Conflict> {
        Some(Conflict {
            kind,
            with: access.log.get(other),
            offset: at << self.shift,
            within_warp,
        })
    }
}

/// Whether an access of lane `first` is ordered before a later one of lane `second` of the same warp without synchronisation.
pub(super) fn same_lane(first: u8, second: u8) -> bool {
    first == second || first == COLLECTIVE || second == COLLECTIVE
}

/// Whether the event is of the access's own agent, or of copies that only their lanes waited for, and nothing synchronised
/// the lanes since.
fn same_moment(event: &Event, access: &Access<'_>) -> bool {
    event.cluster == access.cluster
        && (event.agent == access.agent && event.clock == access.tick
            || event.agent == access.landed.agent && event.clock >= access.landed.since)
}

/// A plain read by the same warp, since its last synchronisation, among the readers.
pub(super) fn read_now(readers: SetId, access: &Access<'_>) -> Option<EventId> {
    access.readers.find(readers, |event| {
        let event = access.log.get(event);
        event.strength == Strength::Plain && same_moment(&event, access)
    })
}

/// The first event of the set for which `counts` holds and which did not happen before.
pub(super) fn unordered_in(
    set: SetId,
    access: &Access<'_>,
    counts: impl Fn(&Event) -> bool,
) -> Option<EventId> {
    access.readers.find(set, |id| {
        let event = access.log.get(id);
        counts(&event) && !access.clock.covers(access.cluster, &event)
    })
}
