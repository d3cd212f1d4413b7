//! Copies from shared to global memory, tracked by groups.
//!
//! Such a copy is two things that happen one after the other: it reads its source, as one agent, and it writes global
//! memory, as another. `wait_group.read` waits for the first only.

use super::engine::{Engine, Issuer};
use super::layout::Layout;
use super::reduction::Reduction;
use super::tile::{Tile, TileOperand};
use super::{BULK_ALIGNMENT, FOOTPRINT, LinearOperand, TILE_ALIGNMENT};
use crate::counters::Counters;
use crate::exec::{Asynchronous, Cluster, Launch, Origin, SharedPlace, Step, Ticket};
use crate::fault::{FaultKind, Stop};
use crate::isa::{Address, Execute, Flow, Footprint, Space};
use crate::race::{Agent, Strength};
use crate::tensor::Swizzle;

/// `cp.async.bulk`, `cp.async.bulk.tensor` and their reductions from shared to global memory.
#[derive(Debug)]
pub(super) struct Store {
    pub source: Address,
    pub destination: DestinationOperand,
}

/// Where a copy goes.
#[derive(Debug)]
pub(super) enum DestinationOperand {
    /// The reduction's type is that of the opcode.
    Global(LinearOperand, Option<Reduction>),
    /// The reduction's type is that of the tensor.
    Tile(TileOperand, Option<&'static str>),
}

/// The same for one lane.
#[derive(Clone, Debug)]
enum Destination {
    Global { address: u64, bytes: usize },
    Tile(Tile),
}

/// A run of bytes to be written: its place among those of the copy, and its device address.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: usize,
    bytes: usize,
    address: u64,
}

/// A copy to global memory, under way.
#[derive(Debug)]
struct Departure {
    issuer: Issuer,
    ticket: Ticket,
    /// The agent that writes global memory.
    writer: Agent,
    source: Layout,
    destination: Destination,
    reduction: Option<Reduction>,
    /// What was read from the source.
    data: Option<Vec<u8>>,
}

impl Execute for Store {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let sources = step.addresses(self.source);
        for lane in step.lanes() {
            let (destination, reduction) = self.destination.of_lane(step, lane)?;
            let (bytes, alignment, swizzle) = destination.shape();
            let extent = Layout::extent(bytes, swizzle);
            let SharedPlace { rank, offset } =
                step.shared_operand(lane, sources[lane], Space::Shared, extent, alignment)?;
            let ticket = step.warp.bulk.issue(
                lane,
                step.cluster.agents,
                step.warp.index,
                step.origin(lane),
            );
            let writer = step.cluster.agents.bulk_writes(step.warp.index);
            let issuer = Issuer::of(step, lane);
            let source = Layout {
                rank,
                offset,
                bytes,
                swizzle,
            };
            let departure = Departure {
                issuer,
                ticket,
                writer,
                source,
                destination,
                reduction,
                data: None,
            };
            step.cluster.pending.push_back(Box::new(departure));
            step.cluster.effects += 1;
        }
        Ok(Flow::Next)
    }

    fn footprint(&self) -> Footprint {
        FOOTPRINT
    }
}

impl DestinationOperand {
    fn of_lane(
        &self,
        step: &mut Step<'_>,
        lane: usize,
    ) -> Result<(Destination, Option<Reduction>), Stop> {
        match self {
            DestinationOperand::Global(operand, reduction) => {
                let (address, bytes) = operand.of_lane(step, lane)?;
                operand.check_alignment(step, lane, address)?;
                Ok((Destination::Global { address, bytes }, *reduction))
            }
            DestinationOperand::Tile(operand, reduction) => {
                let tile = operand.tile(step, lane)?;
                let reduction = reduction
                    .map(|name| Reduction::of_tensor(name, tile.map.element))
                    .transpose();
                let reduction = reduction.map_err(|error| {
                    step.fault(FaultKind::InvalidOperand, lane, error.to_string())
                })?;
                Ok((Destination::Tile(tile), reduction))
            }
        }
    }
}

impl Destination {
    /// Bytes in shared memory, alignment there, swizzle there.
    fn shape(&self) -> (usize, usize, Swizzle) {
        match self {
            Destination::Global { bytes, .. } => (*bytes, BULK_ALIGNMENT, Swizzle::None),
            Destination::Tile(tile) => (tile.map.box_bytes(), TILE_ALIGNMENT, tile.map.swizzle),
        }
    }

    /// What is written; elements outside the tensor are not.
    fn pieces(&self) -> Vec<Piece> {
        match self {
            Destination::Global { address, bytes } => vec![Piece {
                start: 0,
                bytes: *bytes,
                address: *address,
            }],
            Destination::Tile(tile) => (tile.rows())
                .map(|row| Piece {
                    start: row.start + row.skipped,
                    bytes: row.inside,
                    address: row.address,
                })
                .collect(),
        }
    }
}

impl Departure {
    /// The dense bytes. What is not written need not be there: it is not read either.
    fn read(&self, cluster: &mut Cluster, launch: &Launch<'_>, pieces: &[Piece]) -> Vec<u8> {
        let mut data = vec![0; self.source.bytes];
        let mut engine = Engine::new(&self.issuer, self.ticket, Strength::Plain, cluster, launch);
        for piece in pieces {
            for segment in self.source.segments(piece.start..piece.start + piece.bytes) {
                let place = SharedPlace {
                    rank: self.source.rank,
                    offset: segment.shared,
                };
                engine.read_shared(cluster, launch, place, &mut data[segment.dense]);
            }
        }
        data
    }

    fn write(
        &self,
        cluster: &mut Cluster,
        launch: &Launch<'_>,
        pieces: &[Piece],
        data: &[u8],
    ) -> Result<(), Stop> {
        let ticket = Ticket {
            agent: self.writer,
            tick: self.ticket.tick,
        };
        let strength = if self.reduction.is_some() {
            Strength::Strong
        } else {
            Strength::Plain
        };
        let mut engine = Engine::new(&self.issuer, ticket, strength, cluster, launch);
        for piece in pieces.iter().filter(|piece| piece.bytes > 0) {
            let data = &data[piece.start..piece.start + piece.bytes];
            match self.reduction {
                None => engine.write_global(cluster, launch, piece.address, data)?,
                Some(reduction) => {
                    engine.update_global(cluster, launch, piece.address, data, reduction)?
                }
            }
        }
        Ok(())
    }
}

impl Asynchronous for Departure {
    fn complete(
        mut self: Box<Self>,
        cluster: &mut Cluster,
        launch: &Launch<'_>,
        counters: &mut Counters,
    ) -> Result<(), Stop> {
        self.read_source(cluster, launch)?;
        let data = self.data.take().unwrap_or_default();
        let pieces = self.destination.pieces();
        counters.bulk_store_bytes += pieces.iter().map(|piece| piece.bytes as u64).sum::<u64>();
        cluster.effects += 1;
        self.write(cluster, launch, &pieces, &data)
    }

    fn origin(&self) -> Option<Origin> {
        Some(self.issuer.origin)
    }

    fn ticket(&self) -> Option<Ticket> {
        Some(self.ticket)
    }

    fn read_source(&mut self, cluster: &mut Cluster, launch: &Launch<'_>) -> Result<(), Stop> {
        if self.data.is_none() {
            self.data = Some(self.read(cluster, launch, &self.destination.pieces()));
        }
        Ok(())
    }

    fn outlives_blocks(&self) -> bool {
        self.data.is_some()
    }
}
