//! `lexpeak explain`

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use lexpeak::{Result, Term};

use super::options::{EngineArgs, TextArgs};

/// Show the terms and weights of a text, and the input token that each comes from
#[derive(Args)]
pub(crate) struct Explain {
    /// Model folder, or hub id (owner/model)
    #[arg(long, value_name = "DIR|HUB_ID")]
    model: PathBuf,
    /// The text
    #[arg(allow_hyphen_values = true)]
    text: String,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    options: TextArgs,
}

impl Explain {
    pub(crate) fn run(self) -> Result<()> {
        let encoder = self.engine.encoder(&self.model)?;
        let terms = encoder.explain(&self.text, &self.options.options())?;
        super::print(&table(&terms))
    }
}

fn table(terms: &[Term]) -> String {
    let width = terms
        .iter()
        .map(|term| term.token.chars().count())
        .max()
        .unwrap_or(0)
        .max(4);
    let mut table = format!("{:>8}  {:width$}  {:>6}  from\n", "weight", "term", "id");
    for Term {
        id,
        token,
        weight,
        position,
        source,
        ..
    } in terms
    {
        let _ = writeln!(
            table,
            "{weight:>8.4}  {token:width$}  {id:>6}  {source} (position {position})"
        );
    }
    table
}
