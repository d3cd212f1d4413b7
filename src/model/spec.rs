//! `config.json` -> [`ModelSpec`]: all validation of a model's shape happens here.

#![forbid(unsafe_code)]

use std::path::Path;

use serde::Deserialize;

use super::files::read_json;
use super::head::SpladeHead;
use crate::error::{Error, Result};

/// Model families whose weights this crate reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Architecture {
    /// `BertForMaskedLM`
    Bert,
    /// `DistilBertForMaskedLM`: BERT without token types.
    DistilBert,
}

impl Architecture {
    /// The class name that `config.json` gives.
    pub fn class_name(self) -> &'static str {
        match self {
            Self::Bert => "BertForMaskedLM",
            Self::DistilBert => "DistilBertForMaskedLM",
        }
    }
}

/// The shape of an encoder with its masked-language-model head.
///
/// One description serves every architecture: the forward passes read it and know no family names.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ModelSpec {
    /// The family the weights come from.
    pub architecture: Architecture,
    /// V: size of the vocabulary, and so of the sparse vectors' space.
    pub vocab_size: usize,
    /// H: width of the hidden states.
    pub hidden_size: usize,
    /// Number of transformer layers.
    pub num_layers: usize,
    /// Attention heads a layer; each is `hidden_size / num_heads` wide.
    pub num_heads: usize,
    /// I: width of the feed-forward layer.
    pub ffn_size: usize,
    /// Rows of the position table: no input may be longer, in tokens.
    pub max_positions: usize,
    /// Rows of the token-type table, 0 where the family has none.
    pub token_types: usize,
    /// Added to the variance in every LayerNorm.
    pub layer_norm_eps: f32,
    /// What turns logits into weights.
    pub head: SpladeHead,
    /// Longest input the model is meant for, in tokens with the special ones; longer texts are cut.
    pub max_length: usize,
}

/// No supported family was trained on longer inputs, whatever its position table would allow.
const LONGEST_INPUT: usize = 512;

/// DistilBERT's configuration has no such key: the value is fixed in its definition.
const DISTILBERT_LAYER_NORM_EPS: f64 = 1e-12;

/// The keys of `config.json` that matter, under the names of both families.
#[derive(Deserialize)]
struct RawConfig {
    #[serde(default)]
    architectures: Vec<String>,
    vocab_size: Option<usize>,
    #[serde(alias = "dim")]
    hidden_size: Option<usize>,
    #[serde(alias = "n_layers")]
    num_hidden_layers: Option<usize>,
    #[serde(alias = "n_heads")]
    num_attention_heads: Option<usize>,
    #[serde(alias = "hidden_dim")]
    intermediate_size: Option<usize>,
    #[serde(alias = "activation")]
    hidden_act: Option<String>,
    max_position_embeddings: Option<usize>,
    type_vocab_size: Option<usize>,
    layer_norm_eps: Option<f64>,
    position_embedding_type: Option<String>,
}

impl ModelSpec {
    /// Reads `config.json` of `folder`; `head` and `trained_length` come from the files beside it.
    pub(super) fn read(
        folder: &Path,
        head: SpladeHead,
        trained_length: Option<usize>,
    ) -> Result<Self> {
        let path = folder.join("config.json");
        let raw: RawConfig = read_json(&path)?;
        let bad = |problem: String, remedy: &str| Error::model(&path, problem, remedy);

        let architecture = match raw.architectures.as_slice() {
            [name] if name == Architecture::Bert.class_name() => Architecture::Bert,
            [name] if name == Architecture::DistilBert.class_name() => Architecture::DistilBert,
            names => {
                return Err(bad(
                    match names {
                        [] => "it names no architecture".to_owned(),
                        names => format!("architecture {} is not supported", names.join(", ")),
                    },
                    "lexpeak reads BertForMaskedLM and DistilBertForMaskedLM (key \"architectures\")",
                ));
            }
        };
        let size = |value: Option<usize>, key: &str| match value {
            Some(value) if value > 0 && u32::try_from(value).is_ok() => Ok(value),
            Some(value) => Err(bad(
                format!("{key} is {value}"),
                "it must be at least 1 and below 2^32",
            )),
            None => Err(bad(
                format!("{key} is missing"),
                "a model of this architecture cannot be built without it",
            )),
        };
        if let Some(activation) = raw.hidden_act.as_deref()
            && activation != "gelu"
        {
            return Err(bad(
                format!("activation {activation:?} is not supported"),
                "lexpeak computes \"gelu\" (the erf form)",
            ));
        }
        if let Some(kind) = raw.position_embedding_type.as_deref()
            && kind != "absolute"
        {
            return Err(bad(
                format!("position_embedding_type {kind:?} is not supported"),
                "lexpeak computes \"absolute\" positions",
            ));
        }
        let hidden_size = size(raw.hidden_size, "hidden_size")?;
        let num_heads = size(raw.num_attention_heads, "num_attention_heads")?;
        if !hidden_size.is_multiple_of(num_heads) {
            return Err(bad(
                format!(
                    "hidden_size {hidden_size} is no multiple of num_attention_heads {num_heads}"
                ),
                "every head must have the same whole width",
            ));
        }
        let (token_types, layer_norm_eps) = match architecture {
            Architecture::Bert => (
                size(raw.type_vocab_size.or(Some(2)), "type_vocab_size")?,
                raw.layer_norm_eps.unwrap_or(1e-12),
            ),
            Architecture::DistilBert => (0, DISTILBERT_LAYER_NORM_EPS),
        };
        if !(0.0..1.0).contains(&layer_norm_eps) {
            return Err(bad(
                format!("layer_norm_eps is {layer_norm_eps}"),
                "it must lie between 0 and 1",
            ));
        }
        let max_positions = size(raw.max_position_embeddings, "max_position_embeddings")?;
        Ok(Self {
            architecture,
            vocab_size: size(raw.vocab_size, "vocab_size")?,
            hidden_size,
            num_layers: size(raw.num_hidden_layers, "num_hidden_layers")?,
            num_heads,
            ffn_size: size(raw.intermediate_size, "intermediate_size")?,
            max_positions,
            token_types,
            layer_norm_eps: layer_norm_eps as f32,
            head,
            max_length: trained_length
                .unwrap_or(LONGEST_INPUT)
                .min(max_positions)
                .min(LONGEST_INPUT),
        })
    }

    /// D: width of one attention head.
    pub fn head_size(&self) -> usize {
        self.hidden_size / self.num_heads
    }
}
