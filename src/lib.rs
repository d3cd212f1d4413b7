#![doc = include_str!("crate.md")]
#![deny(missing_docs)]

mod cpu;
pub mod cuda;
mod deal;
mod encoder;
mod engine;
mod engine_pool;
mod error;
mod input;
mod model;
mod pack;
mod pipeline;
mod prune;
mod sparse;
mod tokenize;
mod write;

pub use encoder::{EncodeOptions, Encoder, EncoderBuilder, Role, SpecialTokens, Term};
pub use engine::{Device, Dtype, EngineDescription, Memory};
pub use error::{Category, Error, Result};
pub use input::{Document, DocumentId, DocumentReader, InputFormat};
pub use model::{Activation, Architecture, ModelSpec, Pooling, SpladeHead};
pub use pipeline::{Summary, encode_documents};
pub use sparse::{SparseRow, SparseRows};
pub use write::{OutputFormat, OutputTarget, RowWriter};

/// The examples in README.md are compiled with the others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
