//! Launches `kernels/token_head.cu`: the last LayerNorm, and the weight of every token.

use std::marker::PhantomData;

use cudarc::driver::{CudaView, CudaViewMut, PushKernelArg};

use super::function::NULL;
use super::rows::{RowShape, row_launch};
use super::{Cost, Element, Function, Normed, check_len};
use crate::cuda::{Gpu, launch_shape};
use crate::error::Result;

/// `y[t, :] = LayerNorm(sums[t, :]) * scale + shift`, and the largest `max(0, y[t, :] · weight + bias)` of the tokens of each
/// slot, of sums of a type `S`: f16 or f32.
#[derive(Debug)]
pub struct TokenHead<S> {
    kernel: Function,
    row: RowShape,
    sums: PhantomData<S>,
}

/// Where the weight of each of a batch's tokens goes, with the number of slots known: they index weights.
#[derive(Debug)]
pub struct DeviceSlots<'a> {
    slots: CudaView<'a, u32>,
    /// One more than the largest slot.
    terms: usize,
}

/// Operands of [`TokenHead`]; T tokens, rows of a stride, U slots. Sums, scale, shift, weight and out begin at multiples of
/// 16 bytes.
#[derive(Debug)]
pub struct TokenHeadArgs<'a, S> {
    /// T, stride; zeros beyond the hidden size.
    pub sums: CudaView<'a, S>,
    /// stride, zeros beyond the hidden size
    pub scale: CudaView<'a, f32>,
    /// stride, zeros beyond the hidden size
    pub shift: CudaView<'a, f32>,
    /// stride, zeros beyond the hidden size
    pub weight: CudaView<'a, f32>,
    /// 1
    pub bias: CudaView<'a, f32>,
    /// T
    pub slots: DeviceSlots<'a>,
    /// T, stride: the normalised rows, if they are wanted.
    pub out: Option<CudaViewMut<'a, Normed>>,
    /// U: zeros, or what other tokens of the slots weigh. NaN where the weight of a token is not finite.
    pub weights: CudaViewMut<'a, f32>,
    /// Added to the variance.
    pub eps: f32,
}

impl<'a> DeviceSlots<'a> {
    /// The slot of a token whose weight nobody wants.
    pub const NONE: u32 = u32::MAX;

    /// Slots below `terms`, or [`NONE`](Self::NONE).
    ///
    /// # Safety
    ///
    /// That holds for what `slots` holds when a kernel runs.
    pub unsafe fn new(slots: CudaView<'a, u32>, terms: usize) -> Self {
        Self { slots, terms }
    }
}

impl<S: Element> TokenHead<S> {
    /// Loads the kernel for rows of that shape.
    ///
    /// # Errors
    ///
    /// The GPU is too old for it, or its driver fails.
    pub fn load(gpu: &Gpu, row: RowShape) -> Result<Self> {
        Ok(Self {
            kernel: Function::load_for::<S>(gpu, "token_head", &row.entry("token_head"))?,
            row,
            sums: PhantomData,
        })
    }

    /// What a launch for T tokens of U slots costs; `stored` asks for the normalised rows.
    pub fn cost(&self, tokens: usize, terms: usize, stored: bool) -> Cost {
        let stride = self.row.stride();
        let written = if stored { size_of::<Normed>() } else { 0 };
        let values = tokens * stride * (size_of::<S>() + written);
        // scale, shift, weight and bias; the slot of a token; the weight of a slot.
        Cost {
            bytes: (values + 12 * stride + 4 + 4 * tokens + 4 * terms) as u64,
            flops: 0,
        }
    }

    /// Launches it for all rows of `sums`.
    ///
    /// # Errors
    ///
    /// Operands whose lengths do not fit each other, or a driver that refuses the launch.
    pub fn launch(&self, args: TokenHeadArgs<'_, S>) -> Result<()> {
        let TokenHeadArgs {
            sums,
            scale,
            shift,
            weight,
            bias,
            slots: DeviceSlots { slots, terms },
            mut out,
            mut weights,
            eps,
        } = args;
        let name = self.kernel.name();
        let (hidden, stride) = (self.row.hidden(), self.row.stride());
        let tokens = slots.len();
        check_len(name, "sums", sums.len(), tokens * stride)?;
        check_len(name, "scale", scale.len(), stride)?;
        check_len(name, "shift", shift.len(), stride)?;
        check_len(name, "weight", weight.len(), stride)?;
        check_len(name, "bias", bias.len(), 1)?;
        check_len(name, "weights", weights.len(), terms)?;
        if let Some(out) = &out {
            check_len(name, "out", out.len(), tokens * stride)?;
        }
        if tokens == 0 {
            return Ok(());
        }
        let blocks = self.row.blocks(
            launch_shape::token_head::BLOCKS_PER_PROCESSOR,
            launch_shape::token_head::BLOCKS_PER_PROCESSOR_WIDE,
        );
        let sizes = [tokens, hidden, stride].map(|size| size as i32);
        // token_head(const Sum* sums, const float* scale, const float* shift, const float* weight, const float* bias,
        //            const uint32_t* slots, half* out, unsigned* weights, int tokens, int hidden, int stride, float eps)
        let mut launch = self.kernel.stream().launch_builder(self.kernel.function());
        launch
            .arg(&sums)
            .arg(&scale)
            .arg(&shift)
            .arg(&weight)
            .arg(&bias)
            .arg(&slots);
        match &mut out {
            Some(out) => launch.arg(out),
            None => launch.arg(&NULL),
        };
        launch.arg(&mut weights);
        sizes.iter().for_each(|size| {
            launch.arg(size);
        });
        launch.arg(&eps);
        // SAFETY: the arguments are those of the entry point, in its order. sums and out have tokens rows of stride values,
        // scale, shift and weight one, bias has one; the entry point is one for rows of this shape. Every slot is below the
        // length of weights or none, as DeviceSlots promises. What is written is borrowed mutably and so overlaps nothing. All
        // operands outlive the kernel: freeing them is ordered behind it on the stream.
        let launched = unsafe { launch.launch(row_launch(&self.kernel, tokens, blocks)) };
        self.kernel.outcome(launched, || {
            format!("{tokens} tokens of {hidden}, {terms} slots")
        })
    }
}
