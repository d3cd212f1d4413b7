//! Token ids -> LayerNormed embeddings.

#![forbid(unsafe_code)]

use rayon::prelude::*;

use super::layer_norm::normalize;
use super::simd::vectorized;
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
        documents.push((&batch.token_ids()[start..end], rows));
        rest = after;
    }
    documents.into_par_iter().for_each(|(ids, rows)| {
        vectorized(|| {
            for (position, (&id, row)) in ids.iter().zip(rows.chunks_exact_mut(width)).enumerate() {
                let word = &embeddings.words[id as usize * width..][..width];
                let place = &embeddings.positions[position * width..][..width];
                for ((x, &word), &place) in row.iter_mut().zip(word).zip(place) {
                    *x = word + place;
                }
                normalize(row, &embeddings.norm.scale, &embeddings.norm.shift, eps);
            }
        });
    });
}
