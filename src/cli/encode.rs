//! `lexpeak encode`

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use lexpeak::{
    Category, EncodeOptions, Encoder, InputFormat, OutputFormat, OutputSizes, OutputTarget,
    Outputs, Result, RowWriter, Summary, VectorFiles, VectorLayout, VectorType, encode_documents,
};

use super::count;
use super::options::{EngineArgs, TextArgs, documents};

/// Encode a file of texts: a sparse vector each, and others where the model has them
#[derive(Args)]
pub(crate) struct Encode {
    /// Model folder, or hub id (owner/model)
    #[arg(long, value_name = "DIR|HUB_ID")]
    model: PathBuf,
    /// Texts; - is standard input
    #[arg(long, value_name = "FILE|-")]
    input: PathBuf,
    /// Vectors; - is standard output
    #[arg(long, value_name = "FILE|-")]
    output: PathBuf,
    /// Format of the input [default: by its extension; jsonl for -]
    #[arg(long, value_enum)]
    input_format: Option<InputFormat>,
    /// Format of the output
    #[arg(long, value_enum, default_value = "jsonl")]
    format: OutputFormat,
    /// What to write of each text; a BGE-M3 has all three
    #[arg(long, value_enum, value_delimiter = ',', default_value = "sparse")]
    outputs: Vec<Output>,
    /// Write dense and colbert vectors to .npy files in this folder, not into the lines
    #[arg(long, value_name = "DIR")]
    vectors: Option<PathBuf>,
    /// Precision of the values in these files
    #[arg(long, value_enum, default_value = "f32", requires = "vectors")]
    vectors_dtype: VectorType,
    /// Make dense vectors of so many values, the first ones [default: all]
    #[arg(long, value_name = "N")]
    truncate_dim: Option<usize>,
    /// Also write the vocabulary's string of every weight
    #[arg(long)]
    tokens: bool,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    text: TextArgs,
}

/// An output of a model.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Weights of vocabulary terms
    Sparse,
    /// A vector of the whole text
    Dense,
    /// A vector of every token but the first
    Colbert,
}

impl Encode {
    pub(crate) fn run(self) -> Result<()> {
        let documents = documents(&self.input, self.input_format)?;
        let encoder = Arc::new(self.engine.encoder(&self.model)?);
        let options = EncodeOptions {
            outputs: self.outputs(),
            truncate_dim: self.truncate_dim,
            ..self.text.options()
        };
        let sizes = encoder.check(&options)?; // Before an earlier output is touched.
        let mut writer = self.writer(&encoder, sizes)?;

        let stop = stop_on_signals().expect("these signals can be handled. This is a bug");
        let bar = progress_bar();
        let outcome = encode_documents(
            &encoder,
            &options,
            documents,
            writer.as_mut(),
            &stop,
            |summary| bar.set_message(line(summary, sizes)),
        );
        bar.finish_and_clear();
        match outcome {
            Ok(summary) => {
                writer.finish()?;
                report(&summary, sizes, &encoder);
                Ok(())
            }
            Err(error) => {
                if let Some(partial) = writer.keep_partial()
                    && error.category() != Category::BrokenPipe
                {
                    let partial = partial.display();
                    super::say(format!(
                        "lexpeak: the rows finished so far are kept in {partial}"
                    ));
                }
                Err(error)
            }
        }
    }

    /// Which outputs are wanted.
    fn outputs(&self) -> Outputs {
        let has = |output| self.outputs.contains(&output);
        Outputs {
            sparse: has(Output::Sparse),
            dense: has(Output::Dense),
            colbert: has(Output::Colbert),
        }
    }

    fn writer(&self, encoder: &Encoder, sizes: OutputSizes) -> Result<Box<dyn RowWriter>> {
        let layout = VectorLayout {
            dense: sizes.dense,
            colbert: sizes.colbert,
            dtype: self.vectors_dtype,
        };
        if let Some(folder) = &self.vectors {
            VectorFiles::check(folder, layout, &self.output)?;
        }
        let target = OutputTarget::create(&self.output)?;
        let tokens = self.tokens.then(|| vocabulary(encoder));
        let rows = self.format.writer(target, tokens);
        match &self.vectors {
            None => Ok(rows),
            Some(folder) => Ok(Box::new(VectorFiles::create(folder, layout, rows)?)),
        }
    }
}

fn vocabulary(encoder: &Encoder) -> Vec<String> {
    (0..encoder.spec().vocab_size as u32)
        .map(|id| encoder.token(id))
        .collect()
}

/// A flag that becomes true at the first Ctrl-C (or request to terminate); the second one ends the
/// process at once.
fn stop_on_signals() -> io::Result<Arc<AtomicBool>> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::flag;

    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 130, stop.clone())?;
        flag::register(signal, stop.clone())?;
    }
    // A file that reaches the limit on its size then fails with an error instead of killing the process.
    #[cfg(unix)]
    flag::register(
        signal_hook::consts::SIGXFSZ,
        Arc::new(AtomicBool::new(false)),
    )?;
    Ok(stop)
}

fn progress_bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    bar
}

fn line(summary: &Summary, sizes: OutputSizes) -> String {
    let mut line = format!(
        "{}, {} in {:.1} s: {:.0} documents/s, {:.0} tokens/s",
        count(summary.documents, "document"),
        count(summary.tokens, "token"),
        summary.elapsed.as_secs_f64(),
        summary.documents_per_second(),
        summary.tokens_per_second(),
    );
    if sizes.sparse {
        let non_zeros = summary.non_zeros_per_document();
        line += &format!(", {non_zeros:.1} non-zeros a document");
    }
    line
}

fn report(summary: &Summary, sizes: OutputSizes, encoder: &Encoder) {
    super::say(format!(
        "{}; engine {}",
        line(summary, sizes),
        encoder.description()
    ));
    super::say_truncated(summary.truncated);
    if summary.empty > 0 {
        super::say(format!(
            "{} with an empty row",
            count(summary.empty, "document")
        ));
    }
}
