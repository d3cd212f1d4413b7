//! What the kernels must know of a batch, in one piece of memory that is copied at once.

use cudarc::driver::{CudaSlice, CudaView};

use super::Gpu;
use super::gpu::driver_error;
use super::kernels::{DeviceColumns, DeviceTiles, DeviceTokens, HeadColumns, QueryTiles};
use crate::error::Result;
use crate::pack::PackedBatch;

/// Ids, positions and tiles of a batch on the GPU.
#[derive(Debug)]
pub(super) struct DeviceBatch<'a> {
    tiles: QueryTiles,
    words: CudaView<'a, u32>, // [ids | positions | tiles]
    tokens: usize,
    /// One more than the largest id and position.
    bounds: [usize; 2],
}

/// Words for a batch of `tokens` tokens, at most.
pub(super) fn batch_words(tokens: usize) -> usize {
    // Every token may be a document, and so a tile of three words.
    5 * tokens
}

impl<'a> DeviceBatch<'a> {
    /// Copies a batch to `memory`.
    pub(super) fn upload(
        gpu: &Gpu,
        memory: &'a mut CudaSlice<u32>,
        batch: &PackedBatch,
    ) -> Result<Self> {
        let tiles = QueryTiles::cut(batch.cu_seqlens())?;
        let lengths = batch.cu_seqlens().windows(2);
        let positions: Vec<u32> = lengths.flat_map(|ends| 0..ends[1] - ends[0]).collect();
        let ids = batch.token_ids();
        let bound = |numbers: &[u32]| numbers.iter().max().map_or(0, |&most| most as usize + 1);
        let bounds = [bound(ids), bound(&positions)];
        let words = [ids, &positions, tiles.words()].concat();
        let mut target = memory.slice_mut(..words.len());
        let copied = gpu.stream().memcpy_htod(&words, &mut target);
        copied.map_err(|error| driver_error("a batch", "copy it to the GPU", error))?;
        Ok(Self {
            tiles,
            words: memory.slice(..words.len()),
            tokens: ids.len(),
            bounds,
        })
    }

    /// T
    pub(super) fn tokens(&self) -> usize {
        self.tokens
    }

    pub(super) fn token_ids(&self) -> DeviceTokens<'_> {
        let ids = self.words.slice(..self.tokens);
        let positions = self.words.slice(self.tokens..2 * self.tokens);
        // SAFETY: `upload` copied them, and found the bounds in the same numbers; nobody writes to them while they are
        // borrowed.
        unsafe { DeviceTokens::new(ids, positions, self.bounds[0], self.bounds[1]) }
    }

    pub(super) fn tiles(&self) -> DeviceTiles<'_> {
        // SAFETY: `upload` copied the words of the tiles there; nobody writes to them while they are borrowed.
        unsafe { DeviceTiles::new(&self.tiles, self.words.slice(2 * self.tokens..)) }
    }
}

/// Copies the columns of the head to `memory`.
pub(super) fn upload_columns<'a>(
    gpu: &Gpu,
    memory: &'a mut CudaSlice<u32>,
    columns: &'a HeadColumns,
) -> Result<DeviceColumns<'a>> {
    let words = columns.concatenated();
    let copied = gpu
        .stream()
        .memcpy_htod(&words, &mut memory.slice_mut(..words.len()));
    copied.map_err(|error| driver_error("a batch", "copy its columns to the GPU", error))?;
    // SAFETY: they were copied there just now; nobody writes to them while they are borrowed.
    Ok(unsafe { DeviceColumns::new(columns, memory.slice(..words.len())) })
}
