//! The vocabulary projection fused with the pooling over positions: `[P, V]` logits never exist.
//!
//! The vocabulary is cut into panels; a task multiplies the hidden states with one panel, a block of
//! rows at a time, and pools each block while it is still in the core's cache. A panel yields its part
//! of every document's row, already sparse; the parts are joined in panel order, so ids ascend.

#![forbid(unsafe_code)]

use std::ops::Range;

use rayon::prelude::*;

use super::elementary::ln_1p;
use super::matrix::{Matrix, MatrixMut, Threads, Write, multiply};
use super::simd::{larger, vectorized};
use crate::engine::{Encoded, Want};
use crate::error::{Error, Result};
use crate::model::{Activation, Pooling, SpladeHead};
use crate::sparse::SparseRows;

/// Vocabulary columns a task, and rows of hidden states at a time: a block of logits is 512 KB.
const PANEL: usize = 512;
const ROWS: usize = 256;

/// What the head multiplies: hidden states of the pooled rows, and the decoder.
#[derive(Clone, Copy)]
pub(super) struct Projection<'a> {
    pub(super) hidden: &'a [f32],  // [P, H], after the head's transform
    pub(super) decoder: &'a [f32], // [V, H]
    pub(super) bias: &'a [f32],    // [V]
}

/// The weights of one panel of the vocabulary for every document.
struct PanelRows {
    /// Where each document's entries end.
    ends: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<f32>,
    positions: Vec<u32>,
}

/// Space of one thread.
#[derive(Default)]
struct Scratch {
    logits: Vec<f32>,    // [ROWS, PANEL]
    pooled: Vec<f32>,    // [PANEL]: largest logit, or sum of weights
    largest: Vec<f32>,   // [PANEL]: largest logit, beside sums whose positions are wanted
    positions: Vec<u32>, // [PANEL]: position of the largest logit
}

/// One sparse row a document. `cu_pooled` `[S + 1]` bounds the documents' rows of `hidden`; wanted
/// positions count the pooled rows of a document from 0.
pub(super) fn splade_head(
    projection: Projection<'_>,
    head: SpladeHead,
    cu_pooled: &[u32],
    want: Want,
) -> Result<Encoded> {
    let vocab_size = projection.bias.len();
    let starts: Vec<usize> = (0..vocab_size).step_by(PANEL).collect();
    let panels: Vec<PanelRows> = starts
        .into_par_iter()
        .map_init(Scratch::default, |scratch, start| {
            let columns = start..vocab_size.min(start + PANEL);
            panel_rows(scratch, projection, columns, head, cu_pooled, want)
        })
        .collect::<Result<_>>()?;
    Ok(join(&panels, cu_pooled.len() - 1))
}

fn panel_rows(
    scratch: &mut Scratch,
    projection: Projection<'_>,
    columns: Range<usize>,
    head: SpladeHead,
    cu_pooled: &[u32],
    want: Want,
) -> Result<PanelRows> {
    let Projection {
        hidden,
        decoder,
        bias,
    } = projection;
    let hidden_size = decoder.len() / bias.len();
    let rows = hidden.len() / hidden_size;
    let width = columns.len();
    let bias = &bias[columns.clone()];
    let weights = &decoder[columns.start * hidden_size..columns.end * hidden_size];

    let mut panel = PanelRows {
        ends: Vec::with_capacity(cu_pooled.len() - 1),
        indices: Vec::new(),
        values: Vec::new(),
        positions: Vec::new(),
    };
    scratch.logits.resize(ROWS * width, 0.0);
    let mut block = 0..0; // the rows of hidden whose logits are in scratch
    for bounds in cu_pooled.windows(2) {
        let document = bounds[0] as usize..bounds[1] as usize;
        start_pooling(scratch, width, head.pooling, want);
        let mut row = document.start;
        while row < document.end {
            if row >= block.end {
                block = row..rows.min(row + ROWS);
                multiply(
                    MatrixMut::new(&mut scratch.logits, block.len(), width, width),
                    Write::Overwrite,
                    1.0,
                    Matrix::new(
                        &hidden[block.start * hidden_size..],
                        block.len(),
                        hidden_size,
                        hidden_size,
                    ),
                    Matrix::new(weights, width, hidden_size, hidden_size).transposed(),
                    Threads::One,
                );
            }
            let end = document.end.min(block.end);
            let logits = (row - block.start) * width..(end - block.start) * width;
            pool(
                scratch,
                logits,
                (row - document.start) as u32,
                bias,
                head,
                want,
            );
            row = end;
        }
        emit(&mut panel, scratch, columns.start as u32, bias, head, want)?;
    }
    Ok(panel)
}

fn start_pooling(scratch: &mut Scratch, width: usize, pooling: Pooling, want: Want) {
    let first = match pooling {
        Pooling::Max => f32::NEG_INFINITY,
        Pooling::Sum => 0.0,
    };
    scratch.pooled.clear();
    scratch.pooled.resize(width, first);
    if want.positions {
        scratch.largest.clear();
        scratch.largest.resize(width, f32::NEG_INFINITY);
        scratch.positions.clear();
        scratch.positions.resize(width, 0);
    }
}

/// Takes some rows of logits into the running pool of their document.
fn pool(
    scratch: &mut Scratch,
    logits: Range<usize>,
    first_position: u32,
    bias: &[f32],
    head: SpladeHead,
    want: Want,
) {
    let Scratch {
        logits: block,
        pooled,
        largest,
        positions,
    } = scratch;
    let rows = &block[logits];
    vectorized(|| {
        match (head.pooling, head.activation) {
            (Pooling::Max, _) => pool_max(pooled, rows),
            (Pooling::Sum, Activation::Relu) => pool_sum(pooled, rows, bias, ln_1p),
            (Pooling::Sum, Activation::Log1pRelu) => {
                pool_sum(pooled, rows, bias, |z| ln_1p(ln_1p(z)))
            }
        }
        if want.positions {
            pool_positions(largest, positions, rows, first_position);
        }
    });
}

/// bias, relu and log1p are monotone, so they wait until the largest dot product is known.
#[inline(always)]
fn pool_max(pooled: &mut [f32], rows: &[f32]) {
    // Four rows a pass: a fourth of the loads and stores of the running maxima.
    let mut passes = rows.chunks_exact(4 * pooled.len());
    for four in &mut passes {
        let (first, second) = four.split_at(2 * pooled.len());
        let ((a, b), (c, d)) = (first.split_at(pooled.len()), second.split_at(pooled.len()));
        for ((((m, &a), &b), &c), &d) in pooled.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            *m = larger(*m, larger(larger(a, b), larger(c, d)));
        }
    }
    for row in passes.remainder().chunks_exact(pooled.len()) {
        for (m, &z) in pooled.iter_mut().zip(row) {
            *m = larger(*m, z);
        }
    }
}

#[inline(always)]
fn pool_sum(pooled: &mut [f32], rows: &[f32], bias: &[f32], weight: impl Fn(f32) -> f32) {
    for row in rows.chunks_exact(pooled.len()) {
        for ((sum, &z), &bias) in pooled.iter_mut().zip(row).zip(bias) {
            *sum += weight(larger(z + bias, 0.0));
        }
    }
}

#[inline(always)]
fn pool_positions(largest: &mut [f32], positions: &mut [u32], rows: &[f32], first_position: u32) {
    for (row, position) in rows.chunks_exact(largest.len()).zip(first_position..) {
        for ((m, at), &z) in largest.iter_mut().zip(positions.iter_mut()).zip(row) {
            *at = if z > *m { position } else { *at };
            *m = larger(*m, z);
        }
    }
}

/// Ends a document: its weights > 0 in this panel.
fn emit(
    panel: &mut PanelRows,
    scratch: &Scratch,
    first_id: u32,
    bias: &[f32],
    head: SpladeHead,
    want: Want,
) -> Result<()> {
    for (column, (&pooled, &bias)) in scratch.pooled.iter().zip(bias).enumerate() {
        let value = match head.pooling {
            Pooling::Max => activate(pooled + bias, head.activation),
            Pooling::Sum => pooled,
        };
        if value > 0.0 && value.is_finite() {
            panel.indices.push(first_id + column as u32);
            panel.values.push(value);
            if want.positions {
                panel.positions.push(scratch.positions[column]);
            }
        } else if value != 0.0 {
            return Err(overflow());
        }
    }
    panel.ends.push(panel.indices.len());
    Ok(())
}

/// The weight of a logit. One that is not a number stays so, and is found by `emit`.
fn activate(logit: f32, activation: Activation) -> f32 {
    if logit <= 0.0 {
        return 0.0;
    }
    match activation {
        Activation::Relu => logit.ln_1p(),
        Activation::Log1pRelu => logit.ln_1p().ln_1p(),
    }
}

fn overflow() -> Error {
    Error::numeric(
        "the model computes numbers beyond f32 for one of the texts",
        "its weights are damaged or its training diverged: get another copy of the model",
    )
}

/// Fails where a hidden state is no number: a maximum would lose it silently.
pub(super) fn check_finite(hidden: &[f32]) -> Result<()> {
    // The sum of x·0 is 0 exactly if every x is finite.
    let sum: f32 = hidden
        .par_chunks(1 << 14)
        .map(|chunk| vectorized(|| super::simd::sum(chunk, |x| x * 0.0)))
        .sum();
    if sum == 0.0 { Ok(()) } else { Err(overflow()) }
}

fn join(panels: &[PanelRows], documents: usize) -> Encoded {
    let non_zeros = panels.iter().map(|panel| panel.indices.len()).sum();
    let mut rows = SparseRows::with_capacity(documents, non_zeros);
    let mut positions = Vec::new();
    for document in 0..documents {
        let parts = || {
            panels.iter().map(move |panel| {
                let start = if document == 0 {
                    0
                } else {
                    panel.ends[document - 1]
                };
                (panel, start..panel.ends[document])
            })
        };
        rows.push(parts().flat_map(|(panel, range)| {
            let indices = panel.indices[range.clone()].iter().copied();
            indices.zip(panel.values[range].iter().copied())
        }));
        for (panel, range) in parts() {
            if !panel.positions.is_empty() {
                positions.extend_from_slice(&panel.positions[range]);
            }
        }
    }
    Encoded { rows, positions }
}
