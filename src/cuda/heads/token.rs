//! Weights of tokens, and vectors: what BGE-M3 gives.
//!
//! The host knows which tokens are the same term of the same document. It gives each such term a slot, and only the largest
//! weight of every slot comes back: nothing is as wide as the vocabulary.

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream};
use half::slice::HalfFloatSliceExt;

use super::{HeadPlan, HeadStage, Pass, overflow};
use crate::cuda::Gpu;
use crate::cuda::arena::{Arena, Piece, piece_bytes};
use crate::cuda::forward::{linear, normalize};
use crate::cuda::gpu::driver_error;
use crate::cuda::kernels::{
    self, DeviceRows, DeviceSlots, Epilogue, Gemm, L2Normalize, L2NormalizeArgs, LayerNorm, Normed,
    Storage, TokenHeadArgs,
};
use crate::cuda::staging::Staging;
use crate::cuda::weights::{Linear, Loader, Sizes};
use crate::embeddings::{Embeddings, OutputSizes};
use crate::engine::{Encoded, Want};
use crate::error::Result;
use crate::model::{StoredTensor, TokenHead};
use crate::pack::PackedBatch;
use crate::sparse::SparseRows;
use crate::token_terms::TokenTerms;

/// A head that weighs tokens.
#[derive(Debug)]
pub(in crate::cuda) struct TokenStage<T: Storage> {
    weight: CudaSlice<f32>, // [stride], zeros beyond H
    bias: CudaSlice<f32>,   // [1]
    layer_norm: LayerNorm<T::Sum>,
    kernel: kernels::TokenHead<T::Sum>,
    normalize_hidden: L2Normalize<Normed>,
    colbert: Option<Colbert<T>>,
}

/// What gives every token a vector.
#[derive(Debug)]
struct Colbert<T: Storage> {
    layer: Linear<Normed>, // [M, stride]
    linear: Gemm<Normed, T::Sum>,
    normalize: L2Normalize<T::Sum>,
}

// The host marks a token without a slot as the kernel does.
const _: () = assert!(TokenTerms::NONE == DeviceSlots::NONE);

/// Where the weight of every token goes, and which rows become vectors.
#[derive(Debug)]
pub(in crate::cuda) struct Slots {
    terms: TokenTerms,
    /// The slots of the terms; or, where positions are wanted, one for every token.
    slots: Vec<u32>, // [T]
    /// Slots.
    weights: usize,
    /// Rows of the first tokens of the documents that have a token, and of all other tokens.
    first: Vec<u32>,
    later: Vec<u32>,
}

/// Weights and vectors of at most T tokens.
#[derive(Debug)]
pub(in crate::cuda) struct Results {
    weights: Staging<f32>,
    vectors: Staging<Normed>,
    /// Freed last: dropping what is above waits for the copies from it.
    memory: ResultMemory,
}

#[derive(Debug)]
struct ResultMemory {
    weights: Piece<f32>, // [T]
    /// Dense vectors, then those of the tokens: a token is a first one or a later one, so that T rows are enough.
    vectors: Piece<Normed>, // [T, width]
}

impl Slots {
    /// The plan of what is wanted: of the rest it has nothing.
    fn new(batch: &PackedBatch, want: Want) -> Self {
        let OutputSizes {
            sparse,
            dense,
            colbert,
        } = want.outputs;
        let terms = match sparse {
            true => TokenTerms::of(batch),
            false => TokenTerms::of(&PackedBatch::new()),
        };
        let (slots, weights) = match want.positions {
            false => (terms.slots().to_vec(), terms.len()),
            true => (own_slots(&terms), batch.tokens()),
        };
        let bounds = batch.cu_seqlens().windows(2);
        let texts = bounds.filter(|ends| ends[0] < ends[1]);
        let first = texts.clone().filter(|_| dense.is_some());
        let later = texts.filter(|_| colbert.is_some());
        Self {
            slots,
            weights,
            first: first.map(|ends| ends[0]).collect(),
            later: later.flat_map(|ends| ends[0] + 1..ends[1]).collect(),
            terms,
        }
    }
}

impl Slots {
    /// Values of the dense vectors and of those of the tokens, padding included.
    fn vector_values(&self, want: Want) -> [usize; 2] {
        let OutputSizes { dense, colbert, .. } = want.outputs;
        let values = |rows: &[u32], size: Option<usize>| {
            rows.len() * size.map_or(0, |size| size.next_multiple_of(8))
        };
        [values(&self.first, dense), values(&self.later, colbert)]
    }

    /// The sparse rows, with positions if they are wanted; none if a weight is no finite number.
    fn rows(
        &self,
        batch: &PackedBatch,
        weights: &[f32],
        want: Want,
    ) -> Option<(SparseRows, Vec<u32>)> {
        if !want.positions {
            return Some((self.terms.rows(weights)?, Vec::new()));
        }
        let (weights, rows) = self.terms.largest(weights);
        let positions = self.terms.positions(batch, &weights, &rows);
        Some((self.terms.rows(&weights)?, positions))
    }
}

/// A slot for every token that has one.
fn own_slots(terms: &TokenTerms) -> Vec<u32> {
    let slots = terms.slots().iter().zip(0..);
    slots
        .map(|(&slot, row)| match slot {
            TokenTerms::NONE => TokenTerms::NONE,
            _ => row,
        })
        .collect()
}

impl HeadPlan for Slots {
    fn words(&self) -> impl Iterator<Item = &[u32]> {
        [&self.slots[..], &self.first, &self.later].into_iter()
    }
}

impl<T: Storage> HeadStage<T> for TokenStage<T> {
    type Stored<'a> = &'a TokenHead<StoredTensor>;
    type Plan = Slots;
    type Results = Results;

    fn load(
        gpu: &Gpu,
        loader: &mut Loader<'_>,
        head: Self::Stored<'_>,
        sizes: &Sizes,
    ) -> Result<Self> {
        let colbert = head.colbert.as_ref().zip(sizes.colbert);
        let colbert = colbert.map(|(layer, row)| -> Result<_> {
            Ok(Colbert {
                layer: loader.linear_of_hidden(layer, row.hidden())?,
                linear: Gemm::load(gpu, Epilogue::Bias)?,
                normalize: L2Normalize::load(gpu, row)?,
            })
        });
        Ok(Self {
            colbert: colbert.transpose()?,
            weight: loader.padded(&head.weight.weight, sizes.row.stride())?,
            bias: loader.padded(&head.weight.bias, 1)?,
            layer_norm: LayerNorm::load(gpu, sizes.row)?,
            kernel: kernels::TokenHead::load(gpu, sizes.row)?,
            normalize_hidden: L2Normalize::load(gpu, sizes.row)?,
        })
    }

    fn plan(&self, batch: &PackedBatch, want: Want, _: &Sizes, _: usize) -> Option<Slots> {
        Some(Slots::new(batch, want))
    }

    fn words_at_most(tokens: usize) -> usize {
        // A slot for every token, and its row.
        2 * tokens
    }

    fn workspace_len(_: usize, _: &Sizes) -> usize {
        0
    }

    fn results(&self, gpu: &Gpu, tokens: usize, sizes: &Sizes) -> Result<Results> {
        let vectors = tokens * sizes.widest_row();
        let mut arena = Arena::new(gpu, self.result_bytes(tokens, sizes))?;
        Ok(Results {
            weights: Staging::from_gpu(gpu, tokens)?,
            vectors: Staging::from_gpu(gpu, vectors)?,
            memory: ResultMemory {
                weights: arena.take(tokens),
                vectors: arena.take(vectors),
            },
        })
    }

    fn result_bytes(&self, tokens: usize, sizes: &Sizes) -> usize {
        piece_bytes::<f32>(tokens) + piece_bytes::<Normed>(tokens * sizes.widest_row())
    }

    fn launch(
        &self,
        pass: Pass<'_, T>,
        plan: &Slots,
        results: &mut Results,
        want: Want,
    ) -> Result<()> {
        let norm = pass.last_norm();
        let Pass {
            gpu,
            sizes,
            workspace,
            tokens,
            ref words,
            eps,
            ..
        } = pass;
        let outputs = want.outputs;
        let values = tokens * sizes.row.stride();
        let mut hidden = workspace.hidden.slice_mut(..values);
        let memory = &mut results.memory;
        if outputs.sparse {
            let mut weights = memory.weights.slice_mut(..plan.weights);
            if plan.weights > 0 {
                let cleared = gpu.stream().memset_zeros(&mut weights);
                cleared.map_err(|error| driver_error("the GPU", "clear memory", error))?;
            }
            let has_vectors = outputs.dense.is_some() || outputs.colbert.is_some();
            self.kernel.launch(TokenHeadArgs {
                sums: workspace.sums.slice(..values),
                scale: norm.scale.as_view(),
                shift: norm.shift.as_view(),
                weight: self.weight.as_view(),
                bias: self.bias.as_view(),
                // SAFETY: the plan's words were uploaded, nobody writes to them while they are borrowed, and they begin
                // with a slot for every token where weights are wanted.
                slots: unsafe { DeviceSlots::new(words.slice(..tokens), plan.weights) },
                out: has_vectors.then(|| hidden.slice_mut(..)), // [T, H]
                weights,
                eps,
            })?;
        } else {
            let sums = workspace.sums.slice_mut(..values);
            normalize(&self.layer_norm, &sums, norm, eps, &mut hidden)?; // [T, H]
        }

        let first = plan.slots.len()..plan.slots.len() + plan.first.len();
        let later = first.end..first.end + plan.later.len();
        // SAFETY: as above; behind the slots are the rows of first and of later tokens, all of the batch.
        let rows = |range| unsafe { DeviceRows::new(words.slice(range), tokens) };
        let [dense, colbert] = plan.vector_values(want);
        let (mut dense_vectors, mut rest) = memory.vectors.split_at_mut(dense);
        if let Some(size) = outputs.dense {
            self.normalize_hidden.launch(L2NormalizeArgs {
                x: hidden.slice(..),
                rows: rows(first),
                width: size,
                out: dense_vectors.slice_mut(..), // [documents, size]
            })?;
        }
        if let (Some(size), Some(kernels)) = (outputs.colbert, &self.colbert) {
            let stride = size.next_multiple_of(8);
            let mut vectors = workspace.sums.slice_mut(..tokens * stride);
            linear(&kernels.linear, &hidden, &kernels.layer, None, &mut vectors)?; // [T, M]
            kernels.normalize.launch(L2NormalizeArgs {
                x: vectors.slice(..),
                rows: rows(later),
                width: size,
                out: rest.slice_mut(..colbert), // [vectors, M]
            })?;
        }
        Ok(())
    }

    fn read_back(
        &self,
        copies: &Arc<CudaStream>,
        batch: &PackedBatch,
        plan: &Slots,
        results: &mut Results,
        want: Want,
    ) -> Result<Option<Encoded>> {
        let Results {
            weights,
            vectors,
            memory,
        } = results;
        let [dense, colbert] = plan.vector_values(want);
        if want.outputs.sparse {
            weights.download(&memory.weights.slice(..plan.weights), copies)?;
        }
        vectors.download(&memory.vectors.slice(..dense + colbert), copies)?;
        let mut encoded = Encoded::new(Embeddings::new(want.outputs));
        if want.outputs.sparse {
            let weights = &weights.wait()?[..plan.weights];
            let (rows, positions) = plan.rows(batch, weights, want).ok_or_else(overflow)?;
            encoded.embeddings.sparse = Some(rows);
            encoded.positions = positions;
        }
        let (dense, rest) = vectors.wait()?.split_at(dense);
        let mut dense = Vectors::new(dense, want.outputs.dense);
        let mut colbert = Vectors::new(&rest[..colbert], want.outputs.colbert);
        for ends in batch.cu_seqlens().windows(2) {
            let tokens = (ends[1] - ends[0]) as usize;
            if let Some(found) = &mut encoded.embeddings.dense {
                match tokens {
                    0 => found.extend(&vec![0.0; found.width()]),
                    _ => found.extend(dense.next(1)?),
                }
            }
            if let Some(found) = &mut encoded.embeddings.colbert {
                found.push(colbert.next(tokens.saturating_sub(1))?);
            }
        }
        Ok(Some(encoded))
    }
}

/// Vectors as the GPU gives them, which are taken from the first on.
struct Vectors<'a> {
    left: &'a [Normed],
    size: usize,
    values: Vec<f32>,
}

impl<'a> Vectors<'a> {
    /// Vectors of `size` values, if there are any, each padded to a multiple of 8.
    fn new(left: &'a [Normed], size: Option<usize>) -> Self {
        Self {
            left,
            size: size.unwrap_or(0),
            values: Vec::new(),
        }
    }

    /// The next `count` of them, without the padding.
    fn next(&mut self, count: usize) -> Result<&[f32]> {
        let stride = self.size.next_multiple_of(8);
        let (vectors, left) = self.left.split_at(count * stride);
        self.left = left;
        self.values.resize(count * self.size, 0.0);
        let rows = vectors.chunks_exact(stride);
        for (row, values) in rows.zip(self.values.chunks_exact_mut(self.size)) {
            row[..self.size].convert_to_f32_slice(values);
        }
        match self.values.iter().all(|value| value.is_finite()) {
            true => Ok(&self.values),
            false => Err(overflow()),
        }
    }
}

#[cfg(test)]
mod tests {
    use half::f16;
    use proptest::prelude::*;

    use super::*;
    use crate::tokenize::TokenSequence;

    proptest! {
        /// What the kernels rely on: every word has room, slots are below the number of weights, and every row becomes one
        /// vector, so that there is room for all.
        #[test]
        fn slots_and_rows_are_those_of_the_batch(
            documents in prop::collection::vec(prop::collection::vec(0_u32..9, 0..40), 0..12),
            pool_special: bool,
            positions: bool,
        ) {
            let mut batch = PackedBatch::new();
            for ids in &documents {
                let sequence = TokenSequence {
                    ids: ids.clone(),
                    special: (0..ids.len()).map(|at| at == 0 || at + 1 == ids.len()).collect(),
                    truncated: false,
                };
                batch.push(&sequence, pool_special);
            }
            let outputs = OutputSizes { sparse: true, dense: Some(13), colbert: Some(24) };
            let want = Want { outputs, positions, min_weight: 0.0, top_k: None };
            let plan = Slots::new(&batch, want);
            let words: Vec<u32> = plan.words().flatten().copied().collect();
            prop_assert!(words.len() <= <TokenStage<f16> as HeadStage<f16>>::words_at_most(batch.tokens()));

            let (slots, rows) = words.split_at(batch.tokens());
            prop_assert!(plan.weights <= batch.tokens());
            let real = slots.iter().filter(|&&slot| slot != DeviceSlots::NONE);
            prop_assert!(real.clone().all(|&slot| (slot as usize) < plan.weights));
            prop_assert_eq!(real.count(), batch.pooled().len());

            let firsts = documents.iter().filter(|ids| !ids.is_empty()).count();
            prop_assert_eq!(plan.first.len(), firsts);
            prop_assert!(plan.first.iter().all(|first| batch.cu_seqlens().contains(first)));
            let mut sorted = rows.to_vec();
            sorted.sort_unstable();
            prop_assert!(sorted.into_iter().eq(0..batch.tokens() as u32));
            prop_assert_eq!(plan.vector_values(want), [firsts * 16, plan.later.len() * 24]);
        }
    }

    #[test]
    fn nothing_is_planned_for_what_is_not_wanted() {
        let mut batch = PackedBatch::new();
        let sequence = TokenSequence {
            ids: vec![0, 5, 2],
            special: vec![true, false, true],
            truncated: false,
        };
        batch.push(&sequence, true);
        for choice in 1..8 {
            let [sparse, dense, colbert] = [1, 2, 4].map(|output| choice & output != 0);
            let outputs = OutputSizes {
                sparse,
                dense: dense.then_some(8),
                colbert: colbert.then_some(8),
            };
            let want = Want {
                outputs,
                positions: false,
                min_weight: 0.0,
                top_k: None,
            };
            let plan = Slots::new(&batch, want);
            let lens: Vec<usize> = plan.words().map(<[u32]>::len).collect();
            let expected = [(sparse, 3), (dense, 1), (colbert, 2)];
            let expected = expected.map(|(wanted, len)| if wanted { len } else { 0 });
            assert_eq!(lens, expected, "{outputs:?}");
            assert_eq!(plan.weights, expected[0]);
        }
    }
}
