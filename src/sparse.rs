//! Sparse rows, which every model gives.

#![forbid(unsafe_code)]

/// Learned sparse vectors of some documents, one row a document, in compressed sparse row form.
///
/// ```text
/// row_starts  0        3     4           (rows + 1)
/// indices     7 19 42 | 19 |             ascending and unique within a row, u32
/// values      .5 1. .2| .7 |             finite and > 0, f32
///             row 0     row 1
/// ```
///
/// The fields are private so that these invariants hold for every value that exists.
#[derive(Clone, Debug, PartialEq)]
pub struct SparseRows {
    row_starts: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<f32>,
}

/// One row of [`SparseRows`]: the weight of vocabulary term `indices[i]` is `values[i]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SparseRow<'a> {
    /// Vocabulary ids, ascending and unique.
    pub indices: &'a [u32],
    /// Their weights, finite and greater than zero.
    pub values: &'a [f32],
}

impl Default for SparseRows {
    fn default() -> Self {
        Self::new()
    }
}

impl SparseRows {
    /// No rows.
    pub fn new() -> Self {
        Self {
            row_starts: vec![0],
            indices: Vec::new(),
            values: Vec::new(),
        }
    }

    /// No rows yet, with space for `rows` of them holding `non_zeros` entries together.
    pub fn with_capacity(rows: usize, non_zeros: usize) -> Self {
        let mut row_starts = Vec::with_capacity(rows + 1);
        row_starts.push(0);
        Self {
            row_starts,
            indices: Vec::with_capacity(non_zeros),
            values: Vec::with_capacity(non_zeros),
        }
    }

    /// Appends a row.
    ///
    /// # Panics
    ///
    /// If the ids do not ascend or a weight is not finite and positive: an engine that produces
    /// such a row has a bug, and nothing downstream may see it.
    pub fn push(&mut self, entries: impl IntoIterator<Item = (u32, f32)>) {
        let start = self.indices.len();
        for (index, value) in entries {
            assert!(
                self.indices[start..]
                    .last()
                    .is_none_or(|&last| last < index),
                "vocabulary ids of a sparse row must ascend. This is a bug"
            );
            assert!(
                value > 0.0 && value.is_finite(),
                "weight {value} of vocabulary id {index} is not finite and positive. This is a bug"
            );
            self.indices.push(index);
            self.values.push(value);
        }
        self.row_starts.push(self.indices.len());
    }

    /// Appends all rows of `other`.
    pub fn append(&mut self, other: &SparseRows) {
        let offset = self.indices.len();
        self.indices.extend_from_slice(&other.indices);
        self.values.extend_from_slice(&other.values);
        self.row_starts
            .extend(other.row_starts[1..].iter().map(|&end| end + offset));
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.row_starts.len() - 1
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of entries in all rows together.
    pub fn non_zeros(&self) -> usize {
        self.indices.len()
    }

    /// Row `row`, counted from 0.
    ///
    /// # Panics
    ///
    /// If there are not that many rows.
    pub fn row(&self, row: usize) -> SparseRow<'_> {
        let range = self.row_starts[row]..self.row_starts[row + 1];
        SparseRow {
            indices: &self.indices[range.clone()],
            values: &self.values[range],
        }
    }

    /// All rows in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = SparseRow<'_>> {
        (0..self.len()).map(|row| self.row(row))
    }

    /// Where each row starts in [`indices`](Self::indices) and [`values`](Self::values): rows + 1 numbers.
    pub fn row_starts(&self) -> &[usize] {
        &self.row_starts
    }

    /// Vocabulary ids of all rows, end to end.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// Weights of all rows, end to end.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

impl<'a> SparseRow<'a> {
    /// The pairs (vocabulary id, weight), ids ascending.
    pub fn entries(self) -> impl ExactSizeIterator<Item = (u32, f32)> + 'a {
        self.indices
            .iter()
            .copied()
            .zip(self.values.iter().copied())
    }

    /// The weight of vocabulary id `index`, 0 where the row has none.
    pub fn weight(self, index: u32) -> f32 {
        match self.indices.binary_search(&index) {
            Ok(at) => self.values[at],
            Err(_) => 0.0,
        }
    }

    /// The dot product of two rows, summed in f64: the relevance score of a query and a document.
    ///
    /// ```
    /// let mut rows = lexpeak::SparseRows::new();
    /// rows.push([(3, 1.0), (7, 2.0)]);
    /// rows.push([(7, 0.5), (9, 4.0)]);
    /// assert_eq!(rows.row(0).dot(rows.row(1)), 1.0);
    /// ```
    pub fn dot(self, other: SparseRow<'_>) -> f64 {
        let (mut left, mut right, mut sum) = (0, 0, 0.0);
        while left < self.indices.len() && right < other.indices.len() {
            match self.indices[left].cmp(&other.indices[right]) {
                std::cmp::Ordering::Less => left += 1,
                std::cmp::Ordering::Greater => right += 1,
                std::cmp::Ordering::Equal => {
                    sum += f64::from(self.values[left]) * f64::from(other.values[right]);
                    left += 1;
                    right += 1;
                }
            }
        }
        sum
    }
}
