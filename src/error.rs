//! The one error type of the crate.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What a fallible function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that names where it happened, what is wrong and what to do about it.
///
/// Its text is one sentence each for *where: what; remedy*, ready to be shown to a user. Programs
/// that must tell causes apart ask [`Error::category`].
pub struct Error {
    kind: Box<Kind>,
}

/// The broad cause of an [`Error`], for programs that react to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Category {
    /// A document of the input is malformed, or the input could not be read.
    Input,
    /// A model file is missing, malformed, hostile or does not fit the others.
    Model,
    /// The request is sensible but this build, machine or model family cannot serve it.
    Unsupported,
    /// An option has a value that makes no sense.
    Usage,
    /// The output could not be written.
    Output,
    /// Whoever read the output has gone away.
    BrokenPipe,
    /// The run was interrupted from outside.
    Interrupted,
    /// The model computed something that is no number.
    Numeric,
    /// A GPU or its driver failed.
    Device,
    /// A GPU has not enough memory.
    OutOfMemory,
}

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("{place}, line {line}: {problem}; {remedy}")]
    InputLine {
        place: String,
        line: u64,
        problem: String,
        remedy: String,
    },
    #[error("{path}: cannot {action}: {source}; {remedy}")]
    Io {
        category: Category,
        path: PathBuf,
        action: &'static str,
        source: io::Error,
        remedy: &'static str,
    },
    #[error("{place}: {problem}; {remedy}")]
    Located {
        category: Category,
        place: String,
        problem: String,
        remedy: String,
    },
    #[error("{problem}; {remedy}")]
    Plain {
        category: Category,
        problem: String,
        remedy: String,
    },
    #[error("{place}: {error}")]
    Within { place: String, error: Error },
    #[error("the reader of {place} has gone away")]
    BrokenPipe { place: String },
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// A document that cannot be taken: `place` is the file (or `standard input`), `line` counts from 1.
    pub(crate) fn input_line(
        place: impl Into<String>,
        line: u64,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Kind::InputLine {
            place: place.into(),
            line,
            problem: problem.into(),
            remedy: remedy.into(),
        }
        .into()
    }

    /// An input/output failure on `path`, as in "cannot {action}: {source}; {remedy}".
    pub(crate) fn io(
        category: Category,
        path: impl Into<PathBuf>,
        action: &'static str,
        source: io::Error,
        remedy: &'static str,
    ) -> Self {
        Kind::Io {
            category,
            path: path.into(),
            action,
            source,
            remedy,
        }
        .into()
    }

    /// A model file that cannot be read.
    pub(crate) fn model_io(
        path: impl Into<PathBuf>,
        action: &'static str,
        source: io::Error,
    ) -> Self {
        let remedy = "it must be there and readable: fetch the model again";
        Self::io(Category::Model, path, action, source, remedy)
    }

    /// A model file that cannot be used.
    pub(crate) fn model(
        path: impl AsRef<Path>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let place = path.as_ref().display().to_string();
        Self::located(Category::Model, place, problem, remedy)
    }

    /// "{place}: {problem}; {remedy}"
    fn located(
        category: Category,
        place: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Kind::Located {
            category,
            place: place.into(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
        .into()
    }

    /// A request that this build, machine or model family cannot serve.
    pub(crate) fn unsupported(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Kind::Plain {
            category: Category::Unsupported,
            problem: problem.into(),
            remedy: remedy.into(),
        }
        .into()
    }

    /// An option whose value makes no sense.
    pub(crate) fn usage(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Kind::Plain {
            category: Category::Usage,
            problem: problem.into(),
            remedy: remedy.into(),
        }
        .into()
    }

    /// A computation that left the finite numbers.
    pub(crate) fn numeric(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Kind::Plain {
            category: Category::Numeric,
            problem: problem.into(),
            remedy: remedy.into(),
        }
        .into()
    }

    /// A GPU or its driver that failed at `place`: the device, or the kernel with its shapes.
    #[cfg(lexpeak_cuda)]
    pub(crate) fn device(
        place: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::located(Category::Device, place, problem, remedy)
    }

    /// A GPU that has not enough memory.
    #[cfg(lexpeak_cuda)]
    pub(crate) fn out_of_memory(
        place: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::located(Category::OutOfMemory, place, problem, remedy)
    }

    /// A failed write to `path`; a closed pipe is told apart, and lack of space has a remedy.
    pub(crate) fn write(path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        let place = path.display().to_string();
        let remedy = match source.kind() {
            io::ErrorKind::BrokenPipe => return Kind::BrokenPipe { place }.into(),
            io::ErrorKind::StorageFull => "free some space, or write to another disk",
            io::ErrorKind::QuotaExceeded => "free some of the quota, or write to another disk",
            io::ErrorKind::FileTooLarge => "raise the limit on file sizes (ulimit -f)",
            _ => {
                let remedy = "try again, or write to another disk";
                return Self::io(Category::Output, path, "write", source, remedy);
            }
        };
        let problem = format!("cannot write: {source}");
        Self::located(Category::Output, place, problem, remedy)
    }

    /// The run was stopped from outside.
    pub(crate) fn interrupted() -> Self {
        Kind::Interrupted.into()
    }

    /// The same error, said of a document (or of some, `first to last`), by its id.
    pub(crate) fn of_document(self, id: impl fmt::Display) -> Self {
        self.within(format!("document {id}"))
    }

    /// The same error, said of a part of the whole.
    pub(crate) fn within(self, place: impl Into<String>) -> Self {
        let (place, error) = (place.into(), self);
        Kind::Within { place, error }.into()
    }

    /// The broad cause of this error.
    pub fn category(&self) -> Category {
        match *self.kind {
            Kind::InputLine { .. } => Category::Input,
            Kind::Io { category, .. }
            | Kind::Located { category, .. }
            | Kind::Plain { category, .. } => category,
            Kind::Within { ref error, .. } => error.category(),
            Kind::BrokenPipe { .. } => Category::BrokenPipe,
            Kind::Interrupted => Category::Interrupted,
        }
    }
}

impl From<Kind> for Error {
    fn from(kind: Kind) -> Self {
        Self {
            kind: Box::new(kind),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.kind, f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.kind, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.kind.source()
    }
}
