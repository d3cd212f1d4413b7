//! GPUs: the compiled kernels of `kernels/` and their launch shapes, and a checked launch for each.
//!
//! A build without nvcc has the launch shapes only. [`kernels`] are put together to a forward pass in `forward.rs`, and to an
//! engine in `engine.rs`.

#[cfg(lexpeak_cuda)]
mod batch;
#[cfg(lexpeak_cuda)]
mod buffers;
#[cfg(lexpeak_cuda)]
mod engine;
#[cfg(lexpeak_cuda)]
mod forward;
#[cfg(lexpeak_cuda)]
mod gpu;
mod images;
#[cfg(lexpeak_cuda)]
pub mod kernels;
#[cfg(lexpeak_cuda)]
mod weights;

#[cfg(lexpeak_cuda)]
pub use gpu::Gpu;

use crate::engine::{Dtype, Engine};
use crate::error::Result;
use crate::model::Model;
#[cfg(lexpeak_cuda)]
use engine::CudaEngine;

pub use images::{KernelImage, KernelResources, kernel_images, kernel_resources};

/// Tokens a batch unless asked otherwise: activations of a model like BERT-base stay near the 50 MB of an H100's L2 cache.
pub(crate) const BATCH_TOKENS: usize = 16_384;

/// How many GPUs the driver shows; 0 in a build without kernels.
pub(crate) fn device_count() -> Result<usize> {
    #[cfg(lexpeak_cuda)]
    return Gpu::count();
    #[cfg(not(lexpeak_cuda))]
    Ok(0)
}

/// The name of the GPU of that number.
pub(crate) fn device_name(number: usize) -> Result<String> {
    #[cfg(lexpeak_cuda)]
    return Gpu::new(number)?.name();
    #[cfg(not(lexpeak_cuda))]
    unreachable!("there is no GPU {number} in a build without kernels")
}

/// An engine for `model` on the GPU of that number, for batches of `tokens` tokens.
#[cfg(lexpeak_cuda)]
pub(crate) fn engine(
    number: usize,
    dtype: Dtype,
    model: &Model,
    tokens: usize,
) -> Result<Box<dyn Engine>> {
    let gpu = Gpu::new(number)?;
    match dtype {
        Dtype::Bf16 => Ok(Box::new(CudaEngine::<half::bf16>::new(gpu, model, tokens)?)),
        _ => Ok(Box::new(CudaEngine::<half::f16>::new(gpu, model, tokens)?)),
    }
}

/// The same where there are no kernels.
#[cfg(not(lexpeak_cuda))]
pub(crate) fn engine(number: usize, _: Dtype, _: &Model, _: usize) -> Result<Box<dyn Engine>> {
    unreachable!("there is no GPU {number} in a build without kernels")
}

/// The launch shape of each kernel file: its constants, as `kernels/FILE.cu` has them.
pub mod launch_shape {
    include!(concat!(env!("OUT_DIR"), "/launch_shapes.rs"));
}
