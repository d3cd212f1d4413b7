//! Token ids -> LayerNormed embeddings.

#![forbid(unsafe_code)]

use rayon::prelude::*;

use super::documents::split_by_document;
use super::layer_norm::normalize;
use super::simd::{Loops, MultiplyAdd, vectorized};
use crate::model::{Embeddings, Floats};
use crate::pack::PackedBatch;

/// `x[t] = norm(words[id(t)] + positions[t - start of its document])` for every token, `[T, H]`.
/// The token type is already in the position table.
pub(super) fn embed(x: &mut [f32], batch: &PackedBatch, embeddings: &Embeddings<Floats>, eps: f32) {
    let width = embeddings.norm.scale.len();
    let documents: Vec<EmbedDocument<'_>> = split_by_document(x, batch.cu_seqlens(), width)
        .map(|(tokens, rows)| EmbedDocument {
            ids: &batch.token_ids()[tokens],
            rows,
            embeddings,
            eps,
        })
        .collect();
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
