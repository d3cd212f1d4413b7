//! Rows out: one writer a format, all onto an [`OutputTarget`].
//!
//! ```no_run
//! use lexpeak::{DocumentId, Embedding, OutputFormat, OutputTarget, SparseRows};
//!
//! let mut rows = SparseRows::new();
//! rows.push([(7, 0.5), (42, 1.25)]);
//!
//! let target = OutputTarget::create("rows.jsonl")?; // writes rows.jsonl.partial ...
//! let mut writer = OutputFormat::Jsonl.writer(target, None);
//! let embedding = Embedding { sparse: Some(rows.row(0)), dense: None, colbert: None };
//! writer.write(&DocumentId::from("d1"), embedding)?;
//! writer.finish()?; // ... which becomes rows.jsonl here
//! # Ok::<(), lexpeak::Error>(())
//! ```

#![forbid(unsafe_code)]

mod jsonl;
mod npy;
mod target;
mod vectors;

use std::path::PathBuf;

use crate::embeddings::Embedding;
use crate::error::Result;
use crate::input::DocumentId;

pub use target::OutputTarget;
pub use vectors::{VectorFiles, VectorLayout, VectorType};

/// How rows are laid out in the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum OutputFormat {
    /// One JSON object a line, also for an empty row: `{"id":...,"indices":[...],"values":[...]}`,
    /// with `"tokens":[...]` if token strings are given; then `"dense":[...]` and
    /// `"colbert":[[...],...]`. An output that the embedding does not have is left out.
    #[default]
    Jsonl,
}

impl OutputFormat {
    /// A writer of this format onto `target`.
    ///
    /// With `tokens`, the token strings of the whole vocabulary by id, rows also carry the tokens of
    /// their entries.
    pub fn writer(self, target: OutputTarget, tokens: Option<Vec<String>>) -> Box<dyn RowWriter> {
        match self {
            Self::Jsonl => Box::new(jsonl::JsonlWriter::new(target, tokens)),
        }
    }
}

/// Takes documents in order and ends in exactly one of [`finish`](Self::finish) and
/// [`keep_partial`](Self::keep_partial).
pub trait RowWriter: Send {
    /// Writes what the next document became: of all documents the same outputs.
    fn write(&mut self, id: &DocumentId, embedding: Embedding<'_>) -> Result<()>;

    /// Completes the output: only now does a file appear under its own name.
    fn finish(self: Box<Self>) -> Result<()>;

    /// Gives up, as far as possible without losing rows written so far, and says where the
    /// incomplete output lies, if it is a file.
    fn keep_partial(self: Box<Self>) -> Option<PathBuf>;
}
