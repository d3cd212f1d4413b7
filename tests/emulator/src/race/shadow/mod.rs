//! Shadow memory: the last write, the reads since and the last strong access since, of every granule.

mod granule;
mod rows;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed};

use granule::{LastWrite, read_now, same_lane, unordered_in};

use super::cache::{Cache, History};
use super::{Agent, COLLECTIVE, Clock, Event, EventId, EventLog, Readers, Strength};

/// Shadow of one memory. The granule is the smallest access that the kernel makes to it, so that neighbours never share one.
///
/// The cells are atomics because workers share the shadow of global memory. Two accesses that happen in the very same moment
/// on two workers may both miss each other; schedules with a seed run on one worker and miss nothing.
#[derive(Debug)]
pub struct Shadow {
    shift: u32,
    /// [`History`] of each granule.
    histories: Box<[AtomicU64]>,
    /// Lanes of the last write (low byte) and of the reads since (high byte).
    lanes: Box<[AtomicU16]>,
    /// The last strong access since the last plain write: its event, and its lane in the low byte; 0: none.
    strong: Box<[AtomicU64]>,
    any_strong: AtomicBool,
}

/// Who accesses, with what they know.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// The access as an event of the log.
    pub event: EventId,
    /// The same, for quick comparison.
    pub agent: Agent,
    /// The agent's own clock.
    pub tick: u32,
    /// Copies that lanes of the agent waited for, each for its own.
    pub landed: Landed,
    /// Cluster of the agent.
    pub cluster: u32,
    /// What happened before the access.
    pub clock: &'a Clock,
    /// Lane, or [`COLLECTIVE`].
    pub lane: u8,
    /// Plain, or atomic and the like.
    pub strength: Strength,
    /// All events.
    pub log: &'a EventLog,
    /// All sets of events.
    pub readers: &'a Readers,
}

/// `cp.async` copies of a warp that its lanes have waited for since the warp was last synchronised. A wait is for the
/// thread's own copies: until a `__syncwarp` the other lanes know nothing of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Landed {
    /// Who carries the copies out.
    pub agent: Agent,
    /// The agent's clock from which on they count.
    pub since: u32,
}

impl Landed {
    /// Of an agent that issues no such copies.
    pub const NONE: Self = Landed {
        agent: Agent::MAX,
        since: u32::MAX,
    };

    /// Whether there are any.
    pub fn any(self) -> bool {
        self.since != Self::NONE.since
    }
}

/// Which pair of accesses is not ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictKind {
    /// Read after an unordered write.
    ReadAfterWrite,
    /// Write after an unordered write.
    WriteAfterWrite,
    /// Write after an unordered read.
    WriteAfterRead,
}

/// A race: this access against an earlier event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Which pair.
    pub kind: ConflictKind,
    /// The earlier access.
    pub with: Event,
    /// Offset in bytes of the granule.
    pub offset: usize,
    /// Between lanes of one warp: `__syncwarp` is missing.
    pub within_warp: bool,
}

/// More than one lane read the granule.
const MANY: u8 = 0xfe;

/// The lanes of a granule just written: as if read by the whole warp, which spares collective reads a store.
#[inline]
fn written_by(lane: u8) -> u16 {
    u16::from(COLLECTIVE) << 8 | u16::from(lane)
}

fn zeroed<T: bytemuck::Zeroable>(len: usize) -> Box<[T]> {
    // Large boxes come as untouched zero pages: only what a launch accesses costs memory.
    bytemuck::zeroed_slice_box(len)
}

impl Shadow {
    /// Shadow of `bytes` bytes in granules of `granule` bytes (a power of two).
    pub fn new(bytes: usize, granule: u32) -> Self {
        let len = bytes.div_ceil(granule as usize);
        Shadow {
            shift: granule.trailing_zeros(),
            histories: zeroed(len),
            lanes: zeroed(len),
            strong: zeroed(len),
            any_strong: AtomicBool::new(false),
        }
    }

    /// Bytes of a granule.
    pub fn granule(&self) -> usize {
        1 << self.shift
    }

    /// The same knowledge of `bytes` bytes in smaller granules.
    pub(super) fn refined(&self, bytes: usize, granule: u32) -> Self {
        let fine = Shadow::new(bytes, granule);
        let any_strong = self.any_strong.load(Relaxed);
        for (at, history) in fine.histories.iter().enumerate() {
            let from = at << fine.shift >> self.shift;
            let known = self.histories[from].load(Relaxed);
            // What nobody touched stays an untouched page.
            if known != 0 {
                history.store(known, Relaxed);
                fine.lanes[at].store(self.lanes[from].load(Relaxed), Relaxed);
            }
            if any_strong {
                fine.strong[at].store(self.strong[from].load(Relaxed), Relaxed);
            }
        }
        fine.any_strong.store(any_strong, Relaxed);
        fine
    }

    /// Forgets everything: for the next block.
    pub fn clear(&mut self) {
        self.histories
            .iter_mut()
            .for_each(|history| *history.get_mut() = 0);
        if std::mem::take(self.any_strong.get_mut()) {
            self.strong.iter_mut().for_each(|last| *last.get_mut() = 0);
        }
    }

    /// A read of the bytes `range`; gives the first race found.
    #[inline]
    pub fn read(
        &self,
        range: Range<usize>,
        access: &Access<'_>,
        cache: &mut Cache,
    ) -> Option<Conflict> {
        let granules = self.granules(range);
        let histories = &self.histories[granules.clone()];
        let first = History(histories[0].load(Relaxed));
        if let Some(next) = cache.after_read(first, access.event)
            && histories[1..]
                .iter()
                .all(|history| history.load(Relaxed) == first.0)
            && !(access.strength == Strength::Plain && self.any_strong.load(Relaxed))
        {
            for (history, lanes) in histories.iter().zip(&self.lanes[granules]) {
                note_reader(lanes, access.lane, next != first);
                if next != first {
                    history.store(next.0, Relaxed);
                }
            }
            return None;
        }
        self.read_each(granules, access, cache)
    }

    /// A write of the bytes `range`; gives the first race found.
    #[inline]
    pub fn write(
        &self,
        range: Range<usize>,
        access: &Access<'_>,
        cache: &mut Cache,
    ) -> Option<Conflict> {
        let granules = self.granules(range);
        let histories = &self.histories[granules.clone()];
        let first = History(histories[0].load(Relaxed));
        if cache.may_write(first)
            && histories[1..]
                .iter()
                .all(|history| history.load(Relaxed) == first.0)
            && !self.any_strong.load(Relaxed)
        {
            for (history, lanes) in histories.iter().zip(&self.lanes[granules]) {
                history.store(History::written_by(access.event).0, Relaxed);
                lanes.store(written_by(access.lane), Relaxed);
            }
            return None;
        }
        self.write_each(granules, access, cache)
    }

    /// An atomic read-modify-write or a strong store of the bytes `range`; `access.strength` must be strong. Gives the first race found.
    pub fn strong_write(
        &self,
        range: Range<usize>,
        access: &Access<'_>,
        cache: &mut Cache,
    ) -> Option<Conflict> {
        debug_assert_eq!(access.strength, Strength::Strong);
        let mut conflict = None;
        self.any_strong.store(true, Relaxed);
        for at in self.granules(range) {
            let history = History(self.histories[at].load(Relaxed));
            if !cache.may_write(history) {
                if let LastWrite::Unordered { within_warp } =
                    self.last_write(history, at, access, cache)
                {
                    let kind = ConflictKind::WriteAfterWrite;
                    conflict = conflict.or_else(|| {
                        self.conflict(kind, history.written(), at, within_warp, access)
                    });
                }
                let plain = |event: &Event| event.strength == Strength::Plain;
                if let Some(other) = unordered_in(history.readers(), access, plain) {
                    conflict = conflict.or_else(|| {
                        self.conflict(ConflictKind::WriteAfterRead, other, at, false, access)
                    });
                }
                let reader = (self.lanes[at].load(Relaxed) >> 8) as u8;
                if !same_lane(reader, access.lane)
                    && let Some(other) = read_now(history.readers(), access)
                {
                    conflict = conflict.or_else(|| {
                        self.conflict(ConflictKind::WriteAfterRead, other, at, true, access)
                    });
                }
            }
            let last = u64::from(access.event) << 8 | u64::from(access.lane);
            self.strong[at].store(last, Relaxed);
        }
        conflict
    }

    /// A write of any of the bytes `range` so far.
    pub fn writer(&self, range: Range<usize>) -> Option<EventId> {
        let write = |at: usize| {
            let plain = History(self.histories[at].load(Relaxed)).written();
            let strong = (self.strong[at].load(Relaxed) >> 8) as EventId;
            plain.max(strong)
        };
        self.granules(range).map(write).find(|&event| event != 0)
    }

    #[inline]
    fn granules(&self, range: Range<usize>) -> Range<usize> {
        range.start >> self.shift..((range.end - 1) >> self.shift) + 1
    }
}

/// Notes the lane of a read: alone, where it is the first since the warp's last synchronisation.
#[inline]
fn note_reader(lanes: &AtomicU16, lane: u8, first: bool) {
    let old = lanes.load(Relaxed);
    let reader = if first || old >> 8 == u16::from(lane) {
        lane
    } else {
        MANY
    };
    let new = old & 0xff | u16::from(reader) << 8;
    if new != old {
        lanes.store(new, Relaxed);
    }
}

#[cfg(test)]
mod tests;
