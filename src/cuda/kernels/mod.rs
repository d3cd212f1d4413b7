//! One checked launch a kernel file: `kernels/X.cu` is launched by `X` here.
//!
//! Lengths are checked against each other before anything is launched; what was launched is on
//! the stream of the [`Gpu`](super::Gpu), and its failures come with the next synchronisation.

mod add_ln;
mod embed_ln;
mod function;

pub use add_ln::{AddLn, AddLnArgs};
pub use embed_ln::{DeviceTokens, EmbedLn, EmbedLnArgs};
pub use function::Storage;

use cudarc::driver::LaunchConfig;

use function::{Function, check_len};

/// Values that a thread of the row kernels moves at once, 16 bytes of them.
const CHUNK: usize = super::launch_shape::add_ln::CHUNK as usize;

/// Threads of a block that holds a row of `hidden` values, 8 a thread, in whole warps.
fn row_block(kernel: &str, hidden: usize, most: usize) -> crate::Result<u32> {
    let widest = most * CHUNK;
    if hidden == 0 || !hidden.is_multiple_of(CHUNK) || hidden > widest {
        return Err(crate::Error::device(
            kernel,
            format!("a hidden size of {hidden}"),
            format!("it must be a multiple of {CHUNK} up to {widest}: pad the weights with zeros"),
        ));
    }
    Ok((hidden / CHUNK).next_multiple_of(32) as u32)
}

/// The shape of a launch with a block of `threads` threads for each of `rows` rows.
fn a_block_a_row(rows: usize, threads: u32) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (rows as u32, 1, 1),
        block_dim: (threads, 1, 1),
        shared_mem_bytes: 0,
    }
}
