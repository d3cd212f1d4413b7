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
            if any_strong && let Some(other) = unobserved(self.strong[at].load(Relaxed), access) {
                conflict = conflict.or_else(|| {
                    self.conflict(ConflictKind::ReadAfterWrite, other, at, false, access)
                });
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
                let read_now = self.read_now(history, access);
                let found = self.unordered(history, at, last_write, read_now, access);
                if found.is_none() {
                    let own = Own {
                        write: last_write == LastWrite::SameLane,
                        read: read_now,
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
                if let Some(other) = unobserved(self.strong[at].load(Relaxed), access) {
                    conflict = conflict.or_else(|| {
                        self.conflict(ConflictKind::WriteAfterWrite, other, at, false, access)
                    });
                }
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
        read_now: bool,
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
        if read_now && !same_lane(reader, access.lane) {
            let other = access
                .readers
                .find(set, |_| true)
                .expect("the set is not empty");
            return self.conflict(ConflictKind::WriteAfterRead, other, at, true, access);
        }
        None
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

    /// Whether a plain read by the same warp, since its last synchronisation, is among the readers.
    fn read_now(&self, history: History, access: &Access<'_>) -> bool {
        let found = access.readers.find(history.readers(), |event| {
            let event = access.log.get(event);
            event.strength == Strength::Plain && same_moment(&event, access)
        });
        found.is_some()
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
fn same_lane(first: u8, second: u8) -> bool {
    first == second || first == COLLECTIVE || second == COLLECTIVE
}

/// Whether the event is of the access's own agent and nothing synchronised its lanes since.
fn same_moment(event: &Event, access: &Access<'_>) -> bool {
    event.cluster == access.cluster && event.agent == access.agent && event.clock == access.tick
}

/// The newest strong access of the set, unless it happened before. An atomic has observed all those before it: a thread
/// whose own atomic came last may go on with plain accesses, as the block that counts itself last does when it resets the
/// counter.
fn unobserved(set: SetId, access: &Access<'_>) -> Option<EventId> {
    let newest = access.readers.find(set, |_| true)?;
    (!access.clock.covers(access.cluster, &access.log.get(newest))).then_some(newest)
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
