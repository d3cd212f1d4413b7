//! Reader of `pytorch_model.bin`: the zip archive that `torch.save` writes since torch 1.6.
//!
//! ```text
//! <name>/data.pkl      a pickle: the state dict, each tensor as (storage key, offset, shape, strides)
//! <name>/data/<key>    the numbers of one storage, uncompressed
//! <name>/byteorder     "little" or "big" (absent before torch 2.1: little)
//! ```
//!
//! A pickle is a program, and Python's own machine for it runs whatever function the file names.
//! The one here knows nothing but the few names that a state dict needs, so that a hostile file is
//! an error and no more. Tensors are found, not copied: what is returned points into the mapped file.

#![forbid(unsafe_code)]

mod archive;
mod machine;
#[cfg(test)]
mod tests;
mod torch;
mod value;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use self::archive::Archive;
use self::torch::Layout;
use self::value::Value;
use super::checkpoint::StoredTensor;
use super::map::MappedFile;
use crate::error::{Error, Result};

/// The tensors of the state dict in `file`, in the order of their names.
pub(crate) fn read(file: Arc<MappedFile>) -> Result<Vec<StoredTensor>> {
    let layouts = layouts(&file).map_err(|fault| fault.of(file.path()))?;
    let tensor = |(name, layout): (String, Layout)| StoredTensor {
        name,
        file: Arc::clone(&file),
        stored_type: layout.stored_type,
        shape: layout.shape,
        bytes: layout.bytes,
    };
    Ok(layouts.into_iter().map(tensor).collect())
}

/// Where each tensor lies in `file`, by its name.
fn layouts(file: &[u8]) -> Result<BTreeMap<String, Layout>, Fault> {
    let archive = Archive::open(file)?;
    if let Some(order) = archive.entry("byteorder")
        && &file[order] != b"little"
    {
        return Err(Fault::resave("holds its numbers in big-endian byte order"));
    }
    let (top, heap) = machine::run(&file[archive.pickle()?])?;
    let Value::Dict(state_dict) = top else {
        return Err(Fault::resave("holds no state dict (tensors by name)"));
    };

    // Names repeat only in a made-up file; as in Python the last one counts. What is no tensor
    // (`_extra_state`, a step count) is no weight either and is passed over.
    let mut tensors = BTreeMap::new();
    for &(key, value) in heap.dict(state_dict) {
        if let (Value::Str(name), Value::Tensor(tensor)) = (key, value) {
            tensors.insert(name, tensor);
        }
    }
    if tensors.is_empty() {
        return Err(Fault::resave(
            "holds no tensors at the top of its state dict",
        ));
    }
    tensors
        .into_iter()
        .map(|(name, tensor)| {
            let layout = torch::layout(heap.tensor(tensor), &heap, &archive)
                .map_err(|fault| fault.within(format_args!("tensor {name:?}")))?;
            Ok((name.to_owned(), layout))
        })
        .collect()
}

/// What is wrong with a file; [`read`] adds which one it is, and what to do about it.
#[derive(Debug)]
struct Fault {
    problem: String,
    kind: FaultKind,
}

#[derive(Clone, Copy, Debug)]
enum FaultKind {
    Damaged,
    Resave,
    Refused,
}

impl Fault {
    /// The bytes make no sense.
    fn damaged(problem: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            kind: FaultKind::Damaged,
        }
    }

    /// The file may be sound, but it is not of the one kind that is read here.
    fn resave(problem: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            kind: FaultKind::Resave,
        }
    }

    /// The file asks for a function that has no place in a state dict.
    fn refused(module: &str, name: &str) -> Self {
        // A hostile name is no reason for a page of output.
        let called: String = format!("{module}.{name}").chars().take(100).collect();
        Self {
            problem: format!("wants to run code, {called:?}, and was refused"),
            kind: FaultKind::Refused,
        }
    }

    /// Puts where it happened in front.
    fn within(mut self, place: impl std::fmt::Display) -> Self {
        self.problem = format!("{place}: {}", self.problem);
        self
    }

    /// The error of the file `path`. Of a single layer, `NAME.pt`, there is no other format.
    fn of(self, path: &Path) -> Error {
        let of_layer = path.extension() == Some(OsStr::new("pt"));
        let remedy = match (self.kind, of_layer) {
            (FaultKind::Damaged, false) => {
                "the file is damaged: download it again, best as model.safetensors"
            }
            (FaultKind::Damaged, true) => "the file is damaged: download it again",
            (FaultKind::Resave, false) => {
                "load the model with a recent torch and save its state dict as model.safetensors"
            }
            (FaultKind::Resave, true) => {
                "load the layer with a recent torch and save its state dict here again"
            }
            (FaultKind::Refused, false) => {
                "use the model.safetensors of this model, or, if you trust whoever made the file, \
                 save its state dict as one with a recent torch"
            }
            (FaultKind::Refused, true) => {
                "fetch the file from those who trained the model, or, if you trust whoever made it, \
                 save its state dict here again with a recent torch"
            }
        };
        Error::model(path, self.problem, remedy)
    }
}
