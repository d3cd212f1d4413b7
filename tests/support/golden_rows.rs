//! The stored answers of the original PyTorch models: tests/golden/*.jsonl.

use std::fs;
use std::path::Path;

use lexpeak::{EncodeOptions, Encoder};
use serde::Deserialize;

use super::agreement::{Agreement, entries};

/// One text with its token ids and its sparse row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenRow {
    pub text: String,
    /// The longest input, in tokens, where it was not the model's own limit.
    #[serde(default)]
    pub max_length: Option<usize>,
    #[serde(default)]
    pub special_tokens: SpecialTokens,
    pub ids: Vec<u32>,
    indices: Vec<u32>,
    values: Vec<f32>,
}

/// What was done with the special tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpecialTokens {
    #[default]
    Keep,
    ZeroColumns,
    DropPositions,
}

impl GoldenRow {
    /// All rows of a model.
    pub fn of(model: &str) -> Vec<Self> {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{model}.jsonl"));
        let rows = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        rows.lines()
            .map(|row| serde_json::from_str(row).expect("a golden row"))
            .collect()
    }

    /// The pairs (vocabulary id, weight), ids ascending.
    pub fn entries(&self) -> Vec<(u32, f64)> {
        let values = self.values.iter().map(|&value| f64::from(value));
        self.indices.iter().copied().zip(values).collect()
    }

    /// What was asked for.
    pub fn options(&self) -> EncodeOptions {
        EncodeOptions {
            max_length: self.max_length,
            special_tokens: match self.special_tokens {
                SpecialTokens::Keep => lexpeak::SpecialTokens::Keep,
                SpecialTokens::ZeroColumns => lexpeak::SpecialTokens::ZeroColumns,
                SpecialTokens::DropPositions => lexpeak::SpecialTokens::DropPositions,
            },
            ..EncodeOptions::default()
        }
    }

    /// The text's beginning and the row's options, to be named in a failure.
    pub fn label(&self) -> String {
        let start: String = self.text.chars().take(24).collect();
        match self.max_length {
            None => format!("{start:?} ({:?})", self.special_tokens),
            Some(length) => format!("{start:?} ({:?}, {length} tokens)", self.special_tokens),
        }
    }
}

/// Encodes the texts of a model's golden rows one by one and compares token ids and rows.
pub fn compare_with_golden_rows(agreement: &mut Agreement, encoder: &Encoder, model: &str) {
    for row in GoldenRow::of(model) {
        let options = row.options();
        let what = format!("{model} {}", row.label());
        let ids = encoder
            .token_ids(&row.text, &options)
            .expect("the text has tokens");
        agreement.exact(&format!("{what}: token ids"), &ids, &row.ids);
        let rows = encoder
            .encode(&[&row.text], &options)
            .expect("the text is encoded");
        agreement.row(&what, &entries(rows.row(0)), &row.entries());
    }
}
