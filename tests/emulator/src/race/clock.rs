//! Vector clocks of one cluster's agents, with what they know of other clusters.

use std::sync::Arc;

use super::{Agent, Event};

/// For each agent of the own cluster, and of clusters heard of through flags in global memory, the last clock known.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    own: Vec<u32>,
    /// Sorted by cluster. Rare: only inter-block flags bring entries.
    foreign: Vec<(u32, Arc<[u32]>)>,
}

impl Clock {
    /// The last clock known of `agent`; 0: nothing.
    #[inline]
    pub fn get(&self, agent: Agent) -> u32 {
        self.own.get(agent as usize).copied().unwrap_or(0)
    }

    /// Knows `agent` up to `clock`.
    pub fn advance(&mut self, agent: Agent, clock: u32) {
        let index = agent as usize;
        if self.own.len() <= index {
            self.own.resize(index + 1, 0);
        }
        self.own[index] = self.own[index].max(clock);
    }

    /// Learns all that `other`, a clock of the same cluster, knows.
    pub fn join(&mut self, other: &Clock) {
        join_into(&mut self.own, &other.own);
        for (cluster, clocks) in &other.foreign {
            self.join_cluster(*cluster, clocks);
        }
    }

    /// Forgets what `other`, a clock of the same cluster, does not know. Knowledge of other clusters is forgotten altogether.
    pub fn meet(&mut self, other: &Clock) {
        self.own.truncate(other.own.len());
        for (mine, theirs) in self.own.iter_mut().zip(&other.own) {
            *mine = (*mine).min(*theirs);
        }
        self.foreign.clear();
    }

    /// Learns all that `other`, a clock of cluster `theirs`, knows; `ours` is the cluster of `self`.
    pub fn join_from(&mut self, ours: u32, theirs: u32, other: &Clock) {
        if ours == theirs {
            return self.join(other);
        }
        self.join_cluster(theirs, &other.own);
        for (cluster, clocks) in &other.foreign {
            if *cluster == ours {
                join_into(&mut self.own, clocks);
            } else {
                self.join_cluster(*cluster, clocks);
            }
        }
    }

    /// Whether `event` happened before: `ours` is the cluster of `self`.
    #[inline]
    pub fn covers(&self, ours: u32, event: &Event) -> bool {
        if event.cluster == ours {
            return self.get(event.agent) >= event.clock;
        }
        match self
            .foreign
            .binary_search_by_key(&event.cluster, |entry| entry.0)
        {
            Ok(at) => self.foreign[at]
                .1
                .get(event.agent as usize)
                .is_some_and(|&clock| clock >= event.clock),
            Err(_) => false,
        }
    }

    fn join_cluster(&mut self, cluster: u32, clocks: &[u32]) {
        match self.foreign.binary_search_by_key(&cluster, |entry| entry.0) {
            Ok(at) => {
                let mut joined = self.foreign[at].1.to_vec();
                join_into(&mut joined, clocks);
                self.foreign[at].1 = joined.into();
            }
            Err(at) => self.foreign.insert(at, (cluster, clocks.into())),
        }
    }
}

fn join_into(clocks: &mut Vec<u32>, other: &[u32]) {
    if clocks.len() < other.len() {
        clocks.resize(other.len(), 0);
    }
    for (mine, theirs) in clocks.iter_mut().zip(other) {
        *mine = (*mine).max(*theirs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::race::Strength;

    fn event(cluster: u32, agent: Agent, clock: u32) -> Event {
        Event {
            cluster,
            agent,
            clock,
            pc: 0,
            strength: Strength::Plain,
        }
    }

    #[test]
    fn a_clock_covers_what_it_joined() {
        let mut first = Clock::default();
        first.advance(3, 5);
        let mut second = Clock::default();
        assert!(!second.covers(0, &event(0, 3, 5)));
        second.join(&first);
        assert!(second.covers(0, &event(0, 3, 5)));
        assert!(!second.covers(0, &event(0, 3, 6)));
        assert!(!second.covers(0, &event(1, 3, 5)));
    }

    #[test]
    fn what_only_one_of_two_knows_is_forgotten_when_they_meet() {
        let mut first = Clock::default();
        first.advance(0, 5);
        first.advance(2, 4);
        let mut second = Clock::default();
        second.advance(0, 3);
        first.meet(&second);
        assert!(first.covers(0, &event(0, 0, 3)) && !first.covers(0, &event(0, 0, 4)));
        assert!(!first.covers(0, &event(0, 2, 1)));
    }

    #[test]
    fn knowledge_of_other_clusters_travels() {
        let mut writer = Clock::default();
        writer.advance(1, 7);
        let mut relay = Clock::default();
        relay.advance(0, 2);
        relay.join_from(4, 9, &writer);
        let mut reader = Clock::default();
        reader.join_from(5, 4, &relay);
        assert!(reader.covers(5, &event(9, 1, 7)));
        assert!(!reader.covers(5, &event(9, 1, 8)));
        assert!(reader.covers(5, &event(4, 0, 2)));
        let mut back = Clock::default();
        back.join_from(9, 5, &reader);
        assert!(back.covers(9, &event(9, 1, 7)));
    }
}
