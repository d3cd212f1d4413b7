//! `lexpeak info`

use std::path::PathBuf;

use clap::Args;
use lexpeak::{Encoder, Result, cuda};

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
        let images = cuda::kernel_images();
        let targets = images.iter().flat_map(|image| image.targets).copied();
        text += &format!(
            "kernels  {}\n",
            describe_kernels(images.len(), targets.collect())
        );
        if let Some(model) = &self.model {
            text += &describe_model(&self.engine.encoder(model)?);
        }
        super::print(&text)
    }
}

/// How many kernel files there are, and which GPUs have machine code in any of them.
fn describe_kernels(files: usize, mut targets: Vec<&str>) -> String {
    // By number: sm_100a has a longer name than sm_90a.
    targets.sort_unstable_by_key(|target| (target.len(), *target));
    targets.dedup();
    match files {
        0 => "none (built without nvcc)".to_owned(),
        1 => format!("1 file for {}", targets.join(", ")),
        _ => format!("{files} files for {}", targets.join(", ")),
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
memory   {:.1} MB weights, {:.1} MB arena for {} tokens at a time, {:.1} MB peak
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
        megabytes(memory.arena),
        encoder.largest_batch(),
        megabytes(memory.peak),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_counted_and_targets_named_once() {
        assert_eq!(describe_kernels(0, Vec::new()), "none (built without nvcc)");
        assert_eq!(describe_kernels(1, vec!["sm_90a"]), "1 file for sm_90a");
        let targets = vec!["sm_80", "sm_90a", "sm_100a", "sm_90a"];
        assert_eq!(
            describe_kernels(2, targets),
            "2 files for sm_80, sm_90a, sm_100a"
        );
    }
}
