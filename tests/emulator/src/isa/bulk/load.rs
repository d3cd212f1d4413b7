//! Copies into shared memory that complete on an mbarrier.

use super::engine::Issuer;
use super::landing::{Landing, Source};
use super::layout::Layout;
use super::reduction::Reduction;
use super::tile::TileOperand;
use super::{BULK_ALIGNMENT, FOOTPRINT, LinearOperand};
use crate::exec::{SharedPlace, Step};
use crate::fault::{FaultKind, Stop};
use crate::isa::{Address, Execute, Flow, Footprint, Space};
use crate::memory::{ByteState, CLUSTER_STRIDE};

/// `cp.async.bulk` and `cp.async.bulk.tensor` into shared memory, and `cp.reduce.async.bulk` between shared memories.
#[derive(Debug)]
pub(super) struct Load {
    pub target: Address,
    pub barrier: Address,
    pub source: SourceOperand,
    /// The mask of blocks that all get the data.
    pub multicast: Option<u16>,
}

/// Where a copy comes from.
#[derive(Debug)]
pub(super) enum SourceOperand {
    Global(LinearOperand),
    Shared(LinearOperand, Option<Reduction>),
    Tile(TileOperand),
}

impl Execute for Load {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let (targets, barriers) = (step.addresses(self.target), step.addresses(self.barrier));
        for lane in step.lanes() {
            let source = self.source.of_lane(step, lane)?;
            let (bytes, alignment) = (source.bytes(), source.alignment());
            let extent = Layout::extent(bytes, source.swizzle());
            let target =
                step.shared_operand(lane, targets[lane], Space::Cluster, extent, alignment)?;
            let barrier = step.mbarrier_place(lane, barriers[lane], Space::Cluster)?;
            if target.rank != barrier.rank {
                let message = "the mbarrier is in another block than the target of the copy".into();
                return Err(step.fault(FaultKind::InvalidOperand, lane, message));
            }
            if !matches!(source, Source::Shared { .. }) {
                step.counters.bulk_load_bytes += bytes as u64;
            }
            match self.multicast {
                None => issue(step, lane, source, target, barrier)?,
                Some(mask) => {
                    for rank in multicast(step, lane, mask)? {
                        // The same offsets in every block of the mask.
                        let base = (rank as u64 + 1) * u64::from(CLUSTER_STRIDE);
                        let target = step.shared_place(
                            lane,
                            base + target.offset as u64,
                            extent,
                            alignment,
                        )?;
                        let barrier = step.mbarrier_place(
                            lane,
                            base + barrier.offset as u64,
                            Space::Cluster,
                        )?;
                        issue(step, lane, source.clone(), target, barrier)?;
                    }
                }
            }
        }
        Ok(Flow::Next)
    }

    fn footprint(&self) -> Footprint {
        FOOTPRINT
    }
}

/// The ranks of a multicast mask.
fn multicast(
    step: &Step<'_>,
    lane: usize,
    mask: u16,
) -> Result<impl Iterator<Item = usize> + use<>, Stop> {
    let mask = step.warp.narrow[mask as usize][lane] & 0xffff;
    if mask == 0 || mask >> step.cluster.blocks.len() != 0 {
        let message = format!(
            "multicast mask {mask:#06x} in a cluster of {} blocks",
            step.cluster.blocks.len()
        );
        return Err(step.fault(FaultKind::InvalidOperand, lane, message));
    }
    Ok((0..16).filter(move |rank| mask >> rank & 1 == 1))
}

/// Starts a copy into one block.
fn issue(
    step: &mut Step<'_>,
    lane: usize,
    source: Source,
    target: SharedPlace,
    barrier: SharedPlace,
) -> Result<(), Stop> {
    let made = step.mbarrier(lane, barrier)?.made();
    let known = step.warp.clock.get(made.agent) >= made.tick;
    if known && step.warp.proxy_clock.get(made.agent) < made.tick {
        let location = &step.launch.kernel.locations[made.pc as usize];
        let message = format!(
            "the copy completes on the mbarrier at shared address {:#x}, whose initialisation at {} `{}` the asynchronous \
             proxy does not see: fence.mbarrier_init or fence.proxy.async between is missing",
            barrier.offset, location.source, location.text
        );
        step.report(FaultKind::Race, lane, message);
    }
    let target = Layout {
        rank: target.rank,
        offset: target.offset,
        bytes: source.bytes(),
        swizzle: source.swizzle(),
    };
    if !source.reduces() {
        mark_in_flight(step, lane, target);
    }
    let issuer = Issuer::of(step, lane);
    step.cluster.pending.push_back(Box::new(Landing {
        issuer,
        source,
        target,
        barrier,
    }));
    step.cluster.effects += 1;
    Ok(())
}

fn mark_in_flight(step: &mut Step<'_>, lane: usize, target: Layout) {
    let mut forbidden = None;
    for segment in target.segments(0..target.bytes) {
        let range = segment.shared..segment.shared + segment.dense.len();
        let shared = &mut step.cluster.blocks[target.rank].shared;
        match shared.forbids_write(range.clone()) {
            // An mbarrier under the target stays one, so that its users do not fail for the wrong reason.
            Some(ByteState::Barrier) => forbidden = Some((ByteState::Barrier, segment.shared)),
            state => {
                forbidden = forbidden.or(state.map(|state| (state, segment.shared)));
                shared.set_state(range, ByteState::InFlight);
            }
        }
    }
    let Some((state, offset)) = forbidden else {
        return;
    };
    let (kind, what) = match state {
        ByteState::Barrier => (FaultKind::Barrier, "belong to an mbarrier"),
        _ => (
            FaultKind::Asynchronous,
            "are the target of another copy that was not waited for",
        ),
    };
    step.report(
        kind,
        lane,
        format!("copy into shared memory at {offset:#x}: bytes there {what}"),
    );
}

impl SourceOperand {
    fn of_lane(&self, step: &mut Step<'_>, lane: usize) -> Result<Source, Stop> {
        Ok(match self {
            SourceOperand::Global(operand) => {
                let (address, bytes) = operand.of_lane(step, lane)?;
                operand.check_alignment(step, lane, address)?;
                Source::Global { address, bytes }
            }
            SourceOperand::Shared(operand, reduction) => {
                let (address, bytes) = operand.of_lane(step, lane)?;
                let place =
                    step.shared_operand(lane, address, Space::Shared, bytes, BULK_ALIGNMENT)?;
                Source::Shared {
                    place,
                    bytes,
                    reduction: *reduction,
                }
            }
            SourceOperand::Tile(operand) => Source::Tile(operand.tile(step, lane)?),
        })
    }
}
