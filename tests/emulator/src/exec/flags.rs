//! Flags: memory cells through which warps tell each other that data is ready.
//!
//! The PTX memory model orders two warps when one releases (a fence, then a strong store or atomic; or a `.release` one) and
//! the other acquires (a strong load or atomic, then a fence; or an `.acquire` one) through one cell.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::race::{Clock, Strength};

/// How far a fence reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// `.cta`.
    Block,
    /// `.cluster`.
    Cluster,
    /// `.gpu` and `.sys`.
    Device,
}

/// How an access takes part in the memory model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// An ordinary (weak) access.
    Plain,
    /// Strong, with semantics and scope.
    Strong {
        /// Who can take part in the synchronisation.
        scope: Scope,
        /// What others released through the cell is known after the access.
        acquire: bool,
        /// What happened before the access is released through the cell.
        release: bool,
    },
}

impl Order {
    /// `.relaxed` and `.volatile`: it takes a fence to synchronise.
    pub fn relaxed(scope: Scope) -> Self {
        Order::Strong {
            scope,
            acquire: false,
            release: false,
        }
    }

    /// The class of access for the race check.
    #[inline]
    pub fn strength(self) -> Strength {
        match self {
            Order::Plain => Strength::Plain,
            Order::Strong { .. } => Strength::Strong,
        }
    }
}

/// What one cluster released through a cell.
#[derive(Debug)]
struct Released {
    cluster: u32,
    /// Heard by other clusters too.
    far: bool,
    clock: Clock,
}

/// What was released through each cell of a launch, by address (shared memory: by its generic address plus the block's place).
#[derive(Debug, Default)]
pub struct Flags {
    any: AtomicBool,
    cells: Mutex<HashMap<u64, Vec<Released>>>,
}

impl Flags {
    /// Releases `clock` of cluster `cluster` through the cell: to everyone with a `reach` of the device, else to the own cluster.
    pub fn publish(&self, cell: u64, cluster: u32, reach: Scope, clock: &Clock) {
        self.any.store(true, Relaxed);
        let far = reach == Scope::Device;
        let mut cells = self
            .cells
            .lock()
            .expect("no panic while the cells are held");
        let entries = cells.entry(cell).or_default();
        match entries
            .iter_mut()
            .find(|entry| entry.cluster == cluster && entry.far == far)
        {
            Some(entry) => entry.clock.join(clock),
            None => entries.push(Released {
                cluster,
                far,
                clock: clock.clone(),
            }),
        }
    }

    /// Whether anything was ever released.
    #[inline]
    pub fn any(&self) -> bool {
        self.any.load(Relaxed)
    }

    /// Joins what was released through the cell into `heard`, a clock of cluster `cluster`; what other clusters released
    /// only with a `reach` of the device. Gives whether there was anything.
    pub fn hear(&self, cell: u64, cluster: u32, reach: Scope, heard: &mut Clock) -> bool {
        let cells = self
            .cells
            .lock()
            .expect("no panic while the cells are held");
        let mut any = false;
        for entry in cells.get(&cell).into_iter().flatten() {
            if entry.cluster == cluster || entry.far && reach == Scope::Device {
                heard.join_from(cluster, entry.cluster, &entry.clock);
                any = true;
            }
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(agent: u16, tick: u32) -> Clock {
        let mut clock = Clock::default();
        clock.advance(agent, tick);
        clock
    }

    #[test]
    fn narrow_scopes_stay_within_the_cluster() {
        let flags = Flags::default();
        assert!(!flags.any());
        flags.publish(64, 3, Scope::Block, &clock(1, 5));
        let mut near = Clock::default();
        assert!(flags.hear(64, 3, Scope::Block, &mut near));
        assert_eq!(near.get(1), 5);
        let mut far = Clock::default();
        assert!(!flags.hear(64, 4, Scope::Device, &mut far));
        flags.publish(64, 3, Scope::Device, &clock(1, 4));
        assert!(
            !flags.hear(64, 4, Scope::Cluster, &mut far)
                && !flags.hear(65, 4, Scope::Device, &mut far)
        );
        assert!(flags.hear(64, 4, Scope::Device, &mut far));
    }
}
