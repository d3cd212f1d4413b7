//! One checked launch a kernel file: `kernels/X.cu` is launched by `X` here.
//!
//! Lengths are checked against each other before anything is launched; what was launched is on
//! the stream of the [`Gpu`](super::Gpu), and its failures come with the next synchronisation.

mod attention;
mod cost;
mod embed_ln;
mod function;
mod gemm;
mod l2_normalize;
mod layer_norm;
mod rows;
mod sparsify;
mod splade_head;
mod token_head;
mod topk;

pub use attention::{Attention, AttentionArgs, DeviceTiles, QueryTiles};
pub use cost::Cost;
pub use embed_ln::{DeviceTokens, EmbedLn, EmbedLnArgs};
pub use function::{Element, Normed, Storage};
pub use gemm::{Epilogue, Gemm, GemmArgs};
pub use l2_normalize::{DeviceRows, L2Normalize, L2NormalizeArgs};
pub use layer_norm::{LayerNorm, LayerNormArgs};
pub use rows::RowShape;
pub use sparsify::{Positions, Sparsify, SparsifyArgs};
pub use splade_head::{DeviceColumns, HeadColumns, SpladeHead, SpladeHeadArgs};
pub use token_head::{DeviceSlots, TokenHead, TokenHeadArgs};
pub use topk::{TopK, TopKArgs};

use cudarc::driver::LaunchConfig;

use function::{Function, check_len};

/// The shape of a launch with a block of `threads` threads for each of `rows` rows.
fn a_block_a_row(rows: usize, threads: u32) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (rows as u32, 1, 1),
        block_dim: (threads, 1, 1),
        shared_mem_bytes: 0,
    }
}
