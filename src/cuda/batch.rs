//! What the kernels must know of a batch: cut on the host, copied to the GPU at once.

use std::sync::Arc;

use cudarc::driver::{CudaEvent, CudaStream, CudaView};

use super::Gpu;
use super::arena::Piece;
use super::gpu::driver_error;
use super::heads::HeadPlan;
use super::kernels::{DeviceTiles, DeviceTokens, QueryTiles};
use super::staging::Staging;
use crate::error::Result;
use crate::pack::PackedBatch;

/// Positions and tiles of a batch, and what the head must know of it.
#[derive(Debug)]
pub(super) struct BatchPlan<'a, P> {
    ids: &'a [u32],
    positions: Vec<u32>,
    tiles: QueryTiles,
    pub(super) head: P,
}

/// A [`BatchPlan`] on the GPU: its words are there before a kernel on the GPU's stream runs that is launched from now on.
#[derive(Debug)]
pub(super) struct DeviceBatch<'a> {
    tokens: usize,
    /// One more than the largest id, and position.
    bounds: [usize; 2],
    tiles: &'a QueryTiles,
    words: CudaView<'a, u32>, // [ids | positions | tiles | the head's]
}

impl<'a, P: HeadPlan> BatchPlan<'a, P> {
    /// The plan of a batch, around that of the head.
    pub(super) fn new(batch: &'a PackedBatch, head: P) -> Result<Self> {
        let lengths = batch.cu_seqlens().windows(2);
        Ok(Self {
            ids: batch.token_ids(),
            positions: lengths.flat_map(|ends| 0..ends[1] - ends[0]).collect(),
            tiles: QueryTiles::cut(batch.cu_seqlens())?,
            head,
        })
    }

    /// The words, part by part.
    fn words(&self) -> impl Iterator<Item = &[u32]> {
        [self.ids, &self.positions, self.tiles.words()]
            .into_iter()
            .chain(self.head.words())
    }

    /// Copies it to the beginning of `memory` on the stream `copies`; the GPU's own stream goes on when that is done.
    pub(super) fn upload<'b>(
        &'b self,
        gpu: &Gpu,
        copies: &Arc<CudaStream>,
        staging: &mut Staging<u32>,
        memory: &'b mut Piece<u32>,
        uploaded: &CudaEvent,
    ) -> Result<DeviceBatch<'b>> {
        staging.upload(self.words(), copies, &mut memory.as_view_mut())?;
        let ordered = uploaded
            .record(copies)
            .and_then(|()| gpu.stream().wait(uploaded));
        ordered.map_err(|error| driver_error("the GPU", "order its streams", error))?;
        let bound = |numbers: &[u32]| numbers.iter().max().map_or(0, |&most| most as usize + 1);
        Ok(DeviceBatch {
            tokens: self.ids.len(),
            bounds: [bound(self.ids), bound(&self.positions)],
            tiles: &self.tiles,
            words: memory.as_view(),
        })
    }
}

/// Words of any batch of `tokens` tokens, at most, without the head's.
pub(super) fn words_at_most(tokens: usize) -> usize {
    // Every token may be a document of its own: id, position, a tile of three words.
    tokens * 5
}

impl DeviceBatch<'_> {
    /// T
    pub(super) fn tokens(&self) -> usize {
        self.tokens
    }

    pub(super) fn token_ids(&self) -> DeviceTokens<'_> {
        let [ids, positions] = self.bounds;
        let on_gpu = |first: usize| self.words.slice(first..first + self.tokens);
        // SAFETY: these words were uploaded, nobody writes to them while they are borrowed, and the bounds are theirs.
        unsafe { DeviceTokens::new(on_gpu(0), on_gpu(self.tokens), ids, positions) }
    }

    pub(super) fn tiles(&self) -> DeviceTiles<'_> {
        let words = self.words.slice(2 * self.tokens..);
        // SAFETY: as above.
        unsafe { DeviceTiles::new(self.tiles, words) }
    }

    /// The words of the head's plan, and what memory there is behind them.
    pub(super) fn head_words(&self) -> CudaView<'_, u32> {
        self.words
            .slice(2 * self.tokens + self.tiles.words().len()..)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tokenize::TokenSequence;

    /// A head that must know nothing.
    struct NoHead;

    impl HeadPlan for NoHead {
        fn words(&self) -> impl Iterator<Item = &[u32]> {
            std::iter::empty()
        }
    }

    proptest! {
        /// What is set aside at start is enough for whatever comes.
        #[test]
        fn the_words_of_any_batch_have_room(lengths in prop::collection::vec(0_usize..200, 0..40)) {
            let mut batch = PackedBatch::new();
            for &length in &lengths {
                let sequence = TokenSequence {
                    ids: vec![7; length],
                    special: vec![false; length],
                    truncated: false,
                };
                batch.push(&sequence, true);
            }
            let plan = BatchPlan::new(&batch, NoHead).unwrap();
            let words: usize = plan.words().map(<[u32]>::len).sum();
            prop_assert!(words <= words_at_most(batch.tokens()));
        }
    }
}
