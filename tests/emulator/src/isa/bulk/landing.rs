//! Copies into shared memory, under way.

use super::engine::{Engine, Issuer, little_endian};
use super::layout::Layout;
use super::reduction::Reduction;
use super::tile::Tile;
use super::{BULK_ALIGNMENT, TILE_ALIGNMENT};
use crate::counters::Counters;
use crate::exec::{Asynchronous, Cluster, Launch, Origin, SharedPlace, Ticket};
use crate::fault::{FaultKind, Stop};
use crate::race::Strength;
use crate::tensor::Swizzle;

/// Where the copy of one lane comes from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Global {
        address: u64,
        bytes: usize,
    },
    Shared {
        place: SharedPlace,
        bytes: usize,
        reduction: Option<Reduction>,
    },
    Tile(Tile),
}

/// A copy into one block's shared memory, under way.
#[derive(Debug)]
pub(super) struct Landing {
    pub issuer: Issuer,
    pub source: Source,
    pub target: Layout,
    pub barrier: SharedPlace,
}

impl Source {
    /// Bytes of the copy.
    pub fn bytes(&self) -> usize {
        match self {
            Source::Global { bytes, .. } | Source::Shared { bytes, .. } => *bytes,
            Source::Tile(tile) => tile.map.box_bytes(),
        }
    }

    /// Alignment of the target in shared memory.
    pub fn alignment(&self) -> usize {
        match self {
            Source::Global { .. } | Source::Shared { .. } => BULK_ALIGNMENT,
            Source::Tile(_) => TILE_ALIGNMENT,
        }
    }

    /// Swizzle of the target.
    pub fn swizzle(&self) -> Swizzle {
        match self {
            Source::Global { .. } | Source::Shared { .. } => Swizzle::None,
            Source::Tile(tile) => tile.map.swizzle,
        }
    }

    /// Whether the target's old values count.
    pub fn reduces(&self) -> bool {
        matches!(
            self,
            Source::Shared {
                reduction: Some(_),
                ..
            }
        )
    }

    /// The dense bytes, as they are now.
    fn read(
        &self,
        engine: &mut Engine<'_>,
        cluster: &mut Cluster,
        launch: &Launch<'_>,
    ) -> Result<Vec<u8>, Stop> {
        match self {
            Source::Global { address, bytes } => {
                let mut data = vec![0; *bytes];
                if *bytes > 0 {
                    engine.read_global(cluster, launch, *address, &mut data)?;
                }
                Ok(data)
            }
            Source::Shared { place, bytes, .. } => {
                let mut data = vec![0; *bytes];
                engine.read_shared(cluster, launch, *place, &mut data);
                Ok(data)
            }
            Source::Tile(tile) => {
                let mut data = tile.fill();
                for row in tile.rows().filter(|row| row.inside > 0) {
                    let first = row.start + row.skipped;
                    let inside = &mut data[first..first + row.inside];
                    engine.read_global(cluster, launch, row.address, inside)?;
                    tile.map.element.convert_loaded(inside);
                }
                Ok(data)
            }
        }
    }
}

impl Asynchronous for Landing {
    fn complete(
        self: Box<Self>,
        cluster: &mut Cluster,
        launch: &Launch<'_>,
        _counters: &mut Counters,
    ) -> Result<(), Stop> {
        let fault = |cluster: &Cluster, kind, message: String| {
            Err(self.issuer.origin.fault(cluster, launch, kind, message))
        };
        if cluster.blocks[self.target.rank].live_warps == 0 {
            let message = format!(
                "a copy lands in block {} of the cluster, which has ended",
                self.target.rank
            );
            return fault(cluster, FaultKind::Asynchronous, message);
        }
        let Some(object) = cluster.mbarrier(self.barrier) else {
            let message = format!(
                "the mbarrier at shared address {:#x} was ended before the copy landed",
                self.barrier.offset
            );
            return fault(cluster, FaultKind::Barrier, message);
        };
        let ticket = Ticket {
            agent: object.agent(),
            tick: object.advance(),
        };
        let mut engine = Engine::new(&self.issuer, ticket, Strength::Plain, cluster, launch);
        let data = self.source.read(&mut engine, cluster, launch)?;
        match self.source {
            Source::Shared {
                reduction: Some(reduction),
                ..
            } => {
                let mut engine =
                    Engine::new(&self.issuer, ticket, Strength::Strong, cluster, launch);
                let place = SharedPlace {
                    rank: self.target.rank,
                    offset: self.target.offset,
                };
                engine.update_shared(cluster, launch, place, data.len(), |old| {
                    reduce(old, &data, reduction)
                });
            }
            _ => {
                for segment in self.target.segments(0..data.len()) {
                    let place = SharedPlace {
                        rank: self.target.rank,
                        offset: segment.shared,
                    };
                    engine.write_shared(cluster, launch, place, &data[segment.dense]);
                }
            }
        }
        cluster.effects += 1;
        let object = cluster.mbarrier(self.barrier).expect("it was there above");
        object.release_agent(ticket.agent, ticket.tick);
        let done = object.expect_bytes(-(data.len() as i64));
        done.or_else(|misuse| {
            let message = format!(
                "mbarrier at shared address {:#x}: {misuse}",
                self.barrier.offset
            );
            fault(cluster, FaultKind::Barrier, message)
        })
    }

    fn origin(&self) -> Option<Origin> {
        Some(self.issuer.origin)
    }
}

/// Reduces the elements of `new` into those of `old`.
fn reduce(old: &mut [u8], new: &[u8], reduction: Reduction) {
    let size = reduction.bytes;
    for (old, new) in old.chunks_exact_mut(size).zip(new.chunks_exact(size)) {
        let result = reduction.apply(little_endian(old), little_endian(new));
        old.copy_from_slice(&result.to_le_bytes()[..size]);
    }
}
