//! A kernel loaded for one storage type.

use std::sync::Arc;

use cudarc::driver::{CudaFunction, CudaStream, DeviceRepr, DriverError, ValidAsZeroBits};
use cudarc::nvrtc::Ptx;
use half::{bf16, f16};

use crate::cuda::gpu::driver_error;
use crate::cuda::{Gpu, kernel_images};
use crate::error::{Error, Result};

/// A type that activations and weights are stored in.
pub trait Storage: DeviceRepr + ValidAsZeroBits + Unpin + 'static {
    /// The ending of the entry points for it.
    const NAME: &'static str;
}

impl Storage for f16 {
    const NAME: &'static str = "f16";
}

impl Storage for bf16 {
    const NAME: &'static str = "bf16";
}

/// An entry point of a kernel file.
#[derive(Debug)]
pub(super) struct Function {
    name: String,
    function: CudaFunction,
    stream: Arc<CudaStream>,
}

impl Function {
    /// Loads `FILE_TYPE` of `kernels/FILE.cu`.
    pub(super) fn load<T: Storage>(gpu: &Gpu, file: &str) -> Result<Self> {
        let name = format!("{file}_{}", T::NAME);
        let image = kernel_images().iter().find(|image| image.name == file);
        let image =
            image.expect("every kernel file has an image in a build with nvcc. This is a bug");
        let failed = |error| driver_error(&format!("kernel {name}"), "load it", error);
        let module = gpu
            .stream()
            .context()
            .load_module(Ptx::from_binary(image.fatbin.to_vec()));
        let function = module
            .and_then(|module| module.load_function(&name))
            .map_err(failed)?;
        Ok(Self {
            name,
            function,
            stream: Arc::clone(gpu.stream()),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn function(&self) -> &CudaFunction {
        &self.function
    }

    pub(super) fn stream(&self) -> &CudaStream {
        &self.stream
    }

    /// A launch that the driver refused.
    pub(super) fn refused(&self, shapes: &str, error: DriverError) -> Error {
        driver_error(
            &format!("kernel {}", self.name),
            &format!("launch it for {shapes}"),
            error,
        )
    }
}

/// An operand must have exactly the length that its shape says.
pub(super) fn check_len(kernel: &str, operand: &str, len: usize, expected: usize) -> Result<()> {
    if len == expected {
        return Ok(());
    }
    Err(Error::device(
        format!("kernel {kernel}"),
        format!("{operand} has {len} elements where its shape has {expected}"),
        "pass a slice of the right length",
    ))
}
