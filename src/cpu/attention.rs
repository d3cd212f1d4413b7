//! Bidirectional self-attention over packed documents: softmax(Q·Kᵀ / √D)·V, one document and head
//! at a time. A document sees only itself, so there is nothing to mask.

#![forbid(unsafe_code)]

use rayon::prelude::*;

use super::documents::split_by_document;
use super::elementary::exp;
use super::matrix::{Matrix, MatrixMut, Threads, Write, multiply};
use super::simd::{Loops, MultiplyAdd, map_and_sum, max, vectorized};

/// Query rows a task: the scores of a block against 512 keys are 256 KB, half of a core's L2 on
/// common servers, and a long document is spread over the cores.
const QUERY_ROWS: usize = 128;

/// Some rows of one document's context, to be computed by one thread.
struct Task<'a> {
    /// First token of the document, and how many it has.
    document: usize,
    tokens: usize,
    /// First query row, and the rows of the context from there, `[rows, H]`.
    query: usize,
    context: &'a mut [f32],
}

/// Space of one thread.
#[derive(Default)]
struct Scratch {
    scores: Vec<f32>,       // [rows, tokens]
    inverse_sums: Vec<f32>, // [rows]
}

/// `context[t] = softmax(q[t]·Kᵀ / √D)·V` for every token, head by head.
///
/// `qkv` is `[T, 3H]`: a token's queries, keys and values of all heads side by side. `context` is `[T, H]`.
pub(super) fn attention(
    context: &mut [f32],
    qkv: &[f32],
    cu_seqlens: &[u32],
    hidden_size: usize,
    num_heads: usize,
) {
    tasks(context, cu_seqlens, hidden_size)
        .into_par_iter()
        .for_each_init(Scratch::default, |scratch, task| {
            attend(task, scratch, qkv, hidden_size, num_heads)
        });
}

fn tasks<'a>(context: &'a mut [f32], cu_seqlens: &[u32], hidden_size: usize) -> Vec<Task<'a>> {
    let mut tasks = Vec::new();
    for (tokens, rows) in split_by_document(context, cu_seqlens, hidden_size) {
        for (block, context) in rows.chunks_mut(QUERY_ROWS * hidden_size).enumerate() {
            tasks.push(Task {
                document: tokens.start,
                tokens: tokens.len(),
                query: tokens.start + block * QUERY_ROWS,
                context,
            });
        }
    }
    tasks
}

fn attend(
    task: Task<'_>,
    scratch: &mut Scratch,
    qkv: &[f32],
    hidden_size: usize,
    num_heads: usize,
) {
    let head_size = hidden_size / num_heads;
    let stride = 3 * hidden_size;
    let rows = task.context.len() / hidden_size;
    let tokens = task.tokens;
    let scale = 1.0 / (head_size as f32).sqrt();
    let Scratch {
        scores,
        inverse_sums,
    } = scratch;
    scores.resize(rows * tokens, 0.0);
    inverse_sums.resize(rows, 0.0);

    for head in 0..num_heads {
        let column = head * head_size;
        let part = |row: usize, count: usize, which: usize| {
            Matrix::new(
                &qkv[row * stride + which * hidden_size + column..],
                count,
                head_size,
                stride,
            )
        };
        let queries = part(task.query, rows, 0); // [rows, D]
        let keys = part(task.document, tokens, 1); // [tokens, D]
        let values = part(task.document, tokens, 2); // [tokens, D]

        let out = MatrixMut::new(scores, rows, tokens, tokens);
        multiply(
            out,
            Write::Overwrite,
            scale,
            queries,
            keys.transposed(),
            Threads::One,
        );
        // Division by the sums waits for the product, which is narrower than the scores.
        vectorized(ExpRows {
            scores,
            tokens,
            inverse_sums,
        });
        let out = MatrixMut::new(&mut task.context[column..], rows, head_size, hidden_size);
        let weights = Matrix::new(scores, rows, tokens, tokens);
        multiply(out, Write::Overwrite, 1.0, weights, values, Threads::One);
        for (row, &inverse) in task
            .context
            .chunks_exact_mut(hidden_size)
            .zip(&*inverse_sums)
        {
            for x in &mut row[column..][..head_size] {
                *x *= inverse;
            }
        }
    }
}

/// Replaces every row of scores by `exp(score - largest)`, and gives `1 / sum` of each.
struct ExpRows<'a> {
    scores: &'a mut [f32], // [rows, tokens]
    tokens: usize,
    inverse_sums: &'a mut [f32], // [rows]
}

impl Loops for ExpRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, fma: MultiplyAdd) {
        let rows = self.scores.chunks_exact_mut(self.tokens);
        for (row, inverse) in rows.zip(self.inverse_sums) {
            let largest = max(row);
            *inverse = 1.0 / map_and_sum(row, |x| exp(fma, x - largest));
        }
    }
}
