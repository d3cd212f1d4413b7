//! Launches `kernels/l2_normalize.cu`: some rows, each divided by its norm.

use std::marker::PhantomData;

use cudarc::driver::{CudaView, CudaViewMut, LaunchConfig, PushKernelArg};

use super::rows::RowShape;
use super::{Cost, Element, Function, Normed, check_len};
use crate::cuda::Gpu;
use crate::cuda::launch_shape::l2_normalize as shape;
use crate::error::{Error, Result};

/// `out[r, :] = x[rows[r], :] / ‖x[rows[r], :]‖`, of the first values of rows of a type `S`: f16 or f32.
#[derive(Debug)]
pub struct L2Normalize<S> {
    kernel: Function,
    row: RowShape,
    values: PhantomData<S>,
}

/// Numbers of the rows that are wanted, with the largest one known: they index hidden states.
#[derive(Debug)]
pub struct DeviceRows<'a> {
    rows: CudaView<'a, u32>,
    /// One more than the largest number.
    bound: usize,
}

/// Operands of [`L2Normalize`]; T tokens, R rows. `x` and `out` begin at multiples of 16 bytes.
#[derive(Debug)]
pub struct L2NormalizeArgs<'a, S> {
    /// T, stride of the hidden size
    pub x: CudaView<'a, S>,
    /// R
    pub rows: DeviceRows<'a>,
    /// Values that are taken of a row, the first ones.
    pub width: usize,
    /// R, the width rounded up to a multiple of 8; zeros beyond the width. NaN where a norm is not finite.
    pub out: CudaViewMut<'a, Normed>,
}

impl<'a> DeviceRows<'a> {
    /// Rows whose numbers are below `bound`, in any order.
    ///
    /// # Safety
    ///
    /// That holds for what `rows` holds when a kernel runs.
    pub unsafe fn new(rows: CudaView<'a, u32>, bound: usize) -> Self {
        Self { rows, bound }
    }
}

impl<S: Element> L2Normalize<S> {
    /// Loads the kernel for rows of that shape.
    ///
    /// # Errors
    ///
    /// The GPU is too old for it, or its driver fails.
    pub fn load(gpu: &Gpu, row: RowShape) -> Result<Self> {
        Ok(Self {
            kernel: Function::load_for::<S>(gpu, "l2_normalize", &row.entry("l2_normalize"))?,
            row,
            values: PhantomData,
        })
    }

    /// What a launch for the first `width` values of R rows costs.
    pub fn cost(&self, rows: usize, width: usize) -> Cost {
        let values = rows * width.next_multiple_of(8) * (size_of::<S>() + size_of::<Normed>());
        Cost {
            bytes: (values + 4 * rows) as u64,
            flops: 0,
        }
    }

    /// Launches it for all rows that are wanted.
    ///
    /// # Errors
    ///
    /// Operands whose lengths do not fit each other, a row or a width that `x` does not have, or a driver that refuses the launch.
    pub fn launch(&self, args: L2NormalizeArgs<'_, S>) -> Result<()> {
        let L2NormalizeArgs {
            x,
            rows: DeviceRows { rows, bound },
            width,
            mut out,
        } = args;
        let name = self.kernel.name();
        let (hidden, stride) = (self.row.hidden(), self.row.stride());
        if !(1..=hidden).contains(&width) {
            return Err(Error::device(
                format!("kernel {name}"),
                format!("{width} values of rows that have {hidden}"),
                format!("take 1 to {hidden}"),
            ));
        }
        let out_stride = width.next_multiple_of(8);
        let (count, tokens) = (rows.len(), x.len() / stride);
        check_len(name, "x", x.len(), tokens * stride)?;
        check_len(name, "out", out.len(), count * out_stride)?;
        if tokens < bound {
            return Err(Error::device(
                format!("kernel {name}"),
                format!("rows below {bound} of {tokens} hidden states"),
                "pass rows of this batch",
            ));
        }
        if count == 0 {
            return Ok(());
        }
        let sizes = [count, width, stride, out_stride].map(|size| size as i32);
        // l2_normalize(const Value* x, const uint32_t* rows, half* out, int count, int width, int stride, int out_stride)
        let mut launch = self.kernel.stream().launch_builder(self.kernel.function());
        launch.arg(&x).arg(&rows).arg(&mut out);
        sizes.iter().for_each(|size| {
            launch.arg(size);
        });
        let grid = LaunchConfig {
            grid_dim: (count.div_ceil(shape::ROWS as usize) as u32, 1, 1),
            block_dim: (shape::THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: the arguments are those of the entry point, in its order. x has tokens rows of stride values, and every
        // row that is read is below tokens, as DeviceRows promises; out has count rows of out_stride, which is at most stride,
        // for width is at most the hidden size; the entry point is one for rows of stride. out is borrowed mutably and so
        // overlaps nothing. All operands outlive the kernel: freeing them is ordered behind it on the stream.
        let launched = unsafe { launch.launch(grid) };
        self.kernel
            .outcome(launched, || format!("{count} rows of {width}"))
    }
}
