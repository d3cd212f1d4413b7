//! The running pool over a document's logits, one panel of the vocabulary wide.

#![forbid(unsafe_code)]

use super::elementary::ln_1p;
use super::simd::{Loops, MultiplyAdd, larger, vectorized};
use crate::model::{Activation, Pooling, SpladeHead};

/// What the pooling knows of a document so far; every vector is as wide as the panel.
#[derive(Default)]
pub(super) struct RunningPool {
    /// Largest dot product (max pooling) or sum of weights (sum pooling).
    pooled: Vec<f32>,
    /// Position of the largest dot product, counted from 0. Kept only if wanted.
    positions: Vec<u32>,
    /// The dot product at that position.
    largest: Vec<f32>,
}

impl RunningPool {
    /// Forgets the last document.
    pub(super) fn restart(&mut self, width: usize, pooling: Pooling, want_positions: bool) {
        let nothing = match pooling {
            Pooling::Max => f32::NEG_INFINITY,
            Pooling::Sum => 0.0,
        };
        self.pooled.clear();
        self.pooled.resize(width, nothing);
        self.positions.clear();
        self.largest.clear();
        if want_positions {
            self.positions.resize(width, 0);
            self.largest.resize(width, f32::NEG_INFINITY);
        }
    }

    /// Takes in some rows of dot products, `[rows, width]`, the first at `first_position`.
    pub(super) fn take(
        &mut self,
        rows: &[f32],
        first_position: u32,
        bias: &[f32],
        head: SpladeHead,
    ) {
        let pooled = &mut self.pooled;
        match (head.pooling, head.activation) {
            (Pooling::Max, _) => vectorized(TakeMax { pooled, rows }),
            (Pooling::Sum, activation) => vectorized(TakeSum {
                pooled,
                rows,
                bias,
                activation,
            }),
        }
        if !self.positions.is_empty() {
            vectorized(TakePositions {
                largest: &mut self.largest,
                positions: &mut self.positions,
                rows,
                first_position,
            });
        }
    }

    /// Ends the document: its largest logits (max pooling) or sums of weights (sum pooling).
    pub(super) fn finish(&mut self, bias: &[f32], pooling: Pooling) {
        if pooling == Pooling::Max {
            for (x, &bias) in self.pooled.iter_mut().zip(bias) {
                *x += bias;
            }
        }
    }

    /// What [`finish`](Self::finish) left, a number a column.
    pub(super) fn pooled(&self) -> &[f32] {
        &self.pooled
    }

    /// Position of the largest logit of a column, if positions are wanted.
    pub(super) fn position(&self, column: usize) -> Option<u32> {
        self.positions.get(column).copied()
    }
}

/// The larger of running maxima and new dot products. bias, relu and log1p are monotone, so they wait
/// until the largest is known.
struct TakeMax<'a> {
    pooled: &'a mut [f32],
    rows: &'a [f32],
}

impl Loops for TakeMax<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, _: MultiplyAdd) {
        // Four rows a pass: a fourth of the loads and stores of the running maxima.
        let width = self.pooled.len();
        let mut passes = self.rows.chunks_exact(4 * width);
        for four in &mut passes {
            let (first, second) = four.split_at(2 * width);
            let ((a, b), (c, d)) = (first.split_at(width), second.split_at(width));
            for ((((m, &a), &b), &c), &d) in self.pooled.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                *m = larger(*m, larger(larger(a, b), larger(c, d)));
            }
        }
        for row in passes.remainder().chunks_exact(width) {
            for (m, &z) in self.pooled.iter_mut().zip(row) {
                *m = larger(*m, z);
            }
        }
    }
}

/// Adds the weights of all new logits.
struct TakeSum<'a> {
    pooled: &'a mut [f32],
    rows: &'a [f32],
    bias: &'a [f32],
    activation: Activation,
}

impl Loops for TakeSum<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, fma: MultiplyAdd) {
        for row in self.rows.chunks_exact(self.pooled.len()) {
            for ((sum, &z), &bias) in self.pooled.iter_mut().zip(row).zip(self.bias) {
                let weight = ln_1p(fma, larger(z + bias, 0.0));
                *sum += match self.activation {
                    Activation::Relu => weight,
                    Activation::Log1pRelu => ln_1p(fma, weight),
                };
            }
        }
    }
}

/// Notes where each column's largest dot product stands, the first one of equals.
struct TakePositions<'a> {
    largest: &'a mut [f32],
    positions: &'a mut [u32],
    rows: &'a [f32],
    first_position: u32,
}

impl Loops for TakePositions<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, _: MultiplyAdd) {
        let rows = self.rows.chunks_exact(self.largest.len());
        for (row, position) in rows.zip(self.first_position..) {
            let columns = self.largest.iter_mut().zip(&mut *self.positions);
            for ((m, at), &z) in columns.zip(row) {
                *at = if z > *m { position } else { *at };
                *m = larger(*m, z);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However a document's rows are cut into blocks, the pool is that of all rows at once.
        #[test]
        fn pools_of_blocks_match_a_plain_loop(
            width in 1usize..40,
            heights in prop::collection::vec(1usize..11, 1..5),
            sum: bool,
            doubly: bool,
            seed in 0u32..1000,
        ) {
            let height: usize = heights.iter().sum();
            let value = |i: usize| ((i as u32 * 7919 + seed * 104_729) % 2000) as f32 / 100.0 - 10.0;
            let rows: Vec<f32> = (0..height * width).map(value).collect();
            let bias: Vec<f32> = (0..width).map(|i| value(i * 31) / 4.0).collect();
            let head = SpladeHead {
                pooling: if sum { Pooling::Sum } else { Pooling::Max },
                activation: if doubly { Activation::Log1pRelu } else { Activation::Relu },
            };

            let mut pool = RunningPool::default();
            pool.restart(width, head.pooling, true);
            let mut row = 0;
            for height in heights {
                pool.take(&rows[row * width..(row + height) * width], row as u32, &bias, head);
                row += height;
            }

            for column in 0..width {
                let logits = || (0..height).map(|row| rows[row * width + column]);
                let largest = logits().fold(f32::NEG_INFINITY, f32::max);
                let first = logits().position(|z| z == largest).unwrap() as u32;
                prop_assert_eq!(pool.positions[column], first);
                let weight = |z: f32| {
                    let weight = f64::from((z + bias[column]).max(0.0)).ln_1p();
                    if doubly { weight.ln_1p() } else { weight }
                };
                let (expected, allowed) = match head.pooling {
                    Pooling::Max => (f64::from(largest), 0.0),
                    Pooling::Sum => (logits().map(weight).sum(), 1e-6 * height as f64 * 3.0),
                };
                let error = (f64::from(pool.pooled[column]) - expected).abs();
                prop_assert!(error <= allowed, "{} instead of {expected}", pool.pooled[column]);
            }
        }
    }
}
