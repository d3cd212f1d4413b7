//! `lexpeak score`

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use lexpeak::{
    DocumentId, Embedding, Embeddings, EncodeOptions, InputFormat, OutputTarget, Result, Role,
    RowWriter, ScoreWeights, Scores, encode_documents,
};
use serde_json::json;

use super::options::{EngineArgs, documents};

/// Score texts against a query, by every output that the model has
#[derive(Args)]
pub(crate) struct Score {
    /// Model folder, or hub id (owner/model)
    #[arg(long, value_name = "DIR|HUB_ID")]
    model: PathBuf,
    /// What is searched for
    #[arg(allow_hyphen_values = true)]
    query: String,
    /// Texts; their scores come as a table. Behind -- they may begin with a hyphen
    #[arg(required_unless_present = "input", conflicts_with = "input")]
    texts: Vec<String>,
    /// A file of texts instead, - is standard input; their scores come as JSON, a line each
    #[arg(long, value_name = "FILE|-")]
    input: Option<PathBuf>,
    /// Format of the input [default: by its extension; jsonl for -]
    #[arg(long, value_enum, requires = "input", conflicts_with = "texts")]
    input_format: Option<InputFormat>,
    /// How much the dense, sparse and colbert scores count where they are combined
    #[arg(long, value_name = "D,S,C", value_parser = parse_weights, default_value = "1,1,1")]
    weights: ScoreWeights,
    /// Longest input in tokens; longer texts lose their end [default: the model's own]
    #[arg(long)]
    max_length: Option<usize>,
    #[command(flatten)]
    engine: EngineArgs,
}

impl Score {
    pub(crate) fn run(self) -> Result<()> {
        let input = self.input.as_deref();
        let documents = input
            .map(|input| documents(input, self.input_format))
            .transpose()?;
        let encoder = self.engine.encoder(&self.model)?;
        let mut options = EncodeOptions {
            outputs: encoder.spec().head.outputs(),
            max_length: self.max_length,
            role: Role::Query,
            ..EncodeOptions::default()
        };
        let query = encoder.embed(&[&self.query], &options)?;
        options.role = Role::Document;
        match documents {
            None => {
                let embeddings = encoder.embed(&self.texts, &options)?;
                let scores: Vec<Scores> = embeddings
                    .iter()
                    .map(|document| Scores::of(query.document(0), document))
                    .collect();
                super::print(&self.table(&scores))
            }
            Some(documents) => {
                let mut lines = ScoreLines {
                    query,
                    weights: self.weights,
                    out: OutputTarget::create("-")?,
                };
                let stop = AtomicBool::new(false);
                let scored = encode_documents(
                    &Arc::new(encoder),
                    &options,
                    documents,
                    &mut lines,
                    &stop,
                    |_| {},
                );
                // The documents before one that cannot be read are scored.
                lines.out.finish()?;
                super::say_truncated(scored?.truncated);
                Ok(())
            }
        }
    }

    fn table(&self, scores: &[Scores]) -> String {
        let mut table = String::new();
        for (number, (scores, text)) in scores.iter().zip(&self.texts).enumerate() {
            if number == 0 {
                for (name, _) in named(scores, self.weights) {
                    table += &format!("{name:>8}  ");
                }
                table += "text\n";
            }
            for (name, score) in named(scores, self.weights) {
                table += &format!("{score:>width$.4}  ", width = name.len().max(8));
            }
            // A text is one line of the table, whatever is in it.
            table.extend(text.chars().map(|c| if c.is_control() { ' ' } else { c }));
            table.push('\n');
        }
        table
    }
}

/// Writes the scores of every document, a line of JSON each.
struct ScoreLines {
    query: Embeddings,
    weights: ScoreWeights,
    out: OutputTarget,
}

impl RowWriter for ScoreLines {
    fn write(&mut self, id: &DocumentId, document: Embedding<'_>) -> Result<()> {
        let scores = Scores::of(self.query.document(0), document);
        let mut line = format!(r#"{{"id":{}"#, id.as_json());
        for (name, score) in named(&scores, self.weights) {
            line += &format!(r#","{name}":{}"#, json!(score));
        }
        self.out.write_all((line + "}\n").as_bytes())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.out.finish()
    }

    fn keep_partial(self: Box<Self>) -> Option<PathBuf> {
        self.out.keep_partial()
    }
}

/// The scores that there are, and their weighted means, under the names that BGE-M3 gives them.
fn named(scores: &Scores, weights: ScoreWeights) -> impl Iterator<Item = (&'static str, f64)> {
    [
        ("sparse", scores.sparse),
        ("dense", scores.dense),
        ("colbert", scores.colbert),
        ("sparse+dense", scores.sparse_dense(weights)),
        ("colbert+sparse+dense", scores.colbert_sparse_dense(weights)),
    ]
    .into_iter()
    .filter_map(|(name, score)| Some((name, score?)))
}

/// `D,S,C`: weights of the dense, sparse and colbert scores.
fn parse_weights(text: &str) -> Result<ScoreWeights, String> {
    let weights = text.split(',').map(|weight| weight.trim().parse());
    let weights: Result<Vec<f64>, _> = weights.collect();
    match weights.as_deref() {
        Ok(&[dense, sparse, colbert]) => {
            ScoreWeights::new(dense, sparse, colbert).map_err(|error| error.to_string())
        }
        _ => Err("give three numbers, dense,sparse,colbert".to_owned()),
    }
}
