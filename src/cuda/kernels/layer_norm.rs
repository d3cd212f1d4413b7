//! Launches `kernels/layer_norm.cu`: LayerNorm of every token.

use std::marker::PhantomData;

use cudarc::driver::{CudaView, CudaViewMut, PushKernelArg};

use super::rows::{RowShape, row_launch};
use super::{Cost, Element, Function, Normed, check_len};
use crate::cuda::{Gpu, launch_shape};
use crate::error::Result;

/// `out[t, :] = LayerNorm(sums[t, :]) * scale + shift`, of sums of a type `S`: f16 or f32.
#[derive(Debug)]
pub struct LayerNorm<S> {
    kernel: Function,
    row: RowShape,
    sums: PhantomData<S>,
}

/// Operands of [`LayerNorm`]; T tokens, rows of a stride. Each begins at a multiple of 16 bytes.
#[derive(Debug)]
pub struct LayerNormArgs<'a, S> {
    /// T, stride; zeros beyond the hidden size.
    pub sums: CudaView<'a, S>,
    /// stride, zeros beyond the hidden size
    pub scale: CudaView<'a, f32>,
    /// stride, zeros beyond the hidden size
    pub shift: CudaView<'a, f32>,
    /// T, stride
    pub out: CudaViewMut<'a, Normed>,
    /// Added to the variance.
    pub eps: f32,
}

impl<S: Element> LayerNorm<S> {
    /// Loads the kernel for rows of that shape.
    ///
    /// # Errors
    ///
    /// The GPU is too old for it, or its driver fails.
    pub fn load(gpu: &Gpu, row: RowShape) -> Result<Self> {
        Ok(Self {
            kernel: Function::load_for::<S>(gpu, "layer_norm", &row.entry("layer_norm"))?,
            row,
            sums: PhantomData,
        })
    }

    /// What a launch for T tokens costs.
    pub fn cost(&self, tokens: usize) -> Cost {
        let stride = self.row.stride();
        let values = tokens * stride * (size_of::<S>() + size_of::<Normed>());
        Cost {
            bytes: (values + 8 * stride) as u64,
            flops: 0,
        }
    }

    /// Launches it for all rows of `sums`.
    ///
    /// # Errors
    ///
    /// Operands whose lengths do not fit each other, or a driver that refuses the launch.
    pub fn launch(&self, args: LayerNormArgs<'_, S>) -> Result<()> {
        let LayerNormArgs {
            sums,
            scale,
            shift,
            mut out,
            eps,
        } = args;
        let name = self.kernel.name();
        let (hidden, stride) = (self.row.hidden(), self.row.stride());
        let tokens = sums.len() / stride;
        check_len(name, "sums", sums.len(), tokens * stride)?;
        check_len(name, "scale", scale.len(), stride)?;
        check_len(name, "shift", shift.len(), stride)?;
        check_len(name, "out", out.len(), tokens * stride)?;
        if tokens == 0 {
            return Ok(());
        }
        let blocks = self.row.blocks(
            launch_shape::layer_norm::BLOCKS_PER_PROCESSOR,
            launch_shape::layer_norm::BLOCKS_PER_PROCESSOR_WIDE,
        );
        let sizes = [tokens, hidden, stride].map(|size| size as i32);
        // layer_norm(const Sum* sums, const float* scale, const float* shift, half* out, int tokens, int hidden, int stride,
        //            float eps)
        let mut launch = self.kernel.stream().launch_builder(self.kernel.function());
        launch.arg(&sums).arg(&scale).arg(&shift).arg(&mut out);
        sizes.iter().for_each(|size| {
            launch.arg(size);
        });
        launch.arg(&eps);
        // SAFETY: the arguments are those of the entry point, in its order. sums and out have tokens rows of stride values,
        // scale and shift one; the entry point is one for rows of this shape. out is borrowed mutably and so overlaps
        // nothing. All operands outlive the kernel: freeing them is ordered behind it on the stream.
        let launched = unsafe { launch.launch(row_launch(&self.kernel, tokens, blocks)) };
        self.kernel
            .outcome(launched, || format!("{tokens} tokens of {hidden}"))
    }
}
