//! The stored answers of the original PyTorch models: tests/golden/*.jsonl.

use std::fs;
use std::path::Path;

use lexpeak::{Embedding, EncodeOptions, Encoder, Outputs};
use serde::Deserialize;

use super::agreement::{Agreement, entries};

/// One text with its token ids, its sparse row, and its vectors where the model has such.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenRow {
    pub text: String,
    /// The longest input, in tokens, where it was not the model's own limit.
    #[serde(default)]
    pub max_length: Option<usize>,
    #[serde(default)]
    pub special_tokens: SpecialTokens,
    /// Values of the dense vector, where they were not all that the model can give.
    #[serde(default)]
    pub dense_size: Option<usize>,
    /// Not kept of the longest texts.
    #[serde(default)]
    pub ids: Vec<u32>,
    indices: Vec<u32>,
    values: Vec<f32>,
    #[serde(default)]
    pub dense: Option<Vec<f32>>,
    #[serde(default)]
    pub colbert: Option<GoldenVectors>,
    /// The text is so many words: in the file, `text` has the first of them, which follow over and over.
    #[serde(default)]
    words: Option<usize>,
    /// The number of `ids` where they are not kept.
    #[serde(default)]
    tokens: Option<usize>,
}

/// The vectors of a text's tokens but the first.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenVectors {
    /// How many there are.
    pub vectors: usize,
    /// Some of them, each with its number.
    pub sample: Vec<(usize, Vec<f32>)>,
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
            .map(|row| {
                let mut row: Self = serde_json::from_str(row).expect("a golden row");
                if let Some(words) = row.words {
                    row.text = repeated(&row.text, words);
                }
                row
            })
            .collect()
    }

    /// How many tokens the text has.
    pub fn tokens(&self) -> usize {
        self.tokens.unwrap_or(self.ids.len())
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
            outputs: Outputs {
                sparse: true,
                dense: self.dense.is_some(),
                colbert: self.colbert.is_some(),
            },
            truncate_dim: self.dense_size,
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
        let mut options = format!("{:?}", self.special_tokens);
        if let Some(length) = self.max_length {
            options += &format!(", {length} tokens");
        }
        if let Some(size) = self.dense_size {
            options += &format!(", {size} values");
        }
        match self.words {
            None => format!("{start:?} ({options})"),
            Some(words) => format!("{start:?}, {words} words ({options})"),
        }
    }
}

/// Encodes the texts of a model's golden rows one by one and compares number of tokens, ids as far as they are kept, rows, and
/// vectors.
pub fn compare_with_golden_embeddings(
    rows: &mut Agreement,
    vectors: &mut Agreement,
    encoder: &Encoder,
    model: &str,
) {
    for golden in GoldenRow::of(model) {
        let options = golden.options();
        let what = format!("{model} {}", golden.label());
        let ids = encoder
            .token_ids(&golden.text, &options)
            .expect("the text has tokens");
        rows.exact(&format!("{what}: tokens"), ids.len(), golden.tokens());
        if !golden.ids.is_empty() {
            rows.exact(&format!("{what}: token ids"), &ids, &golden.ids);
        }
        let found = encoder
            .embed(&[&golden.text], &options)
            .expect("the text is encoded");
        compare_with_golden_row(rows, vectors, &what, found.document(0), &golden);
    }
}

/// Compares all that a golden row has.
pub fn compare_with_golden_row(
    rows: &mut Agreement,
    vectors: &mut Agreement,
    what: &str,
    found: Embedding<'_>,
    golden: &GoldenRow,
) {
    let row = found.sparse.expect("a sparse row");
    rows.row(what, &entries(row), &golden.entries());
    if let Some(expected) = &golden.dense {
        let vector = found.dense.expect("a dense vector");
        vectors.vector(&format!("{what}, dense"), vector, expected);
    }
    if let Some(expected) = &golden.colbert {
        let found = found.colbert.expect("the tokens' vectors");
        rows.exact(&format!("{what}: vectors"), found.len(), expected.vectors);
        for (number, expected) in &expected.sample {
            let vector = found.iter().nth(*number).unwrap_or_default();
            vectors.vector(&format!("{what}, vector {number}"), vector, expected);
        }
    }
}

/// So many words: those of `text`, over and over.
fn repeated(text: &str, words: usize) -> String {
    let words: Vec<&str> = text.split(' ').cycle().take(words).collect();
    words.join(" ")
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
