//! Launches `kernels/embed_ln.cu`: embeddings and LayerNorm.

use cudarc::driver::{CudaView, CudaViewMut, PushKernelArg};

use super::rows::{RowShape, row_launch};
use super::{Cost, Function, Normed, check_len};
use crate::cuda::{Gpu, launch_shape};
use crate::error::{Error, Result};

/// `out[t, :] = LayerNorm(words[ids[t], :] + places[positions[t], :]) * scale + shift`.
#[derive(Debug)]
pub struct EmbedLn {
    kernel: Function,
    row: RowShape,
}

/// Ids and positions of a batch's tokens, with the largest ones known: they index tables.
#[derive(Debug)]
pub struct DeviceTokens<'a> {
    ids: CudaView<'a, u32>,
    positions: CudaView<'a, u32>,
    /// One more than the largest id.
    vocabulary: usize,
    /// One more than the largest position.
    places: usize,
}

/// Operands of [`EmbedLn`]; T tokens, V words, P positions, rows of a stride.
#[derive(Debug)]
pub struct EmbedLnArgs<'a> {
    /// T
    pub tokens: DeviceTokens<'a>,
    /// V, stride; zeros beyond the hidden size, as in all rows.
    pub words: CudaView<'a, Normed>,
    /// P, stride
    pub places: CudaView<'a, Normed>,
    /// stride
    pub scale: CudaView<'a, f32>,
    /// stride
    pub shift: CudaView<'a, f32>,
    /// T, stride
    pub out: CudaViewMut<'a, Normed>,
    /// Added to the variance.
    pub eps: f32,
}

impl<'a> DeviceTokens<'a> {
    /// Tokens whose ids are below `vocabulary` and whose positions are below `places`.
    ///
    /// # Safety
    ///
    /// That holds for what `ids` and `positions` hold when a kernel runs.
    pub unsafe fn new(
        ids: CudaView<'a, u32>,
        positions: CudaView<'a, u32>,
        vocabulary: usize,
        places: usize,
    ) -> Self {
        Self {
            ids,
            positions,
            vocabulary,
            places,
        }
    }
}

impl EmbedLn {
    /// Loads the kernel for rows of that shape.
    ///
    /// # Errors
    ///
    /// The GPU is too old for it, or its driver fails.
    pub fn load(gpu: &Gpu, row: RowShape) -> Result<Self> {
        Ok(Self {
            kernel: Function::load_for::<Normed>(gpu, "embed_ln", &row.entry("embed_ln"))?,
            row,
        })
    }

    /// What a launch for T tokens costs.
    pub fn cost(&self, tokens: usize) -> Cost {
        let stride = self.row.stride();
        let values = 3 * tokens * stride * size_of::<Normed>();
        Cost {
            bytes: (values + 8 * tokens + 8 * stride) as u64,
            flops: 0,
        }
    }

    /// Launches it for all tokens.
    ///
    /// # Errors
    ///
    /// Operands whose lengths do not fit each other, an id or position outside its table, or a
    /// driver that refuses the launch.
    pub fn launch(&self, args: EmbedLnArgs<'_>) -> Result<()> {
        let EmbedLnArgs {
            tokens:
                DeviceTokens {
                    ids,
                    positions,
                    vocabulary,
                    places: reach,
                },
            words,
            places,
            scale,
            shift,
            mut out,
            eps,
        } = args;
        let name = self.kernel.name();
        let (hidden, stride) = (self.row.hidden(), self.row.stride());
        let tokens = ids.len();
        check_len(name, "positions", positions.len(), tokens)?;
        check_len(name, "out", out.len(), tokens * stride)?;
        check_len(name, "scale", scale.len(), stride)?;
        check_len(name, "shift", shift.len(), stride)?;
        check_rows(name, "words", words.len(), vocabulary, stride)?;
        check_rows(name, "places", places.len(), reach, stride)?;
        if tokens == 0 {
            return Ok(());
        }
        let blocks = self.row.blocks(
            launch_shape::embed_ln::BLOCKS_PER_PROCESSOR,
            launch_shape::embed_ln::BLOCKS_PER_PROCESSOR_WIDE,
        );
        let sizes = [tokens, hidden, stride].map(|size| size as i32);
        // embed_ln(const uint32_t* ids, const uint32_t* positions, const half* words, const half* places, const float* scale,
        //          const float* shift, half* out, int tokens, int hidden, int stride, float eps)
        let mut launch = self.kernel.stream().launch_builder(self.kernel.function());
        launch
            .arg(&ids)
            .arg(&positions)
            .arg(&words)
            .arg(&places)
            .arg(&scale)
            .arg(&shift)
            .arg(&mut out);
        sizes.iter().for_each(|size| {
            launch.arg(size);
        });
        launch.arg(&eps);
        // SAFETY: the arguments are those of the entry point, in its order. Every id and position is below the rows of
        // its table, as DeviceTokens promises; out has a row a token; the entry point is one for rows of this shape. `out` is
        // borrowed mutably and so overlaps nothing. All operands outlive the kernel: freeing them is ordered behind it on
        // the stream.
        let launched = unsafe { launch.launch(row_launch(&self.kernel, tokens, blocks)) };
        self.kernel
            .outcome(launched, || format!("{tokens} tokens of {hidden}"))
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
