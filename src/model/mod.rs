//! A model folder or hub id -> what the engines need: its shape, its weights, its tokeniser's place.

mod checkpoint;
mod files;
mod head;
mod hub;
mod layout;
mod map;
mod pickle;
mod safetensors;
mod spec;
mod weights;

use std::path::{Path, PathBuf};

pub(crate) use checkpoint::{Floats, StoredTensor};
pub(crate) use files::{read_json, read_optional_json};
pub use head::{Activation, Head, Pooling, SpladeHead, TokenWeightHead};
pub(crate) use layout::Prompts;
pub use spec::{Architecture, ModelSpec};
#[cfg(lexpeak_cuda)]
pub(crate) use weights::Layer;
pub(crate) use weights::{
    Embeddings, HeadWeights, LayerNorm, Linear, MlmHead, ModelWeights, TokenHead,
};

use crate::error::{Error, Result};
use checkpoint::Checkpoint;
use layout::Layout;
use spec::Config;

/// A model that was found and whose files fit each other. Its numbers are not read yet.
#[derive(Debug)]
pub(crate) struct Model {
    /// Where config.json, weights and tokeniser lie.
    pub(crate) folder: PathBuf,
    pub(crate) spec: ModelSpec,
    pub(crate) prompts: Prompts,
    pub(crate) weights: ModelWeights<StoredTensor>,
}

impl Model {
    /// Opens the model `name`: a folder, or the id of a model on the Hugging Face hub.
    pub(crate) fn open(name: &Path) -> Result<Self> {
        let folder = find_folder(name)?;
        let layout = Layout::read(&folder)?;
        let config = Config::read(&layout.transformer_folder)?;
        let layers = config.architecture()?.layers_in_files();
        let checkpoint = Checkpoint::open(&layout.transformer_folder, layers)?;
        let spec = ModelSpec::read(&config, &layout, &checkpoint)?;
        let weights = ModelWeights::find(&checkpoint, &spec)?;
        Ok(Self {
            folder: layout.transformer_folder,
            spec,
            prompts: layout.prompts,
            weights,
        })
    }
}

fn find_folder(name: &Path) -> Result<PathBuf> {
    if name.is_dir() {
        return Ok(name.to_owned());
    }
    match name.to_str() {
        Some(id) if !name.exists() && hub::is_hub_id(id) => hub::fetch(id),
        _ => Err(Error::model(
            name,
            "no such folder",
            "name a model folder (config.json, tokenizer.json, model.safetensors) or a hub id (owner/model)",
        )),
    }
}
