//! PTX syntax to executable code: every instruction becomes one object that knows how to execute itself.
//!
//! [`decode`] turns an [`Entry`](crate::ptx::Entry) into a [`Kernel`]. One file per instruction family holds both the
//! decoding and the execution of its instructions. What no family knows is an error that names opcode, kernel and line.

mod arithmetic;
mod async_copy;
mod atomic;
mod barrier;
mod bulk;
mod call;
mod collective;
mod compare;
mod control;
mod convert;
mod decoder;
mod element;
mod fence;
mod flow;
mod kernel;
mod lanewise;
mod load_store;
mod logic;
mod matrix;
mod mbarrier;
mod memory_operand;
mod mma;
mod mov;
pub(crate) mod numeric;
mod predicate;
pub mod registers;
mod small;
#[cfg(test)]
pub(crate) mod testing;
mod wgmma;
mod wmma;

use std::fmt;

pub use async_copy::CopyQueue;
pub(crate) use barrier::release_barriers;
pub use barrier::{NamedBarrier, Reduction};
pub use bulk::BulkQueue;
pub use decoder::{Address, DecodeError, Decoder, RESERVED_SHARED, Space};
pub use flow::{Tracking, Undefined};
#[cfg(test)]
pub(crate) use kernel::decode_as_written;
pub use kernel::{Constant, Guarded, Kernel, Location, Parameter, Special, decode};
pub use mbarrier::Mbarriers;
pub use wgmma::Warpgroup;
pub(crate) use wgmma::left_over;

use crate::exec::{Step, Warp};
use crate::fault::Stop;

/// One value a lane.
pub type Lanes<T> = [T; 32];

/// What the warp does after an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Goes on to the next instruction.
    Next,
    /// The active lanes jump; the others go on.
    Jump(u32),
    /// Groups of lanes jump to places of their own (`brx`).
    Scatter(Vec<(u32, u32)>),
    /// The active lanes end.
    Exit,
    /// The warp waits (its [`Warp::state`] says for what) and then goes on to the next instruction.
    Wait,
    /// The warp tried something in its cluster that is not ready: it gives way, then goes on to the next instruction.
    Yield,
    /// The warp gives way for no particular reason (`nanosleep`), then goes on to the next instruction.
    Sleep,
    /// The warp waits for something in its cluster: it gives way, then executes this instruction again.
    Retry,
}

/// An executable instruction.
pub trait Execute: Send + Sync + fmt::Debug {
    /// Executes it for the active lanes of a warp (at least one).
    ///
    /// # Errors
    /// A fault after which the kernel cannot go on. Other faults are reported through [`Step::report`].
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop>;

    /// For collective instructions: the lanes that must execute it together. `executing` are the lanes at this instruction.
    fn participants(&self, _warp: &Warp, _executing: u32) -> Option<u32> {
        None
    }

    /// The smallest access in bytes that it makes to shared and to global memory, 0 for none.
    fn footprint(&self) -> Footprint {
        Footprint::default()
    }
}

/// Smallest access in bytes to shared and global memory; 0: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// To shared memory.
    pub shared: u32,
    /// To global memory.
    pub global: u32,
}
