#![doc = include_str!("crate.md")]
#![deny(missing_docs)]

mod cpu;
pub mod cuda;
mod deal;
mod embeddings;
mod encoder;
mod engine;
mod engine_pool;
mod error;
mod input;
mod model;
mod pack;
mod pipeline;
mod prune;
mod score;
mod sparse;
mod token_terms;
mod tokenize;
mod vectors;
mod write;

pub use embeddings::{Embedding, Embeddings, OutputSizes, Outputs};
pub use encoder::{EncodeOptions, Encoder, EncoderBuilder, Role, SpecialTokens, Term};
pub use engine::{Device, Dtype, EngineDescription, Memory};
pub use error::{Category, Error, Result};
pub use input::{Document, DocumentId, DocumentReader, InputFormat};
pub use model::{Activation, Architecture, Head, ModelSpec, Pooling, SpladeHead, TokenWeightHead};
pub use pipeline::{Summary, encode_documents};
pub use score::{ScoreWeights, Scores, colbert_score, dense_score};
pub use sparse::{SparseRow, SparseRows};
pub use vectors::{DenseVectors, MultiVector, MultiVectors};
pub use write::{OutputFormat, OutputTarget, RowWriter, VectorFiles, VectorLayout, VectorType};

/// The examples in README.md are compiled with the others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
