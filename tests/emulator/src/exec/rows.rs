//! Addresses of a request resolved: to rows of one block's shared memory or of one allocation.

use std::ops::Range;

use super::{Block, Step};
use crate::fault::{FaultKind, Stop};
use crate::isa::{Lanes, RESERVED_SHARED};
use crate::lanes::{lanes, lanes_where};
use crate::memory::{AddressError, CLUSTER_STRIDE, Place};

/// A shared-memory address resolved: rank of the block in its cluster, and offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedPlace {
    /// Rank of the block.
    pub rank: usize,
    /// Offset in bytes.
    pub offset: usize,
}

/// Rows of one block's shared memory, inside it and aligned.
#[derive(Clone, Copy, Debug)]
pub struct SharedRows {
    /// Rank of the block.
    pub rank: usize,
    /// Lanes with a row there.
    pub lanes: u32,
    /// Offset of each lane's row.
    pub offsets: Lanes<u32>,
    /// Bytes of a row.
    pub bytes: usize,
}

/// Rows of one allocation of global memory, inside it and aligned.
#[derive(Clone, Copy, Debug)]
pub struct GlobalRows {
    /// Index of the allocation in the launch's view.
    pub allocation: usize,
    /// Lanes with a row there.
    pub lanes: u32,
    /// Offset of each lane's row.
    pub offsets: Lanes<u64>,
    /// Bytes of a row.
    pub bytes: usize,
}

impl SharedRows {
    /// The place of a lane's row.
    pub fn place(&self, lane: usize) -> SharedPlace {
        SharedPlace {
            rank: self.rank,
            offset: self.offsets[lane] as usize,
        }
    }

    /// The bytes of a lane's row.
    #[inline]
    pub fn range(&self, lane: usize) -> Range<usize> {
        self.offsets[lane] as usize..self.offsets[lane] as usize + self.bytes
    }
}

impl GlobalRows {
    /// The place of a lane's row.
    pub fn place(&self, lane: usize) -> Place {
        Place {
            allocation: self.allocation,
            offset: self.offsets[lane],
        }
    }

    /// The bytes of a lane's row.
    #[inline]
    pub fn range(&self, lane: usize) -> Range<usize> {
        self.offsets[lane] as usize..self.offsets[lane] as usize + self.bytes
    }
}

/// All bits for the lanes of a mask, no bit for the others.
#[inline]
fn spread(mask: u32) -> Lanes<u64> {
    if mask == u32::MAX {
        return [u64::MAX; 32];
    }
    std::array::from_fn(|lane| u64::from(mask >> lane & 1).wrapping_neg())
}

impl Step<'_> {
    /// Resolves the shared-memory address of `bytes` bytes, aligned to `align`.
    ///
    /// # Errors
    /// Out of bounds or misaligned.
    #[inline]
    pub fn shared_place(
        &self,
        lane: usize,
        address: u64,
        bytes: usize,
        align: usize,
    ) -> Result<SharedPlace, Stop> {
        let (rank, offset) = (
            self.rank_of(address) as usize,
            (address % u64::from(CLUSTER_STRIDE)) as usize,
        );
        let size = self.shared_size(rank);
        if offset < RESERVED_SHARED as usize || offset + bytes > size {
            return Err(self.shared_out_of_bounds(lane, rank, offset, bytes, size));
        }
        if offset % align != 0 {
            return Err(self.fault(
                FaultKind::Misaligned,
                lane,
                format!("shared address {offset:#x} is no multiple of {align}"),
            ));
        }
        Ok(SharedPlace { rank, offset })
    }

    /// Resolves the shared-memory addresses of some lanes: all that are in the block which the first of them names. Addresses
    /// must be multiples of `bytes`, a power of two.
    ///
    /// # Errors
    /// Out of bounds or misaligned.
    #[inline]
    pub fn shared_rows(
        &self,
        mut active: u32,
        addresses: &Lanes<u64>,
        bytes: usize,
    ) -> Result<SharedRows, Stop> {
        let on = spread(active);
        let mut rank = self.warp.rank as u64;
        if (0..32).fold(0, |all, lane| all | addresses[lane] & on[lane])
            >= u64::from(CLUSTER_STRIDE)
        {
            rank = self.rank_of(addresses[active.trailing_zeros() as usize]);
            active = lanes_where(active, |lane| self.rank_of(addresses[lane]) == rank);
        }
        let rank = rank as usize;
        let offsets: Lanes<u32> =
            std::array::from_fn(|lane| (addresses[lane] % u64::from(CLUSTER_STRIDE)) as u32);
        let on = spread(active);
        let size = self.shared_size(rank) as u32;
        let room = size.checked_sub(RESERVED_SHARED + bytes as u32);
        let odd = bytes as u32 - 1;
        let wrong = (0..32).fold(0, |wrong, lane| {
            let outside = offsets[lane].wrapping_sub(RESERVED_SHARED) > room.unwrap_or(0);
            wrong | on[lane] as u32 & (u32::from(outside) << 31 | offsets[lane] & odd)
        });
        if wrong != 0 || room.is_none() {
            for lane in lanes(active) {
                self.shared_place(lane, addresses[lane], bytes, bytes)?;
            }
        }
        Ok(SharedRows {
            rank,
            lanes: active,
            offsets,
            bytes,
        })
    }

    /// Rank of the block whose shared memory an address is in.
    #[inline]
    fn rank_of(&self, address: u64) -> u64 {
        match address / u64::from(CLUSTER_STRIDE) {
            0 => self.warp.rank as u64,
            window => window - 1,
        }
    }

    /// Bytes of a block's shared memory; 0 where there is none or it has ended.
    #[inline]
    fn shared_size(&self, rank: usize) -> usize {
        let alive = |block: &&Block| rank == self.warp.rank || block.live_warps > 0;
        self.cluster
            .blocks
            .get(rank)
            .filter(alive)
            .map_or(0, |block| block.shared.len())
    }

    #[cold]
    fn shared_out_of_bounds(
        &self,
        lane: usize,
        rank: usize,
        offset: usize,
        bytes: usize,
        size: usize,
    ) -> Stop {
        let message = if self.cluster.blocks.get(rank).is_none() {
            format!(
                "shared memory of block {rank} of a cluster of {}",
                self.cluster.blocks.len()
            )
        } else if size == 0 && rank != self.warp.rank {
            format!(
                "shared memory of block {rank} of the cluster, which has ended: a cluster barrier must keep it alive"
            )
        } else {
            format!(
                "{bytes} bytes at shared address {offset:#x}, but the block's shared memory is {RESERVED_SHARED:#x} to {size:#x}"
            )
        };
        self.fault(FaultKind::OutOfBounds, lane, message)
    }

    /// Resolves the global address of `bytes` bytes, aligned to `align`.
    ///
    /// # Errors
    /// Out of bounds, freed or misaligned.
    #[inline]
    pub fn global_place(
        &mut self,
        lane: usize,
        address: u64,
        bytes: usize,
        align: usize,
    ) -> Result<Place, Stop> {
        if !address.is_multiple_of(align as u64) {
            return Err(self.fault(
                FaultKind::Misaligned,
                lane,
                format!("global address {address:#x} is no multiple of {align}"),
            ));
        }
        let found = self
            .launch
            .memory
            .find(address, bytes as u64, &mut self.warp.hint);
        found.map_err(|error| self.bad_address(lane, address, bytes, error))
    }

    /// Resolves the global addresses of some lanes: all that are in the allocation which the first of them names. Addresses
    /// must be multiples of `bytes`, a power of two.
    ///
    /// # Errors
    /// Out of bounds, freed or misaligned.
    #[inline]
    pub fn global_rows(
        &mut self,
        active: u32,
        addresses: &Lanes<u64>,
        bytes: usize,
    ) -> Result<GlobalRows, Stop> {
        let first = active.trailing_zeros() as usize;
        let allocation = self
            .global_place(first, addresses[first], bytes, bytes)?
            .allocation;
        let memory = self.launch.memory.allocation(allocation);
        let (base, room) = (memory.base(), memory.bytes() - bytes as u64);
        let offsets = addresses.map(|address| address.wrapping_sub(base));
        // One pass for the usual case that all fit: neither an offset nor the room behind it is negative.
        let (mut signs, mut low) = (0, 0);
        for &offset in &offsets {
            signs |= offset | room.wrapping_sub(offset);
            low |= offset;
        }
        let all = signs >> 63 == 0 && low % bytes as u64 == 0;
        let fits = |lane: usize| offsets[lane] <= room && offsets[lane] % bytes as u64 == 0;
        let lanes = if all {
            active
        } else {
            lanes_where(active, fits)
        };
        Ok(GlobalRows {
            allocation,
            lanes,
            offsets,
            bytes,
        })
    }

    /// The fault of an address that is in no allocation.
    #[cold]
    pub fn bad_address(
        &self,
        lane: usize,
        address: u64,
        bytes: usize,
        error: AddressError,
    ) -> Stop {
        let kind = if matches!(error, AddressError::Freed { .. }) {
            FaultKind::UseAfterFree
        } else {
            FaultKind::OutOfBounds
        };
        self.fault(
            kind,
            lane,
            format!("{bytes} bytes at global address {address:#x}: {error}"),
        )
    }
}
