//! Bidirectional self-attention over packed documents: softmax(Q·Kᵀ / √D)·V, one document and head
//! at a time. A document sees only itself, so there is nothing to mask.
//!
//! The scores of a long document never exist at once: they are made for a block of queries and keys at a time, with the
//! largest score and the sum of each query so far (Milakov and Gimelshein, arXiv 1805.02867).

#![forbid(unsafe_code)]

use rayon::prelude::*;

use super::documents::split_by_document;
use super::elementary::exp;
use super::matrix::{Matrix, MatrixMut, Threads, Write, multiply};
use super::simd::{Loops, MultiplyAdd, larger, map_and_sum, max, vectorized};

/// Query rows a task, and keys at a time: their scores are 256 KB, half of a core's L2 on common
/// servers, and a long document is spread over the cores.
const QUERY_ROWS: usize = 128;
const KEYS: usize = 512;

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
    scores: Vec<f32>, // [rows, keys]
    softmax: RunningSoftmax,
}

/// What is known of the scores so far, for every query row of a task.
#[derive(Default)]
struct RunningSoftmax {
    largest: Vec<f32>, // [rows]
    sums: Vec<f32>,    // [rows] of exp(score - largest)
    /// What the sums and products of the blocks before are to be multiplied by, since a larger score came.
    factors: Vec<f32>, // [rows]
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
    let Scratch { scores, softmax } = scratch;
    scores.resize(rows * tokens.min(KEYS), 0.0);

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
        softmax.restart(rows);
        for first in (0..tokens).step_by(KEYS) {
            let count = KEYS.min(tokens - first);
            let keys = part(task.document + first, count, 1); // [keys, D]
            let values = part(task.document + first, count, 2); // [keys, D]
            let scores = &mut scores[..rows * count];
            multiply(
                MatrixMut::new(scores, rows, count, count),
                Write::Overwrite,
                scale,
                queries,
                keys.transposed(),
                Threads::One,
            );
            vectorized(ExpRows {
                scores,
                keys: count,
                softmax,
            });
            let write = if first == 0 {
                Write::Overwrite
            } else {
                scale_rows(
                    task.context,
                    hidden_size,
                    column,
                    head_size,
                    &softmax.factors,
                );
                Write::Add
            };
            let out = MatrixMut::new(&mut task.context[column..], rows, head_size, hidden_size);
            let weights = Matrix::new(scores, rows, count, count);
            multiply(out, write, 1.0, weights, values, Threads::One);
        }
        // Division by the sums waits for the product, which is narrower than the scores.
        for sum in &mut softmax.sums {
            *sum = 1.0 / *sum;
        }
        scale_rows(task.context, hidden_size, column, head_size, &softmax.sums);
    }
}

/// Multiplies every row's values of one head by the row's factor.
fn scale_rows(
    context: &mut [f32], // [rows, H]
    hidden_size: usize,
    column: usize,
    head_size: usize,
    factors: &[f32], // [rows]
) {
    for (row, &factor) in context.chunks_exact_mut(hidden_size).zip(factors) {
        for x in &mut row[column..][..head_size] {
            *x *= factor;
        }
    }
}

impl RunningSoftmax {
    /// Nothing is known of `rows` rows.
    fn restart(&mut self, rows: usize) {
        for (numbers, nothing) in [
            (&mut self.largest, f32::NEG_INFINITY),
            (&mut self.sums, 0.0),
            (&mut self.factors, 0.0),
        ] {
            numbers.clear();
            numbers.resize(rows, nothing);
        }
    }
}

/// Replaces every row of scores by `exp(score - largest)`, with the largest of the row so far.
struct ExpRows<'a> {
    scores: &'a mut [f32], // [rows, keys]
    keys: usize,
    softmax: &'a mut RunningSoftmax,
}

impl Loops for ExpRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, fma: MultiplyAdd) {
        let RunningSoftmax {
            largest,
            sums,
            factors,
        } = self.softmax;
        let known = largest.iter_mut().zip(sums).zip(factors);
        let rows = self.scores.chunks_exact_mut(self.keys);
        for (row, ((largest, sum), factor)) in rows.zip(known) {
            let new = larger(*largest, max(row));
            *factor = exp(fma, *largest - new);
            *sum = *sum * *factor + map_and_sum(row, |x| exp(fma, x - new));
            *largest = new;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `[T, 3H]` of one document and head: query and key of every token are single numbers, its value is its number.
    fn attended(queries: &[f32], keys: &[f32]) -> Vec<f32> {
        let tokens = keys.len();
        let qkv: Vec<f32> = (0..tokens)
            .flat_map(|token| [queries[token % queries.len()], keys[token], token as f32])
            .collect();
        let mut context = vec![f32::NAN; tokens];
        attention(&mut context, &qkv, &[0, tokens as u32], 1, 1);
        context
    }

    /// Around one block of keys and two, with the largest score first, last, and far above those of the blocks before.
    #[test]
    fn blocks_of_keys_make_one_softmax() {
        for tokens in [1, 2, 511, 512, 513, 1024, 1025, 1600] {
            for slope in [0.001, -0.001, 0.3, -0.3] {
                let keys: Vec<f32> = (0..tokens).map(|token| token as f32 * slope).collect();
                let found = attended(&[1.0], &keys);
                let largest = keys.iter().fold(f32::MIN, |a, &b| a.max(b));
                let weights = keys.iter().map(|key| f64::from(key - largest).exp());
                let sum: f64 = weights.clone().sum();
                let values = weights
                    .enumerate()
                    .map(|(token, weight)| token as f64 * weight);
                let expected = values.sum::<f64>() / sum;
                for found in found {
                    let error = (f64::from(found) - expected).abs();
                    assert!(
                        error <= 2e-6 * tokens as f64,
                        "{tokens} tokens, slope {slope}: {found}, expected {expected}"
                    );
                }
            }
        }
    }

    /// Whoever looks at the result must see it.
    #[test]
    fn scores_that_overflow_are_no_number() {
        for (query, key) in [(1e30, -1e30), (1e30, 1e30)] {
            for tokens in [3, 700] {
                let found = attended(&[query], &vec![key; tokens]);
                assert!(found.iter().all(|value| value.is_nan()), "{query} {key}");
            }
        }
    }
}
