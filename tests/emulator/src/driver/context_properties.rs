//! Properties of the current context.

use std::ffi::{c_int, c_uint};

use super::context::{Context, LIMITS};
use super::entry::{enter, enter_context, out, write_if_wanted};
use super::error::{Code, Failure, misuse};
use super::stream::HIGHEST_PRIORITY;

/// Leaves a property of the current context.
///
/// # Safety
/// `result` is null or may be written.
unsafe fn describe<T>(
    function: &str,
    result: *mut T,
    property: impl FnOnce(&Context) -> T,
) -> Code {
    enter(function, |driver| {
        let context = driver.current_context()?;
        // SAFETY: as promised by the caller.
        unsafe { out(result) }?.write(property(driver.contexts.get(context)?));
        Ok(())
    })
}

/// The device of the current context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetDevice(device: *mut c_int) -> Code {
    // SAFETY: the driver interface demands a pointer that may be written.
    unsafe { describe("cuCtxGetDevice", device, |context| context.device as c_int) }
}

/// The flags of the current context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetFlags(flags: *mut c_uint) -> Code {
    // SAFETY: the driver interface demands a pointer that may be written.
    unsafe { describe("cuCtxGetFlags", flags, |context| context.flags) }
}

/// Changes the flags of the current context: how to wait, which makes no difference here.
#[unsafe(no_mangle)]
pub extern "C" fn cuCtxSetFlags(flags: c_uint) -> Code {
    enter_context("cuCtxSetFlags", |driver, context| {
        driver.contexts.get_mut(context)?.flags = flags;
        Ok(())
    })
}

/// The cache preference of the current context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetCacheConfig(cache: *mut c_int) -> Code {
    // SAFETY: the driver interface demands a pointer that may be written.
    unsafe { describe("cuCtxGetCacheConfig", cache, |context| context.cache) }
}

/// Changes the cache preference, which has no effect.
#[unsafe(no_mangle)]
pub extern "C" fn cuCtxSetCacheConfig(cache: c_int) -> Code {
    enter_context("cuCtxSetCacheConfig", |driver, context| {
        driver.contexts.get_mut(context)?.cache = cache;
        Ok(())
    })
}

fn limit(number: c_int) -> Result<usize, Failure> {
    let index = usize::try_from(number)
        .ok()
        .filter(|&index| index < LIMITS.len());
    index.ok_or_else(|| {
        misuse(
            Code::NotSupported,
            format!("limit {number} is not supported"),
        )
    })
}

/// A limit of the current context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetLimit(value: *mut usize, number: c_int) -> Code {
    enter_context("cuCtxGetLimit", |driver, context| {
        let value_now = driver.contexts.get(context)?.limits[limit(number)?];
        // SAFETY: the driver interface demands a pointer that may be written.
        unsafe { out(value) }?.write(value_now);
        Ok(())
    })
}

/// Changes a limit of the current context, which has no effect.
#[unsafe(no_mangle)]
pub extern "C" fn cuCtxSetLimit(number: c_int, value: usize) -> Code {
    enter_context("cuCtxSetLimit", |driver, context| {
        driver.contexts.get_mut(context)?.limits[limit(number)?] = value;
        Ok(())
    })
}

/// Lowest and highest stream priority.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetStreamPriorityRange(
    lowest: *mut c_int,
    highest: *mut c_int,
) -> Code {
    enter_context("cuCtxGetStreamPriorityRange", |_, _| {
        // SAFETY: the driver interface allows null or pointers that may be written.
        unsafe {
            write_if_wanted(lowest, 0)?;
            write_if_wanted(highest, HIGHEST_PRIORITY)
        }
    })
}
