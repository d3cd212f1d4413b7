//! Token ids -> LayerNormed embeddings.

#![forbid(unsafe_code)]

use rayon::prelude::*;

use super::layer_norm::normalize;
use super::simd::{Loops, MultiplyAdd, vectorized};
use crate::model::{Embeddings, Floats};
use crate::pack::PackedBatch;

/// `x[t] = norm(words[id(t)] + positions[t - start of its document])` for every token, `[T, H]`.
/// The token type is already in the position table.
pub(super) fn embed(x: &mut [f32], batch: &PackedBatch, embeddings: &Embeddings<Floats>, eps: f32) {
    let width = embeddings.norm.scale.len();
    let mut rest = x;
    let mut documents = Vec::with_capacity(batch.len());
    for bounds in batch.cu_seqlens().windows(2) {
        let (start, end) = (bounds[0] as usize, bounds[1] as usize);
        let (rows, after) = rest.split_at_mut((end - start) * width);
        let ids = &batch.token_ids()[start..end];
        documents.push(EmbedDocument {
            ids,
            rows,
            embeddings,
            eps,
        });
        rest = after;
    }
    documents.into_par_iter().for_each(vectorized);
}

struct EmbedDocument<'a> {
    ids: &'a [u32],      // [t]
    rows: &'a mut [f32], // [t, H]
    embeddings: &'a Embeddings<Floats>,
    eps: f32,
}

impl Loops for EmbedDocument<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, fma: MultiplyAdd) {
        let Self {
            ids,
            rows,
            embeddings,
            eps,
        } = self;
        let width = embeddings.norm.scale.len();
        for (position, (&id, row)) in ids.iter().zip(rows.chunks_exact_mut(width)).enumerate() {
            let word = &embeddings.words[id as usize * width..][..width];
            let place = &embeddings.positions[position * width..][..width];
            for ((x, &word), &place) in row.iter_mut().zip(word).zip(place) {
                *x = word + place;
            }
            normalize(fma, row, &embeddings.norm, eps);
        }
    }
}
