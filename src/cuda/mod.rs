//! GPUs: the compiled kernels of `kernels/` and their launch shapes, and a checked launch for each.
//!
//! A build without nvcc has the launch shapes only. The engine that puts the kernels together to a forward pass is not
//! written yet; they are here for their tests and for other programs.

#[cfg(lexpeak_cuda)]
mod gpu;
mod images;
#[cfg(lexpeak_cuda)]
pub mod kernels;

#[cfg(lexpeak_cuda)]
pub use gpu::Gpu;

pub use images::{KernelImage, KernelResources, kernel_images, kernel_resources};

/// The launch shape of each kernel file: its constants, as `kernels/FILE.cu` has them.
pub mod launch_shape {
    include!(concat!(env!("OUT_DIR"), "/launch_shapes.rs"));
}
