//! Small models with random weights, for tests of whatever reads or runs a model folder.
//!
//! They are listed in tests/golden/models.json, which tests/golden/make_golden.py reads too, and
//! are made on the spot: no weights are kept in the repository.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::random_tensors::{self, Fill, RandomTensor, StoredType};
use super::tokenizers;
use super::weight_files;

/// Of the families of RoBERTa.
const PAD_TOKEN_ID: usize = 1;

/// One line of the list.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomModel {
    pub name: String,
    pub seed: u64,
    /// What it is there for.
    pub tests: String,
    pub architecture: Architecture,
    pub layers: usize,
    pub heads: usize,
    pub head_dim: usize,
    pub ffn: usize,
    pub max_positions: usize,
    pub norm_eps: f64,
    /// So many words from the top of tests/golden/vocab.txt; the families of RoBERTa take what their tokeniser has.
    #[serde(default)]
    pub vocab: usize,
    #[serde(default)]
    pub lower_case: bool,
    /// In which form the tokeniser comes.
    pub tokenizer: TokenizerFile,
    /// The decoder is a matrix of its own and not the word embedding.
    pub separate_decoder: bool,
    /// Written as a sentence-transformers module; without it the folder says nothing of the head.
    pub head: Option<Head>,
    /// Values of a token's vector, where tokens have one.
    pub colbert: Option<usize>,
    pub stored_type: StoredType,
    pub file: WeightFile,
    /// Names as in the first BERT checkpoints, beside tensors that a SPLADE model has no use for.
    pub old_names: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Architecture {
    #[serde(rename = "BertForMaskedLM")]
    Bert,
    #[serde(rename = "DistilBertForMaskedLM")]
    DistilBert,
    #[serde(rename = "RobertaForMaskedLM")]
    Roberta,
    #[serde(rename = "XLMRobertaForMaskedLM")]
    XlmRoberta,
    #[serde(rename = "CamembertForMaskedLM")]
    Camembert,
    /// With two layers beside it, each in a file of its own.
    #[serde(rename = "XLMRobertaModel")]
    BgeM3,
    #[serde(rename = "XLMRobertaForTokenClassification")]
    XlmRobertaTokens,
    #[serde(rename = "UniCoilEncoder")]
    UniCoil,
}

impl Architecture {
    /// Positions start at row `pad_token_id` + 1 of their table, and weights have RoBERTa's names.
    pub fn is_roberta(self) -> bool {
        !matches!(self, Self::Bert | Self::DistilBert | Self::UniCoil)
    }

    /// A token has one weight, and not one for each word of the vocabulary.
    fn has_token_weights(self) -> bool {
        matches!(self, Self::BgeM3 | Self::XlmRobertaTokens | Self::UniCoil)
    }

    /// What the names of its encoder's weights begin with.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Bert | Self::UniCoil => "bert.",
            Self::DistilBert => "distilbert.",
            Self::BgeM3 => "",
            Self::Roberta | Self::XlmRoberta | Self::Camembert | Self::XlmRobertaTokens => {
                "roberta."
            }
        }
    }

    /// What `config.json` calls the class, and what the family.
    fn names(self) -> [&'static str; 2] {
        match self {
            Self::Bert => ["BertForMaskedLM", "bert"],
            Self::DistilBert => ["DistilBertForMaskedLM", "distilbert"],
            Self::Roberta => ["RobertaForMaskedLM", "roberta"],
            Self::XlmRoberta => ["XLMRobertaForMaskedLM", "xlm-roberta"],
            Self::Camembert => ["CamembertForMaskedLM", "camembert"],
            Self::BgeM3 => ["XLMRobertaModel", "xlm-roberta"],
            Self::XlmRobertaTokens => ["XLMRobertaForTokenClassification", "xlm-roberta"],
            Self::UniCoil => ["UniCoilEncoder", "bert"],
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum TokenizerFile {
    /// BERT's word list, with `tokenizer_config.json`.
    #[serde(rename = "vocab.txt")]
    Words,
    /// The whole of it.
    #[serde(rename = "tokenizer.json")]
    Json,
    /// RoBERTa's `vocab.json` and `merges.txt`.
    #[serde(rename = "merges.txt")]
    Merges,
    #[serde(rename = "sentencepiece.bpe.model")]
    SentencePiece,
}

/// The head's settings, in the words of its configuration file.
#[derive(Clone, Debug, Deserialize)]
pub struct Head {
    pub pooling: String,
    pub activation: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightFile {
    Safetensors,
    /// Several safetensors files and an index.
    Sharded,
    /// `pytorch_model.bin`
    Bin,
}

#[derive(Deserialize)]
struct Catalogue {
    fills: HashMap<String, Fill>,
    defaults: Map<String, Value>,
    models: Vec<Map<String, Value>>,
}

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../golden/models.json")).expect("models.json is a catalogue")
});

impl RandomModel {
    /// All models of the list with a SPLADE head.
    pub fn all() -> Vec<Self> {
        let mut models = Self::list();
        models.retain(|model| !model.architecture.has_token_weights());
        models
    }

    /// All models of the list that weigh tokens.
    pub fn with_token_weights() -> Vec<Self> {
        let mut models = Self::list();
        models.retain(|model| model.architecture.has_token_weights());
        models
    }

    fn list() -> Vec<Self> {
        let complete = |changes: &Map<String, Value>| {
            let mut model = CATALOGUE.defaults.clone();
            model.extend(changes.clone());
            let mut model: Self = serde_json::from_value(Value::Object(model))
                .expect("models.json describes a model");
            if model.architecture.is_roberta() {
                model.vocab = tokenizers::tokens(&model.tokenizer_json()).len();
            }
            model
        };
        CATALOGUE.models.iter().map(complete).collect()
    }

    /// The model of that name.
    pub fn named(name: &str) -> Self {
        let found = Self::list().into_iter().find(|model| model.name == name);
        found.unwrap_or_else(|| panic!("models.json has no model {name}"))
    }

    /// An XLM-R of the real one's vocabulary, which its own tokeniser does not have, and little else.
    pub fn of_real_vocabulary() -> Self {
        Self {
            layers: 1,
            heads: 1,
            head_dim: 32,
            ffn: 32,
            max_positions: 512,
            vocab: 250_002,
            ..Self::named("xlm_roberta")
        }
    }

    pub fn hidden(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Rows of its position table.
    pub fn position_rows(&self) -> usize {
        self.max_positions + self.first_position()
    }

    /// The row of the first token.
    pub fn first_position(&self) -> usize {
        if self.architecture.is_roberta() {
            PAD_TOKEN_ID + 1
        } else {
            0
        }
    }

    pub fn token_types(&self) -> usize {
        if self.architecture.is_roberta() { 1 } else { 2 }
    }

    /// The tokens of its vocabulary, in the order of their ids.
    pub fn vocabulary(&self) -> Vec<String> {
        if self.architecture.is_roberta() {
            return tokenizers::tokens(&self.tokenizer_json());
        }
        let words = include_str!("../golden/vocab.txt").lines();
        words.take(self.vocab).map(str::to_owned).collect()
    }

    /// Its weights, as far as the original implementation knows them.
    pub fn tensors(&self) -> Vec<RandomTensor> {
        random_tensors::tensors(self, &CATALOGUE.fills)
    }

    /// Writes the model into a folder of its own, gone when the value is dropped.
    pub fn write_temporary(&self) -> TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        self.write(folder.path());
        folder
    }

    /// Writes the files that a model on the hub consists of into `folder`.
    pub fn write(&self, folder: &Path) {
        write_json(&folder.join("config.json"), &self.config());
        self.write_tokenizer(folder);
        if let Some(head) = &self.head {
            write_head(folder, head);
        }
        weight_files::write(self, folder);
    }

    fn write_tokenizer(&self, folder: &Path) {
        let whole = self.tokenizer_json();
        match self.tokenizer {
            TokenizerFile::Words => {
                let words: String = self
                    .vocabulary()
                    .iter()
                    .map(|word| format!("{word}\n"))
                    .collect();
                fs::write(folder.join("vocab.txt"), words).expect("vocab.txt is written");
            }
            TokenizerFile::Json => write_json(&folder.join("tokenizer.json"), &whole),
            TokenizerFile::Merges => tokenizers::write_merges(&whole, folder),
            TokenizerFile::SentencePiece => {
                let pieces = tokenizers::sentencepiece(&whole, self.architecture);
                fs::write(folder.join("sentencepiece.bpe.model"), pieces)
                    .expect("the pieces are written");
            }
        }
        let class = match self.architecture {
            Architecture::Bert | Architecture::DistilBert | Architecture::UniCoil => {
                "BertTokenizer"
            }
            Architecture::Roberta => "RobertaTokenizer",
            Architecture::XlmRoberta | Architecture::BgeM3 | Architecture::XlmRobertaTokens => {
                "XLMRobertaTokenizer"
            }
            Architecture::Camembert => "CamembertTokenizer",
        };
        let mut config = json!({"tokenizer_class": class});
        if class == "BertTokenizer" {
            config["do_lower_case"] = json!(self.lower_case);
        }
        write_json(&folder.join("tokenizer_config.json"), &config);
    }

    /// Its tokeniser as one file, `tokenizer.json`: the same as the other files together.
    pub fn tokenizer_json(&self) -> Value {
        match self.architecture {
            Architecture::Bert | Architecture::DistilBert | Architecture::UniCoil => {
                self.word_pieces()
            }
            Architecture::Roberta => tokenizers::roberta(),
            Architecture::XlmRoberta | Architecture::BgeM3 | Architecture::XlmRobertaTokens => {
                tokenizers::xlm_roberta()
            }
            Architecture::Camembert => tokenizers::camembert(),
        }
    }

    fn word_pieces(&self) -> Value {
        let vocabulary: HashMap<String, usize> = self.vocabulary().into_iter().zip(0..).collect();
        let added_token = |token: &&str| {
            json!({
                "id": vocabulary[*token], "content": token, "special": true,
                "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            })
        };
        let added_tokens: Vec<Value> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
            .iter()
            .map(added_token)
            .collect();
        let special = |token: &str| json!({"SpecialToken": {"id": token, "type_id": 0}});
        let text = |name: &str| json!({"Sequence": {"id": name, "type_id": 0}});
        let ids = |token: &str| json!({"id": token, "ids": [vocabulary[token]], "tokens": [token]});
        json!({
            "version": "1.0",
            "added_tokens": added_tokens,
            "normalizer": {
                "type": "BertNormalizer",
                "clean_text": true,
                "handle_chinese_chars": true,
                "strip_accents": null,
                "lowercase": self.lower_case,
            },
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [special("[CLS]"), text("A"), special("[SEP]")],
                "pair": [special("[CLS]"), text("A"), special("[SEP]"), text("B"), special("[SEP]")],
                "special_tokens": {"[CLS]": ids("[CLS]"), "[SEP]": ids("[SEP]")},
            },
            "model": {
                "type": "WordPiece",
                "unk_token": "[UNK]",
                "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100,
                "vocab": vocabulary,
            },
        })
    }

    fn config(&self) -> Value {
        let [class, family] = self.architecture.names();
        let mut config = match self.architecture {
            Architecture::DistilBert => json!({
                "architectures": [class],
                "model_type": family,
                "activation": "gelu",
                "dim": self.hidden(),
                "hidden_dim": self.ffn,
                "max_position_embeddings": self.max_positions,
                "n_heads": self.heads,
                "n_layers": self.layers,
                "pad_token_id": 0,
                "sinusoidal_pos_embds": false,
                "tie_word_embeddings": !self.separate_decoder,
                "vocab_size": self.vocab,
            }),
            _ => json!({
                "architectures": [class],
                "model_type": family,
                "hidden_act": "gelu",
                "hidden_size": self.hidden(),
                "intermediate_size": self.ffn,
                "layer_norm_eps": self.norm_eps,
                "max_position_embeddings": self.position_rows(),
                "num_attention_heads": self.heads,
                "num_hidden_layers": self.layers,
                "pad_token_id": if self.architecture.is_roberta() { PAD_TOKEN_ID } else { 0 },
                "tie_word_embeddings": !self.separate_decoder,
                "type_vocab_size": self.token_types(),
                "vocab_size": self.vocab,
            }),
        };
        if let Architecture::BgeM3 | Architecture::XlmRobertaTokens = self.architecture {
            config["bos_token_id"] = json!(0);
            config["eos_token_id"] = json!(2);
        }
        if self.architecture == Architecture::XlmRobertaTokens {
            config["id2label"] = json!({"0": "LABEL_0"});
            config["label2id"] = json!({"LABEL_0": 0});
        }
        config
    }
}

/// The two files by which sentence-transformers names pooling and activation.
fn write_head(folder: &Path, head: &Head) {
    let module = |index: usize, path: &str, class: &str| {
        let class = format!("sentence_transformers.sparse_encoder.models.{class}");
        json!({"idx": index, "name": index.to_string(), "path": path, "type": class})
    };
    write_json(
        &folder.join("modules.json"),
        &json!([
            module(0, "", "MLMTransformer"),
            module(1, "1_SpladePooling", "SpladePooling")
        ]),
    );
    let pooling = folder.join("1_SpladePooling");
    fs::create_dir(&pooling).expect("1_SpladePooling is created");
    write_json(
        &pooling.join("config.json"),
        &json!({
            "pooling_strategy": head.pooling,
            "activation_function": head.activation,
            "word_embedding_dimension": null,
        }),
    );
}

pub(super) fn write_json(path: &Path, value: &Value) {
    fs::write(path, value.to_string()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}
