//! How well a document answers a query: the scores of BGE-M3, and their weighted means.

#![forbid(unsafe_code)]

use crate::cpu;
use crate::embeddings::Embedding;
use crate::error::{Error, Result};
use crate::vectors::MultiVector;

/// The dot product of two dense vectors, summed in f64: for vectors of length 1, as models give them, the
/// cosine of their angle, from -1 to 1.
///
/// `dense = sum over i of a[i] * b[i]`
///
/// ```
/// assert_eq!(lexpeak::dense_score(&[0.5, 2.0], &[4.0, -1.0]), 0.0);
/// ```
///
/// # Panics
///
/// If one has more values than the other.
pub fn dense_score(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "vectors of one model have one width");
    let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
    products.sum()
}

/// The late interaction of two texts, by the vectors of their tokens: what each token of the query finds at best
/// in the document, on average. From -1 to 1 for vectors of length 1; 0 if either text has no vector.
///
/// `colbert = 1/Q * sum over q of max over d of query[q] · document[d]`
///
/// This is BGE-M3's (Chen et al., 2024, arXiv 2402.03216); ColBERT (Khattab and Zaharia, 2020, arXiv 2004.12832)
/// sums where this takes the mean, which orders the documents of a query alike. Dot products are computed in f32
/// and the mean in f64. Long texts keep all threads of the rayon pool busy that it is called in (outside of one,
/// of rayon's global pool), with 512 KB each; the score is the same on any number of them.
///
/// ```
/// use lexpeak::{MultiVector, colbert_score};
///
/// let query = MultiVector::new(2, &[1.0, 0.0, 0.0, 1.0]);
/// let document = MultiVector::new(2, &[0.6, 0.8, 0.8, 0.6, -1.0, 0.0]);
/// let score = colbert_score(query, document); // (0.8 + 0.8) / 2
/// assert!((score - 0.8).abs() < 1e-6);
/// ```
///
/// # Panics
///
/// If the vectors of one are wider than those of the other.
pub fn colbert_score(query: MultiVector<'_>, document: MultiVector<'_>) -> f64 {
    let width = query.width();
    assert_eq!(
        width,
        document.width(),
        "vectors of one model have one width"
    );
    if query.is_empty() || document.is_empty() {
        return 0.0;
    }
    let maxima = cpu::max_sim(query.values(), document.values(), width);
    maxima.iter().copied().map(f64::from).sum::<f64>() / query.len() as f64
}

/// How much each score counts where they are combined.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreWeights {
    // Finite, not negative, not all 0.
    dense: f64,
    sparse: f64,
    colbert: f64,
}

impl ScoreWeights {
    /// Weights in the order in which BGE-M3's own `compute_score` takes them. Only their ratio matters.
    ///
    /// ```
    /// use lexpeak::ScoreWeights;
    ///
    /// assert!(ScoreWeights::new(0.4, 0.2, 0.4).is_ok());
    /// assert!(ScoreWeights::new(0.4, -0.2, 0.4).is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// If a weight is negative or not finite, or all are 0.
    pub fn new(dense: f64, sparse: f64, colbert: f64) -> Result<Self> {
        for (name, weight) in [("dense", dense), ("sparse", sparse), ("colbert", colbert)] {
            if !(weight >= 0.0 && weight.is_finite()) {
                return Err(Error::usage(
                    format!("the weight {weight} of the {name} score is negative or not finite"),
                    "give 0 or a number above it",
                ));
            }
        }
        if [dense, sparse, colbert] == [0.0; 3] {
            return Err(Error::usage(
                "all scores have the weight 0",
                "give at least one a weight above it",
            ));
        }
        Ok(Self {
            dense,
            sparse,
            colbert,
        })
    }
}

impl Default for ScoreWeights {
    /// All scores count alike.
    fn default() -> Self {
        Self {
            dense: 1.0,
            sparse: 1.0,
            colbert: 1.0,
        }
    }
}

/// The scores of a query and a document, each where both have the output that it compares.
///
/// ```
/// use lexpeak::{Embedding, ScoreWeights, Scores, SparseRows};
///
/// let mut rows = SparseRows::new();
/// rows.push([(7, 0.5)]);
/// rows.push([(7, 0.5), (9, 1.0)]);
/// let query = Embedding { sparse: Some(rows.row(0)), dense: Some(&[1.0, 0.0]), colbert: None };
/// let document = Embedding { sparse: Some(rows.row(1)), dense: Some(&[0.75, -0.5]), colbert: None };
///
/// let scores = Scores::of(query, document);
/// assert_eq!((scores.sparse, scores.dense, scores.colbert), (Some(0.25), Some(0.75), None));
/// assert_eq!(scores.sparse_dense(ScoreWeights::default()), Some(0.5));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Scores {
    /// [`SparseRow::dot`](crate::SparseRow::dot): the sum of the products of the weights of common terms.
    pub sparse: Option<f64>,
    /// [`dense_score`].
    pub dense: Option<f64>,
    /// [`colbert_score`].
    pub colbert: Option<f64>,
}

impl Scores {
    /// Compares a query and a document.
    ///
    /// # Panics
    ///
    /// If the vectors of one are wider than those of the other: they are not of one model.
    pub fn of(query: Embedding<'_>, document: Embedding<'_>) -> Self {
        let sparse = query.sparse.zip(document.sparse);
        let dense = query.dense.zip(document.dense);
        let colbert = query.colbert.zip(document.colbert);
        Self {
            sparse: sparse.map(|(query, document)| query.dot(document)),
            dense: dense.map(|(query, document)| dense_score(query, document)),
            colbert: colbert.map(|(query, document)| colbert_score(query, document)),
        }
    }

    /// `(w_sparse * sparse + w_dense * dense) / (w_sparse + w_dense)`: `sparse+dense` of BGE-M3's `compute_score`.
    ///
    /// None if one of them is missing, or if both have the weight 0.
    pub fn sparse_dense(&self, weights: ScoreWeights) -> Option<f64> {
        weighted_mean([(weights.sparse, self.sparse?), (weights.dense, self.dense?)])
    }

    /// `(w_colbert * colbert + w_sparse * sparse + w_dense * dense) / (w_colbert + w_sparse + w_dense)`:
    /// `colbert+sparse+dense` of BGE-M3's `compute_score`.
    ///
    /// None if one of them is missing.
    pub fn colbert_sparse_dense(&self, weights: ScoreWeights) -> Option<f64> {
        weighted_mean([
            (weights.colbert, self.colbert?),
            (weights.sparse, self.sparse?),
            (weights.dense, self.dense?),
        ])
    }
}

/// None if all weights are 0.
fn weighted_mean<const N: usize>(scores: [(f64, f64); N]) -> Option<f64> {
    let largest = scores
        .iter()
        .fold(0.0, |largest: f64, &(weight, _)| largest.max(weight));
    if largest == 0.0 {
        return None;
    }
    // Relative to the largest, so that neither huge nor tiny weights leave f64.
    let relative = scores.map(|(weight, score)| (weight / largest, score));
    let sum: f64 = relative.iter().map(|(weight, score)| weight * score).sum();
    Some(sum / relative.iter().map(|(weight, _)| weight).sum::<f64>())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sparse::SparseRows;

    /// Of f32 products of `width` values below 1 in size, whatever the order of the sum.
    fn tolerance(width: usize) -> f64 {
        (width as f64 + 1.0) * f64::from(f32::EPSILON) * width as f64
    }

    fn naive_colbert(width: usize, query: &[f32], document: &[f32]) -> f64 {
        let dot = |a: &[f32], b: &[f32]| {
            let mut sum = 0.0;
            for i in 0..width {
                sum += f64::from(a[i]) * f64::from(b[i]);
            }
            sum
        };
        let mut sum = 0.0;
        for query in query.chunks(width) {
            let mut largest = f64::NEG_INFINITY;
            for document in document.chunks(width) {
                largest = largest.max(dot(query, document));
            }
            sum += largest;
        }
        sum / (query.len() / width) as f64
    }

    fn is_near(actual: f64, expected: f64, tolerance: f64) -> bool {
        (actual - expected).abs() <= tolerance
    }

    fn close(actual: Option<f64>, expected: f64) -> bool {
        actual.is_some_and(|actual| is_near(actual, expected, 1e-12))
    }

    fn scores(sparse: f64, dense: f64, colbert: f64) -> Scores {
        Scores {
            sparse: Some(sparse),
            dense: Some(dense),
            colbert: Some(colbert),
        }
    }

    fn vectors(
        count: impl Into<proptest::sample::SizeRange>,
        width: usize,
    ) -> impl Strategy<Value = Vec<f32>> {
        proptest::collection::vec(proptest::collection::vec(-1.0f32..1.0, width), count)
            .prop_map(|vectors| vectors.concat())
    }

    proptest! {
        #[test]
        fn dense_scores_are_dot_products((a, b) in (1usize..200)
            .prop_flat_map(|width| (vectors(1, width), vectors(1, width))))
        {
            let mut expected = 0.0;
            for i in 0..a.len() {
                expected += f64::from(a[i]) * f64::from(b[i]);
            }
            prop_assert!(is_near(dense_score(&a, &b), expected, 1e-12));
        }

        #[test]
        fn combinations_follow_their_formulas(
            values in proptest::array::uniform3(-1.0..1.0),
            weights in proptest::array::uniform3(0.001..1000.0),
        ) {
            let [sparse, dense, colbert] = values;
            let [w_sparse, w_dense, w_colbert] = weights;
            let scores = scores(sparse, dense, colbert);
            let weights = ScoreWeights::new(w_dense, w_sparse, w_colbert).expect("good weights");
            let two = (w_sparse * sparse + w_dense * dense) / (w_sparse + w_dense);
            prop_assert!(close(scores.sparse_dense(weights), two));
            let all = (w_colbert * colbert + w_sparse * sparse + w_dense * dense)
                / (w_colbert + w_sparse + w_dense);
            prop_assert!(close(scores.colbert_sparse_dense(weights), all));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))] // Each makes thousands of numbers.

        #[test]
        fn colbert_scores_are_means_of_maxima((width, query, document) in (1usize..40)
            .prop_flat_map(|width| (Just(width), vectors(1..300, width), vectors(1..600, width))))
        {
            let score = colbert_score(MultiVector::new(width, &query), MultiVector::new(width, &document));
            let expected = naive_colbert(width, &query, &document);
            prop_assert!(is_near(score, expected, tolerance(width)), "{} and not {}", score, expected);
        }
    }

    #[test]
    fn a_text_without_tokens_scores_nothing() {
        let some = MultiVector::new(2, &[1.0, 0.0]);
        let none = MultiVector::new(2, &[]);
        assert_eq!(colbert_score(some, none), 0.0);
        assert_eq!(colbert_score(none, some), 0.0);
        assert_eq!(colbert_score(none, none), 0.0);
    }

    #[test]
    fn what_is_no_number_gives_no_score() {
        let some = MultiVector::new(1, &[1.0, 2.0]);
        let odd = MultiVector::new(1, &[1.0, f32::NAN]);
        assert!(colbert_score(some, odd).is_nan());
        assert!(colbert_score(odd, some).is_nan());
        assert!(dense_score(&[f32::NAN], &[1.0]).is_nan());
    }

    #[test]
    #[should_panic(expected = "one width")]
    fn dense_vectors_of_two_models_are_refused() {
        dense_score(&[1.0], &[1.0, 2.0]);
    }

    #[test]
    #[should_panic(expected = "one width")]
    fn multi_vectors_of_two_models_are_refused() {
        let (query, document) = (
            MultiVector::new(1, &[1.0, 2.0]),
            MultiVector::new(2, &[1.0, 2.0]),
        );
        colbert_score(query, document);
    }

    #[test]
    fn scores_are_of_outputs_that_both_have() {
        let mut rows = SparseRows::new();
        rows.push([(1, 0.5), (3, 2.0)]);
        rows.push([(3, 0.25)]);
        let query = Embedding {
            sparse: Some(rows.row(0)),
            dense: Some(&[1.0, 2.0]),
            colbert: Some(MultiVector::new(2, &[1.0, 0.0, 0.0, 1.0])),
        };
        let document = Embedding {
            sparse: Some(rows.row(1)),
            dense: Some(&[0.5, 0.25]),
            colbert: Some(MultiVector::new(2, &[0.5, 0.25])),
        };
        assert_eq!(Scores::of(query, document), scores(0.5, 1.0, 0.375));

        let without = [
            Embedding {
                sparse: None,
                ..query
            },
            Embedding {
                dense: None,
                ..query
            },
            Embedding {
                colbert: None,
                ..query
            },
        ];
        for (missing, without) in without.into_iter().enumerate() {
            for scores in [Scores::of(without, document), Scores::of(document, without)] {
                let there =
                    [scores.sparse, scores.dense, scores.colbert].map(|score| score.is_some());
                assert!((0..3).all(|score| there[score] == (score != missing)));
                let weights = ScoreWeights::default();
                assert_eq!(scores.sparse_dense(weights).is_some(), missing == 2);
                assert_eq!(scores.colbert_sparse_dense(weights), None);
            }
        }
    }

    /// The scores that FlagEmbedding documents for `What is BGE M3?` and its answer, and their combinations.
    #[test]
    fn combinations_are_weighted_means() {
        let scores = scores(0.1955, 0.6260, 0.7796);
        let weights = ScoreWeights::new(0.4, 0.2, 0.4).expect("good weights");
        assert!(close(
            scores.sparse_dense(weights),
            (0.2 * 0.1955 + 0.4 * 0.6260) / 0.6
        ));
        assert!(close(
            scores.colbert_sparse_dense(weights),
            0.4 * 0.7796 + 0.2 * 0.1955 + 0.4 * 0.6260
        ));
        let alike = ScoreWeights::default();
        assert!(close(scores.sparse_dense(alike), (0.1955 + 0.6260) / 2.0));
        assert!(close(
            scores.colbert_sparse_dense(alike),
            (0.1955 + 0.6260 + 0.7796) / 3.0
        ));
    }

    #[test]
    fn only_the_ratio_of_weights_matters() {
        let scores = scores(0.1, 0.2, 0.4);
        for unit in [f64::MIN_POSITIVE, 1.0, f64::MAX / 2.0] {
            let weights = ScoreWeights::new(unit, 2.0 * unit, unit).expect("good weights");
            assert!(close(scores.sparse_dense(weights), 0.4 / 3.0), "{unit}");
            assert!(close(scores.colbert_sparse_dense(weights), 0.2), "{unit}");
        }
        let only_colbert = ScoreWeights::new(0.0, 0.0, 3.0).expect("good weights");
        assert_eq!(scores.sparse_dense(only_colbert), None);
        assert_eq!(scores.colbert_sparse_dense(only_colbert), Some(0.4));
    }

    #[test]
    fn weights_without_sense_are_refused() {
        for odd in [-1.0, f64::NAN, f64::INFINITY, -f64::MIN_POSITIVE] {
            for (name, at) in [("dense", 0), ("sparse", 1), ("colbert", 2)] {
                let mut weights = [1.0; 3];
                weights[at] = odd;
                let [dense, sparse, colbert] = weights;
                let error = ScoreWeights::new(dense, sparse, colbert).expect_err("no sense");
                let expected = format!("the weight {odd} of the {name} score");
                assert!(error.to_string().starts_with(&expected), "{error}");
            }
        }
        let error = ScoreWeights::new(0.0, -0.0, 0.0).expect_err("nothing counts");
        assert!(
            error
                .to_string()
                .starts_with("all scores have the weight 0"),
            "{error}"
        );
    }
}
