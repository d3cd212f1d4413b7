//! `config.json` -> [`ModelSpec`]: all validation of a model's shape happens here.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::checkpoint::{COLBERT_LINEAR, Checkpoint, SPARSE_LINEAR, layer_file_name};
use super::files::read_json;
use super::head::{Head, TokenWeightHead};
use super::layout::Layout;
use crate::error::{Error, Result};

/// Model classes whose weights this crate reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Architecture {
    /// `BertForMaskedLM`
    Bert,
    /// `DistilBertForMaskedLM`: BERT without token types.
    DistilBert,
    /// `RobertaForMaskedLM`: BERT with another head and positions that start late.
    Roberta,
    /// `CamembertForMaskedLM`: RoBERTa in French.
    Camembert,
    /// `XLMRobertaForMaskedLM`: RoBERTa in a hundred languages.
    XlmRoberta,
    /// `XLMRobertaModel` with `sparse_linear.pt` and `colbert_linear.pt` beside it: BGE-M3.
    BgeM3,
    /// `XLMRobertaForTokenClassification` with one label, a token's weight.
    XlmRobertaTokens,
    /// `UniCoilEncoder`: BERT with a weight for every token.
    UniCoil,
}

/// Models that share their encoder, the names of its weights and the keys of its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Bert,
    DistilBert,
    Roberta,
}

impl Architecture {
    const ALL: [Self; 8] = [
        Self::Bert,
        Self::DistilBert,
        Self::Roberta,
        Self::Camembert,
        Self::XlmRoberta,
        Self::BgeM3,
        Self::XlmRobertaTokens,
        Self::UniCoil,
    ];

    /// The class name that `config.json` gives.
    pub fn class_name(self) -> &'static str {
        match self {
            Self::Bert => "BertForMaskedLM",
            Self::DistilBert => "DistilBertForMaskedLM",
            Self::Roberta => "RobertaForMaskedLM",
            Self::Camembert => "CamembertForMaskedLM",
            Self::XlmRoberta => "XLMRobertaForMaskedLM",
            Self::BgeM3 => "XLMRobertaModel",
            Self::XlmRobertaTokens => "XLMRobertaForTokenClassification",
            Self::UniCoil => "UniCoilEncoder",
        }
    }

    pub(crate) fn family(self) -> Family {
        match self {
            Self::Bert | Self::UniCoil => Family::Bert,
            Self::DistilBert => Family::DistilBert,
            Self::Roberta
            | Self::Camembert
            | Self::XlmRoberta
            | Self::BgeM3
            | Self::XlmRobertaTokens => Family::Roberta,
        }
    }

    /// Layers that have files of their own beside the other weights, which are then named after them.
    pub(crate) fn layers_in_files(self) -> &'static [&'static str] {
        match self {
            Self::BgeM3 => &[SPARSE_LINEAR, COLBERT_LINEAR],
            _ => &[],
        }
    }

    /// The head of a model that is not for masked language.
    fn token_weight_head(self, checkpoint: &Checkpoint) -> Result<Option<TokenWeightHead>> {
        let (dense, colbert_size) = match self {
            Self::Bert | Self::DistilBert | Self::Roberta | Self::Camembert | Self::XlmRoberta => {
                return Ok(None);
            }
            Self::BgeM3 => (true, Some(colbert_size(checkpoint)?)),
            Self::XlmRobertaTokens => (true, None),
            Self::UniCoil => (false, None),
        };
        Ok(Some(TokenWeightHead {
            dense,
            colbert_size,
        }))
    }
}

/// M: values of a token's vector in BGE-M3, whose head must be whole.
fn colbert_size(checkpoint: &Checkpoint) -> Result<usize> {
    let weight = |layer: &str| checkpoint.get(&format!("{layer}.weight"));
    let missing: Vec<String> = [SPARSE_LINEAR, COLBERT_LINEAR]
        .into_iter()
        .filter(|layer| checkpoint.layer_file(layer).is_none() && weight(layer).is_none())
        .map(layer_file_name)
        .collect();
    if !missing.is_empty() {
        let are = if missing.len() == 1 { "is" } else { "are" };
        return Err(Error::model(
            checkpoint.folder(),
            format!("{} {are} missing", missing.join(" and ")),
            "an XLMRobertaModel is read as BGE-M3, whose files these are: fetch the model again",
        ));
    }
    let Some(weight) = weight(COLBERT_LINEAR) else {
        return Err(checkpoint.lacks(&[&format!("{COLBERT_LINEAR}.weight")], ""));
    };
    match weight.shape.as_slice() {
        &[size, _] if size > 0 => Ok(size),
        shape => Err(Error::model(
            weight.file.path(),
            format!("tensor weight has shape {shape:?}"),
            "it must have a row for each value of a token's vector: fetch the file again",
        )),
    }
}

/// The shape of an encoder with its head.
///
/// One description serves every architecture: the forward passes read it and know no family names.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ModelSpec {
    /// The class that it was saved as.
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
    /// Positions that a token can have, counted from 0: rows of the position table from
    /// [`first_position`](Self::first_position) on.
    pub max_positions: usize,
    /// The row of the stored position table that belongs to the first token of a text: 0 in BERT, `pad_token_id` + 1
    /// in RoBERTa's families. The rows before it are left out when the model is read, so engines know nothing of them:
    /// the tokens of a text have positions 0, 1, 2, ... in every family.
    ///
    /// In one case the original differs: of a text that spells out the padding token (`<pad>`), RoBERTa does not count
    /// that token. Here it is counted like any other.
    pub first_position: usize,
    /// Rows of the token-type table, 0 where the family has none.
    pub token_types: usize,
    /// Added to the variance in every LayerNorm.
    pub layer_norm_eps: f32,
    /// What it makes of its hidden states.
    pub head: Head,
    /// Longest input that may be asked for, in tokens with the special ones.
    pub longest_input: usize,
    /// Longest input the model is meant for, in tokens with the special ones; longer texts are cut.
    pub max_length: usize,
}

/// No model of the family was trained on longer inputs, whatever its position table would allow.
const LONGEST_BERT_INPUT: usize = 512;

/// What BGE-M3 was trained on.
const LONGEST_ROBERTA_INPUT: usize = 8192;

/// The defaults of BERT and RoBERTa; in DistilBERT's definition the first is fixed.
const LAYER_NORM_EPS: f32 = 1e-12;
const TOKEN_TYPES: usize = 2;

/// RoBERTa's default.
const PAD_TOKEN_ID: usize = 1;

/// What the families call the same thing in `config.json`; RoBERTa's use BERT's names.
struct Keys {
    hidden_size: &'static str,
    num_layers: &'static str,
    num_heads: &'static str,
    ffn_size: &'static str,
    activation: &'static str,
}

const BERT: Keys = Keys {
    hidden_size: "hidden_size",
    num_layers: "num_hidden_layers",
    num_heads: "num_attention_heads",
    ffn_size: "intermediate_size",
    activation: "hidden_act",
};

const DISTILBERT: Keys = Keys {
    hidden_size: "dim",
    num_layers: "n_layers",
    num_heads: "n_heads",
    ffn_size: "hidden_dim",
    activation: "activation",
};

/// `config.json`, with its path for messages.
pub(super) struct Config {
    path: PathBuf,
    values: Map<String, Value>,
}

impl Config {
    /// That in the transformer's folder.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("config.json");
        Ok(Self {
            values: read_json(&path)?,
            path,
        })
    }

    fn bad(&self, problem: String, remedy: &str) -> Error {
        Error::model(&self.path, problem, remedy)
    }

    /// The value of `key`, if it is there and not null.
    fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key).filter(|value| !value.is_null())
    }

    /// A size that must be there.
    fn size(&self, key: &str) -> Result<usize> {
        match self.get(key) {
            None => Err(self.bad(
                format!("{key} is missing"),
                "a model of this architecture cannot be built without it",
            )),
            Some(value) => match value.as_u64().map(u32::try_from) {
                Some(Ok(size)) if size > 0 => Ok(size as usize),
                _ => Err(self.bad(
                    format!("{key} is {value}"),
                    "it must be a whole number, at least 1 and below 2^32",
                )),
            },
        }
    }

    /// Fails where `key` says that something else is computed than this crate does.
    fn expect(&self, key: &str, computed: &Value) -> Result<()> {
        match self.get(key) {
            Some(value) if value != computed => Err(self.bad(
                format!("{key} {value} is not supported"),
                &format!("lexpeak computes {computed}"),
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn architecture(&self) -> Result<Architecture> {
        let names: Vec<&str> = self
            .get("architectures")
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let found = Architecture::ALL
            .into_iter()
            .find(|known| names == [known.class_name()]);
        found.ok_or_else(|| {
            let known = Architecture::ALL.map(Architecture::class_name);
            self.bad(
                match names.as_slice() {
                    [] => "it names no architecture".to_owned(),
                    names => format!("architecture {} is not supported", names.join(", ")),
                },
                &format!("lexpeak reads {} (key \"architectures\")", known.join(", ")),
            )
        })
    }

    /// A classifier of tokens weighs them if all it has is one label.
    fn one_label(&self) -> Result<()> {
        match self.get("id2label").and_then(Value::as_object) {
            Some(labels) if labels.len() != 1 => {
                let (labels, class) = (labels.len(), Architecture::XlmRobertaTokens.class_name());
                Err(self.bad(
                    format!("it names {labels} labels"),
                    &format!("lexpeak reads an {class} with one label, which is a token's weight"),
                ))
            }
            _ => Ok(()),
        }
    }

    /// The row of the position table for the first token, and how many rows there are from it on.
    fn positions(&self, architecture: Architecture) -> Result<(usize, usize)> {
        let rows = self.size("max_position_embeddings")?;
        let first = match architecture.family() {
            Family::Bert | Family::DistilBert => 0,
            Family::Roberta => {
                let pad_token_id = match self.get("pad_token_id") {
                    None => PAD_TOKEN_ID,
                    Some(value) => match value.as_u64().map(u32::try_from) {
                        Some(Ok(id)) => id as usize,
                        _ => {
                            return Err(self.bad(
                                format!("pad_token_id is {value}"),
                                "it must be a token's id, a whole number from 0 on",
                            ));
                        }
                    },
                };
                pad_token_id + 1
            }
        };
        if first >= rows {
            return Err(self.bad(
                format!("max_position_embeddings {rows} leaves no position for a token"),
                &format!(
                    "positions start at pad_token_id + 1, here {first}: correct one of the two"
                ),
            ));
        }
        Ok((first, rows - first))
    }

    fn layer_norm_eps(&self) -> Result<f32> {
        match self
            .get("layer_norm_eps")
            .map(|value| (value, value.as_f64()))
        {
            None => Ok(LAYER_NORM_EPS),
            Some((_, Some(eps))) if (0.0..1.0).contains(&eps) => Ok(eps as f32),
            Some((value, _)) => Err(self.bad(
                format!("layer_norm_eps is {value}"),
                "it must lie between 0 and 1",
            )),
        }
    }
}

impl ModelSpec {
    /// The shape that `config` gives a model of that layout and those weights.
    pub(super) fn read(config: &Config, layout: &Layout, checkpoint: &Checkpoint) -> Result<Self> {
        let architecture = config.architecture()?;
        if architecture == Architecture::XlmRobertaTokens {
            config.one_label()?;
        }
        let keys = match architecture.family() {
            Family::DistilBert => &DISTILBERT,
            Family::Bert | Family::Roberta => &BERT,
        };
        config.expect(keys.activation, &json!("gelu"))?; // the erf form
        config.expect("position_embedding_type", &json!("absolute"))?;
        config.expect("is_decoder", &json!(false))?;
        config.expect("add_cross_attention", &json!(false))?;

        let hidden_size = config.size(keys.hidden_size)?;
        let num_heads = config.size(keys.num_heads)?;
        if !hidden_size.is_multiple_of(num_heads) {
            let (hidden_key, heads_key) = (keys.hidden_size, keys.num_heads);
            return Err(config.bad(
                format!("{hidden_key} {hidden_size} is no multiple of {heads_key} {num_heads}"),
                "every head must have the same whole width",
            ));
        }
        let types = config.get("type_vocab_size");
        let (token_types, layer_norm_eps) = match (architecture.family(), types) {
            (Family::DistilBert, _) => (0, LAYER_NORM_EPS),
            (_, None) => (TOKEN_TYPES, config.layer_norm_eps()?),
            (_, Some(_)) => (config.size("type_vocab_size")?, config.layer_norm_eps()?),
        };
        let (first_position, max_positions) = config.positions(architecture)?;
        let longest_input = max_positions.min(match architecture.family() {
            Family::Bert | Family::DistilBert => LONGEST_BERT_INPUT,
            Family::Roberta => LONGEST_ROBERTA_INPUT,
        });
        let trained_length = layout.trained_length.unwrap_or(longest_input);
        Ok(Self {
            architecture,
            vocab_size: config.size("vocab_size")?,
            hidden_size,
            num_layers: config.size(keys.num_layers)?,
            num_heads,
            ffn_size: config.size(keys.ffn_size)?,
            max_positions,
            first_position,
            token_types,
            layer_norm_eps,
            head: match architecture.token_weight_head(checkpoint)? {
                None => Head::Splade(layout.splade_head()?),
                Some(head) => {
                    layout.check_token_weights()?;
                    Head::TokenWeights(head)
                }
            },
            longest_input,
            max_length: trained_length.min(longest_input),
        })
    }

    /// D: width of one attention head.
    pub fn head_size(&self) -> usize {
        self.hidden_size / self.num_heads
    }
}
