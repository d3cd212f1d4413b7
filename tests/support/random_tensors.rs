//! Random weights that need no file: a tensor's values follow from its name.

use std::collections::HashMap;

use half::{bf16, f16};
use serde::Deserialize;

use super::random_model::{Architecture, RandomModel};

/// A tensor under its Hugging Face name, row-major, already rounded to the type it is stored in.
pub struct RandomTensor {
    pub name: String,
    pub stored_type: StoredType,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// Values of one kind of tensor: evenly spread over `center - spread .. center + spread`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Fill {
    center: f32,
    spread: f32,
}

/// How the numbers of a weight file are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum StoredType {
    F32,
    F16,
    BF16,
}

impl StoredType {
    pub fn round(self, value: f32) -> f32 {
        match self {
            StoredType::F32 => value,
            StoredType::F16 => f16::from_f32(value).to_f32(),
            StoredType::BF16 => bf16::from_f32(value).to_f32(),
        }
    }
}

/// All weights that the original implementation has for a model; a tied decoder is absent.
pub fn tensors(model: &RandomModel, fills: &HashMap<String, Fill>) -> Vec<RandomTensor> {
    let mut list = List {
        model,
        fills,
        stored_type: model.stored_type,
        tensors: Vec::new(),
    };
    match model.architecture {
        Architecture::Bert => list.bert(),
        Architecture::DistilBert => list.distilbert(),
        Architecture::Roberta | Architecture::XlmRoberta | Architecture::Camembert => {
            list.roberta()
        }
        Architecture::BgeM3 => list.bge_m3(),
        Architecture::XlmRobertaTokens => {
            list.encoder();
            list.token_weight("classifier");
        }
        Architecture::UniCoil => {
            list.encoder();
            list.pooler();
            list.token_weight("coil_encoder.tok_proj");
        }
    }
    list.tensors
}

struct List<'a> {
    model: &'a RandomModel,
    fills: &'a HashMap<String, Fill>,
    /// Of the tensors that are added next.
    stored_type: StoredType,
    tensors: Vec<RandomTensor>,
}

impl List<'_> {
    fn bert(&mut self) {
        let (vocab, hidden) = (self.model.vocab, self.model.hidden());
        self.encoder();
        self.linear("cls.predictions.transform.dense", hidden, hidden);
        self.norm("cls.predictions.transform.LayerNorm");
        self.decoder("cls.predictions.decoder.weight", "cls.predictions.bias");
        if self.model.separate_decoder {
            // The bias comes apart with the weight; the one above is then a leftover that nothing reads.
            self.add("decoder_bias", "cls.predictions.decoder.bias", &[vocab]);
        }
    }

    fn roberta(&mut self) {
        let (vocab, hidden) = (self.model.vocab, self.model.hidden());
        self.encoder();
        self.linear("lm_head.dense", hidden, hidden);
        self.norm("lm_head.layer_norm");
        self.decoder("lm_head.decoder.weight", "lm_head.bias");
        if self.model.separate_decoder {
            self.add("decoder_bias", "lm_head.decoder.bias", &[vocab]);
        }
    }

    fn bge_m3(&mut self) {
        let hidden = self.model.hidden();
        self.encoder();
        self.pooler();
        // The layers in files of their own, whatever type the others are stored in.
        self.stored_type = StoredType::F16;
        self.token_weight("sparse_linear");
        let width = self.model.colbert.expect("the width of a token's vector");
        self.linear("colbert_linear", width, hidden);
    }

    /// A layer behind the encoder that pretraining needs and nothing else.
    fn pooler(&mut self) {
        let hidden = self.model.hidden();
        let prefix = self.model.architecture.prefix();
        self.linear(&format!("{prefix}pooler.dense"), hidden, hidden);
    }

    fn token_weight(&mut self, name: &str) {
        let hidden = self.model.hidden();
        self.add("token_weight", &format!("{name}.weight"), &[1, hidden]);
        self.add("bias", &format!("{name}.bias"), &[1]);
    }

    fn encoder(&mut self) {
        let &RandomModel { layers, ffn, .. } = self.model;
        let hidden = self.model.hidden();
        let tables = [
            ("position", self.model.position_rows()),
            ("token_type", self.model.token_types()),
        ];
        self.embeddings(&tables);
        let prefix = self.model.architecture.prefix();
        for layer in 0..layers {
            let name = |part: &str| format!("{prefix}encoder.layer.{layer}.{part}");
            for part in ["query", "key", "value"] {
                self.linear(&name(&format!("attention.self.{part}")), hidden, hidden);
            }
            self.linear(&name("attention.output.dense"), hidden, hidden);
            self.norm(&name("attention.output.LayerNorm"));
            self.linear(&name("intermediate.dense"), ffn, hidden);
            self.linear(&name("output.dense"), hidden, ffn);
            self.norm(&name("output.LayerNorm"));
        }
    }

    fn distilbert(&mut self) {
        let &RandomModel {
            max_positions,
            layers,
            ffn,
            ..
        } = self.model;
        let hidden = self.model.hidden();
        self.embeddings(&[("position", max_positions)]);
        for layer in 0..layers {
            let name = |part: &str| format!("distilbert.transformer.layer.{layer}.{part}");
            for part in ["q_lin", "k_lin", "v_lin", "out_lin"] {
                self.linear(&name(&format!("attention.{part}")), hidden, hidden);
            }
            self.norm(&name("sa_layer_norm"));
            self.linear(&name("ffn.lin1"), ffn, hidden);
            self.linear(&name("ffn.lin2"), hidden, ffn);
            self.norm(&name("output_layer_norm"));
        }
        self.linear("vocab_transform", hidden, hidden);
        self.norm("vocab_layer_norm");
        self.decoder("vocab_projector.weight", "vocab_projector.bias");
    }

    /// The table of words, further tables, and the LayerNorm over their sum.
    fn embeddings(&mut self, tables: &[(&str, usize)]) {
        let prefix = self.model.architecture.prefix();
        for &(table, rows) in [("word", self.model.vocab)].iter().chain(tables) {
            let name = format!("{prefix}embeddings.{table}_embeddings.weight");
            self.add("embedding", &name, &[rows, self.model.hidden()]);
        }
        self.norm(&format!("{prefix}embeddings.LayerNorm"));
    }

    fn linear(&mut self, name: &str, outputs: usize, inputs: usize) {
        self.add("matrix", &format!("{name}.weight"), &[outputs, inputs]);
        self.add("bias", &format!("{name}.bias"), &[outputs]);
    }

    fn norm(&mut self, name: &str) {
        self.add(
            "norm_weight",
            &format!("{name}.weight"),
            &[self.model.hidden()],
        );
        self.add("bias", &format!("{name}.bias"), &[self.model.hidden()]);
    }

    fn decoder(&mut self, weight: &str, bias: &str) {
        if self.model.separate_decoder {
            self.add(
                "embedding",
                weight,
                &[self.model.vocab, self.model.hidden()],
            );
        }
        self.add("decoder_bias", bias, &[self.model.vocab]);
    }

    fn add(&mut self, kind: &str, name: &str, shape: &[usize]) {
        let fill = self.fills[kind];
        let values = SplitMix64::named(name, self.model.seed)
            .take(shape.iter().product())
            .map(|bits| self.stored_type.round(fill.value(bits)))
            .collect();
        self.tensors.push(RandomTensor {
            name: name.to_owned(),
            stored_type: self.stored_type,
            shape: shape.to_vec(),
            values,
        });
    }
}

impl Fill {
    /// Every step is exact or rounds once, so that NumPy arrives at the same bits.
    fn value(self, bits: u64) -> f32 {
        let unit = (bits >> 40) as f32 * 2f32.powi(-23) - 1.0;
        self.center + self.spread * unit
    }
}

/// The splitmix64 generator, whose n-th number is a hash of n.
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// Starts from the FNV-1a hash of `name`, varied by `seed`.
    pub fn named(name: &str, seed: u64) -> Self {
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self(hash ^ seed)
    }
}

impl Iterator for SplitMix64 {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Some(z ^ (z >> 31))
    }
}
