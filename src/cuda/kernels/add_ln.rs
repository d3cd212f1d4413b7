//! Launches `kernels/add_ln.cu`: residual sum and LayerNorm of every token, in place.

use std::marker::PhantomData;

use cudarc::driver::{CudaView, CudaViewMut, PushKernelArg};

use super::function::NULL;
use super::rows::{RowShape, row_launch};
use super::{Cost, Function, Storage, check_len};
use crate::cuda::{Gpu, launch_shape};
use crate::error::Result;

/// `x[t, :] = LayerNorm(x[t, :] + residual[t, :]) * scale + shift`.
#[derive(Debug)]
pub struct AddLn<T> {
    kernel: Function,
    storage: PhantomData<T>,
}

/// Operands of [`AddLn`]; T tokens, rows of a stride.
#[derive(Debug)]
pub struct AddLnArgs<'a, T> {
    /// T, stride; begins at a multiple of 16 bytes. Zeros beyond the hidden size.
    pub x: CudaViewMut<'a, T>,
    /// T, stride, like `x`, if something is to be added.
    pub residual: Option<CudaView<'a, T>>,
    /// stride, zeros beyond the hidden size
    pub scale: CudaView<'a, f32>,
    /// stride, zeros beyond the hidden size
    pub shift: CudaView<'a, f32>,
    /// What a row holds.
    pub row: RowShape,
    /// Added to the variance.
    pub eps: f32,
}

impl<T: Storage> AddLn<T> {
    /// Loads the kernel.
    ///
    /// # Errors
    ///
    /// The GPU is too old for it, or its driver fails.
    pub fn load(gpu: &Gpu) -> Result<Self> {
        Ok(Self {
            kernel: Function::load::<T>(gpu, "add_ln")?,
            storage: PhantomData,
        })
    }

    /// What a launch for T tokens costs.
    pub fn cost(&self, tokens: usize, row: RowShape, residual: bool) -> Cost {
        let values = if residual { 3 } else { 2 } * tokens * row.stride() * size_of::<T>();
        Cost {
            bytes: (values + 8 * row.stride()) as u64,
            flops: 0,
        }
    }

    /// Launches it for all rows of `x`.
    ///
    /// # Errors
    ///
    /// Operands whose lengths do not fit each other, or a driver that refuses the launch.
    pub fn launch(&self, args: AddLnArgs<'_, T>) -> Result<()> {
        let AddLnArgs {
            mut x,
            residual,
            scale,
            shift,
            row,
            eps,
        } = args;
        let name = self.kernel.name();
        let (hidden, stride) = (row.hidden(), row.stride());
        let tokens = x.len() / stride;
        check_len(name, "x", x.len(), tokens * stride)?;
        if let Some(residual) = &residual {
            check_len(name, "residual", residual.len(), x.len())?;
        }
        check_len(name, "scale", scale.len(), stride)?;
        check_len(name, "shift", shift.len(), stride)?;
        if tokens == 0 {
            return Ok(());
        }
        let blocks = launch_shape::add_ln::BLOCKS_PER_PROCESSOR;
        let sizes = [tokens, hidden, stride].map(|size| size as i32);
        // add_ln(T* x, const T* residual, const float* scale, const float* shift, int tokens, int hidden, int stride, float eps)
        let mut launch = self.kernel.stream().launch_builder(self.kernel.function());
        launch.arg(&mut x);
        match &residual {
            Some(residual) => launch.arg(residual),
            None => launch.arg(&NULL),
        };
        launch.arg(&scale).arg(&shift);
        sizes.iter().for_each(|size| {
            launch.arg(size);
        });
        launch.arg(&eps);
        // SAFETY: the arguments are those of the entry point, in its order. x and residual have tokens rows of stride values,
        // scale and shift one; a RowShape fits the lanes of a warp. x is borrowed mutably and so overlaps nothing. All operands
        // outlive the kernel: freeing them is ordered behind it on the stream.
        let launched = unsafe { launch.launch(row_launch(&self.kernel, tokens, blocks)) };
        launched.map(drop).map_err(|error| {
            self.kernel
                .refused(&format!("{tokens} tokens of {hidden}"), error)
        })
    }
}
