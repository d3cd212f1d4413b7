//! The memory that the kernels work in: all of it is set aside at start, nothing while an engine runs.

#![forbid(unsafe_code)]

use super::Gpu;
use super::arena::{Arena, Piece, piece_bytes};
use super::gpu::driver_error;
use super::kernels::{Normed, Storage};
use super::weights::Sizes;
use crate::error::Result;

/// What the kernels of a GPU work in, batch after batch: room for T tokens.
#[derive(Debug)]
pub(super) struct Workspace<T: Storage> {
    pub(super) hidden: Piece<Normed>, // [T, stride]
    pub(super) sums: Piece<T::Sum>,   // [T, width of the sums]
    pub(super) qkv: Piece<T>,         // [T, 3 · heads · D]
    pub(super) context: Piece<T>,     // [T, heads · D]
    pub(super) ffn: Piece<T>,         // [T, I]
    pub(super) head: Piece<f32>,      // what the head wants besides
}

impl<T: Storage> Workspace<T> {
    /// Room for `tokens` tokens, and for a head's `head` floats, which are zero.
    pub(super) fn new(gpu: &Gpu, tokens: usize, head: usize, sizes: &Sizes) -> Result<Self> {
        let mut arena = Arena::new(gpu, Self::bytes(tokens, head, sizes))?;
        let [hidden, sums, qkv, context, ffn] = Self::lens(tokens, sizes);
        let mut workspace = Self {
            hidden: arena.take(hidden),
            sums: arena.take(sums),
            qkv: arena.take(qkv),
            context: arena.take(context),
            ffn: arena.take(ffn),
            head: arena.take(head),
        };
        if head > 0 {
            let zeroed = gpu.stream().memset_zeros(&mut workspace.head.as_view_mut());
            zeroed.map_err(|error| driver_error("the GPU", "clear memory", error))?;
        }
        Ok(workspace)
    }

    /// Bytes for `tokens` tokens and `head` floats.
    pub(super) fn bytes(tokens: usize, head: usize, sizes: &Sizes) -> usize {
        let [hidden, sums, qkv, context, ffn] = Self::lens(tokens, sizes);
        let inner = [qkv, context, ffn].map(piece_bytes::<T>);
        piece_bytes::<Normed>(hidden)
            + piece_bytes::<T::Sum>(sums)
            + inner.iter().sum::<usize>()
            + piece_bytes::<f32>(head)
    }

    fn lens(tokens: usize, sizes: &Sizes) -> [usize; 5] {
        let attention = sizes.attention();
        let widths = [
            sizes.row.stride(),
            sizes.widest_row(),
            3 * attention,
            attention,
            sizes.ffn,
        ];
        widths.map(|width| tokens * width)
    }
}
