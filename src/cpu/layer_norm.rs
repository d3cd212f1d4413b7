//! LayerNorm over the rows of a matrix, in place.

#![forbid(unsafe_code)]

use rayon::prelude::*;

use super::simd::{sum, vectorized};
use crate::model::{Floats, LayerNorm};

/// Rows a task: enough work to be worth handing out.
const ROWS: usize = 16;

/// `x[row] = norm(x[row] + bias)` for every row of `x`, `[T, H]`; `bias` `[H]` is that of the product
/// that `x` comes from, added here because the row is read anyway.
pub(super) fn add_bias_layer_norm(x: &mut [f32], bias: &[f32], norm: &LayerNorm<Floats>, eps: f32) {
    let width = norm.scale.len();
    x.par_chunks_mut(ROWS * width).for_each(|rows| {
        vectorized(|| {
            for row in rows.chunks_exact_mut(width) {
                for (x, &bias) in row.iter_mut().zip(bias) {
                    *x += bias;
                }
                normalize(row, &norm.scale, &norm.shift, eps);
            }
        });
    });
}

/// `x[row] = norm(x[row])` for every row of `x`, `[T, H]`.
pub(super) fn layer_norm(x: &mut [f32], norm: &LayerNorm<Floats>, eps: f32) {
    let width = norm.scale.len();
    x.par_chunks_mut(ROWS * width).for_each(|rows| {
        vectorized(|| {
            for row in rows.chunks_exact_mut(width) {
                normalize(row, &norm.scale, &norm.shift, eps);
            }
        });
    });
}

/// `row = (row - mean) / sqrt(variance + eps) * scale + shift`, mean and variance in two passes.
#[inline(always)]
pub(super) fn normalize(row: &mut [f32], scale: &[f32], shift: &[f32], eps: f32) {
    let width = row.len() as f32;
    let mean = sum(row, |x| x) / width;
    let variance = sum(row, |x| (x - mean) * (x - mean)) / width;
    let inverse = 1.0 / (variance + eps).sqrt();
    for ((x, &scale), &shift) in row.iter_mut().zip(scale).zip(shift) {
        *x = (*x - mean) * inverse * scale + shift;
    }
}
