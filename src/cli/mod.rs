//! The command line: arguments -> library calls -> what is printed.

#![forbid(unsafe_code)]

mod encode;
mod explain;
mod info;
mod options;
mod score;

use std::io::{self, Write};

use clap::Parser;
use lexpeak::{Category, OutputTarget, Result};

/// Turns text into learned sparse vectors (SPLADE, BGE-M3).
#[derive(Parser)]
#[command(name = "lexpeak", version, arg_required_else_help = true)]
pub(crate) enum Command {
    Encode(encode::Encode),
    Explain(explain::Explain),
    Score(score::Score),
    Info(info::Info),
}

impl Command {
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Encode(encode) => encode.run(),
            Self::Explain(explain) => explain.run(),
            Self::Score(score) => score.run(),
            Self::Info(info) => info.run(),
        }
    }
}

/// Prints a line to standard error. Where nobody can read it, the run goes on and its exit status tells.
pub(crate) fn say(line: String) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints to standard output. A reader that goes away early has seen what it wanted.
fn print(text: &str) -> Result<()> {
    let mut out = OutputTarget::create("-")?;
    match out.write_all(text.as_bytes()).and_then(|()| out.finish()) {
        Err(error) if error.category() == Category::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

/// Says how many texts lost their end, if any did.
fn say_truncated(truncated: u64) {
    if truncated > 0 {
        let truncated = count(truncated, "document");
        say(format!("{truncated} cut at the maximum length"));
    }
}

fn count(number: u64, noun: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{s}")
}
