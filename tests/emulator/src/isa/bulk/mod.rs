//! Bulk and tensor copies (TMA): `cp.async.bulk`, `cp.async.bulk.tensor` and `cp.reduce.async.bulk`.
//!
//! A copy is issued by a thread and carried out by an engine of the asynchronous proxy, as late as the rules allow: copies
//! into shared memory when nothing else moves (or, with a seed, at any time), copies to global memory when their group is
//! waited for. Its accesses are checked then, against what its issuer knew when it issued it.

mod decode;
mod engine;
mod groups;
mod landing;
mod layout;
mod load;
mod reduction;
mod store;
mod tile;

pub use groups::BulkQueue;

pub(super) use decode::decode;

use super::{Address, Footprint};
use crate::exec::Step;
use crate::fault::{FaultKind, Stop};

/// Addresses and sizes of plain bulk copies are multiples of this.
const BULK_ALIGNMENT: usize = 16;

/// Boxes of tensors begin at multiples of this in shared memory.
const TILE_ALIGNMENT: usize = 128;

/// Copies move 16-byte units. Where a row of a tensor ends within one, the rest of the unit is left out of race checks.
const FOOTPRINT: Footprint = Footprint {
    shared: 16,
    global: 16,
};

/// An address and a number of bytes.
#[derive(Clone, Copy, Debug)]
struct LinearOperand {
    address: Address,
    bytes: u16,
}

impl LinearOperand {
    /// Address and bytes of a lane.
    ///
    /// # Errors
    /// When the number of bytes is no multiple of 16.
    fn of_lane(&self, step: &Step<'_>, lane: usize) -> Result<(u64, usize), Stop> {
        let bytes = step.warp.narrow[self.bytes as usize][lane] as usize;
        if !bytes.is_multiple_of(BULK_ALIGNMENT) {
            let message =
                format!("bulk copy of {bytes} bytes: must be a multiple of {BULK_ALIGNMENT}");
            return Err(step.fault(FaultKind::InvalidOperand, lane, message));
        }
        Ok((step.addresses(self.address)[lane], bytes))
    }

    /// Checks the alignment of the address in global memory.
    ///
    /// # Errors
    /// When it is misaligned.
    fn check_alignment(&self, step: &Step<'_>, lane: usize, address: u64) -> Result<(), Stop> {
        if address.is_multiple_of(BULK_ALIGNMENT as u64) {
            return Ok(());
        }
        let message = format!(
            "bulk copy at global address {address:#x}: must be a multiple of {BULK_ALIGNMENT}"
        );
        Err(step.fault(FaultKind::Misaligned, lane, message))
    }
}

#[cfg(test)]
mod tests;
