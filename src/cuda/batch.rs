//! What the kernels must know of a batch: cut on the host, copied to the GPU at once.

use std::sync::Arc;

use cudarc::driver::{CudaEvent, CudaStream, CudaView};

use super::Gpu;
use super::arena::Piece;
use super::gpu::driver_error;
use super::kernels::{DeviceColumns, DeviceTiles, DeviceTokens, HeadColumns, QueryTiles};
use super::launch_shape::splade_head::GROUP;
use super::staging::Staging;
use crate::error::Result;
use crate::pack::PackedBatch;

/// Positions and tiles of a batch, and the columns of the head, pass by pass.
#[derive(Debug)]
pub(super) struct BatchPlan<'a> {
    ids: &'a [u32],
    positions: Vec<u32>,
    tiles: QueryTiles,
    passes: Vec<HeadColumns>,
    /// Documents with a row of their own: those that the head pools anything of.
    rows: usize,
}

/// A [`BatchPlan`] on the GPU: its words are there before a kernel on the GPU's stream runs that is launched from now on.
#[derive(Debug)]
pub(super) struct DeviceBatch<'a> {
    plan: &'a BatchPlan<'a>,
    words: CudaView<'a, u32>, // [ids | positions | tiles | columns of the first pass | ...]
}

impl<'a> BatchPlan<'a> {
    /// The plan of a batch whose documents the head takes `rows_of_a_pass` at a time.
    pub(super) fn new(batch: &'a PackedBatch, rows_of_a_pass: usize) -> Result<Self> {
        let lengths = batch.cu_seqlens().windows(2);
        let mut passes: Vec<HeadColumns> = Vec::new();
        for ends in batch
            .cu_pooled()
            .windows(2)
            .filter(|ends| ends[0] < ends[1])
        {
            if passes
                .last()
                .is_none_or(|pass| pass.documents() == rows_of_a_pass)
            {
                passes.push(HeadColumns::new());
            }
            let pass = passes.last_mut().expect("there is one by now");
            pass.push(&batch.pooled()[ends[0] as usize..ends[1] as usize]);
        }
        Ok(Self {
            ids: batch.token_ids(),
            positions: lengths.flat_map(|ends| 0..ends[1] - ends[0]).collect(),
            tiles: QueryTiles::cut(batch.cu_seqlens())?,
            rows: passes.iter().map(HeadColumns::documents).sum(),
            passes,
        })
    }

    /// Words of any batch of `tokens` tokens, at most.
    pub(super) fn words_at_most(tokens: usize) -> usize {
        // Every token may be a document of its own: id, position, a tile of three words; and in the head a pass of its
        // own, with a group of columns, a word for it and two for the span.
        tokens * (5 + GROUP as usize + 3)
    }

    /// The words, part by part.
    pub(super) fn words(&self) -> impl Iterator<Item = &[u32]> {
        let passes = self.passes.iter().flat_map(HeadColumns::words);
        [self.ids, &self.positions, self.tiles.words()]
            .into_iter()
            .chain(passes)
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
        Ok(DeviceBatch {
            plan: self,
            words: memory.as_view(),
        })
    }

    /// Documents that the head pools anything of, in all passes.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }
}

impl DeviceBatch<'_> {
    /// T
    pub(super) fn tokens(&self) -> usize {
        self.plan.ids.len()
    }

    /// Those of the [plan](BatchPlan::rows).
    pub(super) fn rows(&self) -> usize {
        self.plan.rows()
    }

    pub(super) fn token_ids(&self) -> DeviceTokens<'_> {
        let BatchPlan { ids, positions, .. } = self.plan;
        let bound = |numbers: &[u32]| numbers.iter().max().map_or(0, |&most| most as usize + 1);
        let on_gpu = |first: usize| self.words.slice(first..first + ids.len());
        // SAFETY: these words were uploaded, nobody writes to them while they are borrowed, and the bounds are theirs.
        unsafe { DeviceTokens::new(on_gpu(0), on_gpu(ids.len()), bound(ids), bound(positions)) }
    }

    pub(super) fn tiles(&self) -> DeviceTiles<'_> {
        let words = self.words.slice(2 * self.tokens()..);
        // SAFETY: as above.
        unsafe { DeviceTiles::new(&self.plan.tiles, words) }
    }

    /// The columns of the head, pass by pass.
    pub(super) fn passes(&self) -> impl Iterator<Item = DeviceColumns<'_>> {
        let mut first = 2 * self.tokens() + self.plan.tiles.words().len();
        self.plan.passes.iter().map(move |columns| {
            let len = columns.words().iter().map(|part| part.len()).sum::<usize>();
            let words = self.words.slice(first..first + len);
            first += len;
            // SAFETY: as above.
            unsafe { DeviceColumns::new(columns, words) }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tokenize::TokenSequence;

    proptest! {
        /// What is set aside at start is enough for whatever comes, and every document with a token has its row.
        #[test]
        fn the_words_of_any_batch_have_room(
            lengths in prop::collection::vec(0_usize..200, 0..40),
            rows_of_a_pass in 1_usize..20,
            pool_special: bool,
        ) {
            let mut batch = PackedBatch::new();
            for &length in &lengths {
                let sequence = TokenSequence {
                    ids: vec![7; length],
                    special: (0..length).map(|at| at == 0 || at + 1 == length).collect(),
                    truncated: false,
                };
                batch.push(&sequence, pool_special);
            }
            let plan = BatchPlan::new(&batch, rows_of_a_pass).unwrap();
            let words: usize = plan.words().map(<[u32]>::len).sum();
            prop_assert!(words <= BatchPlan::words_at_most(batch.tokens()));

            let special = if pool_special { 0 } else { 2 };
            let rows = lengths.iter().filter(|&&length| length > special).count();
            prop_assert_eq!(plan.rows(), rows);
            prop_assert_eq!(plan.passes.len(), rows.div_ceil(rows_of_a_pass));
            let full = plan.passes.iter().rev().skip(1);
            prop_assert!(full.map(HeadColumns::documents).all(|rows| rows == rows_of_a_pass));
        }
    }
}
