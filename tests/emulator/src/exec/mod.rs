//! Execution: a launch spreads its clusters over workers, a cluster schedules its warps, a warp executes instructions.

mod access;
mod agents;
mod asynchronous;
mod cluster;
mod flags;
mod launch;
#[cfg(test)]
pub(crate) mod machine;
mod printed;
mod private;
mod race_report;
mod request;
mod rows;
mod schedule;
mod step;
mod sync;
#[cfg(test)]
pub(crate) mod testing;
mod traffic;
mod warp;

pub use agents::Agents;
pub use asynchronous::{Asynchronous, Origin, Ticket};
pub use cluster::{Block, Cluster};
pub use flags::{Flags, Order, Scope};
pub use launch::{Dimensions, Launch, Limits, Options, Report, launch};
pub use printed::Printed;
pub(crate) use race_report::race_message;
pub use request::Request;
pub use rows::{GlobalRows, SharedPlace, SharedRows};
pub use schedule::Random;
pub use step::Step;
pub use traffic::{sectors, waves};
pub use warp::{Split, Wait, Warp};
