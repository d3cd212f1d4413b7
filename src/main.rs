//! The `lexpeak` command.

#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

use clap::Parser;
use lexpeak::Category;

fn main() -> ExitCode {
    let command = cli::Command::parse();
    match command.run() {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has what it wanted: no word, and the status of a process that SIGPIPE ended.
        Err(error) if error.category() == Category::BrokenPipe => ExitCode::from(141),
        Err(error) => {
            cli::say(format!("lexpeak: {error}"));
            ExitCode::from(match error.category() {
                Category::Interrupted => 130,
                Category::Usage => 2,
                _ => 1,
            })
        }
    }
}
