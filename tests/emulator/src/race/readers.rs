//! Sets of events, interned: granules with one history share one number.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, MutexGuard};

use super::{Event, EventId, EventLog};

/// Number of a set within its launch; 0 is the empty set. A set of one event, the usual case, is the event itself.
pub type SetId = u32;

/// Marks the numbers of sets with more than one event. The log's events stay below.
const LIST: u32 = 1 << 31;

/// How far back a set is searched for an older event of the same agent, to be replaced by the new one.
const SEARCH: usize = 32;

/// The sets of events of one launch: lists that share their tails.
#[derive(Debug, Default)]
pub struct Readers {
    lists: Mutex<Lists>,
}

#[derive(Debug, Default)]
struct Lists {
    /// Of set `LIST + n` node `n`.
    nodes: Vec<Node>,
    numbers: HashMap<(SetId, EventId), SetId, BuildHasherDefault<PairHasher>>,
}

/// A list: its newest event, and the rest.
#[derive(Clone, Copy, Debug)]
struct Node {
    rest: SetId,
    event: EventId,
    /// Who and when, so that a search need not go to the log.
    who: Who,
    clock: u32,
}

/// Agent and strength, as one number.
type Who = u64;

fn who(event: &Event) -> Who {
    u64::from(event.cluster) << 32 | u64::from(event.agent) << 1 | event.strength as u64
}

/// Two numbers that the stand-in counted itself need no defence against collisions.
#[derive(Debug, Default)]
struct PairHasher(u64);

impl Hasher for PairHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes
            .iter()
            .for_each(|&byte| self.write_u32(u32::from(byte)));
    }

    fn write_u32(&mut self, value: u32) {
        self.0 = (self.0.rotate_left(32) ^ u64::from(value)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Readers {
    /// The set with `event` added. An older event of the same agent is replaced: whoever is ordered after the new one is ordered after both.
    pub fn with(&self, set: SetId, event: EventId, log: &EventLog) -> SetId {
        let new = log.get(event);
        if set == 0 {
            return event;
        }
        let new_who = who(&new);
        if set & LIST == 0 {
            let old = log.get(set);
            if who(&old) == new_who {
                return if old.clock == new.clock { set } else { event };
            }
            return self.lock().number(set, event, log);
        }
        let mut lists = self.lock();
        let mut newer = [0; SEARCH];
        let mut length = 0;
        let mut at = set;
        while at != 0 && length < SEARCH {
            let node = lists.node(at, log);
            if node.who == new_who {
                if node.clock == new.clock {
                    return set;
                }
                let newer = newer[..length].iter().rev();
                let tail = newer.fold(node.rest, |tail, &event| lists.number(tail, event, log));
                return lists.number(tail, event, log);
            }
            newer[length] = node.event;
            length += 1;
            at = node.rest;
        }
        lists.number(set, event, log)
    }

    /// The first event of the set, newest first, for which `wanted` holds.
    pub fn find(&self, set: SetId, mut wanted: impl FnMut(EventId) -> bool) -> Option<EventId> {
        if set & LIST == 0 {
            return (set != 0 && wanted(set)).then_some(set);
        }
        let lists = self.lock();
        let mut at = set;
        while at != 0 {
            let (rest, head) = lists.split(at);
            if wanted(head) {
                return Some(head);
            }
            at = rest;
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, Lists> {
        self.lists
            .lock()
            .expect("no panic while the lists are held")
    }
}

impl Lists {
    /// The rest of a list that is not empty, and its newest event.
    fn split(&self, set: SetId) -> (SetId, EventId) {
        if set & LIST == 0 {
            return (0, set);
        }
        let node = &self.nodes[(set & !LIST) as usize];
        (node.rest, node.event)
    }

    /// The list as a node.
    fn node(&self, set: SetId, log: &EventLog) -> Node {
        match set & LIST {
            0 => Node::new(0, set, log),
            _ => self.nodes[(set & !LIST) as usize],
        }
    }

    fn number(&mut self, rest: SetId, event: EventId, log: &EventLog) -> SetId {
        if rest == 0 {
            return event;
        }
        *self.numbers.entry((rest, event)).or_insert_with(|| {
            self.nodes.push(Node::new(rest, event, log));
            LIST | (self.nodes.len() - 1) as SetId
        })
    }
}

impl Node {
    fn new(rest: SetId, event: EventId, log: &EventLog) -> Self {
        let known = log.get(event);
        Node {
            rest,
            event,
            who: who(&known),
            clock: known.clock,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::race::Strength;

    fn members(readers: &Readers, set: SetId) -> Vec<EventId> {
        let mut all = Vec::new();
        readers.find(set, |event| {
            all.push(event);
            false
        });
        all
    }

    #[test]
    fn equal_histories_get_equal_numbers_and_newer_events_replace_older() {
        let log = EventLog::default();
        let event = |agent, clock| {
            log.record(Event {
                cluster: 0,
                agent,
                clock,
                pc: 0,
                strength: Strength::Plain,
            })
        };
        let (a1, b1, a2, c1) = (event(1, 1), event(2, 1), event(1, 2), event(3, 1));
        let readers = Readers::default();
        let ab = readers.with(readers.with(0, a1, &log), b1, &log);
        assert_eq!(ab, readers.with(readers.with(0, a1, &log), b1, &log));
        assert_eq!(members(&readers, ab), [b1, a1]);
        assert_eq!(readers.with(ab, a1, &log), ab);
        let replaced = readers.with(ab, a2, &log);
        assert_eq!(members(&readers, replaced), [a2, b1]);
        assert_eq!(members(&readers, readers.with(a1, a2, &log)), [a2]);
        let three = readers.with(replaced, c1, &log);
        assert_eq!(members(&readers, three), [c1, a2, b1]);
        assert_eq!(
            members(&readers, readers.with(three, event(1, 3), &log)).len(),
            3
        );
    }
}
