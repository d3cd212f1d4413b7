//! Comparison of sparse rows and of vectors, with a report that says where and how far they differ.

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
    /// No vector may have a smaller cosine with what is expected.
    least_cosine: f64,
    rows: usize,
    vectors: usize,
    largest: f64,
    failures: Vec<String>,
}

impl Agreement {
    /// `tolerance`: how far a weight, or a component of a vector, may be off. An absent weight is 0, so the supports must
    /// agree but for weights under the tolerance.
    pub fn within(tolerance: f64) -> Self {
        Self {
            tolerance,
            relative: 0.0,
            least_cosine: -1.0,
            rows: 0,
            vectors: 0,
            largest: 0.0,
            failures: Vec::new(),
        }
    }

    /// A weight may be off by this share of itself, too, where that is more.
    pub fn or_share(mut self, relative: f64) -> Self {
        self.relative = relative;
        self
    }

    /// A vector must also have this cosine with what is expected, or a larger one.
    pub fn and_cosine(mut self, least: f64) -> Self {
        self.least_cosine = least;
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

    /// Compares one vector.
    pub fn vector(
        &mut self,
        what: &str,
        found: &[impl Copy + Into<f64>],
        expected: &[impl Copy + Into<f64>],
    ) {
        self.vectors += 1;
        if found.len() != expected.len() {
            let (found, expected) = (found.len(), expected.len());
            self.failures
                .push(format!("{what}: found {found} values, expected {expected}"));
            return;
        }
        let found: Vec<f64> = found.iter().map(|&value| value.into()).collect();
        let expected: Vec<f64> = expected.iter().map(|&value| value.into()).collect();
        let mut worst = (0, 0.0);
        for (place, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let error = (found - expected).abs();
            if larger(error, worst.1) {
                worst = (place, error);
            }
        }
        if larger(worst.1, self.largest) {
            self.largest = worst.1;
        }
        let cosine = cosine(&found, &expected);
        if !(worst.1 <= self.tolerance && cosine >= self.least_cosine) {
            let (place, error) = worst;
            self.failures.push(format!(
                "{what}: value {place} of {}: found {:e}, expected {:e}, {:.1} times the tolerance; cosine {cosine}",
                found.len(),
                found[place],
                expected[place],
                error / self.tolerance,
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
        assert!(self.rows + self.vectors > 0, "{what}: nothing was compared");
        // One fault can fail every row: the first few tell enough.
        let failures = self.failures.len();
        let shown = self.failures[..failures.min(8)].join("\n");
        assert!(
            failures == 0,
            "{what}: {failures} failures, among them\n{shown}"
        );
        // Seen with `cargo test -- --nocapture`.
        let share = 100.0 * self.largest / self.tolerance;
        let (rows, vectors, largest) = (self.rows, self.vectors, self.largest);
        let compared = match (rows, vectors) {
            (_, 0) => format!("{rows} rows"),
            (0, _) => format!("{vectors} vectors"),
            _ => format!("{rows} rows, {vectors} vectors"),
        };
        println!("{what}: {compared}, largest error {largest:.1e}, {share:.1} % of the tolerance");
    }
}

/// No number where a vector has no direction.
fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
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

#[test]
fn values_under_the_tolerance_may_be_off() {
    let mut agreement = Agreement::within(1e-4).and_cosine(1.0 - 1e-7);
    agreement.vector("vector", &[0.6f32, -0.79995], &[0.6f64, -0.8]);
    agreement.finish("it");
}

#[test]
#[should_panic(expected = "value 1 of 2: found -8e-1, expected 8e-1")]
fn a_value_beyond_the_tolerance_is_off() {
    let mut agreement = Agreement::within(1e-4);
    agreement.vector("vector", &[0.6, -0.8], &[0.6, 0.8]);
    agreement.finish("it");
}

#[test]
#[should_panic(expected = "cosine 0")]
fn another_direction_is_off() {
    let mut agreement = Agreement::within(10.0).and_cosine(0.99);
    agreement.vector("vector", &[0.0, 1.0], &[1.0, 0.0]);
    agreement.finish("it");
}

#[test]
#[should_panic(expected = "value 2 of 3: found NaN")]
fn a_value_that_is_no_number_is_off() {
    let mut agreement = Agreement::within(1e-4);
    agreement.vector("vector", &[0.0, 1.0, f64::NAN], &[0.0, 1.0, 0.0]);
    agreement.finish("it");
}

#[test]
#[should_panic(expected = "found 1 values, expected 2")]
fn a_vector_of_another_length_is_off() {
    let mut agreement = Agreement::within(1e-4);
    agreement.vector("vector", &[1.0], &[1.0, 0.0]);
    agreement.finish("it");
}
