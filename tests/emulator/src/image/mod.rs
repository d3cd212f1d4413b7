//! Module images: what a program hands to `cuModuleLoadData`, down to the PTX for one compute capability.
//!
//! An image is a fatbin, a cubin or NUL-terminated PTX. [`module`] works on a slice; the driver's entry gets a bare
//! pointer, whose length [`bytes`] finds.

mod fatbin;
mod inflate;
mod pointer;
mod target;

use std::borrow::Cow;

use crate::ptx::{Module, ParseError};

pub use pointer::bytes;
pub use target::{Capability, Portability, Target};

/// Why an image cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Neither fatbin, cubin nor text.
    #[error(
        "this is no module image: it begins with {0:02x?}, which is neither a fatbin, a cubin nor PTX text"
    )]
    Unknown(Vec<u8>),
    /// Machine code.
    #[error(
        "a cubin cannot be interpreted: load PTX, or embed it in a fatbin beside the cubins \
         (nvcc -fatbin -gencode arch=compute_80,code=compute_80 ...)"
    )]
    Cubin,
    /// A size in the container points outside of it.
    #[error("the fatbin is damaged: {0}")]
    Damaged(String),
    /// A fatbin without PTX for this device.
    #[error(
        "the fatbin has no PTX for compute capability {}.{} (it has: {}): embed it with nvcc -gencode arch=compute_{}{},code=compute_{}{}",
        .capability.0, .capability.1, list(.found), .capability.0, .capability.1, .capability.0, .capability.1
    )]
    NoPtx {
        /// Compute capability of the device.
        capability: Capability,
        /// What the PTX that is there was compiled for.
        found: Vec<Target>,
    },
    /// PTX for another device.
    #[error(
        "PTX for {target} does not run on compute capability {}.{}: compile it for sm_{}{}",
        .capability.0, .capability.1, .capability.0, .capability.1
    )]
    WrongTarget {
        /// Compute capability of the device.
        capability: Capability,
        /// The PTX's `.target`.
        target: String,
    },
    /// PTX that the parser refuses.
    #[error(transparent)]
    Ptx(#[from] ParseError),
}

fn list(targets: &[Target]) -> String {
    if targets.is_empty() {
        return "none at all".to_owned();
    }
    targets
        .iter()
        .map(Target::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Parses the PTX of an image that suits a device best.
///
/// # Errors
/// Says what the image lacks; see [`ImageError`].
pub fn module(image: &[u8], capability: Capability) -> Result<Module, ImageError> {
    let module = Module::parse(&ptx(image, capability)?)?;
    // A fatbin says what its PTX is for, a bare text only inside.
    match Target::read(&module.target) {
        Some(target) if target.runs_on(capability) => Ok(module),
        _ => Err(ImageError::WrongTarget {
            capability,
            target: module.target,
        }),
    }
}

/// The PTX text of an image that suits a device best.
///
/// # Errors
/// Says what the image lacks; see [`ImageError`].
pub fn ptx(image: &[u8], capability: Capability) -> Result<Cow<'_, str>, ImageError> {
    match Kind::of(image) {
        Kind::Fatbin => {
            let entries = fatbin::ptx_entries(image)?;
            let best = entries
                .iter()
                .filter(|entry| entry.target.runs_on(capability))
                // The first of equals: `max_by_key` would take the last.
                .rev()
                .max_by_key(|entry| entry.target);
            let Some(entry) = best else {
                let found = entries.iter().map(|entry| entry.target).collect();
                return Err(ImageError::NoPtx { capability, found });
            };
            Ok(match inflate::inflate(entry)? {
                Cow::Borrowed(bytes) => text(bytes),
                Cow::Owned(bytes) => Cow::Owned(text(&bytes).into_owned()),
            })
        }
        Kind::Cubin => Err(ImageError::Cubin),
        Kind::Text => Ok(text(image)),
        Kind::Unknown => Err(ImageError::Unknown(image[..image.len().min(8)].to_vec())),
    }
}

/// The text before the first NUL. Paths in `.file` need not be UTF-8; the rest of PTX is ASCII.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    let end = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end])
}

/// What the first bytes say an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Fatbin,
    Cubin,
    Text,
    Unknown,
}

impl Kind {
    fn of(image: &[u8]) -> Kind {
        if image.starts_with(&fatbin::MAGIC) {
            Kind::Fatbin
        } else if image.starts_with(b"\x7fELF") {
            Kind::Cubin
        } else if image
            .first()
            .is_some_and(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
        {
            Kind::Text
        } else {
            Kind::Unknown
        }
    }
}

#[cfg(test)]
mod tests;
