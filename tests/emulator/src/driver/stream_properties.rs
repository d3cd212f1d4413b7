//! Properties of a stream.

use std::ffi::{c_int, c_uint, c_void};

use super::entry::{enter_context, out};
use super::error::Code;
use super::stream::{Kind, Stream};
use super::table::Handle;

/// Leaves a property of a stream.
///
/// # Safety
/// `result` is null or may be written.
unsafe fn describe<T>(
    function: &str,
    stream: *mut c_void,
    result: *mut T,
    property: impl FnOnce(Handle<Stream>, &Stream) -> T,
) -> Code {
    enter_context(function, |driver, context| {
        // SAFETY: as promised by the caller.
        let result = unsafe { out(result) }?;
        let handle = driver.stream(stream, context)?;
        result.write(property(handle, driver.streams.get(handle)?));
        Ok(())
    })
}

/// The context of a stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamGetCtx(stream: *mut c_void, context: *mut *mut c_void) -> Code {
    // SAFETY: the driver interface demands a pointer that may be written.
    unsafe {
        describe("cuStreamGetCtx", stream, context, |_, stream| {
            stream.context.raw()
        })
    }
}

/// The flags of a stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamGetFlags(stream: *mut c_void, flags: *mut c_uint) -> Code {
    // SAFETY: the driver interface demands a pointer that may be written.
    unsafe {
        describe("cuStreamGetFlags", stream, flags, |_, stream| {
            c_uint::from(stream.kind == Kind::NonBlocking)
        })
    }
}

/// The priority of a stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamGetPriority(stream: *mut c_void, priority: *mut c_int) -> Code {
    // SAFETY: the driver interface demands a pointer that may be written.
    unsafe {
        describe("cuStreamGetPriority", stream, priority, |_, stream| {
            stream.priority
        })
    }
}

/// A number that no other stream has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamGetId(stream: *mut c_void, id: *mut u64) -> Code {
    // SAFETY: the driver interface demands a pointer that may be written.
    unsafe { describe("cuStreamGetId", stream, id, |handle, _| handle.number()) }
}
