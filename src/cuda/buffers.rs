//! The memory that batches go through: all of it is set aside at start, nothing while an engine runs.

#![forbid(unsafe_code)]

use super::Gpu;
use super::arena::{Arena, Piece, piece_bytes};
use super::batch::BatchPlan;
use super::gpu::driver_error;
use super::kernels::{Normed, Sparsify, Storage};
use super::weights::Sizes;
use crate::error::Result;

/// Bytes that the pooled rows of one pass of the head may take: documents beyond them wait for the next pass. From the head to
/// sparsify they stay in the L2 cache of an A100 (40 MB) or H100 (50 MB).
const POOLED_BYTES: usize = 32 << 20;

/// Entries of sparse rows that there is room for, a token of the batch: several times what trained models give.
const ENTRIES_PER_TOKEN: usize = 32;

/// What the kernels of a GPU work in, batch after batch: room for T tokens, and for R documents in the head.
#[derive(Debug)]
pub(super) struct Workspace<T: Storage> {
    pub(super) hidden: Piece<Normed>, // [T, stride]
    pub(super) sums: Piece<T::Sum>,   // [T, stride]
    pub(super) qkv: Piece<T>,         // [T, 3 · heads · D]
    pub(super) context: Piece<T>,     // [T, heads · D]
    pub(super) ffn: Piece<T>,         // [T, I]
    pub(super) pooled: Piece<f32>,    // [R, width]
}

/// What goes to the GPU and comes back from it for one batch of at most T tokens.
#[derive(Debug)]
pub(super) struct BatchMemory {
    pub(super) words: Piece<u32>, // what the kernels must know of the batch
    pub(super) rows: RowMemory,
}

/// Sparse rows of at most T documents.
#[derive(Debug)]
pub(super) struct RowMemory {
    pub(super) figures: Piece<u32>, // of R documents: [total | starts, R | counts, R | damaged, R]
    pub(super) ids: Piece<u32>,     // [entries]
    pub(super) values: Piece<f32>,  // [entries]
}

/// Which token it was, beside the pooled values of a pass and the entries of all rows.
#[derive(Debug)]
pub(super) struct PositionMemory {
    pub(super) pooled: Piece<u32>, // [R, width]
    pub(super) kept: Piece<u32>,   // [entries]
}

impl<T: Storage> Workspace<T> {
    pub(super) fn new(gpu: &Gpu, tokens: usize, sizes: &Sizes) -> Result<Self> {
        let mut arena = Arena::new(gpu, Self::bytes(tokens, sizes))?;
        let [row, qkv, context, ffn] = Self::lens(tokens, sizes);
        let mut workspace = Self {
            hidden: arena.take(row),
            sums: arena.take(row),
            qkv: arena.take(qkv),
            context: arena.take(context),
            ffn: arena.take(ffn),
            pooled: arena.take(rows_of_a_pass(tokens, sizes) * pooled_width(sizes)),
        };
        // The head leaves the padding of a row as it is, and sparsify reads it.
        let zeroed = gpu
            .stream()
            .memset_zeros(&mut workspace.pooled.as_view_mut());
        zeroed.map_err(|error| driver_error("the GPU", "clear memory", error))?;
        Ok(workspace)
    }

    /// Bytes for `tokens` tokens.
    pub(super) fn bytes(tokens: usize, sizes: &Sizes) -> usize {
        let [row, qkv, context, ffn] = Self::lens(tokens, sizes);
        let inner = [qkv, context, ffn].map(piece_bytes::<T>);
        let pooled = rows_of_a_pass(tokens, sizes) * pooled_width(sizes);
        piece_bytes::<Normed>(row)
            + piece_bytes::<T::Sum>(row)
            + inner.iter().sum::<usize>()
            + piece_bytes::<f32>(pooled)
    }

    fn lens(tokens: usize, sizes: &Sizes) -> [usize; 4] {
        let attention = sizes.attention();
        [sizes.row.stride(), 3 * attention, attention, sizes.ffn].map(|width| tokens * width)
    }
}

impl BatchMemory {
    pub(super) fn new(gpu: &Gpu, tokens: usize, sizes: &Sizes) -> Result<Self> {
        let mut arena = Arena::new(gpu, Self::bytes(tokens, sizes))?;
        Ok(Self {
            words: arena.take(BatchPlan::words_at_most(tokens)),
            rows: RowMemory {
                figures: arena.take(figure_words(tokens)),
                ids: arena.take(entries(tokens, sizes)),
                values: arena.take(entries(tokens, sizes)),
            },
        })
    }

    /// Bytes for `tokens` tokens.
    pub(super) fn bytes(tokens: usize, sizes: &Sizes) -> usize {
        piece_bytes::<u32>(BatchPlan::words_at_most(tokens))
            + piece_bytes::<u32>(figure_words(tokens))
            + 2 * piece_bytes::<u32>(entries(tokens, sizes))
    }
}

impl PositionMemory {
    pub(super) fn new(gpu: &Gpu, pooled: usize, entries: usize) -> Result<Self> {
        let bytes = piece_bytes::<u32>(pooled) + piece_bytes::<u32>(entries);
        let mut arena = Arena::new(gpu, bytes)?;
        Ok(Self {
            pooled: arena.take(pooled),
            kept: arena.take(entries),
        })
    }
}

/// Values from one pooled row to the next.
pub(super) fn pooled_width(sizes: &Sizes) -> usize {
    Sparsify::stride(sizes.vocabulary)
}

/// R: documents of a batch of T tokens that the head takes at a time. No more can have a token.
pub(super) fn rows_of_a_pass(tokens: usize, sizes: &Sizes) -> usize {
    tokens.min((POOLED_BYTES / (4 * pooled_width(sizes))).max(1))
}

/// Words for the total of all rows and three figures of each.
pub(super) fn figure_words(rows: usize) -> usize {
    1 + 3 * rows
}

/// Entries that there is room for: one document always has it, however many terms it has.
pub(super) fn entries(tokens: usize, sizes: &Sizes) -> usize {
    (tokens * ENTRIES_PER_TOKEN).max(sizes.vocabulary)
}
