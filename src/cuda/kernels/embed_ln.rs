//! Launches `kernels/embed_ln.cu`: embeddings and LayerNorm.

use std::marker::PhantomData;

use cudarc::driver::{CudaSlice, PushKernelArg};

use super::{Function, Storage, a_block_a_row, check_len, row_block};
use crate::cuda::gpu::driver_error;
use crate::cuda::{Gpu, launch_shape};
use crate::error::{Error, Result};

/// `out[t, :] = LayerNorm(words[ids[t], :] + places[positions[t], :]) * scale + shift`.
#[derive(Debug)]
pub struct EmbedLn<T> {
    kernel: Function,
    storage: PhantomData<T>,
}

/// The tokens of a batch on the GPU, with the largest id and position known: they index tables.
#[derive(Debug)]
pub struct DeviceTokens {
    ids: CudaSlice<u32>,
    positions: CudaSlice<u32>,
    /// One more than the largest id.
    vocabulary: usize,
    /// One more than the largest position.
    places: usize,
}

/// Operands of [`EmbedLn`]; T tokens, H hidden size, V words, P positions.
#[derive(Debug)]
pub struct EmbedLnArgs<'a, T> {
    /// T
    pub tokens: &'a DeviceTokens,
    /// V, H
    pub words: &'a CudaSlice<T>,
    /// P, H
    pub places: &'a CudaSlice<T>,
    /// H
    pub scale: &'a CudaSlice<f32>,
    /// H
    pub shift: &'a CudaSlice<f32>,
    /// T, H
    pub out: &'a mut CudaSlice<T>,
    /// H, a multiple of 8 up to 8,192
    pub hidden: usize,
    /// Added to the variance.
    pub eps: f32,
}

impl DeviceTokens {
    /// Copies token ids and their positions to the GPU.
    ///
    /// # Errors
    ///
    /// Not as many positions as ids, or a driver that fails.
    pub fn upload(gpu: &Gpu, ids: &[u32], positions: &[u32]) -> Result<Self> {
        check_len("embed_ln", "positions", positions.len(), ids.len())?;
        let bound = |numbers: &[u32]| numbers.iter().max().map_or(0, |&most| most as usize + 1);
        let copy = |numbers: &[u32]| {
            let copied = gpu.stream().clone_htod(numbers);
            copied.map_err(|error| driver_error("token ids", "copy them to the GPU", error))
        };
        Ok(Self {
            ids: copy(ids)?,
            positions: copy(positions)?,
            vocabulary: bound(ids),
            places: bound(positions),
        })
    }
}

impl<T: Storage> EmbedLn<T> {
    /// Loads the kernel.
    ///
    /// # Errors
    ///
    /// The GPU is too old for it, or its driver fails.
    pub fn load(gpu: &Gpu) -> Result<Self> {
        let kernel = Function::load::<T>(gpu, "embed_ln")?;
        Ok(Self {
            kernel,
            storage: PhantomData,
        })
    }

    /// Launches it for all tokens.
    ///
    /// # Errors
    ///
    /// Operands whose lengths do not fit each other, an id or position outside its table, or a
    /// driver that refuses the launch.
    pub fn launch(&self, args: EmbedLnArgs<'_, T>) -> Result<()> {
        let EmbedLnArgs {
            tokens:
                DeviceTokens {
                    ids,
                    positions,
                    vocabulary,
                    places: reach,
                },
            ..
        } = args;
        let EmbedLnArgs {
            words,
            places,
            scale,
            shift,
            out,
            hidden,
            eps,
            ..
        } = args;
        let name = self.kernel.name();
        let block = row_block(name, hidden, launch_shape::embed_ln::MAX_THREADS as usize)?;
        let tokens = ids.len();
        check_len(name, "out", out.len(), tokens * hidden)?;
        check_len(name, "scale", scale.len(), hidden)?;
        check_len(name, "shift", shift.len(), hidden)?;
        check_rows(name, "words", words.len(), *vocabulary, hidden)?;
        check_rows(name, "places", places.len(), *reach, hidden)?;
        if tokens == 0 {
            return Ok(());
        }
        let width = hidden as i32;
        // embed_ln(const uint32_t* ids, const uint32_t* positions, const T* words, const T* places,
        //          const float* scale, const float* shift, T* out, int hidden, float eps)
        let mut launch = self.kernel.stream().launch_builder(self.kernel.function());
        launch
            .arg(ids)
            .arg(positions)
            .arg(words)
            .arg(places)
            .arg(scale)
            .arg(shift)
            .arg(out)
            .arg(&width)
            .arg(&eps);
        // SAFETY: the arguments are those of the entry point, in its order. Every id and position is below the rows of
        // its table, out has a row a token and the grid a block a row; `out` is borrowed mutably and so overlaps nothing.
        // Allocations begin at multiples of 256 bytes and rows are whole chunks of 16. All operands outlive the kernel:
        // freeing them is ordered behind it on the stream.
        let launched = unsafe { launch.launch(a_block_a_row(tokens, block)) };
        launched.map(drop).map_err(|error| {
            self.kernel
                .refused(&format!("{tokens} tokens of {hidden}"), error)
        })
    }
}

/// A table of rows of `hidden` values must have at least the rows that are looked up.
fn check_rows(kernel: &str, table: &str, len: usize, rows: usize, hidden: usize) -> Result<()> {
    if len.is_multiple_of(hidden) && len / hidden >= rows {
        return Ok(());
    }
    Err(Error::device(
        format!("kernel {kernel}"),
        format!(
            "{table} has {len} elements, but row {} of {hidden} is looked up",
            rows.saturating_sub(1)
        ),
        "the token ids are not those of this model's tokenizer",
    ))
}
