//! The vocabulary projection fused with the pooling over positions: `[P, V]` logits never exist.
//!
//! The vocabulary is cut into panels; a task multiplies the hidden states with one panel, a block of
//! rows at a time, and pools each block while it is still in the core's cache. A panel yields its part
//! of every document's row, already sparse; the parts are joined in panel order, so ids ascend.

#![forbid(unsafe_code)]

use std::ops::Range;

use rayon::prelude::*;

use super::HeadSpace;
use super::finite::{check_finite, overflow};
use super::layer_norm::layer_norm;
use super::linear::{add_bias_gelu, linear_without_bias};
use super::matrix::{Matrix, MatrixMut, Threads, Write, multiply};
use super::pooling::RunningPool;
use crate::engine::{Encoded, Want};
use crate::error::Result;
use crate::model::{Activation, Floats, MlmHead, Pooling, SpladeHead};
use crate::pack::PackedBatch;
use crate::sparse::SparseRows;

/// Vocabulary columns a task, and rows of hidden states at a time: a block of logits is 256 KB,
/// which stays in a core's L2 beside the panel until it is pooled.
const PANEL: usize = 256;
const ROWS: usize = 256;

/// Columns that are looked at together for a weight > 0.
const EMIT_COLUMNS: usize = 16;

/// What the head multiplies: hidden states of the pooled rows, and the decoder.
#[derive(Clone, Copy)]
struct Projection<'a> {
    hidden: &'a [f32],  // [P, H], after the head's transform
    decoder: &'a [f32], // [V, H]
    bias: &'a [f32],    // [V]
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
    logits: Vec<f32>, // [ROWS, PANEL], without bias
    pool: RunningPool,
}

/// A head for masked language, and what turns its logits into weights.
pub(super) struct PooledHead<'a> {
    pub(super) splade: SpladeHead,
    pub(super) head: &'a MlmHead<Floats>,
    /// [V, H]: the decoder where it has none of its own.
    pub(super) words: &'a Floats,
    pub(super) eps: f32,
}

impl PooledHead<'_> {
    /// The rows of `hidden`, whose pooled rows and transform go to `space`.
    pub(super) fn encode(
        self,
        space: &mut HeadSpace,
        hidden: &[f32], // [T, H]
        batch: &PackedBatch,
        want: Want,
    ) -> Result<Encoded> {
        let head = self.head;
        let HeadSpace {
            pooled,
            rows: transformed,
        } = space;
        let mut rows = hidden;
        if batch.pooled().len() < batch.tokens() {
            let width = head.norm.scale.len();
            pooled.clear();
            for &row in batch.pooled() {
                pooled.extend_from_slice(&hidden[row as usize * width..][..width]);
            }
            rows = pooled; // [P, H]
        }

        transformed.resize(rows.len(), 0.0);
        linear_without_bias(transformed, rows, &head.transform); // [P, H]
        add_bias_gelu(transformed, &head.transform.bias);
        layer_norm(transformed, &head.norm, self.eps);
        check_finite(transformed)?;

        let projection = Projection {
            hidden: transformed,
            decoder: head.decoder.as_ref().unwrap_or(self.words),
            bias: &head.bias,
        };
        let mut encoded = splade_head(projection, self.splade, batch.cu_pooled(), want)?;
        encoded.place_in_documents(batch);
        Ok(encoded)
    }
}

/// One sparse row a document. `cu_pooled` `[S + 1]` bounds the documents' rows of `hidden`; wanted
/// positions count the pooled rows of a document from 0.
fn splade_head(
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
        scratch.pool.restart(width, head.pooling, want.positions);
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
            let logits = &scratch.logits[(row - block.start) * width..(end - block.start) * width];
            let position = (row - document.start) as u32;
            scratch.pool.take(logits, position, bias, head);
            row = end;
        }
        emit(
            &mut panel,
            &mut scratch.pool,
            columns.start as u32,
            bias,
            head,
        )?;
    }
    Ok(panel)
}

/// Ends a document: its weights > 0 in this panel.
fn emit(
    panel: &mut PanelRows,
    pool: &mut RunningPool,
    first_id: u32,
    bias: &[f32],
    head: SpladeHead,
) -> Result<()> {
    pool.finish(bias, head.pooling);
    for (chunk, columns) in pool
        .pooled()
        .chunks(EMIT_COLUMNS)
        .zip((0..).step_by(EMIT_COLUMNS))
    {
        // Nearly all are nothing, and a whole chunk of nothing is passed over at once.
        if chunk.iter().fold(true, |nothing, &x| nothing & (x <= 0.0)) {
            continue;
        }
        for (&x, column) in chunk.iter().zip(columns..) {
            let value = match head.pooling {
                Pooling::Max => activate(x, head.activation),
                Pooling::Sum => x,
            };
            if value > 0.0 && value.is_finite() {
                panel.indices.push(first_id + column as u32);
                panel.values.push(value);
                panel.positions.extend(pool.position(column));
            } else if value != 0.0 {
                return Err(overflow());
            }
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
    Encoded::sparse(rows, positions)
}
