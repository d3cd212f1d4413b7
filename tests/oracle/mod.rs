//! The f64 reference of every computation: the plainest loops that can be checked by eye.
//!
//! `ops` has one function an operation, for tests of single kernels; [`Model`] strings them
//! together. It is itself held against the stored answers of the original PyTorch models, by
//! tests/golden.rs, and uses nothing of the crate under test.

#![allow(dead_code, reason = "each test executable uses its own part")]

pub mod erf;
pub mod ops;

use std::collections::HashMap;

/// A weight, row-major.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
}

impl Tensor {
    /// Length of the last dimension.
    pub fn columns(&self) -> usize {
        self.shape[self.shape.len() - 1]
    }

    pub fn row(&self, row: usize) -> &[f64] {
        &self.data[row * self.columns()..(row + 1) * self.columns()]
    }
}

/// Which names the weights have.
#[derive(Clone, Copy, Debug)]
pub enum Family {
    Bert,
    DistilBert,
    /// And its kin, CamemBERT and XLM-R.
    Roberta,
    /// Its encoder, saved by itself.
    RobertaEncoder,
}

/// How a text's tokens are brought together.
#[derive(Clone, Copy, Debug)]
pub enum Pooling {
    Max,
    Sum,
}

/// What a logit becomes before that.
#[derive(Clone, Copy, Debug)]
pub enum Activation {
    /// `log(1 + relu(z))`
    Relu,
    /// `log(1 + log(1 + relu(z)))`
    Log1pRelu,
}

/// What makes a sparse row of hidden states.
pub enum Head {
    /// Every token gives a weight to every id of the vocabulary.
    Splade {
        pooling: Pooling,
        activation: Activation,
    },
    /// Every token gives a weight to its own id, by the linear layer of this name.
    TokenWeights {
        layer: &'static str,
        /// Ids that get none.
        unweighted: Vec<u32>,
    },
}

/// An encoder with its head; weights by their Hugging Face names.
pub struct Model {
    pub family: Family,
    pub layers: usize,
    pub heads: usize,
    pub norm_eps: f64,
    pub head: Head,
    pub weights: HashMap<String, Tensor>,
}

/// What the model says about one text, for each vocabulary id.
#[derive(Clone, Debug)]
pub struct Row {
    /// At least 0.
    pub weights: Vec<f64>,
    /// Which of the pooled tokens, counted from 0, gave the heaviest weight; no meaning where all are 0.
    pub winners: Vec<usize>,
}

impl Row {
    /// The pairs (vocabulary id, weight) with weight > 0.
    pub fn entries(&self) -> Vec<(u32, f64)> {
        let entries = self.weights.iter().enumerate();
        entries
            .filter(|&(_, &weight)| weight > 0.0)
            .map(|(id, &weight)| (id as u32, weight))
            .collect()
    }
}

impl Model {
    /// The row of one text. Every token is computed; only those at `pooled_positions` count in the row.
    pub fn forward(&self, ids: &[u32], pooled_positions: &[usize]) -> Row {
        self.sparse(ids, &self.hidden(ids), pooled_positions)
    }

    /// The hidden states of one text behind the last layer, a row a token.
    pub fn hidden(&self, ids: &[u32]) -> Vec<f64> {
        let names = &self.family.names();
        let mut x = ops::embed(
            ids,
            self.tensor(names.words),
            &self.positions(names),
            names.token_types.map(|name| self.tensor(name)),
        );
        x = self.norm(names.embedding_norm, &x);
        for layer in 0..self.layers {
            let name = |part: &str| format!("{}.{layer}.{part}", names.layers);
            let [q, k, v] = names
                .query_key_value
                .map(|part| self.linear(&name(part), &x));
            let head_dim = q.len() / ids.len() / self.heads;
            let mixed = ops::attention(&q, &k, &v, self.heads, head_dim);
            let mixed = self.linear(&name(names.attention_out), &mixed);
            x = self.norm(&name(names.attention_norm), &ops::add(&x, &mixed));
            let wide = ops::gelu(&self.linear(&name(names.ffn_in), &x));
            let narrow = self.linear(&name(names.ffn_out), &wide);
            x = self.norm(&name(names.ffn_norm), &ops::add(&x, &narrow));
        }
        x
    }

    /// The row that the head makes of the hidden states of `ids`.
    pub fn sparse(&self, ids: &[u32], hidden: &[f64], pooled_positions: &[usize]) -> Row {
        let width = self.width();
        let pooled: Vec<f64> = pooled_positions
            .iter()
            .flat_map(|position| &hidden[position * width..(position + 1) * width])
            .copied()
            .collect();
        match &self.head {
            &Head::Splade {
                pooling,
                activation,
            } => self.splade(&pooled, pooling, activation),
            Head::TokenWeights { layer, unweighted } => {
                let pooled_ids: Vec<u32> = pooled_positions.iter().map(|&p| ids[p]).collect();
                let vocabulary = self.tensor(self.family.names().words).shape[0];
                let weights = self.linear(layer, &pooled);
                ops::token_weights(&pooled_ids, &weights, unweighted, vocabulary)
            }
        }
    }

    /// A text's vector: of the first token's hidden state, so many values of it.
    pub fn dense(&self, hidden: &[f64], size: usize) -> Vec<f64> {
        ops::normalize(&hidden[..size], size)
    }

    /// The vectors of all tokens but the first, end to end.
    pub fn multi_vectors(&self, hidden: &[f64]) -> Vec<f64> {
        let vectors = self.linear("colbert_linear", &hidden[self.width()..]);
        let width = self.tensor("colbert_linear.bias").data.len();
        ops::normalize(&vectors, width)
    }

    /// Of the hidden states.
    pub fn width(&self) -> usize {
        self.tensor(self.family.names().words).columns()
    }

    fn splade(&self, pooled: &[f64], pooling: Pooling, activation: Activation) -> Row {
        let names = &self.family.names();
        let pooled = ops::gelu(&self.linear(names.transform, pooled));
        let pooled = self.norm(names.transform_norm, &pooled);
        // A tied decoder is the embedding, and is absent under its own name.
        let decoder = self
            .weights
            .get(names.decoder)
            .unwrap_or_else(|| self.tensor(names.words));
        // A tied bias has two names too; where both are present, the decoder's own is the one in use.
        let bias = self
            .weights
            .get(names.decoder_bias)
            .unwrap_or_else(|| self.tensor(names.tied_bias));
        ops::splade_head(&pooled, decoder, &bias.data, pooling, activation)
    }

    /// The table without the rows before that of the first token.
    fn positions(&self, names: &Names) -> Tensor {
        let table = self.tensor(names.positions);
        let shape = vec![table.shape[0] - names.first_position, table.columns()];
        let data = table.data[names.first_position * table.columns()..].to_vec();
        Tensor { shape, data }
    }

    fn linear(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let bias = self.tensor(&format!("{name}.bias"));
        ops::linear(x, self.tensor(&format!("{name}.weight")), &bias.data)
    }

    fn norm(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let weight = self.tensor(&format!("{name}.weight"));
        let bias = self.tensor(&format!("{name}.bias"));
        ops::layer_norm(x, &weight.data, &bias.data, self.norm_eps)
    }

    fn tensor(&self, name: &str) -> &Tensor {
        self.weights
            .get(name)
            .unwrap_or_else(|| panic!("the oracle has no tensor {name}"))
    }
}

/// Where a family keeps its weights. Names in a layer follow the layer's number.
struct Names {
    words: &'static str,
    positions: &'static str,
    first_position: usize,
    token_types: Option<&'static str>,
    embedding_norm: &'static str,
    layers: &'static str,
    query_key_value: [&'static str; 3],
    attention_out: &'static str,
    attention_norm: &'static str,
    ffn_in: &'static str,
    ffn_out: &'static str,
    ffn_norm: &'static str,
    transform: &'static str,
    transform_norm: &'static str,
    decoder: &'static str,
    decoder_bias: &'static str,
    tied_bias: &'static str,
}

impl Family {
    fn names(self) -> Names {
        match self {
            Family::Bert => Names {
                words: "bert.embeddings.word_embeddings.weight",
                positions: "bert.embeddings.position_embeddings.weight",
                first_position: 0,
                token_types: Some("bert.embeddings.token_type_embeddings.weight"),
                embedding_norm: "bert.embeddings.LayerNorm",
                layers: "bert.encoder.layer",
                query_key_value: [
                    "attention.self.query",
                    "attention.self.key",
                    "attention.self.value",
                ],
                attention_out: "attention.output.dense",
                attention_norm: "attention.output.LayerNorm",
                ffn_in: "intermediate.dense",
                ffn_out: "output.dense",
                ffn_norm: "output.LayerNorm",
                transform: "cls.predictions.transform.dense",
                transform_norm: "cls.predictions.transform.LayerNorm",
                decoder: "cls.predictions.decoder.weight",
                decoder_bias: "cls.predictions.decoder.bias",
                tied_bias: "cls.predictions.bias",
            },
            Family::Roberta => Names {
                words: "roberta.embeddings.word_embeddings.weight",
                positions: "roberta.embeddings.position_embeddings.weight",
                first_position: 2, // the padding token's id is 1
                token_types: Some("roberta.embeddings.token_type_embeddings.weight"),
                embedding_norm: "roberta.embeddings.LayerNorm",
                layers: "roberta.encoder.layer",
                transform: "lm_head.dense",
                transform_norm: "lm_head.layer_norm",
                decoder: "lm_head.decoder.weight",
                decoder_bias: "lm_head.decoder.bias",
                tied_bias: "lm_head.bias",
                ..Family::Bert.names()
            },
            Family::RobertaEncoder => Names {
                words: "embeddings.word_embeddings.weight",
                positions: "embeddings.position_embeddings.weight",
                token_types: Some("embeddings.token_type_embeddings.weight"),
                embedding_norm: "embeddings.LayerNorm",
                layers: "encoder.layer",
                ..Family::Roberta.names()
            },
            Family::DistilBert => Names {
                words: "distilbert.embeddings.word_embeddings.weight",
                positions: "distilbert.embeddings.position_embeddings.weight",
                first_position: 0,
                token_types: None,
                embedding_norm: "distilbert.embeddings.LayerNorm",
                layers: "distilbert.transformer.layer",
                query_key_value: ["attention.q_lin", "attention.k_lin", "attention.v_lin"],
                attention_out: "attention.out_lin",
                attention_norm: "sa_layer_norm",
                ffn_in: "ffn.lin1",
                ffn_out: "ffn.lin2",
                ffn_norm: "output_layer_norm",
                transform: "vocab_transform",
                transform_norm: "vocab_layer_norm",
                decoder: "vocab_projector.weight",
                decoder_bias: "vocab_projector.bias",
                tied_bias: "vocab_projector.bias",
            },
        }
    }
}
