//! What an agent found out about histories, so that the next granule with the same history costs a comparison.

use super::{EventId, SetId};

/// The last write of a granule and the set of reads since, in one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct History(pub(super) u64);

impl History {
    /// Written just now.
    #[inline]
    pub(super) fn written_by(event: EventId) -> Self {
        History(u64::from(event))
    }

    /// The last write; 0: none.
    #[inline]
    pub(super) fn written(self) -> EventId {
        self.0 as EventId
    }

    /// The reads since.
    #[inline]
    pub(super) fn readers(self) -> SetId {
        (self.0 >> 32) as SetId
    }

    /// The same with another set of reads.
    #[inline]
    pub(super) fn read_by(self, set: SetId) -> Self {
        History(u64::from(set) << 32 | u64::from(self.written()))
    }

    /// Where a cache keeps what it knows about it.
    #[inline]
    fn slot(self) -> usize {
        (self.0 ^ self.0 >> 32) as usize % SLOTS
    }
}

/// Rows of a tile come from a few writers.
const SLOTS: usize = 8;

/// What the last accesses of an agent found out. Order is for ever: what happened before an access also happened before
/// every later one of the same agent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cache {
    reads: [Step; SLOTS],
    /// Histories that lie wholly before the agent's present moment.
    writable: [History; SLOTS],
    /// Histories of which only what the agent did in its present moment is left to be ordered, by its lanes.
    lanewise: [Lanewise; SLOTS],
    /// A write by the agent itself in its moment `tick`.
    now: EventId,
    tick: u32,
}

/// A history that a lane may write over if it alone wrote or read the granule in the agent's moment `tick`.
#[derive(Clone, Copy, Debug, Default)]
struct Lanewise {
    history: History,
    tick: u32,
    own: Own,
}

/// Which parts of a history are the agent's own, of its present moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Own {
    /// The last write.
    pub(super) write: bool,
    /// One of the reads since.
    pub(super) read: bool,
}

/// A read that raced with nothing: from one history to the next.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    from: History,
    event: EventId,
    to: History,
}

impl Cache {
    /// The history after a read, where it is known to race with nothing.
    #[inline]
    pub(super) fn after_read(&self, history: History, event: EventId) -> Option<History> {
        let step = &self.reads[history.slot()];
        (step.from == history && step.event == event).then_some(step.to)
    }

    pub(super) fn remember_read(&mut self, from: History, event: EventId, to: History) {
        self.reads[from.slot()] = Step { from, event, to };
    }

    /// Whether a plain write over the history is known to race with nothing.
    #[inline]
    pub(super) fn may_write(&self, history: History) -> bool {
        history == self.writable[history.slot()] || history == History::default()
    }

    pub(super) fn remember_writable(&mut self, history: History) {
        self.writable[history.slot()] = history;
    }

    /// What the lanes decide about a plain write over the history, where that is all that decides.
    #[inline]
    pub(super) fn lanes_decide(&self, history: History, tick: u32) -> Option<Own> {
        let known = &self.lanewise[history.slot()];
        (known.history == history && known.tick == tick).then_some(known.own)
    }

    pub(super) fn remember_lanewise(&mut self, history: History, tick: u32, own: Own) {
        self.lanewise[history.slot()] = Lanewise { history, tick, own };
    }

    /// Whether the event is known to be the agent's own in its moment `tick`.
    #[inline]
    pub(super) fn is_now(&self, event: EventId, tick: u32) -> bool {
        self.now == event && self.tick == tick
    }

    pub(super) fn remember_now(&mut self, event: EventId, tick: u32) {
        (self.now, self.tick) = (event, tick);
    }
}
