//! Modules: an image becomes decoded kernels and variables in device memory.

use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::Arc;

use super::context::Context;
use super::entry::{Locked, enter_context, out, text, write_if_wanted};
use super::error::{Code, Failure, misuse};
use super::function::Function;
use super::memory::Owner;
use super::model::SHARED_PER_BLOCK;
use super::table::{Handle, Object};
use crate::image::ImageError;
use crate::isa::{Kernel, RESERVED_SHARED, decode};
use crate::ptx;

/// A module.
#[derive(Debug)]
pub struct Module {
    /// Its context.
    pub context: Handle<Context>,
    kernels: HashMap<String, Arc<Kernel>>,
    /// Variables of `.global` and `.const` space: address and size.
    variables: HashMap<String, (u64, u64)>,
    /// Functions that were asked for.
    functions: HashMap<String, Handle<Function>>,
}

impl Object for Module {
    const NAME: &'static str = "module";
    const RANGE: u64 = 0x4d;
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        let code = match error {
            ImageError::Unknown(_) | ImageError::Damaged(_) => Code::InvalidImage,
            ImageError::Cubin | ImageError::NoPtx { .. } => Code::NoBinaryForGpu,
            ImageError::WrongTarget { .. } | ImageError::Ptx(_) => Code::InvalidPtx,
        };
        misuse(code, error.to_string())
    }
}

impl Locked {
    fn load(&mut self, image: &[u8], context: Handle<Context>) -> Result<Handle<Module>, Failure> {
        self.refuse_while_capturing()?;
        let device = self.contexts.get(context)?.device;
        let capability = self.devices[device].model.capability.numbers();
        let source = crate::image::module(image, capability)?;
        let variables = self.place_variables(&source, context)?;
        let loaded = self
            .fill_variables(&source, &variables)
            .and_then(|()| decode_all(&source, &variables));
        match loaded {
            Ok(kernels) => Ok(self.modules.insert(Module {
                context,
                kernels,
                variables,
                functions: HashMap::new(),
            })),
            Err(failure) => {
                variables
                    .values()
                    .try_for_each(|&(address, _)| self.free_now(address))?;
                Err(failure)
            }
        }
    }

    fn place_variables(
        &mut self,
        source: &ptx::Module,
        context: Handle<Context>,
    ) -> Result<HashMap<String, (u64, u64)>, Failure> {
        let owner = Owner {
            context,
            pool: None,
            of_module: true,
            freed_in_stream: false,
        };
        let mut variables = HashMap::new();
        for variable in &source.globals {
            let address = self.allocate(context, variable.size.max(1), owner)?;
            variables.insert(variable.name.clone(), (address, variable.size));
        }
        Ok(variables)
    }

    /// Writes the initial values: of a variable with none, zeros.
    fn fill_variables(
        &self,
        source: &ptx::Module,
        variables: &HashMap<String, (u64, u64)>,
    ) -> Result<(), Failure> {
        for variable in &source.globals {
            let mut bytes = variable.initial.clone();
            bytes.resize(variable.size as usize, 0);
            for (offset, name, addend) in &variable.pointers {
                let place = usize::try_from(*offset)
                    .ok()
                    .and_then(|offset| bytes.get_mut(offset..)?.first_chunk_mut::<8>());
                let (Some(place), Some(&(address, _))) = (place, variables.get(name)) else {
                    let message = format!(
                        "the initial value of {} refers to {name}, which the stand-in cannot resolve",
                        variable.name
                    );
                    return Err(misuse(Code::NotSupported, message));
                };
                *place = address.wrapping_add_signed(*addend).to_le_bytes();
            }
            let (address, size) = variables[&variable.name];
            let found = self.locate(address, size);
            let (memory, offset) = found.map_err(|error| {
                misuse(
                    Code::Unknown,
                    format!("variable {}: {error}", variable.name),
                )
            })?;
            memory.write(offset, &bytes);
        }
        Ok(())
    }
}

/// Decodes every kernel: what the stand-in cannot execute is found here, not in the middle of a run.
fn decode_all(
    source: &ptx::Module,
    variables: &HashMap<String, (u64, u64)>,
) -> Result<HashMap<String, Arc<Kernel>>, Failure> {
    let addresses = variables
        .iter()
        .map(|(name, &(address, _))| (name.clone(), address))
        .collect();
    let mut kernels = HashMap::new();
    for entry in &source.entries {
        let kernel = decode(source, entry, &addresses)
            .map_err(|error| misuse(Code::NotSupported, error.to_string()))?;
        let bytes = kernel.static_shared - RESERVED_SHARED;
        if bytes > SHARED_PER_BLOCK {
            let message = format!(
                "kernel {} has {bytes} bytes of static shared memory, at most {SHARED_PER_BLOCK} are possible: make it dynamic",
                entry.name
            );
            return Err(misuse(Code::InvalidPtx, message));
        }
        kernels.insert(entry.name.clone(), Arc::new(kernel));
    }
    Ok(kernels)
}

/// Loads an image: a fatbin with PTX, or PTX text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadData(module: *mut *mut c_void, image: *const c_void) -> Code {
    enter_context("cuModuleLoadData", |driver, context| {
        // SAFETY: the driver interface demands a pointer that may be written.
        let module = unsafe { out(module) }?;
        if image.is_null() {
            return Err(misuse(Code::InvalidValue, "the image is null"));
        }
        // SAFETY: not null; the driver interface demands a whole fatbin or cubin, or text that ends with a zero byte.
        let image = unsafe { crate::image::bytes(image.cast()) }?;
        module.write(driver.load(image, context)?.raw());
        Ok(())
    })
}

/// As `cuModuleLoadData`: options of the compiler mean nothing here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadDataEx(
    module: *mut *mut c_void,
    image: *const c_void,
    _count: c_uint,
    _options: *mut c_int,
    _values: *mut *mut c_void,
) -> Code {
    // SAFETY: the same contract.
    unsafe { cuModuleLoadData(module, image) }
}

/// As `cuModuleLoadData`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadFatBinary(
    module: *mut *mut c_void,
    image: *const c_void,
) -> Code {
    // SAFETY: the same contract.
    unsafe { cuModuleLoadData(module, image) }
}

/// Loads an image from a file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoad(module: *mut *mut c_void, path: *const c_char) -> Code {
    enter_context("cuModuleLoad", |driver, context| {
        // SAFETY: the driver interface demands a pointer that may be written.
        let module = unsafe { out(module) }?;
        // SAFETY: the driver interface demands text that ends with a zero byte.
        let path = unsafe { text(path) }?;
        let image = std::fs::read(path)
            .map_err(|error| misuse(Code::FileNotFound, format!("{path}: {error}")))?;
        module.write(driver.load(&image, context)?.raw());
        Ok(())
    })
}

/// Unloads a module, after everything that its context was asked for is done.
#[unsafe(no_mangle)]
pub extern "C" fn cuModuleUnload(module: *mut c_void) -> Code {
    enter_context("cuModuleUnload", |driver, context| {
        driver.refuse_while_capturing()?;
        let module = Handle::from_raw(module);
        let owner = driver.modules.get(module)?.context;
        driver.complete_context(owner);
        let module = driver.modules.remove(module)?;
        for function in module.functions.into_values() {
            driver.functions.remove(function)?;
        }
        module
            .variables
            .values()
            .try_for_each(|&(address, _)| driver.free_now(address))?;
        driver.healthy(context)
    })
}

/// A kernel of a module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetFunction(
    function: *mut *mut c_void,
    module: *mut c_void,
    name: *const c_char,
) -> Code {
    enter_context("cuModuleGetFunction", |driver, _| {
        // SAFETY: the driver interface demands a pointer that may be written.
        let function = unsafe { out(function) }?;
        // SAFETY: the driver interface demands text that ends with a zero byte.
        let name = unsafe { text(name) }?;
        let handle = Handle::from_raw(module);
        let module = driver.modules.get(handle)?;
        let known = match module.functions.get(name) {
            Some(&known) => known,
            None => {
                let kernel = module.kernels.get(name).ok_or(Code::NotFound)?.clone();
                let new = Function::new(kernel, module.context);
                let new = driver.functions.insert(new);
                driver
                    .modules
                    .get_mut(handle)?
                    .functions
                    .insert(name.to_owned(), new);
                new
            }
        };
        function.write(known.raw());
        Ok(())
    })
}

/// Address and size of a variable of a module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetGlobal_v2(
    address: *mut u64,
    bytes: *mut usize,
    module: *mut c_void,
    name: *const c_char,
) -> Code {
    enter_context("cuModuleGetGlobal", |driver, _| {
        // SAFETY: the driver interface demands text that ends with a zero byte.
        let name = unsafe { text(name) }?;
        let module = driver.modules.get(Handle::from_raw(module))?;
        let &(at, size) = module.variables.get(name).ok_or(Code::NotFound)?;
        // SAFETY: the driver interface allows null or pointers that may be written.
        unsafe {
            write_if_wanted(address, at)?;
            write_if_wanted(bytes, size as usize)
        }
    })
}
