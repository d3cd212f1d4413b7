//! The tensors of a model folder by name, whatever file format holds them.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use half::{bf16, f16};
use rayon::prelude::*;
use serde::Deserialize;

use super::files::{plain_relative_path, read_json};
use super::map::MappedFile;
use super::{pickle, safetensors};
use crate::error::{Error, Result};

/// How the numbers of a stored tensor are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoredType {
    F32,
    F16,
    BF16,
    /// Any other type, by its name: such a tensor may be present, but not used as a weight.
    Other(&'static str),
}

impl fmt::Display for StoredType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::Other(name) => name,
        })
    }
}

/// A tensor as it lies in its file, row-major and little-endian.
#[derive(Clone, Debug)]
pub(crate) struct StoredTensor {
    pub(crate) name: String,
    pub(crate) file: Arc<MappedFile>,
    pub(crate) stored_type: StoredType,
    pub(crate) shape: Vec<usize>,
    /// Byte range in `file`; the readers guarantee that it lies inside the file and fits type and shape.
    pub(crate) bytes: Range<usize>,
}

impl StoredTensor {
    fn raw(&self) -> &[u8] {
        &self.file[self.bytes.clone()]
    }

    /// The matrix without its first `count` rows, of which it has at least that many.
    pub(crate) fn without_first_rows(mut self, count: usize) -> Self {
        let row = self.bytes.len() / self.shape[0];
        self.bytes.start += count * row;
        self.shape[0] -= count;
        self
    }

    /// The numbers in f32: in place where they are stored so and aligned, converted otherwise.
    ///
    /// A number that is not finite is an error: one such weight would reach every vector.
    pub(crate) fn to_f32(&self) -> Result<Floats> {
        let raw = self.raw();
        let floats = match self.stored_type {
            StoredType::F32 if bytemuck::try_cast_slice::<u8, f32>(raw).is_ok() => {
                Floats(Storage::Mapped {
                    file: self.file.clone(),
                    bytes: self.bytes.clone(),
                })
            }
            StoredType::F32 => Floats::convert::<4>(raw, f32::from_le_bytes),
            StoredType::F16 => Floats::convert::<2>(raw, |b| f16::from_le_bytes(b).to_f32()),
            StoredType::BF16 => Floats::convert::<2>(raw, |b| bf16::from_le_bytes(b).to_f32()),
            StoredType::Other(name) => {
                return Err(Error::model(
                    self.file.path(),
                    format!("tensor {} is stored as {name}", self.name),
                    "weights must be F32, F16 or BF16: save the model in one of these",
                ));
            }
        };
        match floats.par_iter().position_any(|x| !x.is_finite()) {
            None => Ok(floats),
            Some(at) => Err(Error::model(
                self.file.path(),
                format!("tensor {} holds {} at element {at}", self.name, floats[at]),
                "the file is damaged or its training diverged: get another copy of the model",
            )),
        }
    }
}

/// The numbers of one weight tensor in f32, owned or in place in their mapped file.
#[derive(Clone, Debug)]
pub(crate) struct Floats(Storage);

#[derive(Clone, Debug)]
enum Storage {
    Owned(Vec<f32>),
    /// The bytes are known to be aligned for f32.
    Mapped {
        file: Arc<MappedFile>,
        bytes: Range<usize>,
    },
}

impl Floats {
    fn convert<const WIDTH: usize>(
        raw: &[u8],
        convert: impl Fn([u8; WIDTH]) -> f32 + Sync,
    ) -> Self {
        let (chunks, _) = raw.as_chunks::<WIDTH>();
        chunks
            .par_iter()
            .map(|&bytes| convert(bytes))
            .collect::<Vec<_>>()
            .into()
    }
}

impl From<Vec<f32>> for Floats {
    fn from(floats: Vec<f32>) -> Self {
        Self(Storage::Owned(floats))
    }
}

impl Deref for Floats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.0 {
            Storage::Owned(floats) => floats,
            Storage::Mapped { file, bytes } => bytemuck::cast_slice(&file[bytes.clone()]),
        }
    }
}

/// All tensors of a model folder, by name.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    folder: PathBuf,
    /// Those that may have files of their own.
    layers: &'static [&'static str],
    path: PathBuf,
    tensors: HashMap<String, StoredTensor>,
}

/// The index file that names the shard of every tensor.
#[derive(Deserialize)]
pub(super) struct ShardIndex {
    pub(super) weight_map: HashMap<String, String>,
}

/// File names of weights, in order of preference, each with its index form.
pub(crate) const SAFETENSORS: &str = "model.safetensors";
pub(crate) const SAFETENSORS_INDEX: &str = "model.safetensors.index.json";
pub(crate) const PICKLE: &str = "pytorch_model.bin";
pub(crate) const PICKLE_INDEX: &str = "pytorch_model.bin.index.json";

/// Layers of BGE-M3's head, each in a file of its own, `NAME.pt`.
pub(crate) const SPARSE_LINEAR: &str = "sparse_linear";
pub(crate) const COLBERT_LINEAR: &str = "colbert_linear";

impl Checkpoint {
    /// Opens the weights of `folder`: safetensors where there are any, else PyTorch's format; and `layers` that have files
    /// of their own, `LAYER.pt`, as far as these are there: their tensors are named after them.
    pub(crate) fn open(folder: &Path, layers: &'static [&'static str]) -> Result<Self> {
        let (index_name, single_name) = if has(folder, SAFETENSORS)
            || has(folder, SAFETENSORS_INDEX)
        {
            (SAFETENSORS_INDEX, SAFETENSORS)
        } else if has(folder, PICKLE) || has(folder, PICKLE_INDEX) {
            (PICKLE_INDEX, PICKLE)
        } else {
            return Err(Error::model(
                folder,
                "no weights here",
                format!(
                    "a model folder holds {SAFETENSORS} or {PICKLE} (or their shards with {SAFETENSORS_INDEX} or {PICKLE_INDEX})"
                ),
            ));
        };
        let (path, mut tensors) = if has(folder, single_name) {
            let path = folder.join(single_name);
            let tensors = read_weight_file(&path)?;
            (path, tensors)
        } else {
            let path = folder.join(index_name);
            let tensors = read_shards(folder, &path)?;
            (path, tensors)
        };
        for layer in layers {
            let file = layer_file_name(layer);
            if has(folder, &file) {
                let named = read_weight_file(&folder.join(file))?.into_iter();
                tensors.extend(named.map(|tensor| StoredTensor {
                    name: format!("{layer}.{}", tensor.name),
                    ..tensor
                }));
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            layers,
            path,
            tensors: tensors
                .into_iter()
                .map(|tensor| (tensor.name.clone(), tensor))
                .collect(),
        })
    }

    /// Where it lies.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Tensor `name`, if there is one.
    pub(crate) fn get(&self, name: &str) -> Option<&StoredTensor> {
        self.tensors.get(name)
    }

    /// The file of its own that a layer has, if it has one.
    pub(crate) fn layer_file(&self, layer: &str) -> Option<PathBuf> {
        let file = layer_file_name(layer);
        let has_file = self.layers.contains(&layer) && has(&self.folder, &file);
        has_file.then(|| self.folder.join(file))
    }

    /// The error that there is no tensor of these names; `remedy` is for one that is not in a file of its layer.
    pub(crate) fn lacks(&self, names: &[&str], remedy: &str) -> Error {
        let layer = names[0].split('.').next();
        let problem = format!("tensor {} is missing", names.join(" or "));
        match layer.and_then(|layer| self.layer_file(layer)) {
            Some(path) => Error::model(
                path,
                problem,
                "the file does not hold a whole layer, weight and bias: fetch it again",
            ),
            None => Error::model(&self.path, problem, remedy),
        }
    }

    /// Names of all tensors, in no particular order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }
}

/// What the file of a layer that has its own is called.
pub(crate) fn layer_file_name(layer: &str) -> String {
    format!("{layer}.pt")
}

fn has(folder: &Path, name: &str) -> bool {
    folder.join(name).is_file()
}

fn read_weight_file(path: &Path) -> Result<Vec<StoredTensor>> {
    let file = Arc::new(MappedFile::open(path)?);
    match path.extension().and_then(OsStr::to_str) {
        Some("bin" | "pt") => pickle::read(file),
        _ => safetensors::read(file),
    }
}

fn read_shards(folder: &Path, index_path: &Path) -> Result<Vec<StoredTensor>> {
    let index: ShardIndex = read_json(index_path)?;
    let mut shard_names: Vec<&String> = index.weight_map.values().collect();
    shard_names.sort();
    shard_names.dedup();

    let mut tensors = Vec::with_capacity(index.weight_map.len());
    for shard_name in shard_names {
        let Some(relative) = plain_relative_path(shard_name) else {
            return Err(Error::model(
                index_path,
                format!("it names the shard {shard_name:?}, which is outside the model folder"),
                "shards must lie beside their index",
            ));
        };
        for tensor in read_weight_file(&folder.join(relative))? {
            // A shard may hold a tensor that the index gives to another one: the index decides.
            if index.weight_map.get(&tensor.name) == Some(shard_name) {
                tensors.push(tensor);
            }
        }
    }
    if tensors.len() < index.weight_map.len() {
        let present: std::collections::HashSet<&str> =
            tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        let missing = index
            .weight_map
            .keys()
            .filter(|name| !present.contains(name.as_str()))
            .min();
        return Err(Error::model(
            index_path,
            format!(
                "tensor {} is not in its shard",
                missing.map_or("?", String::as_str)
            ),
            "index and shards are of different downloads: fetch the model again",
        ));
    }
    Ok(tensors)
}
