//! The memory of an engine: everything is allocated when it starts, nothing while it runs.

#![forbid(unsafe_code)]

use cudarc::driver::{CudaSlice, DeviceRepr, ValidAsZeroBits};

use super::Gpu;
use super::gpu::driver_error;
use super::kernels::{Sparsify, Storage};
use super::weights::Sizes;
use crate::error::Result;

/// Bytes that the pooled rows of one pass of the head may take: documents beyond them wait for the next pass.
const POOLED_BYTES: usize = 128 << 20;

/// Entries of sparse rows that a pass has room for, a document: several times what trained models give.
const ENTRIES_PER_DOCUMENT: usize = 1024;

/// Hidden states of a batch of at most T tokens.
#[derive(Debug)]
pub(super) struct Activations<T> {
    pub(super) hidden: CudaSlice<T>,   // [T, stride]
    pub(super) attended: CudaSlice<T>, // [T, stride]
    pub(super) qkv: CudaSlice<T>,      // [T, 3 · heads · D]
    pub(super) context: CudaSlice<T>,  // [T, heads · D]
    pub(super) ffn: CudaSlice<T>,      // [T, I]
}

/// Pooled and sparse rows of at most R documents, W values wide.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) pooled: CudaSlice<f32>, // [R, W]
    /// R
    pub(super) documents: usize,
    pub(super) total: CudaSlice<u32>,   // [1]
    pub(super) starts: CudaSlice<u32>,  // [R]
    pub(super) counts: CudaSlice<u32>,  // [R]
    pub(super) damaged: CudaSlice<u32>, // [R]
    pub(super) ids: CudaSlice<u32>,     // [entries]
    pub(super) values: CudaSlice<f32>,  // [entries]
    /// Made when positions are asked for the first time.
    pub(super) positions: Option<RowPositions>,
}

/// Beside pooled rows and entries of [`Rows`]: which token it was.
#[derive(Debug)]
pub(super) struct RowPositions {
    pub(super) pooled: CudaSlice<u32>, // [R, W]
    pub(super) kept: CudaSlice<u32>,   // [entries]
}

impl<T: Storage> Activations<T> {
    pub(super) fn new(gpu: &Gpu, tokens: usize, sizes: &Sizes) -> Result<Self> {
        let (stride, attention) = (sizes.row.stride(), sizes.attention());
        Ok(Self {
            hidden: zeros(gpu, tokens * stride)?,
            attended: zeros(gpu, tokens * stride)?,
            qkv: zeros(gpu, tokens * 3 * attention)?,
            context: zeros(gpu, tokens * attention)?,
            ffn: zeros(gpu, tokens * sizes.ffn)?,
        })
    }

    /// Bytes a token.
    pub(super) fn bytes_per_token(sizes: &Sizes) -> usize {
        (2 * sizes.row.stride() + 4 * sizes.attention() + sizes.ffn) * size_of::<T>()
    }
}

impl Rows {
    pub(super) fn new(gpu: &Gpu, tokens: usize, sizes: &Sizes) -> Result<Self> {
        let documents = Self::documents_for(tokens, sizes);
        let entries = Self::entries(documents, sizes);
        Ok(Self {
            pooled: zeros(gpu, documents * Self::width(sizes))?,
            documents,
            total: zeros(gpu, 1)?,
            starts: zeros(gpu, documents)?,
            counts: zeros(gpu, documents)?,
            damaged: zeros(gpu, documents)?,
            ids: zeros(gpu, entries)?,
            values: zeros(gpu, entries)?,
            positions: None,
        })
    }

    /// Makes room for positions.
    pub(super) fn with_positions(&mut self, gpu: &Gpu) -> Result<()> {
        if self.positions.is_none() {
            self.positions = Some(RowPositions {
                pooled: zeros(gpu, self.pooled.len())?,
                kept: zeros(gpu, self.ids.len())?,
            });
        }
        Ok(())
    }

    /// W
    pub(super) fn width(sizes: &Sizes) -> usize {
        Sparsify::stride(sizes.vocabulary)
    }

    fn documents_for(tokens: usize, sizes: &Sizes) -> usize {
        tokens.min((POOLED_BYTES / (4 * Self::width(sizes))).max(1))
    }

    /// One document always has room, however many terms it has.
    fn entries(documents: usize, sizes: &Sizes) -> usize {
        (documents * ENTRIES_PER_DOCUMENT).max(sizes.vocabulary)
    }

    /// Bytes of all rows.
    pub(super) fn bytes(tokens: usize, sizes: &Sizes) -> usize {
        let documents = Self::documents_for(tokens, sizes);
        4 * documents * (Self::width(sizes) + 3) + 8 * Self::entries(documents, sizes)
    }
}

/// Zeroed memory: padding between rows is read, and must be something.
pub(super) fn zeros<U: DeviceRepr + ValidAsZeroBits>(
    gpu: &Gpu,
    len: usize,
) -> Result<CudaSlice<U>> {
    let made = gpu.stream().alloc_zeros(len);
    made.map_err(|error| {
        let bytes = len * size_of::<U>();
        driver_error("the GPU", &format!("set {bytes} bytes aside"), error)
    })
}
