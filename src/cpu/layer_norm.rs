//! LayerNorm over the rows of a matrix, in place.

#![forbid(unsafe_code)]

use rayon::prelude::*;

use super::simd::{Loops, MultiplyAdd, sum, vectorized};
use crate::model::{Floats, LayerNorm};

/// Rows a task: enough work to be worth handing out.
const ROWS: usize = 16;

/// `x[row] = norm(x[row])` for every row of `x`, `[T, H]`.
pub(super) fn layer_norm(x: &mut [f32], norm: &LayerNorm<Floats>, eps: f32) {
    x.par_chunks_mut(ROWS * norm.scale.len()).for_each(|rows| {
        vectorized(Normalize {
            rows,
            bias: None,
            norm,
            eps,
        })
    });
}

/// `x[row] = norm(x[row] + bias)` for every row of `x`, `[T, H]`; `bias` `[H]` is that of the product
/// that `x` comes from, added here because the row is read anyway.
pub(super) fn add_bias_layer_norm(x: &mut [f32], bias: &[f32], norm: &LayerNorm<Floats>, eps: f32) {
    let bias = Some(bias);
    x.par_chunks_mut(ROWS * norm.scale.len()).for_each(|rows| {
        vectorized(Normalize {
            rows,
            bias,
            norm,
            eps,
        })
    });
}

struct Normalize<'a> {
    rows: &'a mut [f32],     // [rows, H]
    bias: Option<&'a [f32]>, // [H]
    norm: &'a LayerNorm<Floats>,
    eps: f32,
}

impl Loops for Normalize<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, fma: MultiplyAdd) {
        for row in self.rows.chunks_exact_mut(self.norm.scale.len()) {
            if let Some(bias) = self.bias {
                for (x, &bias) in row.iter_mut().zip(bias) {
                    *x += bias;
                }
            }
            normalize(fma, row, self.norm, self.eps);
        }
    }
}

/// `row = (row - mean) / sqrt(variance + eps) * scale + shift`, mean and variance in two passes.
#[inline(always)]
pub(super) fn normalize(fma: MultiplyAdd, row: &mut [f32], norm: &LayerNorm<Floats>, eps: f32) {
    let width = row.len() as f32;
    let mean = sum(row, |x| x) / width;
    let variance = sum(row, |x| (x - mean) * (x - mean)) / width;
    let inverse = 1.0 / (variance + eps).sqrt();
    for ((x, &scale), &shift) in row.iter_mut().zip(&*norm.scale).zip(&*norm.shift) {
        *x = fma.of((*x - mean) * inverse, scale, shift);
    }
}
