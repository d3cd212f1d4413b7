//! What the kernels that take a row a warp have in common.

use cudarc::driver::LaunchConfig;

use super::Function;
use crate::cuda::launch_shape::layer_norm as shape;
use crate::error::{Error, Result};

/// A row of hidden states: H values that count, and zeros up to a multiple of 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowShape {
    hidden: usize,
}

impl RowShape {
    /// The shape of rows of `hidden` values.
    ///
    /// # Errors
    ///
    /// More values than a warp holds, or none.
    pub fn new(hidden: usize) -> Result<Self> {
        let most = shape::WIDE as usize;
        if !(1..=most).contains(&hidden) {
            return Err(Error::unsupported(
                format!(
                    "rows of {hidden} values are not among those of 1 to {most} that the CUDA kernels take"
                ),
                "encode with this model on the CPU (--device cpu)",
            ));
        }
        Ok(Self { hidden })
    }

    /// H: values that count.
    pub fn hidden(self) -> usize {
        self.hidden
    }

    /// The entry point of `kernel` for such rows, without its type: it is named for the most values that it takes.
    pub(super) fn entry(self, kernel: &str) -> String {
        let most = if self.is_wide() {
            shape::WIDE
        } else {
            shape::NARROW
        };
        format!("{kernel}_{most}")
    }

    /// Of two numbers of blocks the one for such rows.
    pub(super) fn blocks(self, narrow: u32, wide: u32) -> u32 {
        if self.is_wide() { wide } else { narrow }
    }

    fn is_wide(self) -> bool {
        self.stride() > shape::NARROW as usize
    }

    /// Values from one row to the next.
    pub fn stride(self) -> usize {
        self.hidden.next_multiple_of(8)
    }
}

/// The shape of a launch for `tokens` rows, with at most `blocks` blocks a processor: each reads scale and shift once.
pub(super) fn row_launch(kernel: &Function, tokens: usize, blocks: u32) -> LaunchConfig {
    let needed = tokens.div_ceil(shape::ROWS as usize) as u32;
    LaunchConfig {
        grid_dim: (needed.min(blocks * kernel.processors()), 1, 1),
        block_dim: (shape::THREADS, 1, 1),
        shared_mem_bytes: 0,
    }
}
