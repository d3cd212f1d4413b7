//! The kinds of asynchronous work.

use std::sync::Arc;

use super::entry::Locked;
use super::error::Failure;
use super::event::Event;
use super::host_call::HostCall;
use super::launch::KernelLaunch;
use super::queue::TaskId;
use super::table::Handle;
use super::transfer::{Copy, Fill};

/// One piece of work of a stream or a graph.
#[derive(Clone, Debug)]
pub enum Work {
    /// Comes after others and does nothing.
    Nothing,
    /// Copies rows.
    Copy(Copy),
    /// Fills memory with a pattern.
    Fill(Fill),
    /// Runs a kernel.
    Launch(Arc<KernelLaunch>),
    /// Frees device memory.
    Free(u64),
    /// Records an event.
    Record(Handle<Event>),
    /// Calls a function of the program.
    HostCall(HostCall),
}

impl Work {
    /// What reports call it.
    pub fn name(&self) -> &'static str {
        match self {
            Work::Nothing => "nothing",
            Work::Copy(_) => "asynchronous copy",
            Work::Fill(_) => "asynchronous fill",
            Work::Launch(_) => "kernel launch",
            Work::Free(_) => "asynchronous free",
            Work::Record(_) => "event record",
            Work::HostCall(_) => "host function",
        }
    }

    /// Does it. A failure fails its context.
    pub fn execute(&self, driver: &mut Locked, task: TaskId) -> Result<(), Failure> {
        match self {
            Work::Nothing => Ok(()),
            Work::Copy(copy) => copy.execute(driver),
            Work::Fill(fill) => fill.execute(driver),
            Work::Launch(launch) => launch.execute(driver),
            Work::Free(address) => driver.free_now(*address),
            Work::Record(event) => {
                driver.record_now(*event, task);
                Ok(())
            }
            Work::HostCall(call) => {
                driver.call_host(|| call.run());
                Ok(())
            }
        }
    }
}
