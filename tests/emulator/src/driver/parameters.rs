//! The parameters of a launch: from the program's values to the bytes that a kernel reads.

use std::ffi::c_void;

use super::entry::{input, inputs};
use super::error::{Code, Failure, misuse};
use crate::isa::Kernel;

/// `CU_LAUNCH_PARAM_BUFFER_POINTER`.
const BUFFER: usize = 1;

/// `CU_LAUNCH_PARAM_BUFFER_SIZE`.
const BUFFER_SIZE: usize = 2;

/// Reads the parameters of a launch as the kernel lays them out.
///
/// # Safety
/// `values` is null or points to one pointer a parameter, each to a value of the parameter's size; `extra` is null or a
/// list of names and pointers that ends with `CU_LAUNCH_PARAM_END`.
pub unsafe fn parameters(
    kernel: &Kernel,
    values: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> Result<Vec<u8>, Failure> {
    let refuse = |message: String| {
        misuse(
            Code::InvalidValue,
            format!("kernel {}: {message}", kernel.name),
        )
    };
    let mut bytes = vec![0; kernel.parameter_bytes as usize];
    if !extra.is_null() {
        if !values.is_null() {
            return Err(refuse("parameters both as values and as a buffer".into()));
        }
        // SAFETY: as promised by the caller.
        let given = unsafe { buffer(extra) }.map_err(refuse)?;
        if given.len() != bytes.len() {
            return Err(refuse(format!(
                "a parameter buffer of {} bytes, the kernel takes {}",
                given.len(),
                bytes.len()
            )));
        }
        bytes.copy_from_slice(given);
        return Ok(bytes);
    }
    let count = kernel.parameters.len();
    // SAFETY: as promised by the caller.
    let values = unsafe { inputs(values.cast_const(), count) }
        .map_err(|_| refuse(format!("no parameters, the kernel takes {count}")))?;
    for (number, (parameter, &value)) in kernel.parameters.iter().zip(values).enumerate() {
        if value.is_null() {
            return Err(refuse(format!("parameter {number} of {count} is null")));
        }
        let place = &mut bytes[parameter.offset as usize..][..parameter.size as usize];
        // SAFETY: not null; the caller promises a value of this size.
        place.copy_from_slice(unsafe {
            std::slice::from_raw_parts(value.cast(), parameter.size as usize)
        });
    }
    Ok(bytes)
}

/// The buffer that an `extra` list names.
///
/// # Safety
/// `extra` points to a list of names and pointers that ends with `CU_LAUNCH_PARAM_END`.
unsafe fn buffer<'a>(extra: *mut *mut c_void) -> Result<&'a [u8], String> {
    let (mut start, mut len) = (std::ptr::null(), None);
    let mut at = extra;
    loop {
        // SAFETY: the list goes on until its end, as the caller promises.
        let name = unsafe { at.read() }.addr();
        if name == 0 {
            break;
        }
        // SAFETY: every name but the end is followed by a pointer.
        let value = unsafe { at.add(1).read() };
        match name {
            BUFFER => start = value.cast_const().cast(),
            BUFFER_SIZE => {
                // SAFETY: this pointer leads to the buffer's size.
                let size = unsafe { input(value.cast::<usize>()) };
                len = Some(*size.map_err(|_| "the buffer's size is null".to_owned())?);
            }
            other => {
                return Err(format!(
                    "unknown entry {other} in the list of extra options"
                ));
            }
        }
        // SAFETY: a name and a pointer have been read, and the list goes on.
        at = unsafe { at.add(2) };
    }
    let len = len.ok_or("the parameter buffer has no size")?;
    // SAFETY: the caller promises a buffer of this size.
    unsafe { inputs(start, len) }.map_err(|_| "the parameter buffer is null".into())
}
