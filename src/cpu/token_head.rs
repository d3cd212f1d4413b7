//! The head that weighs tokens, and the vectors that BGE-M3 has besides.

#![forbid(unsafe_code)]

use rayon::prelude::*;

use super::finite::overflow;
use super::linear::linear_into;
use super::simd::{Loops, MultiplyAdd, dot, sum, vectorized};
use crate::embeddings::Embeddings;
use crate::engine::{Encoded, Want};
use crate::error::Result;
use crate::model::{Floats, Linear, TokenHead};
use crate::pack::PackedBatch;
use crate::token_terms::TokenTerms;
use crate::vectors::{DenseVectors, MultiVectors};

/// Rows a task: enough work to be worth handing out.
const ROWS: usize = 16;

/// Below it, a length is taken for this: a vector of zeros stays one.
const SHORTEST: f32 = 1e-12;

/// The wanted outputs of `hidden`, `[T, H]`, whose values are finite. `vectors` is space for those of all tokens.
pub(super) fn token_head(
    vectors: &mut Vec<f32>,
    hidden: &[f32],
    head: &TokenHead<Floats>,
    batch: &PackedBatch,
    want: Want,
) -> Result<Encoded> {
    let mut encoded = Encoded::new(Embeddings::new(want.outputs));
    if want.outputs.sparse {
        let terms = TokenTerms::of(batch);
        let (weights, rows) = terms.largest(&token_weights(hidden, &head.weight));
        encoded.embeddings.sparse = Some(terms.rows(&weights).ok_or_else(overflow)?);
        if want.positions {
            encoded.positions = terms.positions(batch, &weights, &rows);
        }
    }
    if let Some(size) = want.outputs.dense {
        let width = head.weight.weight.len();
        encoded.embeddings.dense = Some(first_tokens(hidden, width, size, batch)?);
    }
    if let (Some(size), Some(colbert)) = (want.outputs.colbert, &head.colbert) {
        vectors.resize(batch.tokens() * size, 0.0);
        linear_into(vectors, size, 0, hidden, colbert); // [T, M]
        encoded.embeddings.colbert = Some(later_tokens(vectors, size, batch)?);
    }
    Ok(encoded)
}

/// `relu(w·h + b)` of every token, `[T]`.
fn token_weights(hidden: &[f32], layer: &Linear<Floats>) -> Vec<f32> {
    let width = layer.weight.len();
    let mut weights = vec![0.0; hidden.len() / width];
    (weights
        .par_chunks_mut(ROWS)
        .zip(hidden.par_chunks(ROWS * width)))
    .for_each(|(weights, rows)| {
        vectorized(TokenWeights {
            weights,
            rows,
            layer,
        })
    });
    weights
}

struct TokenWeights<'a> {
    weights: &'a mut [f32], // [rows]
    rows: &'a [f32],        // [rows, H]
    layer: &'a Linear<Floats>,
}

impl Loops for TokenWeights<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, fma: MultiplyAdd) {
        let Linear { weight, bias } = self.layer;
        let rows = self.rows.chunks_exact(weight.len());
        for (result, row) in self.weights.iter_mut().zip(rows) {
            let value = dot(fma, row, weight) + bias[0];
            // What is no number is not below 0 and stays.
            *result = if value <= 0.0 { 0.0 } else { value };
        }
    }
}

/// Of every document the first `size` values of its first token's hidden state, normalised.
fn first_tokens(
    hidden: &[f32],
    width: usize,
    size: usize,
    batch: &PackedBatch,
) -> Result<DenseVectors> {
    let mut vectors = vec![0.0; batch.len() * size];
    for (vector, bounds) in vectors
        .chunks_exact_mut(size)
        .zip(batch.cu_seqlens().windows(2))
    {
        if bounds[0] < bounds[1] {
            vector.copy_from_slice(&hidden[bounds[0] as usize * width..][..size]);
        }
    }
    normalize(&mut vectors, size)?;
    let mut found = DenseVectors::new(size);
    found.extend(&vectors);
    Ok(found)
}

/// The vectors of all tokens but the first of each document, normalised in place.
fn later_tokens(vectors: &mut [f32], size: usize, batch: &PackedBatch) -> Result<MultiVectors> {
    normalize(vectors, size)?;
    let vectors_of_all = batch.tokens().saturating_sub(batch.len());
    let mut found = MultiVectors::with_capacity(size, batch.len(), vectors_of_all);
    for bounds in batch.cu_seqlens().windows(2) {
        let (first, end) = (bounds[0] as usize, bounds[1] as usize);
        found.push(&vectors[end.min(first + 1) * size..end * size]);
    }
    Ok(found)
}

/// Gives every vector the length 1.
fn normalize(vectors: &mut [f32], width: usize) -> Result<()> {
    let finite = (vectors.par_chunks_mut(ROWS * width))
        .map(|rows| vectorized(Normalize { rows, width }))
        .reduce(|| true, |a, b| a & b);
    if finite { Ok(()) } else { Err(overflow()) }
}

struct Normalize<'a> {
    rows: &'a mut [f32], // [rows, width]
    width: usize,
}

impl Loops for Normalize<'_> {
    /// Whether all lengths are finite: then all values are.
    type Output = bool;

    #[inline(always)]
    fn run(self, _: MultiplyAdd) -> bool {
        let mut finite = true;
        for row in self.rows.chunks_exact_mut(self.width) {
            let length = sum(row, |x| x * x).sqrt();
            finite &= length.is_finite();
            let inverse = 1.0 / length.max(SHORTEST);
            for x in row {
                *x *= inverse;
            }
        }
        finite
    }
}
