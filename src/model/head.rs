//! The sentence-transformers files around a model: which head, which prompts, which length.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::files::{plain_relative_path, read_json, read_optional_json};
use crate::error::{Error, Result};

/// How the logits of a document's tokens become one weight a vocabulary term.
///
/// Formulas: SPLADE v2 (arXiv 2109.10086) for `max` and `relu`, SPLADE (arXiv 2107.05720) for `sum`,
/// OpenSearch's doc-v3 models for `log1p_relu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpladeHead {
    /// Over the positions of a document.
    pub pooling: Pooling,
    /// From logit to weight.
    pub activation: Activation,
}

/// How the weights of all positions become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Pooling {
    /// The largest one.
    Max,
    /// Their sum.
    Sum,
}

/// What turns a logit z into a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Activation {
    /// `log(1 + max(0, z))`
    Relu,
    /// `log(1 + log(1 + max(0, z)))`
    Log1pRelu,
}

impl Default for SpladeHead {
    fn default() -> Self {
        Self {
            pooling: Pooling::Max,
            activation: Activation::Relu,
        }
    }
}

impl fmt::Display for SpladeHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pooling = match self.pooling {
            Pooling::Max => "max",
            Pooling::Sum => "sum",
        };
        let activation = match self.activation {
            Activation::Relu => "log(1 + relu(logit))",
            Activation::Log1pRelu => "log(1 + log(1 + relu(logit)))",
        };
        write!(f, "{pooling} over positions of {activation}")
    }
}

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
    pub(super) head: SpladeHead,
    pub(super) prompts: Prompts,
    /// The longest input the model was trained for, where it says so.
    pub(super) trained_length: Option<usize>,
}

#[derive(Deserialize)]
pub(super) struct Module {
    #[serde(default)]
    pub(super) path: String,
    r#type: String,
}

#[derive(Deserialize)]
struct PoolingConfig {
    pooling_strategy: Pooling,
    #[serde(default = "relu")]
    activation_function: Activation,
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
            head: SpladeHead::default(),
            prompts: read_prompts(folder)?,
            trained_length: None,
        };
        let modules_path = folder.join("modules.json");
        if let Some(modules) = read_optional_json::<Vec<Module>>(&modules_path)? {
            let (transformer, pooling) = transformer_and_pooling(&modules_path, &modules)?;
            layout.transformer_folder = folder.join(transformer);
            let config: PoolingConfig = read_json(&folder.join(pooling).join("config.json"))?;
            layout.head = SpladeHead {
                pooling: config.pooling_strategy,
                activation: config.activation_function,
            };
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
}

/// Folders of the two modules of a SPLADE model, relative to the model folder.
fn transformer_and_pooling<'a>(
    modules_path: &Path,
    modules: &'a [Module],
) -> Result<(&'a Path, &'a Path)> {
    // The class path has changed over the versions of the library; its last part has not.
    let class = |module: &'a Module| module.r#type.rsplit('.').next().unwrap_or_default();
    let classes: Vec<&str> = modules.iter().map(class).collect();
    let (["MLMTransformer" | "Transformer", "SpladePooling"], [transformer, pooling]) =
        (classes.as_slice(), modules)
    else {
        return Err(Error::model(
            modules_path,
            format!("the module chain {} is not supported", classes.join(" -> ")),
            "lexpeak reads the chain MLMTransformer -> SpladePooling",
        ));
    };
    let inside = |module: &'a Module| {
        plain_relative_path(&module.path).ok_or_else(|| {
            Error::model(
                modules_path,
                format!("module path {:?} is outside the model folder", module.path),
                "module paths must be folders of the model",
            )
        })
    };
    Ok((inside(transformer)?, inside(pooling)?))
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
