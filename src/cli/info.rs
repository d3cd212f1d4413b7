//! `lexpeak info`

use std::path::PathBuf;

use clap::Args;
use lexpeak::{Encoder, Result};

use super::options::EngineArgs;

/// Show what computes here and, with a model, its shape, head and memory
#[derive(Args)]
pub(crate) struct Info {
    /// Model folder, or hub id (owner/model)
    #[arg(long, value_name = "DIR|HUB_ID")]
    model: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
}

impl Info {
    pub(crate) fn run(self) -> Result<()> {
        let mut text = format!("lexpeak  {}\n", env!("CARGO_PKG_VERSION"));
        text += &format!("engine   {}\n", self.engine.describe()?);
        if let Some(model) = &self.model {
            text += &describe_model(&self.engine.encoder(model)?);
        }
        super::print(&text)
    }
}

fn describe_model(encoder: &Encoder) -> String {
    let spec = encoder.spec();
    let memory = encoder.memory();
    let megabytes = |bytes: usize| bytes as f64 / 1e6;
    format!(
        "model    {}: {} layers, hidden {}, {} heads of {}, ffn {}
head     {}
space    {} vocabulary terms
length   {} tokens (at most {})
memory   {:.1} MB weights, {:.1} MB activations for {} tokens at a time
",
        spec.architecture.class_name(),
        spec.num_layers,
        spec.hidden_size,
        spec.num_heads,
        spec.head_size(),
        spec.ffn_size,
        spec.head,
        spec.vocab_size,
        spec.max_length,
        spec.longest_input,
        megabytes(memory.weights),
        megabytes(memory.activations),
        encoder.batch_tokens(),
    )
}
