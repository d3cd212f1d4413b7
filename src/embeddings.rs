//! What a text becomes: a sparse row, a dense vector, vectors of its tokens; those that were asked for.

#![forbid(unsafe_code)]

use crate::sparse::{SparseRow, SparseRows};
use crate::vectors::{DenseVectors, MultiVector, MultiVectors};

/// Which of a model's outputs are wanted; one forward pass gives them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outputs {
    /// Weights of vocabulary terms: every model has them.
    pub sparse: bool,
    /// One vector a text, of the first token's hidden state.
    pub dense: bool,
    /// A vector for every token but the first, the one at the end included.
    pub colbert: bool,
}

impl Default for Outputs {
    /// The sparse ones.
    fn default() -> Self {
        Self {
            sparse: true,
            dense: false,
            colbert: false,
        }
    }
}

/// The outputs that are wanted, with the sizes that they have for a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutputSizes {
    /// Whether sparse rows are wanted.
    pub sparse: bool,
    /// Values of a dense vector, if they are wanted.
    pub dense: Option<usize>,
    /// Values of a token's vector, if they are wanted.
    pub colbert: Option<usize>,
}

/// The outputs for some documents, in their order. What was not asked for is not there.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Embeddings {
    /// One row a document.
    pub sparse: Option<SparseRows>,
    /// One vector a document.
    pub dense: Option<DenseVectors>,
    /// The vectors of a document's tokens: one fewer than it has tokens, if it has any.
    pub colbert: Option<MultiVectors>,
}

/// The outputs for one document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Embedding<'a> {
    /// Its sparse row.
    pub sparse: Option<SparseRow<'a>>,
    /// Its dense vector.
    pub dense: Option<&'a [f32]>,
    /// The vectors of its tokens.
    pub colbert: Option<MultiVector<'a>>,
}

impl Embeddings {
    /// The outputs for no document yet.
    pub(crate) fn new(sizes: OutputSizes) -> Self {
        Self {
            sparse: sizes.sparse.then(SparseRows::new),
            dense: sizes.dense.map(DenseVectors::new),
            colbert: sizes.colbert.map(MultiVectors::new),
        }
    }

    /// The outputs for documents without a token.
    pub(crate) fn of_empty_documents(documents: usize, sizes: OutputSizes) -> Self {
        let mut embeddings = Self::new(sizes);
        for _ in 0..documents {
            if let Some(rows) = &mut embeddings.sparse {
                rows.push([]);
            }
            if let Some(vectors) = &mut embeddings.dense {
                vectors.extend(&vec![0.0; vectors.width()]);
            }
            if let Some(vectors) = &mut embeddings.colbert {
                vectors.push(&[]);
            }
        }
        embeddings
    }

    /// Number of documents.
    pub fn len(&self) -> usize {
        let sparse = self.sparse.as_ref().map(SparseRows::len);
        let dense = || self.dense.as_ref().map(DenseVectors::len);
        let colbert = || self.colbert.as_ref().map(MultiVectors::len);
        sparse.or_else(dense).or_else(colbert).unwrap_or(0)
    }

    /// Whether there is no document.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The outputs for all documents in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Embedding<'_>> {
        (0..self.len()).map(|document| self.document(document))
    }

    /// The outputs for document `document`, counted from 0.
    ///
    /// # Panics
    ///
    /// If there are not that many.
    pub fn document(&self, document: usize) -> Embedding<'_> {
        Embedding {
            sparse: self.sparse.as_ref().map(|rows| rows.row(document)),
            dense: self.dense.as_ref().map(|vectors| vectors.row(document)),
            colbert: (self.colbert.as_ref()).map(|vectors| vectors.document(document)),
        }
    }

    /// Appends the documents of `other`, which has the same outputs.
    pub(crate) fn append(&mut self, other: &Self) {
        const ALIKE: &str = "batches of a run have the same outputs. This is a bug";
        if let Some(rows) = &mut self.sparse {
            rows.append(other.sparse.as_ref().expect(ALIKE));
        }
        if let Some(vectors) = &mut self.dense {
            vectors.extend(other.dense.as_ref().expect(ALIKE).values());
        }
        if let Some(vectors) = &mut self.colbert {
            vectors.append(other.colbert.as_ref().expect(ALIKE));
        }
    }
}
