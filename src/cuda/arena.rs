//! One piece of a GPU's memory, set aside at start and cut up for everything that a batch needs.

use std::mem::ManuallyDrop;
use std::ops::RangeBounds;
use std::sync::Arc;

use bytemuck::AnyBitPattern;
use cudarc::driver::{
    CudaSlice, CudaView, CudaViewMut, DevicePtrMut, DeviceRepr, sys::CUdeviceptr,
};

use super::Gpu;
use super::gpu::driver_error;
use crate::error::Result;

/// Pieces begin at multiples of this: a line of the L2 cache and more than any access of a kernel wants.
const ALIGNMENT: usize = 256;

/// Memory that pieces are cut from, one behind the other. It holds no values yet.
#[derive(Debug)]
pub(super) struct Arena {
    gpu: Gpu,
    memory: Arc<CudaSlice<u8>>,
    /// Where the next piece begins.
    next: CUdeviceptr,
    left: usize,
}

/// A part of an [`Arena`], whose memory lives as long as its last piece.
#[derive(Debug)]
pub(super) struct Piece<U> {
    values: ManuallyDrop<CudaSlice<U>>,
    _memory: Arc<CudaSlice<u8>>,
}

/// Bytes of an arena that a piece of `len` values takes.
pub(super) fn piece_bytes<U>(len: usize) -> usize {
    (len * size_of::<U>()).next_multiple_of(ALIGNMENT)
}

impl Arena {
    /// Sets `bytes` bytes aside.
    pub(super) fn new(gpu: &Gpu, bytes: usize) -> Result<Self> {
        // SAFETY: the values of the memory are any bits, which are as good as others for the types that pieces have.
        let made = unsafe { gpu.stream().alloc(bytes) };
        let mut memory: CudaSlice<u8> = made
            .map_err(|error| driver_error("the GPU", &format!("set {bytes} bytes aside"), error))?;
        let next = memory.device_ptr_mut(gpu.stream()).0;
        Ok(Self {
            gpu: gpu.clone(),
            memory: Arc::new(memory),
            next,
            left: bytes,
        })
    }

    /// Cuts off a piece of `len` values, which are not set.
    ///
    /// # Panics
    ///
    /// If so much is not left: whoever made the arena must have counted all pieces.
    pub(super) fn take<U: DeviceRepr + AnyBitPattern>(&mut self, len: usize) -> Piece<U> {
        let bytes = piece_bytes::<U>(len);
        self.left = self
            .left
            .checked_sub(bytes)
            .expect("an arena is as large as its pieces together. This is a bug");
        // SAFETY: the range is inside the allocation, which the piece keeps alive, and in no other piece. It is aligned for
        // any type, and any bits are a value of this one.
        let values = unsafe { self.gpu.stream().upgrade_device_ptr(self.next, len) };
        self.next += bytes as CUdeviceptr;
        Piece {
            values: ManuallyDrop::new(values),
            _memory: Arc::clone(&self.memory),
        }
    }
}

impl<U> Piece<U> {
    /// Number of values.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn as_view(&self) -> CudaView<'_, U> {
        self.values.as_view()
    }

    pub(super) fn as_view_mut(&mut self) -> CudaViewMut<'_, U> {
        self.values.as_view_mut()
    }

    pub(super) fn split_at_mut(&mut self, at: usize) -> (CudaViewMut<'_, U>, CudaViewMut<'_, U>) {
        self.values.split_at_mut(at)
    }

    pub(super) fn slice(&self, range: impl RangeBounds<usize>) -> CudaView<'_, U> {
        self.values.slice(range)
    }

    pub(super) fn slice_mut(&mut self, range: impl RangeBounds<usize>) -> CudaViewMut<'_, U> {
        self.values.slice_mut(range)
    }
}

impl<U> Drop for Piece<U> {
    fn drop(&mut self) {
        // SAFETY: it is not used after this. The memory is not this value's to free: `leak` gives up what it claims.
        let values = unsafe { ManuallyDrop::take(&mut self.values) };
        values.leak();
    }
}
