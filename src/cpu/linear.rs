//! Dense layers: a product with a weight matrix and what follows it.

#![forbid(unsafe_code)]

use rayon::prelude::*;

use super::elementary::gelu;
use super::matrix::{Matrix, MatrixMut, Threads, Write, multiply};
use super::simd::{Loops, MultiplyAdd, vectorized};
use crate::model::{Floats, Linear};

/// Rows a task of the loops over finished products.
const ROWS: usize = 16;

/// `out[:, column..][..N] = x · weightᵀ + bias`; `x` is `[T, K]`, the weight `[N, K]`, `out` rows are
/// `out_stride` wide.
pub(super) fn linear_into(
    out: &mut [f32],
    out_stride: usize,
    column: usize,
    x: &[f32],
    layer: &Linear<Floats>,
) {
    let outputs = layer.bias.len();
    // The product is added to the bias: a pass over the output less than adding the bias to it.
    out.par_chunks_mut(ROWS * out_stride).for_each(|rows| {
        for row in rows.chunks_exact_mut(out_stride) {
            row[column..][..outputs].copy_from_slice(&layer.bias);
        }
    });
    product(&mut out[column..], out_stride, Write::Add, x, layer);
}

/// `out = x · weightᵀ`, without the bias, which is left to whatever reads `out` next.
pub(super) fn linear_without_bias(out: &mut [f32], x: &[f32], layer: &Linear<Floats>) {
    product(out, layer.bias.len(), Write::Overwrite, x, layer);
}

/// `out += x · weightᵀ`, without the bias, which is left to whatever reads `out` next.
pub(super) fn add_linear_without_bias(out: &mut [f32], x: &[f32], layer: &Linear<Floats>) {
    product(out, layer.bias.len(), Write::Add, x, layer);
}

/// `x = gelu(x + bias)` for every row.
pub(super) fn add_bias_gelu(x: &mut [f32], bias: &[f32]) {
    x.par_chunks_mut(ROWS * bias.len())
        .for_each(|rows| vectorized(AddBiasGelu { rows, bias }));
}

struct AddBiasGelu<'a> {
    rows: &'a mut [f32], // [rows, N]
    bias: &'a [f32],     // [N]
}

impl Loops for AddBiasGelu<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, fma: MultiplyAdd) {
        for row in self.rows.chunks_exact_mut(self.bias.len()) {
            for (x, &bias) in row.iter_mut().zip(self.bias) {
                *x = gelu(fma, *x + bias);
            }
        }
    }
}

fn product(out: &mut [f32], out_stride: usize, write: Write, x: &[f32], layer: &Linear<Floats>) {
    let outputs = layer.bias.len();
    let inputs = layer.weight.len() / outputs;
    let rows = x.len() / inputs;
    multiply(
        MatrixMut::new(out, rows, outputs, out_stride),
        write,
        1.0,
        Matrix::new(x, rows, inputs, inputs),
        Matrix::new(&layer.weight, outputs, inputs, inputs).transposed(),
        Threads::All,
    );
}
