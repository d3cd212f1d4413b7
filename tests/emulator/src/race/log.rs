//! All events of a launch: append-only, read by any worker without a lock.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::Agent;

/// Number of an event within its launch; 0 is "no event".
pub type EventId = u32;

/// How an access takes part in the memory model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Strength {
    /// An ordinary load or store.
    Plain = 0,
    /// An atomic, volatile, relaxed, acquire or release access: never races with its like.
    Strong = 1,
}

/// All accesses that one instruction of one agent makes between two of the agent's synchronisations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Number of the cluster within the grid.
    pub cluster: u32,
    /// Who.
    pub agent: Agent,
    /// When, by the agent's own clock; at least 1.
    pub clock: u32,
    /// Which instruction.
    pub pc: u32,
    /// How.
    pub strength: Strength,
}

/// First segment's length; each further segment is twice as long as the one before.
const FIRST: usize = 4096;
/// Keeps the numbers below 2^31: sets of events use the bit above.
const SEGMENTS: usize = 19;

type Cell = [AtomicU64; 2];

/// The events of one launch.
#[derive(Debug, Default)]
pub struct EventLog {
    used: AtomicU32,
    segments: [OnceLock<Box<[Cell]>>; SEGMENTS],
}

impl EventLog {
    /// Adds an event.
    ///
    /// # Panics
    /// Beyond two thousand million events: no launch that a test can wait for has as many.
    pub fn record(&self, event: Event) -> EventId {
        let index = self.used.fetch_add(1, Relaxed);
        let (segment, at) = place(index as usize);
        let cells = self.segments[segment].get_or_init(|| {
            std::iter::repeat_with(Cell::default)
                .take(FIRST << segment)
                .collect()
        });
        let [when, who] = &cells[at];
        when.store(
            u64::from(event.cluster) << 32 | u64::from(event.clock),
            Relaxed,
        );
        who.store(
            u64::from(event.pc) << 32
                | u64::from(event.agent) << 8
                | u64::from(event.strength as u8),
            Relaxed,
        );
        index + 1
    }

    /// The event of a number that [`EventLog::record`] gave.
    ///
    /// # Panics
    /// For 0 and for numbers not given yet.
    #[inline]
    pub fn get(&self, id: EventId) -> Event {
        let (segment, at) = place(id as usize - 1);
        let [when, who] = &self.segments[segment]
            .get()
            .expect("the event was recorded")[at];
        let (when, who) = (when.load(Relaxed), who.load(Relaxed));
        Event {
            cluster: (when >> 32) as u32,
            clock: when as u32,
            pc: (who >> 32) as u32,
            agent: (who >> 8) as u16,
            strength: if who & 1 == 0 {
                Strength::Plain
            } else {
                Strength::Strong
            },
        }
    }
}

/// Segment and index within it of the event at `index`.
fn place(index: usize) -> (usize, usize) {
    let segment = ((index / FIRST) + 1).ilog2() as usize;
    (segment, index - FIRST * ((1 << segment) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_back_as_recorded() {
        let log = EventLog::default();
        let event = |n: u32| Event {
            cluster: n,
            agent: (n % 700) as Agent,
            clock: n + 1,
            pc: n * 3,
            strength: if n.is_multiple_of(2) {
                Strength::Plain
            } else {
                Strength::Strong
            },
        };
        let ids: Vec<_> = (0..30_000).map(|n| log.record(event(n))).collect();
        for (n, id) in ids.into_iter().enumerate() {
            assert_eq!(log.get(id), event(n as u32));
        }
    }
}
