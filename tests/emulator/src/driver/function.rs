//! Kernels as the host sees them: attributes.

use std::ffi::{c_char, c_int, c_void};
use std::sync::Arc;

use super::context::Context;
use super::entry::{enter_context, out};
use super::error::{Code, Failure, misuse};
use super::model::{MAX_THREADS_PER_BLOCK, SHARED_PER_BLOCK};
use super::table::{Handle, Object};
use crate::isa::{Kernel, RESERVED_SHARED};

/// A kernel with what the program has set.
#[derive(Debug)]
pub struct Function {
    /// The kernel.
    pub kernel: Arc<Kernel>,
    /// Its context.
    pub context: Handle<Context>,
    /// Most dynamic shared memory of a launch, in bytes.
    pub max_dynamic_shared: u32,
    /// Preferred share of shared memory in the first-level cache, in percent; remembered, without effect.
    carveout: c_int,
    name: std::ffi::CString,
}

impl Object for Function {
    const NAME: &'static str = "function";
    const RANGE: u64 = 0x46;
}

impl Function {
    /// A kernel as loaded.
    pub fn new(kernel: Arc<Kernel>, context: Handle<Context>) -> Self {
        let max_dynamic_shared = SHARED_PER_BLOCK - static_shared(&kernel);
        let name = std::ffi::CString::new(kernel.name.as_str()).unwrap_or_default();
        Function {
            kernel,
            context,
            max_dynamic_shared,
            carveout: -1,
            name,
        }
    }

    /// Most threads of a block.
    pub fn max_threads(&self) -> u32 {
        self.kernel
            .max_threads
            .map_or(MAX_THREADS_PER_BLOCK, |most| most.iter().product())
    }

    /// `CUfunction_attribute`.
    fn attribute(&self, number: c_int, capability: (u32, u32)) -> Result<c_int, Failure> {
        let value = match number {
            attribute::MAX_THREADS_PER_BLOCK => self.max_threads(),
            attribute::SHARED_SIZE => static_shared(&self.kernel),
            attribute::LOCAL_SIZE => self.kernel.local_bytes,
            // Constants lie in global memory here. Registers are given by ptxas, which never sees this kernel: 0, so that
            // nobody takes the number for a real one.
            attribute::CONST_SIZE | attribute::NUM_REGS | attribute::CACHE_MODE_CA => 0,
            attribute::PTX_VERSION => digits(&self.kernel.target),
            attribute::BINARY_VERSION => 10 * capability.0 + capability.1,
            attribute::MAX_DYNAMIC_SHARED_SIZE => self.max_dynamic_shared,
            attribute::CARVEOUT => return Ok(self.carveout),
            attribute::REQUIRED_CLUSTER_WIDTH..=attribute::REQUIRED_CLUSTER_DEPTH => {
                self.kernel.cluster.map_or(0, |shape| {
                    shape[(number - attribute::REQUIRED_CLUSTER_WIDTH) as usize]
                })
            }
            attribute::CLUSTER_SIZE_MUST_BE_SET
            | attribute::NON_PORTABLE_CLUSTER
            | attribute::CLUSTER_SCHEDULING => 0,
            _ => return Err(no_attribute(number)),
        };
        Ok(value as c_int)
    }

    fn set_attribute(
        &mut self,
        number: c_int,
        value: c_int,
        shared_opt_in: u32,
    ) -> Result<(), Failure> {
        match number {
            attribute::MAX_DYNAMIC_SHARED_SIZE => {
                let most = shared_opt_in - static_shared(&self.kernel);
                let wanted = u32::try_from(value).ok().filter(|&bytes| bytes <= most);
                self.max_dynamic_shared = wanted.ok_or_else(|| {
                    let message = format!("{value} bytes of dynamic shared memory for kernel {}: the device allows {most}", self.kernel.name);
                    misuse(Code::InvalidValue, message)
                })?;
                Ok(())
            }
            attribute::CARVEOUT if (-1..=100).contains(&value) => {
                self.carveout = value;
                Ok(())
            }
            attribute::CARVEOUT => Err(misuse(
                Code::InvalidValue,
                format!("a carveout of {value} percent"),
            )),
            attribute::NON_PORTABLE_CLUSTER if value == 0 => Ok(()),
            attribute::NON_PORTABLE_CLUSTER => Err(misuse(
                Code::NotSupported,
                "clusters of more than 8 blocks are not supported",
            )),
            attribute::CLUSTER_SCHEDULING => Ok(()),
            _ => Err(no_attribute(number)),
        }
    }
}

/// Static shared memory of a kernel, without what the system takes.
pub fn static_shared(kernel: &Kernel) -> u32 {
    kernel.static_shared - RESERVED_SHARED
}

fn digits(target: &str) -> u32 {
    target
        .bytes()
        .filter(u8::is_ascii_digit)
        .fold(0, |number, digit| 10 * number + u32::from(digit - b'0'))
}

fn no_attribute(number: c_int) -> Failure {
    misuse(Code::InvalidValue, format!("function attribute {number}"))
}

/// `CUfunction_attribute`.
mod attribute {
    use std::ffi::c_int;

    pub const MAX_THREADS_PER_BLOCK: c_int = 0;
    pub const SHARED_SIZE: c_int = 1;
    pub const CONST_SIZE: c_int = 2;
    pub const LOCAL_SIZE: c_int = 3;
    pub const NUM_REGS: c_int = 4;
    pub const PTX_VERSION: c_int = 5;
    pub const BINARY_VERSION: c_int = 6;
    pub const CACHE_MODE_CA: c_int = 7;
    pub const MAX_DYNAMIC_SHARED_SIZE: c_int = 8;
    pub const CARVEOUT: c_int = 9;
    pub const CLUSTER_SIZE_MUST_BE_SET: c_int = 10;
    pub const REQUIRED_CLUSTER_WIDTH: c_int = 11;
    pub const REQUIRED_CLUSTER_DEPTH: c_int = 13;
    pub const NON_PORTABLE_CLUSTER: c_int = 14;
    pub const CLUSTER_SCHEDULING: c_int = 15;
}

/// A property of a kernel.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncGetAttribute(
    value: *mut c_int,
    number: c_int,
    function: *mut c_void,
) -> Code {
    enter_context("cuFuncGetAttribute", |driver, _| {
        // SAFETY: the driver interface demands a pointer that may be written.
        let value = unsafe { out(value) }?;
        let function = driver.functions.get(Handle::from_raw(function))?;
        let device = driver.contexts.get(function.context)?.device;
        value.write(function.attribute(number, driver.devices[device].model.capability.numbers())?);
        Ok(())
    })
}

/// Changes a property of a kernel.
#[unsafe(no_mangle)]
pub extern "C" fn cuFuncSetAttribute(function: *mut c_void, number: c_int, value: c_int) -> Code {
    enter_context("cuFuncSetAttribute", |driver, _| {
        let handle = Handle::from_raw(function);
        let device = driver
            .contexts
            .get(driver.functions.get(handle)?.context)?
            .device;
        let shared_opt_in = driver.devices[device].model.shared_opt_in;
        driver
            .functions
            .get_mut(handle)?
            .set_attribute(number, value, shared_opt_in)
    })
}

/// Changes a kernel's cache preference, which has no effect.
#[unsafe(no_mangle)]
pub extern "C" fn cuFuncSetCacheConfig(function: *mut c_void, _cache: c_int) -> Code {
    enter_context("cuFuncSetCacheConfig", |driver, _| {
        driver.functions.get(Handle::from_raw(function)).map(drop)
    })
}

/// The name of a kernel, valid until its module is unloaded.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncGetName(name: *mut *const c_char, function: *mut c_void) -> Code {
    enter_context("cuFuncGetName", |driver, _| {
        // SAFETY: the driver interface demands a pointer that may be written.
        let name = unsafe { out(name) }?;
        name.write(
            driver
                .functions
                .get(Handle::from_raw(function))?
                .name
                .as_ptr(),
        );
        Ok(())
    })
}

/// Offset and size of a kernel's parameter.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncGetParamInfo(
    function: *mut c_void,
    index: usize,
    offset: *mut usize,
    bytes: *mut usize,
) -> Code {
    enter_context("cuFuncGetParamInfo", |driver, _| {
        let kernel = &driver.functions.get(Handle::from_raw(function))?.kernel;
        let parameter = *kernel.parameters.get(index).ok_or(Code::InvalidValue)?;
        // SAFETY: the driver interface demands pointers that may be written; the size may be unwanted.
        unsafe {
            out(offset)?.write(parameter.offset as usize);
            super::entry::write_if_wanted(bytes, parameter.size as usize)
        }
    })
}
