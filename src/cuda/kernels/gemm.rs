//! Launches `kernels/gemm.cu`: a linear layer with what follows it.

use std::marker::PhantomData;

use cudarc::driver::{CudaView, CudaViewMut, LaunchConfig, PushKernelArg};

use super::{Cost, Element, Function, Normed, check_len};
use crate::cuda::Gpu;
use crate::cuda::launch_shape::gemm as shape;
use crate::error::{Error, Result};

/// What happens to a sum of products and its bias before it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogue {
    /// Nothing.
    Bias,
    /// GELU in its erf form.
    BiasGelu,
    /// A residual is added.
    BiasResidual,
}

/// `out[t, n] = epilogue(sum over k of x[t, k]·weight[n, k] + bias[n])`; `out` is stored as `R`.
///
/// There are kernels for what a forward pass needs. For a [storage type](super::Storage) S and its sum type they are, from
/// `T` to `R`: [`Normed`] to S or to a sum with [`Epilogue::Bias`] or [`Epilogue::BiasGelu`], S to a sum with
/// [`Epilogue::BiasResidual`].
#[derive(Debug)]
pub struct Gemm<T, R = T> {
    kernel: Function,
    epilogue: Epilogue,
    types: PhantomData<(T, R)>,
}

/// Operands of [`Gemm`]; T tokens, K inputs, N outputs, both multiples of 8. Each begins at a multiple of 16 bytes.
#[derive(Debug)]
pub struct GemmArgs<'a, T, R = T> {
    /// T, K
    pub x: CudaView<'a, T>,
    /// N, K
    pub weight: CudaView<'a, T>,
    /// N
    pub bias: CudaView<'a, f32>,
    /// T, N; with [`Epilogue::BiasResidual`], and only then.
    pub residual: Option<CudaView<'a, Normed>>,
    /// T, N
    pub out: CudaViewMut<'a, R>,
}

impl<T: Element, R: Element> Gemm<T, R> {
    /// Loads the kernel with that epilogue.
    ///
    /// # Errors
    ///
    /// There is no such kernel, the GPU is too old for it, or its driver fails.
    pub fn load(gpu: &Gpu, epilogue: Epilogue) -> Result<Self> {
        let entry = match epilogue {
            Epilogue::Bias => "gemm_bias",
            Epilogue::BiasGelu => "gemm_bias_gelu",
            Epilogue::BiasResidual => "gemm_bias_residual",
        };
        let types = if R::NAME == T::NAME {
            T::NAME.to_owned()
        } else {
            format!("{}_{}", T::NAME, R::NAME)
        };
        let kernel = Function::load_entry(gpu, "gemm", &format!("{entry}_{types}"))?;
        kernel.allow_shared_memory(shape::SMEM_BYTES)?;
        Ok(Self {
            kernel,
            epilogue,
            types: PhantomData,
        })
    }

    /// What a launch of T tokens, N outputs and K inputs costs.
    pub fn cost(&self, tokens: usize, outputs: usize, inputs: usize) -> Cost {
        let [t, n, k] = [tokens, outputs, inputs].map(|size| size as u64);
        let residual = u64::from(self.epilogue == Epilogue::BiasResidual) * t * n;
        let [value, result] = [size_of::<T>(), size_of::<R>()].map(|size| size as u64);
        Cost {
            bytes: (t * k + n * k) * value + 2 * residual + t * n * result + 4 * n,
            flops: 2 * t * n * k,
        }
    }

    /// Launches it for all tokens.
    ///
    /// # Errors
    ///
    /// Operands whose lengths do not fit each other, or a driver that refuses the launch.
    pub fn launch(&self, args: GemmArgs<'_, T, R>) -> Result<()> {
        let GemmArgs {
            x,
            weight,
            bias,
            residual,
            mut out,
        } = args;
        let name = self.kernel.name();
        let outputs = bias.len();
        let inputs = weight.len() / outputs.max(1);
        for (what, size) in [("inputs", inputs), ("outputs", outputs)] {
            if size == 0 || !size.is_multiple_of(8) || i32::try_from(size).is_err() {
                return Err(Error::device(
                    format!("kernel {name}"),
                    format!("{size} {what}"),
                    "they must be a multiple of 8: pad the weights with zeros",
                ));
            }
        }
        let tokens = x.len() / inputs;
        check_len(name, "weight", weight.len(), outputs * inputs)?;
        check_len(name, "x", x.len(), tokens * inputs)?;
        check_len(name, "out", out.len(), tokens * outputs)?;
        let wanted = match self.epilogue {
            Epilogue::BiasResidual => tokens * outputs,
            Epilogue::Bias | Epilogue::BiasGelu => 0,
        };
        let given = residual.as_ref().map_or(0, CudaView::len);
        check_len(name, "residual", given, wanted)?;
        let config = LaunchConfig {
            grid_dim: (
                outputs.div_ceil(shape::BLOCK_N as usize) as u32,
                tokens.div_ceil(shape::BLOCK_M as usize) as u32,
                1,
            ),
            block_dim: (shape::THREADS, 1, 1),
            shared_mem_bytes: shape::SMEM_BYTES,
        };
        if u16::try_from(config.grid_dim.1).is_err() {
            return Err(Error::device(
                format!("kernel {name}"),
                format!("{tokens} tokens at once"),
                "a grid has 65535 rows of tiles at most: pass fewer",
            ));
        }
        if tokens == 0 {
            return Ok(());
        }
        let sizes = [tokens, outputs, inputs].map(|size| size as i32);
        // gemm(const T* a, const T* b, const float* bias, [const half* residual,] R* c, int tokens, int outputs, int depth)
        let mut launch = self.kernel.stream().launch_builder(self.kernel.function());
        launch.arg(&x).arg(&weight).arg(&bias);
        if let Some(residual) = &residual {
            launch.arg(residual);
        }
        launch.arg(&mut out);
        sizes.iter().for_each(|size| {
            launch.arg(size);
        });
        // SAFETY: the arguments are those of the entry point, in its order: `residual` is there where the epilogue wants
        // it. x has tokens rows of inputs, weight outputs rows of them, residual and out tokens rows of outputs, bias one;
        // the grid covers them. `out` is borrowed mutably and so overlaps nothing. All operands outlive the kernel:
        // freeing them is ordered behind it on the stream.
        let launched = unsafe { launch.launch(config) };
        self.kernel.outcome(launched, || {
            format!("{tokens} tokens, {inputs} inputs, {outputs} outputs")
        })
    }
}
