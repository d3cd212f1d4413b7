//! Arguments that several commands share.

use std::io::BufRead;
use std::path::Path;

use clap::Args;
use lexpeak::{
    Device, DocumentReader, Dtype, EncodeOptions, Encoder, EngineDescription, InputFormat, Result,
    Role, SpecialTokens,
};

/// Where and how to compute.
#[derive(Args)]
pub(crate) struct EngineArgs {
    /// Where to compute: auto, cuda (all GPUs), cuda:N (one) or cpu
    #[arg(long, default_value = "auto")]
    device: Device,
    /// Precision of the matrix products
    #[arg(long, value_enum, default_value = "auto")]
    dtype: Dtype,
    /// Worker threads [default: all cores]
    #[arg(long)]
    threads: Option<usize>,
    /// Tokens computed at a time; more take more memory [default: what suits the device]
    #[arg(long)]
    batch_tokens: Option<usize>,
}

/// What to compute from a text, and which weights to keep.
#[derive(Args)]
pub(crate) struct TextArgs {
    /// What the texts are: some models have a prompt for either role
    #[arg(long, value_enum, default_value = "document")]
    role: Role,
    /// Longest input in tokens; longer texts lose their end [default: the model's own]
    #[arg(long)]
    max_length: Option<usize>,
    /// Keep at most this many weights a text, the heaviest [default: all]
    #[arg(long)]
    top_k: Option<usize>,
    /// Keep only weights above this
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    min_weight: f32,
    /// What becomes of special tokens such as [CLS]
    #[arg(long, value_enum, default_value = "keep")]
    special_tokens: SpecialTokens,
}

impl EngineArgs {
    pub(crate) fn describe(&self) -> Result<EngineDescription> {
        EngineDescription::resolve(self.device, self.dtype, self.threads)
    }

    pub(crate) fn encoder(&self, model: &Path) -> Result<Encoder> {
        let mut builder = Encoder::builder(model)
            .device(self.device)
            .dtype(self.dtype);
        if let Some(threads) = self.threads {
            builder = builder.threads(threads);
        }
        if let Some(tokens) = self.batch_tokens {
            builder = builder.batch_tokens(tokens);
        }
        let encoder = builder.build()?;
        let (wanted, tokens) = (encoder.wanted_batch_tokens(), encoder.batch_tokens());
        if tokens < wanted {
            super::say(format!(
                "lexpeak: the GPU has not enough memory for {wanted} tokens at a time, so it computes {tokens}"
            ));
        }
        Ok(encoder)
    }
}

/// The texts of `input`, in `format` or the one that its name or `-` says.
pub(crate) fn documents(
    input: &Path,
    format: Option<InputFormat>,
) -> Result<DocumentReader<Box<dyn BufRead + Send>>> {
    if input == Path::new("-") {
        return Ok(DocumentReader::stdin(format.unwrap_or(InputFormat::Jsonl)));
    }
    DocumentReader::open(
        input,
        format.unwrap_or_else(|| InputFormat::for_path(input)),
    )
}

impl TextArgs {
    pub(crate) fn options(&self) -> EncodeOptions {
        EncodeOptions {
            role: self.role,
            max_length: self.max_length,
            special_tokens: self.special_tokens,
            min_weight: self.min_weight,
            top_k: self.top_k,
            ..EncodeOptions::default()
        }
    }
}
