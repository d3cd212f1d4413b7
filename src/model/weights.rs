//! Weights by their role, found under the names that the Hugging Face files give them.

#![forbid(unsafe_code)]

use super::checkpoint::{COLBERT_LINEAR, Checkpoint, SPARSE_LINEAR, StoredTensor};
use super::head::{Head, SpladeHead, TokenWeightHead};
use super::spec::{Architecture, Family, ModelSpec};
use crate::error::{Error, Result};

/// All weights of a model, by role. `T` is whatever holds one tensor: here its place in a file,
/// in an engine the numbers in the form that its kernels want.
#[derive(Debug)]
pub(crate) struct ModelWeights<T> {
    pub(crate) embeddings: Embeddings<T>,
    pub(crate) layers: Vec<Layer<T>>,
    pub(crate) head: HeadWeights<T>,
}

/// What follows the last layer.
#[derive(Debug)]
pub(crate) enum HeadWeights<T> {
    Splade(SpladeHead, MlmHead<T>),
    Token(TokenHead<T>),
}

/// Token, position and token-type tables and the LayerNorm over their sum.
#[derive(Debug)]
pub(crate) struct Embeddings<T> {
    pub(crate) words: T,               // [V, H]
    pub(crate) positions: T,           // [max positions, H], from the first position on
    pub(crate) token_types: Option<T>, // [token types, H]; every token is of type 0
    pub(crate) norm: LayerNorm<T>,
}

/// One post-LayerNorm transformer layer.
#[derive(Debug)]
pub(crate) struct Layer<T> {
    pub(crate) query: Linear<T>,            // H -> H
    pub(crate) key: Linear<T>,              // H -> H
    pub(crate) value: Linear<T>,            // H -> H
    pub(crate) attention_output: Linear<T>, // H -> H
    pub(crate) attention_norm: LayerNorm<T>,
    pub(crate) ffn_up: Linear<T>,   // H -> I
    pub(crate) ffn_down: Linear<T>, // I -> H
    pub(crate) ffn_norm: LayerNorm<T>,
}

/// The masked-language-model head: hidden states -> logits.
#[derive(Debug)]
pub(crate) struct MlmHead<T> {
    pub(crate) transform: Linear<T>, // H -> H, then GELU
    pub(crate) norm: LayerNorm<T>,
    /// [V, H]; absent where it is the table of token embeddings.
    pub(crate) decoder: Option<T>,
    pub(crate) bias: T, // [V]
}

/// A token's hidden state -> its weight, and perhaps its vector.
#[derive(Debug)]
pub(crate) struct TokenHead<T> {
    pub(crate) weight: Linear<T>,          // H -> 1
    pub(crate) colbert: Option<Linear<T>>, // H -> M
}

/// `y = x · weightᵀ + bias`
#[derive(Debug)]
pub(crate) struct Linear<T> {
    pub(crate) weight: T, // [out, in]
    pub(crate) bias: T,   // [out]
}

/// Scale and shift after normalising to mean 0 and variance 1.
#[derive(Debug)]
pub(crate) struct LayerNorm<T> {
    pub(crate) scale: T, // [H]
    pub(crate) shift: T, // [H]
}

impl<T> ModelWeights<T> {
    /// The same weights, each tensor put into another form by `convert`.
    pub(crate) fn try_map<U>(
        &self,
        mut convert: impl FnMut(&T) -> Result<U>,
    ) -> Result<ModelWeights<U>> {
        let convert = &mut convert;
        Ok(ModelWeights {
            embeddings: Embeddings {
                words: convert(&self.embeddings.words)?,
                positions: convert(&self.embeddings.positions)?,
                token_types: self
                    .embeddings
                    .token_types
                    .as_ref()
                    .map(&mut *convert)
                    .transpose()?,
                norm: self.embeddings.norm.try_map(convert)?,
            },
            layers: self
                .layers
                .iter()
                .map(|layer| {
                    Ok(Layer {
                        query: layer.query.try_map(convert)?,
                        key: layer.key.try_map(convert)?,
                        value: layer.value.try_map(convert)?,
                        attention_output: layer.attention_output.try_map(convert)?,
                        attention_norm: layer.attention_norm.try_map(convert)?,
                        ffn_up: layer.ffn_up.try_map(convert)?,
                        ffn_down: layer.ffn_down.try_map(convert)?,
                        ffn_norm: layer.ffn_norm.try_map(convert)?,
                    })
                })
                .collect::<Result<_>>()?,
            head: match &self.head {
                HeadWeights::Splade(splade, head) => HeadWeights::Splade(
                    *splade,
                    MlmHead {
                        transform: head.transform.try_map(convert)?,
                        norm: head.norm.try_map(convert)?,
                        decoder: head.decoder.as_ref().map(&mut *convert).transpose()?,
                        bias: convert(&head.bias)?,
                    },
                ),
                HeadWeights::Token(head) => HeadWeights::Token(TokenHead {
                    weight: head.weight.try_map(convert)?,
                    colbert: (head.colbert.as_ref())
                        .map(|colbert| colbert.try_map(convert))
                        .transpose()?,
                }),
            },
        })
    }
}

impl<T> Linear<T> {
    fn try_map<U>(&self, convert: &mut impl FnMut(&T) -> Result<U>) -> Result<Linear<U>> {
        Ok(Linear {
            weight: convert(&self.weight)?,
            bias: convert(&self.bias)?,
        })
    }
}

impl<T> LayerNorm<T> {
    fn try_map<U>(&self, convert: &mut impl FnMut(&T) -> Result<U>) -> Result<LayerNorm<U>> {
        Ok(LayerNorm {
            scale: convert(&self.scale)?,
            shift: convert(&self.shift)?,
        })
    }
}

/// What a family's files call its weights.
struct Names {
    /// Before the names of embeddings and layers.
    encoder: &'static str,
    /// Prefix of the layers' names; the layer's number follows.
    layers: &'static str,
    query: &'static str,
    key: &'static str,
    value: &'static str,
    attention_output: &'static str,
    attention_norm: &'static str,
    ffn_up: &'static str,
    ffn_down: &'static str,
    ffn_norm: &'static str,
    transform: &'static str,
    transform_norm: &'static str,
    decoder_weight: &'static str,
    /// In order of preference. A tied decoder has one bias under either name or both; where the decoder
    /// is a matrix of its own, the bias comes apart too and only the first is computed with.
    decoder_bias: &'static [&'static str],
    /// Of the layer that weighs a token, in order of preference.
    token_weight: &'static [&'static str],
}

const BERT: Names = Names {
    encoder: "bert.",
    layers: "encoder.layer",
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    attention_output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    ffn_up: "intermediate.dense",
    ffn_down: "output.dense",
    ffn_norm: "output.LayerNorm",
    transform: "cls.predictions.transform.dense",
    transform_norm: "cls.predictions.transform.LayerNorm",
    decoder_weight: "cls.predictions.decoder.weight",
    decoder_bias: &["cls.predictions.decoder.bias", "cls.predictions.bias"],
    token_weight: &["coil_encoder.tok_proj", "tok_proj"],
};

const DISTILBERT: Names = Names {
    encoder: "distilbert.",
    layers: "transformer.layer",
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    attention_output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    ffn_up: "ffn.lin1",
    ffn_down: "ffn.lin2",
    ffn_norm: "output_layer_norm",
    transform: "vocab_transform",
    transform_norm: "vocab_layer_norm",
    decoder_weight: "vocab_projector.weight",
    decoder_bias: &["vocab_projector.bias"],
    token_weight: &[],
};

/// RoBERTa and its kin.
const ROBERTA: Names = Names {
    encoder: "roberta.",
    transform: "lm_head.dense",
    transform_norm: "lm_head.layer_norm",
    decoder_weight: "lm_head.decoder.weight",
    decoder_bias: &["lm_head.decoder.bias", "lm_head.bias"],
    token_weight: &["classifier"],
    ..BERT
};

/// An encoder that was saved by itself.
const BGE_M3: Names = Names {
    encoder: "",
    token_weight: &[SPARSE_LINEAR],
    ..ROBERTA
};

impl ModelWeights<StoredTensor> {
    /// Finds every weight that `spec` calls for and checks its shape. Other tensors are ignored.
    pub(super) fn find(checkpoint: &Checkpoint, spec: &ModelSpec) -> Result<Self> {
        let names = match (spec.architecture, spec.architecture.family()) {
            (Architecture::BgeM3, _) => &BGE_M3,
            (_, Family::Bert) => &BERT,
            (_, Family::DistilBert) => &DISTILBERT,
            (_, Family::Roberta) => &ROBERTA,
        };
        let finder = Finder {
            checkpoint,
            spec,
            names,
        };
        Ok(Self {
            embeddings: finder.embeddings()?,
            layers: (0..spec.num_layers)
                .map(|number| finder.layer(number))
                .collect::<Result<_>>()?,
            head: match spec.head {
                Head::Splade(splade) => HeadWeights::Splade(splade, finder.mlm_head()?),
                Head::TokenWeights(head) => HeadWeights::Token(finder.token_head(head)?),
            },
        })
    }
}

/// Looks weights up under the names of one family.
struct Finder<'a> {
    checkpoint: &'a Checkpoint,
    spec: &'a ModelSpec,
    names: &'static Names,
}

impl Finder<'_> {
    fn embeddings(&self) -> Result<Embeddings<StoredTensor>> {
        let prefix = format!("{}embeddings", self.names.encoder);
        let table = |name: &str, rows: usize| {
            self.tensor(
                &[&format!("{prefix}.{name}_embeddings.weight")],
                &[rows, self.spec.hidden_size],
            )
        };
        let token_types = self.spec.token_types;
        let (first, positions) = (self.spec.first_position, self.spec.max_positions);
        Ok(Embeddings {
            words: table("word", self.spec.vocab_size)?,
            positions: table("position", first + positions)?.without_first_rows(first),
            token_types: (token_types > 0)
                .then(|| table("token_type", token_types))
                .transpose()?,
            norm: self.layer_norm(&format!("{prefix}.LayerNorm"))?,
        })
    }

    fn layer(&self, number: usize) -> Result<Layer<StoredTensor>> {
        let names = self.names;
        let (hidden, ffn) = (self.spec.hidden_size, self.spec.ffn_size);
        let named = |part: &str| format!("{}{}.{number}.{part}", names.encoder, names.layers);
        Ok(Layer {
            query: self.linear(&named(names.query), hidden, hidden)?,
            key: self.linear(&named(names.key), hidden, hidden)?,
            value: self.linear(&named(names.value), hidden, hidden)?,
            attention_output: self.linear(&named(names.attention_output), hidden, hidden)?,
            attention_norm: self.layer_norm(&named(names.attention_norm))?,
            ffn_up: self.linear(&named(names.ffn_up), hidden, ffn)?,
            ffn_down: self.linear(&named(names.ffn_down), ffn, hidden)?,
            ffn_norm: self.layer_norm(&named(names.ffn_norm))?,
        })
    }

    fn mlm_head(&self) -> Result<MlmHead<StoredTensor>> {
        let names = self.names;
        let (vocab, hidden) = (self.spec.vocab_size, self.spec.hidden_size);
        Ok(MlmHead {
            transform: self.linear(names.transform, hidden, hidden)?,
            norm: self.layer_norm(names.transform_norm)?,
            decoder: self.find(names.decoder_weight, &[vocab, hidden])?,
            bias: self.tensor(names.decoder_bias, &[vocab])?,
        })
    }

    fn token_head(&self, head: TokenWeightHead) -> Result<TokenHead<StoredTensor>> {
        let hidden = self.spec.hidden_size;
        let colbert = head.colbert_size;
        Ok(TokenHead {
            weight: self.linear_of(self.names.token_weight, hidden, 1)?,
            colbert: colbert
                .map(|size| self.linear(COLBERT_LINEAR, hidden, size))
                .transpose()?,
        })
    }

    fn linear(&self, prefix: &str, inputs: usize, outputs: usize) -> Result<Linear<StoredTensor>> {
        self.linear_of(&[prefix], inputs, outputs)
    }

    /// The layer under the first of `prefixes` that exists.
    fn linear_of(
        &self,
        prefixes: &[&str],
        inputs: usize,
        outputs: usize,
    ) -> Result<Linear<StoredTensor>> {
        let tensor = |name: &str, shape: &[usize]| {
            let names: Vec<String> =
                (prefixes.iter().map(|prefix| format!("{prefix}.{name}"))).collect();
            self.tensor(&names.iter().map(String::as_str).collect::<Vec<_>>(), shape)
        };
        Ok(Linear {
            weight: tensor("weight", &[outputs, inputs])?,
            bias: tensor("bias", &[outputs])?,
        })
    }

    /// Checkpoints converted from TensorFlow call scale and shift gamma and beta.
    fn layer_norm(&self, prefix: &str) -> Result<LayerNorm<StoredTensor>> {
        let either = |name: &str, old_name: &str| {
            self.tensor(
                &[&format!("{prefix}.{name}"), &format!("{prefix}.{old_name}")],
                &[self.spec.hidden_size],
            )
        };
        Ok(LayerNorm {
            scale: either("weight", "gamma")?,
            shift: either("bias", "beta")?,
        })
    }

    /// The tensor under the first of `names` that exists.
    fn tensor(&self, names: &[&str], shape: &[usize]) -> Result<StoredTensor> {
        for name in names {
            if let Some(tensor) = self.find(name, shape)? {
                return Ok(tensor);
            }
        }
        let class = self.spec.architecture.class_name();
        let head_prefix = format!("{}.", self.names.transform);
        let mut all = self.checkpoint.names();
        let has_head = match self.spec.head {
            Head::Splade(_) => all.any(|name| name.starts_with(&head_prefix)),
            Head::TokenWeights(_) => true,
        };
        let remedy = if has_head {
            format!("the file does not hold a whole {class}: fetch it again")
        } else {
            format!("a SPLADE model needs its masked-language-model head: save it as {class}")
        };
        Err(self.checkpoint.lacks(names, &remedy))
    }

    fn find(&self, name: &str, shape: &[usize]) -> Result<Option<StoredTensor>> {
        match self.checkpoint.get(name) {
            Some(tensor) if tensor.shape == shape => Ok(Some(tensor.clone())),
            Some(tensor) => Err(Error::model(
                tensor.file.path(),
                format!(
                    "tensor {name} has shape {:?} where config.json calls for {shape:?}",
                    tensor.shape
                ),
                "config.json and weights are of different models: fetch both again",
            )),
            None => Ok(None),
        }
    }
}
