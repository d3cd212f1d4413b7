//! What the registers of a kernel do along its control flow: which may be read before they are written, and which can share
//! a place.
//!
//! PTX gives every value a register of its own, easily thousands of them; a thread's values then spread over more memory
//! than the processor's first cache holds. [`compact()`] lets values share that are never alive together.

mod blocks;
mod compact;
mod sets;
mod undefined;

pub(super) use compact::compact;
pub use undefined::{Tracking, Undefined};

use blocks::Blocks;
use sets::{Numbering, Set};
