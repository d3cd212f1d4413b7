//! A kernel loaded for one storage type.

use std::fmt::Debug;
use std::sync::Arc;

use bytemuck::AnyBitPattern;
use cudarc::driver::sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
use cudarc::driver::{CudaFunction, CudaStream, DeviceRepr, DriverError};
use half::{bf16, f16};

use crate::cuda::Gpu;
use crate::cuda::gpu::driver_error;
use crate::error::{Error, Result};

/// A type of what kernels read and write.
pub trait Element: DeviceRepr + AnyBitPattern + Debug + Send + Sync + Unpin + 'static {
    /// The ending of the entry points for it.
    const NAME: &'static str;
}

impl Element for f16 {
    const NAME: &'static str = "f16";
}

impl Element for bf16 {
    const NAME: &'static str = "bf16";
}

impl Element for f32 {
    const NAME: &'static str = "f32";
}

/// What LayerNorm writes, and the weights and tables that meet it: numbers not far from 1, of which f16 keeps 3 bits more
/// than bf16.
pub type Normed = f16;

/// What a model is computed in. What no LayerNorm bounds is stored so: queries, keys, values, their context, feed-forward
/// states, and the weights that meet the latter two.
pub trait Storage: Element {
    /// What LayerNorm reads is stored in this: bf16 has too few bits for a sum that is rounded again right after.
    type Sum: Element;

    /// The nearest value of the type, infinite beyond its range.
    fn from_f32(value: f32) -> Self;

    /// Whether it is neither infinite nor no number.
    fn is_finite(self) -> bool;
}

impl Storage for f16 {
    type Sum = Self;

    fn from_f32(value: f32) -> Self {
        Self::from_f32(value)
    }

    fn is_finite(self) -> bool {
        self.is_finite()
    }
}

impl Storage for bf16 {
    type Sum = f32;

    fn from_f32(value: f32) -> Self {
        Self::from_f32(value)
    }

    fn is_finite(self) -> bool {
        self.is_finite()
    }
}

/// An entry point of a kernel file.
#[derive(Debug)]
pub(super) struct Function {
    name: String,
    function: CudaFunction,
    stream: Arc<CudaStream>,
    processors: u32,
}

impl Function {
    /// Loads `ENTRY_TYPE` of `kernels/FILE.cu`.
    pub(super) fn load_for<T: Element>(gpu: &Gpu, file: &str, entry: &str) -> Result<Self> {
        Self::load_entry(gpu, file, &format!("{entry}_{}", T::NAME))
    }

    /// Loads the entry point `name` of `kernels/FILE.cu`.
    pub(super) fn load_entry(gpu: &Gpu, file: &str, name: &str) -> Result<Self> {
        let function = gpu
            .module(file)
            .and_then(|module| module.load_function(name))
            .map_err(|error| driver_error(&format!("kernel {name}"), "load it", error))?;
        Ok(Self {
            name: name.to_owned(),
            function,
            stream: Arc::clone(gpu.stream()),
            processors: gpu.processors(),
        })
    }

    /// Asks the driver once for what the launches will: over 48 KB of shared memory a block must be allowed.
    pub(super) fn allow_shared_memory(&self, bytes: u32) -> Result<()> {
        let attribute = CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        let allowed = self.function.set_attribute(attribute, bytes as i32);
        allowed.map_err(|error| {
            driver_error(
                &format!("kernel {}", self.name),
                &format!("get {bytes} bytes of shared memory a block"),
                error,
            )
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Multiprocessors of the GPU that it was loaded for.
    pub(super) fn processors(&self) -> u32 {
        self.processors
    }

    pub(super) fn function(&self) -> &CudaFunction {
        &self.function
    }

    pub(super) fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    /// What became of a launch. Its failure while it runs comes later, with the work that waits for it, and nobody knows then
    /// whose it is: with the feature `synchronous`, every launch is waited for.
    pub(super) fn outcome<E>(
        &self,
        launched: Result<E, DriverError>,
        shapes: impl FnOnce() -> String,
    ) -> Result<()> {
        let outcome = launched.and_then(|_| match cfg!(feature = "synchronous") {
            true => self.stream.synchronize(),
            false => Ok(()),
        });
        outcome.map_err(|error| {
            driver_error(
                &format!("kernel {}", self.name),
                &format!("run it for {}", shapes()),
                error,
            )
        })
    }
}

/// What a kernel gets for an operand that is not there.
pub(super) const NULL: u64 = 0;

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
