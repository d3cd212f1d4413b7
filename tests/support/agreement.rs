//! Comparison of sparse rows, with a report that says where and how far they differ.

#![allow(
    clippy::neg_cmp_op_on_partial_ord,
    reason = "a negated comparison is one that fails for what is no number"
)]

use std::collections::BTreeMap;
use std::fmt::Debug;

use lexpeak::SparseRow;

/// The pairs (vocabulary id, weight) of a row.
pub fn entries(row: SparseRow<'_>) -> Vec<(u32, f64)> {
    row.entries()
        .map(|(id, weight)| (id, f64::from(weight)))
        .collect()
}

/// Gathers comparisons made under one tolerance; [`finish`](Self::finish) fails if any was off.
#[must_use]
pub struct Agreement {
    tolerance: f64,
    relative: f64,
    rows: usize,
    largest: f64,
    failures: Vec<String>,
}

impl Agreement {
    /// `tolerance`: how far a weight may be off. An absent weight is 0, so the supports must agree
    /// but for weights under the tolerance.
    pub fn within(tolerance: f64) -> Self {
        Self {
            tolerance,
            relative: 0.0,
            rows: 0,
            largest: 0.0,
            failures: Vec::new(),
        }
    }

    /// A weight may be off by this share of itself, too, where that is more.
    pub fn or_share(mut self, relative: f64) -> Self {
        self.relative = relative;
        self
    }

    /// Compares one row.
    pub fn row(&mut self, what: &str, found: &[(u32, f64)], expected: &[(u32, f64)]) {
        // Vocabulary id -> (found, expected).
        let mut weights: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
        for &(id, weight) in found {
            weights.entry(id).or_default().0 = weight;
        }
        for &(id, weight) in expected {
            weights.entry(id).or_default().1 = weight;
        }
        let mut worst = (0, 0.0);
        let mut off = Vec::new();
        for (&id, (found, expected)) in &weights {
            let error = (found - expected).abs();
            if larger(error, worst.1) {
                worst = (id, error);
            }
            // Not `error > tolerance`: what is no number is off, too.
            if !(error <= self.tolerance.max(self.relative * expected.abs())) {
                off.push(format!("id {id}: found {found:e}, expected {expected:e}"));
            }
        }
        self.rows += 1;
        if larger(worst.1, self.largest) {
            self.largest = worst.1;
        }
        if let Some(first) = off.first() {
            self.failures.push(format!(
                "{what}: {} of {} weights are off, first {first}; largest error {:.1e} at id {}, {:.1} times the tolerance",
                off.len(),
                weights.len(),
                worst.1,
                worst.0,
                worst.1 / self.tolerance,
            ));
        }
    }

    /// Compares what must be the same to the last bit.
    pub fn exact<T: PartialEq + Debug>(&mut self, what: &str, found: T, expected: T) {
        if found != expected {
            self.failures
                .push(format!("{what}: found {found:?}, expected {expected:?}"));
        }
    }

    /// # Panics
    ///
    /// If a comparison failed, or if there was none.
    pub fn finish(self, what: &str) {
        assert!(self.rows > 0, "{what}: nothing was compared");
        // One fault can fail every row: the first few tell enough.
        let failures = self.failures.len();
        let shown = self.failures[..failures.min(8)].join("\n");
        assert!(
            failures == 0,
            "{what}: {failures} failures, among them\n{shown}"
        );
        // Seen with `cargo test -- --nocapture`.
        let share = 100.0 * self.largest / self.tolerance;
        println!(
            "{what}: {} rows, largest error {:.1e}, {share:.1} % of the tolerance",
            self.rows, self.largest
        );
    }
}

/// Whether `error` is beyond `largest`; what is no number is beyond all numbers.
fn larger(error: f64, largest: f64) -> bool {
    !(error <= largest) && !largest.is_nan()
}

#[test]
fn weights_under_the_tolerance_may_be_absent() {
    let mut agreement = Agreement::within(1e-4);
    agreement.row("row", &[(1, 2.0), (7, 9e-5)], &[(1, 2.00009), (3, 9e-5)]);
    agreement.finish("it");
}

#[test]
#[should_panic(expected = "1 of 2 weights are off, first id 3")]
fn a_missing_weight_is_off() {
    let mut agreement = Agreement::within(1e-4);
    agreement.row("row", &[(1, 2.0)], &[(1, 2.0), (3, 2e-4)]);
    agreement.finish("it");
}

#[test]
#[should_panic(expected = "largest error NaN at id 1")]
fn what_is_no_number_is_off() {
    let mut agreement = Agreement::within(1e-4);
    agreement.row("row", &[(1, f64::NAN), (2, 1.0)], &[(1, 1.0), (2, 5.0)]);
    agreement.finish("it");
}

#[test]
#[should_panic(expected = "nothing was compared")]
fn a_comparison_of_nothing_fails() {
    Agreement::within(1e-4).finish("it");
}
