//! Pinned memory of the host, which the GPU copies from and to by itself while the host does something else.

use std::sync::Arc;

use cudarc::driver::{
    CudaEvent, CudaStream, CudaView, CudaViewMut, DeviceRepr, HostSlice, PinnedHostSlice,
    SyncOnDrop, ValidAsZeroBits, sys,
};

use super::Gpu;
use super::gpu::driver_error;
use crate::error::Result;

/// Values on their way to or from a GPU. Whoever touches them waits for a copy that is under way.
#[derive(Debug)]
pub(super) struct Staging<U> {
    pinned: PinnedHostSlice<U>,
    /// When the last copy is done. The event that cudarc keeps with the memory is not recorded where it tracks no events.
    copied: CudaEvent,
}

/// The first values of a [`Staging`]: cudarc copies whole slices only.
struct Prefix<'a, U> {
    pinned: &'a mut PinnedHostSlice<U>,
    len: usize,
}

impl<U: DeviceRepr + ValidAsZeroBits + Copy + Default> Staging<U> {
    /// Room for `len` values that the host writes.
    pub(super) fn to_gpu(gpu: &Gpu, len: usize) -> Result<Self> {
        // The host's caches need not hold what only the GPU reads.
        Self::new(gpu, len, sys::CU_MEMHOSTALLOC_WRITECOMBINED)
    }

    /// Room for `len` values that the host reads.
    pub(super) fn from_gpu(gpu: &Gpu, len: usize) -> Result<Self> {
        Self::new(gpu, len, 0)
    }

    fn new(gpu: &Gpu, len: usize, flags: u32) -> Result<Self> {
        let failed = |error| {
            let bytes = len * size_of::<U>();
            driver_error("the GPU", &format!("pin {bytes} bytes of the host"), error)
        };
        let context = gpu.stream().context();
        // SAFETY: it is filled before anyone reads it.
        let mut pinned = unsafe { context.alloc_pinned_with_flags(len, flags) }.map_err(failed)?;
        pinned.as_mut_slice().map_err(failed)?.fill(U::default());
        // Whoever waits sleeps: the cores are for the tokeniser.
        let copied = context.new_event(Some(sys::CUevent_flags::CU_EVENT_BLOCKING_SYNC));
        Ok(Self {
            pinned,
            copied: copied.map_err(failed)?,
        })
    }

    /// Begins to copy `parts`, one behind the other, to the beginning of `target`.
    pub(super) fn upload<'a>(
        &mut self,
        parts: impl IntoIterator<Item = &'a [U]>,
        stream: &Arc<CudaStream>,
        target: &mut CudaViewMut<'_, U>,
    ) -> Result<()>
    where
        U: 'a,
    {
        let failed = |error| driver_error("a batch", "copy it to the GPU", error);
        let mut len = 0;
        self.copied.synchronize().map_err(failed)?;
        let room = self.pinned.as_mut_slice().map_err(failed)?;
        for part in parts {
            room[len..][..part.len()].copy_from_slice(part);
            len += part.len();
        }
        let prefix = Prefix {
            pinned: &mut self.pinned,
            len,
        };
        stream.memcpy_htod(&prefix, target).map_err(failed)?;
        self.copied.record(stream).map_err(failed)
    }

    /// Begins to copy `source` here.
    pub(super) fn download(
        &mut self,
        source: &CudaView<'_, U>,
        stream: &Arc<CudaStream>,
    ) -> Result<()> {
        let mut prefix = Prefix {
            len: source.len(),
            pinned: &mut self.pinned,
        };
        let copied = stream.memcpy_dtoh(source, &mut prefix);
        let copied = copied.and_then(|()| self.copied.record(stream));
        copied.map_err(|error| driver_error("the GPU", "give its results back", error))
    }

    /// The values, after the last copy.
    pub(super) fn wait(&self) -> Result<&[U]> {
        let failed = |error| driver_error("the GPU", "finish its work", error);
        self.copied.synchronize().map_err(failed)?;
        self.pinned.as_slice().map_err(failed)
    }
}

impl<U> Drop for Staging<U> {
    fn drop(&mut self) {
        // The GPU must not copy to what is freed. If it failed, it copies no more.
        let _ = self.copied.synchronize();
    }
}

impl<U> HostSlice<U> for Prefix<'_, U> {
    fn len(&self) -> usize {
        self.len
    }

    unsafe fn stream_synced_slice<'a>(
        &'a self,
        stream: &'a CudaStream,
    ) -> (&'a [U], SyncOnDrop<'a>) {
        // SAFETY: what the caller promises for this slice holds for the one that it is a part of.
        let (values, sync) = unsafe { self.pinned.stream_synced_slice(stream) };
        (&values[..self.len], sync)
    }

    unsafe fn stream_synced_mut_slice<'a>(
        &'a mut self,
        stream: &'a CudaStream,
    ) -> (&'a mut [U], SyncOnDrop<'a>) {
        // SAFETY: as above.
        let (values, sync) = unsafe { self.pinned.stream_synced_mut_slice(stream) };
        (&mut values[..self.len], sync)
    }
}
