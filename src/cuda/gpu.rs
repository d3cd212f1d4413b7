//! One GPU: its context, and the stream that work goes to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::result::device;
use cudarc::driver::sys::CUdevice_attribute_enum::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
use cudarc::driver::{CudaContext, CudaModule, CudaStream, DriverError, sys};
use cudarc::nvrtc::Ptx;

use super::kernel_images;
use crate::error::{Error, Result};

/// A GPU ready for work.
#[derive(Clone, Debug)]
pub struct Gpu {
    stream: Arc<CudaStream>,
    processors: u32,
    /// Kernel files that were loaded, by their names.
    modules: Arc<Mutex<HashMap<&'static str, Arc<CudaModule>>>>,
}

impl Gpu {
    /// How many GPUs the driver shows; 0 without a driver.
    ///
    /// # Errors
    ///
    /// A driver that is there and fails.
    pub fn count() -> Result<usize> {
        // SAFETY: loads the driver library, whose initialisers are trusted as the driver is.
        if !unsafe { sys::is_culib_present() } {
            return Ok(0);
        }
        match CudaContext::device_count() {
            Ok(count) => Ok(count as usize),
            Err(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) => Ok(0),
            Err(error) => Err(driver_error("the CUDA driver", "count the GPUs", error)),
        }
    }

    /// The name of the GPU of that number, as its driver gives it: nothing is begun on it for that.
    ///
    /// # Errors
    ///
    /// There is no such GPU, or its driver fails.
    pub fn name(number: usize) -> Result<String> {
        Self::check(number)?;
        let name = device::get(number as i32).and_then(device::get_name);
        name.map_err(|error| driver_error(&format!("GPU {number}"), "ask its name", error))
    }

    /// Fails where there is no GPU of that number.
    fn check(number: usize) -> Result<()> {
        match Self::count()? {
            0 => Err(Error::unsupported(
                "no NVIDIA GPU answers here",
                "install its driver (nvidia-smi shows whether it works), or choose the device cpu",
            )),
            count if number < count => Ok(()),
            count => Err(Error::unsupported(
                format!("there is no GPU {number}: {count} answer here, numbered from 0"),
                "choose one of them; CUDA_VISIBLE_DEVICES can hide some",
            )),
        }
    }

    /// The GPU of that number, with a stream of its own.
    ///
    /// # Errors
    ///
    /// There is no such GPU, or its driver fails.
    pub fn new(number: usize) -> Result<Self> {
        Self::check(number)?;
        let failed = |error| driver_error(&format!("GPU {number}"), "open it", error);
        let context = CudaContext::new(number).map_err(failed)?;
        // SAFETY: kernels are on the one stream of this value. Whoever copies on another stream, or shares memory between
        // two values, orders that by events or waits in between.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(failed)?;
        let processors = context.attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
        Ok(Self {
            stream,
            processors: processors.map_err(failed)? as u32,
            modules: Arc::default(),
        })
    }

    /// The stream that its work goes to.
    pub fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    /// Another stream, whose work nothing orders against that of the first.
    pub(super) fn new_stream(&self) -> Result<Arc<CudaStream>> {
        let made = self.stream.context().new_stream();
        made.map_err(|error| driver_error("the GPU", "make a stream", error))
    }

    /// Multiprocessors that it has.
    pub fn processors(&self) -> u32 {
        self.processors
    }

    /// The kernels of `kernels/FILE.cu`, loaded when they are asked for the first time.
    pub(super) fn module(&self, file: &str) -> Result<Arc<CudaModule>, DriverError> {
        let image = kernel_images().iter().find(|image| image.name == file);
        let image =
            image.expect("every kernel file has an image in a build with nvcc. This is a bug");
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = modules.get(image.name) {
            return Ok(Arc::clone(module));
        }
        let fatbin = Ptx::from_binary(image.fatbin.to_vec());
        let module = self.stream.context().load_module(fatbin)?;
        modules.insert(image.name, Arc::clone(&module));
        Ok(module)
    }

    /// Makes it the GPU of this thread, as every thread that works with it must.
    ///
    /// # Errors
    ///
    /// The driver fails.
    pub fn bind_to_thread(&self) -> Result<()> {
        let failed = |error| driver_error("the GPU", "bind it to a thread", error);
        self.stream.context().bind_to_thread().map_err(failed)
    }

    /// Waits until all work is done.
    ///
    /// # Errors
    ///
    /// Work that failed, in a kernel perhaps.
    pub fn synchronize(&self) -> Result<()> {
        let failed = |error| driver_error("the GPU", "finish its work", error);
        self.stream.synchronize().map_err(failed)
    }
}

/// What the driver said when `place` could not `action`.
pub(super) fn driver_error(place: &str, action: &str, error: DriverError) -> Error {
    let remedy = match error.0 {
        sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
            "choose a GPU with more memory that is free (--device cuda:N), or the CPU (--device cpu)"
        }
        sys::CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU | sys::CUresult::CUDA_ERROR_INVALID_PTX => {
            "this GPU is older than the kernels: it takes compute capability 8.0 or newer, or the device cpu"
        }
        sys::CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
        | sys::CUresult::CUDA_ERROR_MISALIGNED_ADDRESS
        | sys::CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION
        | sys::CUresult::CUDA_ERROR_LAUNCH_FAILED => {
            "a kernel failed, which is a bug or a broken GPU: a build with --features synchronous names it, please report it"
        }
        _ => "see what the driver logged (nvidia-smi, dmesg), and try again",
    };
    let said = error.error_string().map_or_else(
        |_| format!("{:?}", error.0),
        |text| text.to_string_lossy().into_owned(),
    );
    let problem = format!("cannot {action}: {said}");
    if error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY {
        return Error::out_of_memory(place, problem, remedy);
    }
    Error::device(place, problem, remedy)
}
