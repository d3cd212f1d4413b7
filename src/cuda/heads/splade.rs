//! Logits of all terms, pooled: the sparse rows are made on the GPU, and only they come back.

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, CudaView};

use super::{HeadPlan, HeadStage, Pass, overflow};
use crate::cuda::Gpu;
use crate::cuda::arena::{Arena, Piece, piece_bytes};
use crate::cuda::forward::{linear, normalize};
use crate::cuda::gpu::driver_error;
use crate::cuda::kernels::{
    self, DeviceColumns, Epilogue, Gemm, HeadColumns, LayerNorm, Normed, Positions, Sparsify,
    SparsifyArgs, SpladeHeadArgs, Storage, TopK, TopKArgs,
};
use crate::cuda::launch_shape::splade_head::GROUP;
use crate::cuda::staging::Staging;
use crate::cuda::weights::{Linear, Loader, Norm, Sizes};
use crate::engine::{Encoded, Want};
use crate::error::Result;
use crate::model::{MlmHead, SpladeHead, StoredTensor};
use crate::pack::PackedBatch;
use crate::sparse::SparseRows;

/// Bytes that the pooled rows of one pass of the head may take: documents beyond them wait for the next pass. From the head to
/// sparsify they stay in the L2 cache of an A100 (40 MB) or H100 (50 MB).
const POOLED_BYTES: usize = 32 << 20;

/// Entries of sparse rows that there is room for, a token of the batch: several times what trained models give.
const ENTRIES_PER_TOKEN: usize = 32;

/// The head of a model for masked language.
#[derive(Debug)]
pub(in crate::cuda) struct SpladeStage<T: Storage> {
    transform: Linear<Normed>, // [stride, stride]
    transform_norm: Norm,
    /// [V, stride]; absent where it is the table of words.
    decoder: Option<CudaSlice<Normed>>,
    decoder_bias: CudaSlice<f32>, // [width of a pooled row], zeros beyond V
    layer_norm: LayerNorm<T::Sum>,
    linear: Gemm<Normed, T::Sum>,
    head: kernels::SpladeHead,
    head_with_positions: kernels::SpladeHead,
    sparsify: Sparsify,
    top_k: TopK,
}

/// The columns of the vocabulary projection, pass by pass.
#[derive(Debug)]
pub(in crate::cuda) struct Passes {
    passes: Vec<HeadColumns>,
    /// Documents with a row of their own: those that anything is pooled of.
    rows: usize,
}

/// Sparse rows of at most T documents.
#[derive(Debug)]
pub(in crate::cuda) struct Rows {
    figures: Staging<u32>,
    ids: Staging<u32>,
    values: Staging<f32>,
    positions: Option<PositionMemory>,
    /// Freed last: dropping what is above waits for the copies from it.
    memory: RowMemory,
}

#[derive(Debug)]
struct RowMemory {
    figures: Piece<u32>, // of R documents: [total | starts, R | counts, R | damaged, R]
    ids: Piece<u32>,     // [entries]
    values: Piece<f32>,  // [entries]
}

/// Which token it was, beside the pooled values of a pass and the entries of all rows.
#[derive(Debug)]
struct PositionMemory {
    pooled: Piece<u32>, // [R, width]
    kept: Piece<u32>,   // [entries]
}

impl Passes {
    fn new(batch: &PackedBatch, rows_of_a_pass: usize) -> Self {
        let mut passes: Vec<HeadColumns> = Vec::new();
        for ends in (batch.cu_pooled().windows(2)).filter(|ends| ends[0] < ends[1]) {
            let last = passes.last();
            if last.is_none_or(|pass| pass.documents() == rows_of_a_pass) {
                passes.push(HeadColumns::new());
            }
            let pass = passes.last_mut().expect("there is one by now");
            pass.push(&batch.pooled()[ends[0] as usize..ends[1] as usize]);
        }
        Self {
            rows: passes.iter().map(HeadColumns::documents).sum(),
            passes,
        }
    }

    /// The columns on the GPU, pass by pass; `words` are its own.
    fn on_gpu<'a>(
        &'a self,
        words: &'a CudaView<'a, u32>,
    ) -> impl Iterator<Item = DeviceColumns<'a>> {
        let mut first = 0;
        self.passes.iter().map(move |columns| {
            let len = columns.words().iter().map(|part| part.len()).sum::<usize>();
            let words = words.slice(first..first + len);
            first += len;
            // SAFETY: these words were uploaded, and nobody writes to them while they are borrowed.
            unsafe { DeviceColumns::new(columns, words) }
        })
    }
}

impl HeadPlan for Passes {
    fn words(&self) -> impl Iterator<Item = &[u32]> {
        self.passes.iter().flat_map(HeadColumns::words)
    }
}

impl<T: Storage> HeadStage<T> for SpladeStage<T> {
    type Stored<'a> = (SpladeHead, &'a MlmHead<StoredTensor>);
    type Plan = Passes;
    type Results = Rows;

    fn load(
        gpu: &Gpu,
        loader: &mut Loader<'_>,
        (splade, head): Self::Stored<'_>,
        sizes: &Sizes,
    ) -> Result<Self> {
        let kernel = |positions| {
            kernels::SpladeHead::load(gpu, splade.pooling, splade.activation, positions)
        };
        let decoder = head.decoder.as_ref();
        Ok(Self {
            decoder: decoder
                .map(|decoder| loader.vocabulary(decoder))
                .transpose()?,
            transform: loader.linear_of_hidden(&head.transform, sizes.row.hidden())?,
            transform_norm: loader.norm(&head.norm)?,
            decoder_bias: loader.padded(&head.bias, pooled_width(sizes))?,
            layer_norm: LayerNorm::load(gpu, sizes.row)?,
            linear: Gemm::load(gpu, Epilogue::BiasGelu)?,
            head: kernel(false)?,
            head_with_positions: kernel(true)?,
            sparsify: Sparsify::load(gpu, splade)?,
            top_k: TopK::load(gpu)?,
        })
    }

    fn plan(&self, batch: &PackedBatch, _: Want, sizes: &Sizes, tokens: usize) -> Option<Passes> {
        // The GPU counts entries in 32 bits.
        let most = batch.len() as u64 * sizes.vocabulary as u64;
        let plan = || Passes::new(batch, rows_of_a_pass(tokens, sizes));
        u32::try_from(most).is_ok().then(plan)
    }

    fn words_at_most(tokens: usize) -> usize {
        // Every token may be a document, and a pass, of its own: a group of columns, a word for it and two for the span.
        tokens * (GROUP as usize + 3)
    }

    fn workspace_len(tokens: usize, sizes: &Sizes) -> usize {
        rows_of_a_pass(tokens, sizes) * pooled_width(sizes)
    }

    fn results(&self, gpu: &Gpu, tokens: usize, sizes: &Sizes) -> Result<Rows> {
        let entries = entries(tokens, sizes);
        let mut arena = Arena::new(gpu, self.result_bytes(tokens, sizes))?;
        Ok(Rows {
            figures: Staging::from_gpu(gpu, figure_words(tokens))?,
            ids: Staging::from_gpu(gpu, entries)?,
            values: Staging::from_gpu(gpu, entries)?,
            positions: None,
            memory: RowMemory {
                figures: arena.take(figure_words(tokens)),
                ids: arena.take(entries),
                values: arena.take(entries),
            },
        })
    }

    fn result_bytes(&self, tokens: usize, sizes: &Sizes) -> usize {
        piece_bytes::<u32>(figure_words(tokens)) + 2 * piece_bytes::<u32>(entries(tokens, sizes))
    }

    fn launch(
        &self,
        pass: Pass<'_, T>,
        plan: &Passes,
        results: &mut Rows,
        want: Want,
    ) -> Result<()> {
        let last_norm = pass.last_norm();
        let Pass {
            gpu,
            sizes,
            weights,
            workspace,
            tokens,
            ref words,
            eps,
        } = pass;
        let values = tokens * sizes.row.stride();
        let mut sums = workspace.sums.slice_mut(..values);
        let mut hidden = workspace.hidden.slice_mut(..values);
        normalize(&self.layer_norm, &sums, last_norm, eps, &mut hidden)?;
        linear(&self.linear, &hidden, &self.transform, None, &mut sums)?; // [T, H]
        normalize(
            &self.layer_norm,
            &sums,
            &self.transform_norm,
            eps,
            &mut hidden,
        )?;

        let (vocabulary, width) = (sizes.vocabulary, pooled_width(sizes));
        let decoder = self.decoder.as_ref().unwrap_or(&weights.words);
        results.positions = want
            .positions
            .then(|| {
                let pooled = plan
                    .passes
                    .iter()
                    .map(HeadColumns::documents)
                    .max()
                    .unwrap_or(0);
                PositionMemory::new(gpu, pooled * width, results.memory.ids.len())
            })
            .transpose()?;
        let positions = &mut results.positions;
        let head = match want.positions {
            true => &self.head_with_positions,
            false => &self.head,
        };
        let RowMemory {
            figures,
            ids,
            values,
        } = &mut results.memory;
        let (mut total, mut figures) = figures.split_at_mut(1);
        let (mut starts, mut figures) = figures.split_at_mut(plan.rows);
        let (mut counts, mut damaged) = figures.split_at_mut(plan.rows);
        let cleared = gpu.stream().memset_zeros(&mut total);
        cleared.map_err(|error| driver_error("the GPU", "clear memory", error))?;
        let mut first = 0;
        for columns in plan.on_gpu(words) {
            let documents = first..first + columns.documents();
            let pooled = ..columns.documents() * width;
            head.launch(SpladeHeadArgs {
                hidden: hidden.slice(..), // [T, H]
                decoder: decoder.as_view(),
                bias: self.decoder_bias.slice(..vocabulary),
                columns,
                pooled: workspace.head.slice_mut(pooled), // [R, V]
                positions: positions
                    .as_mut()
                    .map(|positions| positions.pooled.slice_mut(pooled)),
            })?;
            self.sparsify.launch(SparsifyArgs {
                pooled: workspace.head.slice(pooled),
                bias: self.decoder_bias.as_view(),
                positions: positions.as_mut().map(|positions| Positions {
                    pooled: positions.pooled.slice(pooled),
                    kept: positions.kept.as_view_mut(),
                }),
                terms: vocabulary,
                threshold: want.min_weight,
                total: total.slice_mut(..),
                starts: starts.slice_mut(documents.clone()),
                counts: counts.slice_mut(documents.clone()),
                damaged: damaged.slice_mut(documents.clone()),
                ids: ids.as_view_mut(),
                values: values.as_view_mut(),
            })?;
            first = documents.end;
        }
        if let Some(k) = want.top_k.filter(|&k| k > 0) {
            self.top_k.launch(TopKArgs {
                starts: starts.slice(..),
                counts: counts.slice_mut(..plan.rows),
                ids: ids.as_view_mut(),
                values: values.as_view_mut(),
                positions: (positions.as_mut()).map(|positions| positions.kept.as_view_mut()),
                k,
            })?;
        }
        Ok(())
    }

    fn read_back(
        &self,
        copies: &Arc<CudaStream>,
        batch: &PackedBatch,
        plan: &Passes,
        results: &mut Rows,
        _: Want,
    ) -> Result<Option<Encoded>> {
        let Rows {
            figures,
            ids,
            values,
            positions,
            memory,
        } = results;
        let words = ..figure_words(plan.rows);
        figures.download(&memory.figures.slice(words), copies)?;
        let (total, figures) = figures.wait()?[words].split_at(1);
        let (starts, figures) = figures.split_at(plan.rows);
        let (counts, damaged) = figures.split_at(plan.rows);
        if damaged.iter().any(|&damaged| damaged != 0) {
            return Err(overflow());
        }
        let total = total[0] as usize;
        if total > memory.ids.len() {
            return Ok(None);
        }
        ids.download(&memory.ids.slice(..total), copies)?;
        values.download(&memory.values.slice(..total), copies)?;
        let (entry_ids, values) = (ids.wait()?, values.wait()?);
        let segments = starts.iter().zip(counts);
        let segments = segments.map(|(&start, &count)| start as usize..(start + count) as usize);

        let mut rows = SparseRows::with_capacity(batch.len(), total);
        let mut left = segments.clone().peekable();
        for ends in batch.cu_pooled().windows(2) {
            // A document of which nothing is pooled has no segment.
            let pooled = ends[0] < ends[1];
            let segment = left.next_if(|_| pooled).unwrap_or(0..0);
            let entries = entry_ids[segment.clone()].iter().zip(&values[segment]);
            rows.push(entries.map(|(&id, &value)| (id, value)));
        }
        let mut kept_positions = Vec::new();
        if let Some(positions) = positions.take() {
            ids.download(&positions.kept.slice(..total), copies)?;
            let kept = ids.wait()?;
            kept_positions.extend(segments.flat_map(|segment| &kept[segment]));
        }
        let mut encoded = Encoded::sparse(rows, kept_positions);
        encoded.place_in_documents(batch);
        Ok(Some(encoded))
    }
}

impl PositionMemory {
    fn new(gpu: &Gpu, pooled: usize, entries: usize) -> Result<Self> {
        let bytes = piece_bytes::<u32>(pooled) + piece_bytes::<u32>(entries);
        let mut arena = Arena::new(gpu, bytes)?;
        Ok(Self {
            pooled: arena.take(pooled),
            kept: arena.take(entries),
        })
    }
}

/// Values from one pooled row to the next.
fn pooled_width(sizes: &Sizes) -> usize {
    Sparsify::stride(sizes.vocabulary)
}

/// R: documents of a batch of T tokens that the head takes at a time. No more can have a token.
fn rows_of_a_pass(tokens: usize, sizes: &Sizes) -> usize {
    tokens.min((POOLED_BYTES / (4 * pooled_width(sizes))).max(1))
}

/// Words for the total of all rows and three figures of each.
fn figure_words(rows: usize) -> usize {
    1 + 3 * rows
}

/// Entries that there is room for: one document always has it, however many terms it has.
fn entries(tokens: usize, sizes: &Sizes) -> usize {
    (tokens * ENTRIES_PER_TOKEN).max(sizes.vocabulary)
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
            let plan = Passes::new(&batch, rows_of_a_pass);
            let words: usize = plan.words().map(<[u32]>::len).sum();
            prop_assert!(words <= <SpladeStage<half::f16> as HeadStage<_>>::words_at_most(batch.tokens()));

            let special = if pool_special { 0 } else { 2 };
            let rows = lengths.iter().filter(|&&length| length > special).count();
            prop_assert_eq!(plan.rows, rows);
            prop_assert_eq!(plan.passes.len(), rows.div_ceil(rows_of_a_pass));
            let full = plan.passes.iter().rev().skip(1);
            prop_assert!(full.map(HeadColumns::documents).all(|rows| rows == rows_of_a_pass));
        }
    }
}
