//! Synchronisation of warps through flags in memory.

use super::{Order, SharedPlace, Step};

/// Marks the flag cells that lie in shared memory: no global address has this bit.
const SHARED_CELL: u64 = 1 << 63;

impl Step<'_> {
    /// The flag cell of a place in shared memory.
    pub fn shared_cell(&self, place: SharedPlace) -> u64 {
        SHARED_CELL
            | u64::from(self.cluster.number) << 28
            | (place.rank as u64) << 24
            | place.offset as u64
    }

    /// Before a strong store or atomic to the cell (a global address, or [`Step::shared_cell`]): releases what the last fence
    /// covered; with `.release`, everything. Before, so that whoever reads the new value also hears what came with it.
    pub fn publish(&mut self, cell: u64, order: Order) {
        let Order::Strong { scope, release, .. } = order else {
            return;
        };
        let cluster = self.cluster.number;
        if release {
            self.launch
                .flags
                .publish(cell, cluster, scope, &self.warp.clock);
            self.warp.advance();
        } else if let Some((fence, clock)) = &self.warp.released {
            // The pair reaches as far as the narrower of the two.
            self.launch
                .flags
                .publish(cell, cluster, scope.min(*fence), clock);
        }
    }

    /// After a strong load or atomic of the cell: what was released through it is acquired by the next fence, or at once
    /// with `.acquire`.
    pub fn hear(&mut self, cell: u64, order: Order) {
        let Order::Strong { scope, acquire, .. } = order else {
            return;
        };
        if !self.launch.flags.any() {
            return;
        }
        let mut heard = self.warp.heard.take().unwrap_or_default();
        if self
            .launch
            .flags
            .hear(cell, self.cluster.number, scope, &mut heard)
            && acquire
        {
            self.warp.clock.join(&heard);
        }
        self.warp.heard = Some(heard);
    }
}
