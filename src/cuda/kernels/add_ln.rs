//! Launches `kernels/add_ln.cu`: residual sum and LayerNorm.

use std::marker::PhantomData;

use cudarc::driver::{CudaSlice, PushKernelArg};

use super::{Function, Storage, a_block_a_row, check_len, row_block};
use crate::cuda::{Gpu, launch_shape};
use crate::error::Result;

/// `out[t, :] = LayerNorm(x[t, :] + residual[t, :]) * scale + shift`.
#[derive(Debug)]
pub struct AddLn<T> {
    kernel: Function,
    storage: PhantomData<T>,
}

/// Operands of [`AddLn`]; T tokens, H hidden size.
#[derive(Debug)]
pub struct AddLnArgs<'a, T> {
    /// T, H
    pub x: &'a CudaSlice<T>,
    /// T, H
    pub residual: &'a CudaSlice<T>,
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

impl<T: Storage> AddLn<T> {
    /// Loads the kernel.
    ///
    /// # Errors
    ///
    /// The GPU is too old for it, or its driver fails.
    pub fn load(gpu: &Gpu) -> Result<Self> {
        let kernel = Function::load::<T>(gpu, "add_ln")?;
        Ok(Self {
            kernel,
            storage: PhantomData,
        })
    }

    /// Launches it for all rows of `out`.
    ///
    /// # Errors
    ///
    /// Operands whose lengths do not fit each other, or a driver that refuses the launch.
    pub fn launch(&self, args: AddLnArgs<'_, T>) -> Result<()> {
        let AddLnArgs {
            x,
            residual,
            scale,
            shift,
            out,
            hidden,
            eps,
        } = args;
        let name = self.kernel.name();
        let block = row_block(name, hidden, launch_shape::add_ln::MAX_THREADS as usize)?;
        let tokens = out.len() / hidden;
        check_len(name, "out", out.len(), tokens * hidden)?;
        check_len(name, "x", x.len(), tokens * hidden)?;
        check_len(name, "residual", residual.len(), tokens * hidden)?;
        check_len(name, "scale", scale.len(), hidden)?;
        check_len(name, "shift", shift.len(), hidden)?;
        if tokens == 0 {
            return Ok(());
        }
        let width = hidden as i32;
        // add_ln(const T* x, const T* residual, const float* scale, const float* shift, T* out, int hidden, float eps)
        let mut launch = self.kernel.stream().launch_builder(self.kernel.function());
        launch
            .arg(x)
            .arg(residual)
            .arg(scale)
            .arg(shift)
            .arg(out)
            .arg(&width)
            .arg(&eps);
        // SAFETY: the arguments are those of the entry point, in its order. x, residual and out hold tokens rows of
        // hidden values, scale and shift one, and the grid has a block a row; `out` is borrowed mutably and so overlaps
        // nothing. Allocations begin at multiples of 256 bytes and rows are whole chunks of 16. All operands outlive the
        // kernel: freeing them is ordered behind it on the stream.
        let launched = unsafe { launch.launch(a_block_a_row(tokens, block)) };
        launched.map(drop).map_err(|error| {
            self.kernel
                .refused(&format!("{tokens} tokens of {hidden}"), error)
        })
    }
}
