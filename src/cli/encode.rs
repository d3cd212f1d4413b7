//! `lexpeak encode`

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use lexpeak::{
    Category, DocumentReader, Encoder, InputFormat, OutputFormat, OutputTarget, Result, Summary,
    encode_documents,
};

use super::options::{EngineArgs, TextArgs};

/// Encode a file of texts, one sparse vector each
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
    /// Also write the vocabulary's string of every weight
    #[arg(long)]
    tokens: bool,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    text: TextArgs,
}

impl Encode {
    pub(crate) fn run(self) -> Result<()> {
        let documents = self.documents()?;
        let encoder = Arc::new(self.engine.encoder(&self.model)?);
        let options = self.text.options();
        encoder.check(&options)?; // Before an earlier output is touched.
        let tokens = self.tokens.then(|| vocabulary(&encoder));
        let mut writer = self
            .format
            .writer(OutputTarget::create(&self.output)?, tokens);

        let stop = stop_on_signals().expect("these signals can be handled. This is a bug");
        let bar = progress_bar();
        let outcome = encode_documents(
            &encoder,
            &options,
            documents,
            writer.as_mut(),
            &stop,
            |summary| bar.set_message(line(summary)),
        );
        bar.finish_and_clear();
        match outcome {
            Ok(summary) => {
                writer.finish()?;
                report(&summary, &encoder);
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

    fn documents(&self) -> Result<DocumentReader<Box<dyn io::BufRead + Send>>> {
        if self.input == Path::new("-") {
            Ok(DocumentReader::stdin(
                self.input_format.unwrap_or(InputFormat::Jsonl),
            ))
        } else {
            let format = self
                .input_format
                .unwrap_or_else(|| InputFormat::for_path(&self.input));
            DocumentReader::open(&self.input, format)
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

fn line(summary: &Summary) -> String {
    format!(
        "{}, {} in {:.1} s: {:.0} documents/s, {:.0} tokens/s, {:.1} non-zeros a document",
        count(summary.documents, "document"),
        count(summary.tokens, "token"),
        summary.elapsed.as_secs_f64(),
        summary.documents_per_second(),
        summary.tokens_per_second(),
        summary.non_zeros_per_document(),
    )
}

fn report(summary: &Summary, encoder: &Encoder) {
    super::say(format!(
        "{}; engine {}",
        line(summary),
        encoder.description()
    ));
    if summary.truncated > 0 {
        let truncated = count(summary.truncated, "document");
        super::say(format!("{truncated} cut at the maximum length"));
    }
    if summary.empty > 0 {
        super::say(format!(
            "{} with an empty row",
            count(summary.empty, "document")
        ));
    }
}

fn count(number: u64, noun: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{s}")
}
