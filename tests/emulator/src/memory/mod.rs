//! The memories of a device: global memory with its allocations, a block's shared memory, a thread's local memory.
//!
//! Every byte carries a state besides its value, so that a read of something never written, or still under way, is found.

mod allocation;
mod global;
mod local;
mod shared;

pub use allocation::Allocation;
pub use global::{AddressError, GlobalMemory, Hint, OutOfMemory, Place, View};
pub use local::LocalMemory;
pub use shared::{ByteState, SharedMemory};

/// Never-written memory holds this byte: NaN as f16, bf16, f32 and f64.
pub const POISON: u8 = 0xff;

/// What one lane reads or writes: little-endian words. Rows shorter than a word fill the low bytes of the first.
pub type Row<const W: usize> = [u64; W];

/// Where shared memory begins in the generic address space of a thread.
pub const SHARED_WINDOW: u64 = 0x0100_0000_0000;

/// Where local memory begins in the generic address space of a thread.
pub const LOCAL_WINDOW: u64 = 0x0200_0000_0000;

/// Where the parameters of a kernel begin in the generic address space (`cvta.param`).
pub const PARAMETER_WINDOW: u64 = 0x0300_0000_0000;

/// Size of each of the windows above.
pub const WINDOW_BYTES: u64 = 0x0100_0000_0000;

/// Distance of the shared memories of a cluster's blocks in the `shared::cluster` space: block `rank` begins at
/// `(rank + 1) * CLUSTER_STRIDE`; lower addresses are the block's own.
pub const CLUSTER_STRIDE: u32 = 1 << 24;
