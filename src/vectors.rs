//! Vectors of one width: one a text, or one a token.

#![forbid(unsafe_code)]

/// Dense vectors of some documents, one each, end to end.
///
/// A vector has the length 1, as exactly as the engine computes: on GPUs its values are of 16 bits. That of a document
/// without a token is 0.
#[derive(Clone, Debug, PartialEq)]
pub struct DenseVectors {
    width: usize,
    values: Vec<f32>, // [documents, width], finite
}

/// Vectors of the tokens of some documents, end to end, as ColBERT scores them.
///
/// ```text
/// starts  0             3      4      (documents + 1)
/// values  v0   v1   v2 | v3   |       each `width` values, of length 1
///         document 0   | document 1
/// ```
///
/// On GPUs the values are of 16 bits.
#[derive(Clone, Debug, PartialEq)]
pub struct MultiVectors {
    width: usize,
    starts: Vec<usize>,
    values: Vec<f32>, // [vectors, width], finite
}

/// The vectors of one document's tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MultiVector<'a> {
    width: usize,
    values: &'a [f32], // [vectors, width]
}

impl DenseVectors {
    /// No vectors yet, each `width` values, at least 1.
    ///
    /// # Panics
    ///
    /// If `width` is 0.
    pub fn new(width: usize) -> Self {
        check_width(width);
        Self {
            width,
            values: Vec::new(),
        }
    }

    /// Appends vectors, end to end.
    ///
    /// # Panics
    ///
    /// If it is no whole number of them, or a value is not finite: an engine that gives such a vector has a bug.
    pub fn extend(&mut self, vectors: &[f32]) {
        check_vectors(self.width, vectors);
        self.values.extend_from_slice(vectors);
    }

    /// Values of each vector.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of vectors.
    pub fn len(&self) -> usize {
        self.values.len() / self.width
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The vector of document `document`, counted from 0.
    ///
    /// # Panics
    ///
    /// If there are not that many.
    pub fn row(&self, document: usize) -> &[f32] {
        &self.values[document * self.width..][..self.width]
    }

    /// All vectors in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.width)
    }

    /// All vectors, end to end.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

impl MultiVectors {
    /// No documents yet; each vector has `width` values, at least 1.
    ///
    /// # Panics
    ///
    /// If `width` is 0.
    pub fn new(width: usize) -> Self {
        Self::with_capacity(width, 0, 0)
    }

    /// No documents yet, with space for `documents` of them that have `vectors` together.
    ///
    /// # Panics
    ///
    /// If `width` is 0.
    pub fn with_capacity(width: usize, documents: usize, vectors: usize) -> Self {
        check_width(width);
        let mut starts = Vec::with_capacity(documents + 1);
        starts.push(0);
        Self {
            width,
            starts,
            values: Vec::with_capacity(vectors * width),
        }
    }

    /// Appends a document with its vectors, end to end.
    ///
    /// # Panics
    ///
    /// If it is no whole number of them, or a value is not finite: an engine that gives such a vector has a bug.
    pub fn push(&mut self, vectors: &[f32]) {
        check_vectors(self.width, vectors);
        self.values.extend_from_slice(vectors);
        self.starts.push(self.values.len() / self.width);
    }

    /// Appends all documents of `other`, whose vectors have the same width.
    ///
    /// # Panics
    ///
    /// If they have another.
    pub fn append(&mut self, other: &Self) {
        assert_eq!(
            self.width, other.width,
            "vectors of one width. This is a bug"
        );
        let offset = self.vectors();
        self.values.extend_from_slice(&other.values);
        let ends = other.starts[1..].iter();
        self.starts.extend(ends.map(|&end| end + offset));
    }

    /// Values of each vector.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of documents.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there is no document.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of vectors of all documents together.
    pub fn vectors(&self) -> usize {
        self.starts[self.len()]
    }

    /// The vectors of all documents in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = MultiVector<'_>> {
        (0..self.len()).map(|document| self.document(document))
    }

    /// The vectors of document `document`, counted from 0.
    ///
    /// # Panics
    ///
    /// If there are not that many documents.
    pub fn document(&self, document: usize) -> MultiVector<'_> {
        let range = self.starts[document]..self.starts[document + 1];
        MultiVector {
            width: self.width,
            values: &self.values[range.start * self.width..range.end * self.width],
        }
    }
}

impl<'a> MultiVector<'a> {
    /// Vectors of `width` values, end to end.
    ///
    /// # Panics
    ///
    /// If it is no whole number of them.
    pub fn new(width: usize, values: &'a [f32]) -> Self {
        check_width(width);
        assert!(
            values.len().is_multiple_of(width),
            "{} values are no vectors of {width}. This is a bug",
            values.len()
        );
        Self { width, values }
    }

    /// Values of each vector.
    pub fn width(self) -> usize {
        self.width
    }

    /// Number of vectors.
    pub fn len(self) -> usize {
        self.values.len() / self.width
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.values.is_empty()
    }

    /// The vectors in the order of their tokens.
    pub fn iter(self) -> impl ExactSizeIterator<Item = &'a [f32]> {
        self.values.chunks_exact(self.width)
    }

    /// All values, vector by vector.
    pub fn values(self) -> &'a [f32] {
        self.values
    }
}

fn check_width(width: usize) {
    assert!(width > 0, "a vector has a value. This is a bug");
}

fn check_vectors(width: usize, values: &[f32]) {
    assert!(
        values.len().is_multiple_of(width),
        "{} values are no vectors of {width}. This is a bug",
        values.len()
    );
    assert!(
        values.iter().all(|value| value.is_finite()),
        "a value of a vector is not finite. This is a bug"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_keep_their_vectors() {
        let mut first = MultiVectors::new(2);
        first.push(&[1.0, 2.0, 3.0, 4.0]);
        first.push(&[]);
        let mut second = MultiVectors::new(2);
        second.push(&[5.0, 6.0]);
        first.append(&second);

        assert_eq!((first.len(), first.vectors()), (3, 3));
        let documents = (0..3).map(|document| first.document(document).iter().collect::<Vec<_>>());
        let expected: [Vec<&[f32]>; 3] =
            [vec![&[1.0, 2.0], &[3.0, 4.0]], vec![], vec![&[5.0, 6.0]]];
        assert!(documents.eq(expected));
    }

    #[test]
    #[should_panic(expected = "not finite")]
    fn what_is_no_number_is_refused() {
        DenseVectors::new(2).extend(&[1.0, f32::NAN]);
    }

    #[test]
    #[should_panic(expected = "3 values are no vectors of 2")]
    fn half_a_vector_is_refused() {
        MultiVectors::new(2).push(&[1.0, 0.0, 1.0]);
    }
}
