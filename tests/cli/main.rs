//! The command as its users meet it: what it reads, writes, says and returns, above all when
//! something is wrong.

mod explain;
mod hub;
mod input;
#[cfg(unix)]
mod interrupt;
#[cfg(target_os = "linux")]
mod memory;
mod model;
mod options;
mod output;
mod outputs;
mod score;
#[cfg(unix)]
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod vectors;

use support::sandbox;
