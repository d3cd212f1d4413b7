//! The sentence-transformers files around a model: what follows the transformer, which prompts, which length.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::files::{plain_relative_path, read_json, read_optional_json};
use super::head::{Activation, Pooling, SpladeHead};
use crate::error::{Error, Result};

/// What is written before a text of either role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prompts {
    pub(crate) query: String,
    pub(crate) document: String,
}

/// What the sentence-transformers files of a model folder say. Without them: the defaults of SPLADE.
#[derive(Debug)]
pub(super) struct Layout {
    /// Where config.json, weights and tokeniser lie.
    pub(super) transformer_folder: PathBuf,
    /// modules.json and what it says comes behind the transformer, where there is that file.
    behind: Option<(PathBuf, Behind)>,
    pub(super) prompts: Prompts,
    /// The longest input the model was trained for, where it says so.
    pub(super) trained_length: Option<usize>,
}

/// What follows the transformer in a chain of modules.
#[derive(Clone, Copy, Debug)]
enum Behind {
    Splade(SpladeHead),
    /// The hidden state of the first token, normalised.
    FirstToken,
}

#[derive(Deserialize)]
pub(super) struct Module {
    #[serde(default)]
    pub(super) path: String,
    r#type: String,
}

impl Module {
    /// The last part of its class path: the others have changed over the versions of the library.
    fn class(&self) -> &str {
        self.r#type.rsplit('.').next().unwrap_or_default()
    }

    /// Whether its folder holds settings that matter here.
    pub(super) fn has_settings(&self) -> bool {
        matches!(self.class(), "SpladePooling" | "Pooling")
    }
}

/// Of a module of the class SpladePooling.
#[derive(Deserialize)]
struct SpladePoolingConfig {
    pooling_strategy: Pooling,
    #[serde(default = "relu")]
    activation_function: Activation,
}

/// Of a module of the class Pooling; newer versions of the library write one key, older ones a key for each mode.
#[derive(Deserialize)]
struct PoolingConfig {
    pooling_mode: Option<String>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl PoolingConfig {
    /// Whether the first token's hidden state is all that is pooled.
    fn is_first_token(&self) -> bool {
        let on = |(key, value): &(&String, &Value)| {
            key.starts_with("pooling_mode_") && **value == Value::Bool(true)
        };
        let mut modes = self.others.iter().filter(on).map(|(key, _)| key.as_str());
        match &self.pooling_mode {
            Some(mode) => mode == "cls",
            None => modes.next() == Some("pooling_mode_cls_token") && modes.next().is_none(),
        }
    }
}

fn relu() -> Activation {
    Activation::Relu
}

#[derive(Default, Deserialize)]
struct TransformerConfig {
    max_seq_length: Option<usize>,
}

#[derive(Default, Deserialize)]
struct SentenceTransformersConfig {
    #[serde(default)]
    prompts: HashMap<String, Option<String>>,
}

impl Layout {
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let mut layout = Self {
            transformer_folder: folder.to_owned(),
            behind: None,
            prompts: read_prompts(folder)?,
            trained_length: None,
        };
        let modules_path = folder.join("modules.json");
        if let Some(modules) = read_optional_json::<Vec<Module>>(&modules_path)? {
            let (transformer, behind) = read_chain(folder, &modules_path, &modules)?;
            layout.transformer_folder = folder.join(transformer);
            layout.behind = Some((modules_path, behind));
        }
        let transformer_config = layout.transformer_folder.join("sentence_bert_config.json");
        layout.trained_length = read_optional_json::<TransformerConfig>(&transformer_config)?
            .and_then(|config| config.max_seq_length);
        if layout.trained_length == Some(0) {
            return Err(Error::model(
                transformer_config,
                "max_seq_length is 0",
                "it must be at least 1, or absent",
            ));
        }
        Ok(layout)
    }

    /// The head of a model for masked language.
    pub(super) fn splade_head(&self) -> Result<SpladeHead> {
        match &self.behind {
            None => Ok(SpladeHead::default()),
            Some((_, Behind::Splade(head))) => Ok(*head),
            Some((modules_path, Behind::FirstToken)) => Err(Error::model(
                modules_path,
                "the first token is pooled, but config.json is that of a model for masked language",
                format!("lexpeak reads the chain {SPLADE_CHAIN} for such a model"),
            )),
        }
    }

    /// Checks that nothing speaks against a head that weighs tokens.
    pub(super) fn check_token_weights(&self) -> Result<()> {
        match &self.behind {
            Some((modules_path, Behind::Splade(_))) => Err(Error::model(
                modules_path,
                "SpladePooling is for models for masked language, but config.json is that of another",
                format!(
                    "lexpeak reads the chain {DENSE_CHAIN} for such a model, or no modules.json"
                ),
            )),
            Some((_, Behind::FirstToken)) | None => Ok(()),
        }
    }
}

const SPLADE_CHAIN: &str = "MLMTransformer -> SpladePooling";
const DENSE_CHAIN: &str = "Transformer -> Pooling -> Normalize";

/// The folder of the transformer, relative to the model folder, and what follows it.
fn read_chain<'a>(
    folder: &Path,
    modules_path: &Path,
    modules: &'a [Module],
) -> Result<(&'a Path, Behind)> {
    let inside = |module: &'a Module| {
        plain_relative_path(&module.path).ok_or_else(|| {
            Error::model(
                modules_path,
                format!("module path {:?} is outside the model folder", module.path),
                "module paths must be folders of the model",
            )
        })
    };
    let classes: Vec<&str> = modules.iter().map(Module::class).collect();
    match (classes.as_slice(), modules) {
        (["MLMTransformer" | "Transformer", "SpladePooling"], [transformer, pooling]) => {
            let config = folder.join(inside(pooling)?).join("config.json");
            let config: SpladePoolingConfig = read_json(&config)?;
            let head = SpladeHead {
                pooling: config.pooling_strategy,
                activation: config.activation_function,
            };
            Ok((inside(transformer)?, Behind::Splade(head)))
        }
        (["Transformer", "Pooling", "Normalize"], [transformer, pooling, _]) => {
            let path = folder.join(inside(pooling)?).join("config.json");
            let config: PoolingConfig = read_json(&path)?;
            if !config.is_first_token() {
                return Err(Error::model(
                    path,
                    "the dense vector is not that of the first token",
                    "lexpeak reads the pooling mode cls",
                ));
            }
            Ok((inside(transformer)?, Behind::FirstToken))
        }
        _ => Err(Error::model(
            modules_path,
            format!("the module chain {} is not supported", classes.join(" -> ")),
            format!("lexpeak reads the chains {SPLADE_CHAIN} and {DENSE_CHAIN}"),
        )),
    }
}

fn read_prompts(folder: &Path) -> Result<Prompts> {
    let config: SentenceTransformersConfig =
        read_optional_json(&folder.join("config_sentence_transformers.json"))?.unwrap_or_default();
    let mut prompts = config.prompts;
    let mut take = |role: &str| prompts.remove(role).flatten().unwrap_or_default();
    Ok(Prompts {
        query: take("query"),
        document: take("document"),
    })
}
