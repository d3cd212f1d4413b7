//! GPUs: the compiled kernels of `kernels/` and their launch shapes, and a checked launch for each.
//!
//! A build without nvcc has the launch shapes only. [`kernels`] are put together to a forward pass in `forward.rs`, and to an
//! engine in `engine.rs`.

#[cfg(not(lexpeak_cuda))]
mod absent;
#[cfg(lexpeak_cuda)]
mod arena;
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
#[cfg(lexpeak_cuda)]
mod heads;
mod images;
#[cfg(lexpeak_cuda)]
pub mod kernels;
#[cfg(lexpeak_cuda)]
mod staging;
#[cfg(lexpeak_cuda)]
mod weights;

#[cfg(not(lexpeak_cuda))]
pub(crate) use absent::{device_count, device_name, engines};
#[cfg(lexpeak_cuda)]
pub(crate) use engine::{device_count, device_name, engines};
#[cfg(lexpeak_cuda)]
pub use gpu::Gpu;

pub use images::{KernelImage, KernelResources, kernel_images, kernel_resources};

/// Tokens a batch unless asked otherwise: enough for several waves of every kernel, while hidden states, sums and context of a
/// model like BERT-base (25 MB each) may still be found in the L2 cache of an H100 (50 MB).
pub(crate) const BATCH_TOKENS: usize = 16_384;

/// The launch shape of each kernel file: its constants, as `kernels/FILE.cu` has them.
pub mod launch_shape {
    include!(concat!(env!("OUT_DIR"), "/launch_shapes.rs"));
}
