//! What an address is.

use std::ffi::{c_int, c_void};

use super::entry::{enter_context, out, write_if_wanted};
use super::error::{Code, Failure, misuse};

/// First address and size of the allocation that holds an address.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemGetAddressRange_v2(
    base: *mut u64,
    bytes: *mut usize,
    address: u64,
) -> Code {
    enter_context("cuMemGetAddressRange", |driver, _| {
        let found = driver
            .locate(address, 1)
            .map_err(|error| misuse(Code::NotFound, format!("{address:#x}: {error}")));
        let memory = found?.0;
        // SAFETY: the driver interface allows null or pointers that may be written.
        unsafe {
            write_if_wanted(base, memory.base())?;
            write_if_wanted(bytes, memory.bytes() as usize)
        }
    })
}

/// A property of an address: `CU_POINTER_ATTRIBUTE_` context 1, memory type 2, device pointer 3, host pointer 4, managed 8,
/// device 9, range 11 and 12, mapped 13.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuPointerGetAttribute(
    data: *mut c_void,
    attribute: c_int,
    address: u64,
) -> Code {
    enter_context("cuPointerGetAttribute", |driver, context| {
        let unknown = || {
            misuse(
                Code::InvalidValue,
                format!("{address:#x} is neither device memory nor page-locked"),
            )
        };
        let device_memory = driver
            .locate(address, 1)
            .ok()
            .map(|(memory, _)| (memory.base(), memory.bytes()));
        let on_device = device_memory.is_some();
        let host_memory = || {
            driver
                .host_memory
                .range_of(address as usize)
                .map(|(base, bytes)| (base as u64, bytes as u64))
        };
        let (base, bytes) = device_memory.or_else(host_memory).ok_or_else(unknown)?;
        let device = driver.device_of(address).filter(|_| on_device);
        let owner = device.map_or(context, |device| {
            driver.devices[device]
                .owners
                .get(&base)
                .map_or(context, |owner| owner.context)
        });
        // SAFETY: the driver interface demands a place of the type that belongs to the attribute.
        unsafe {
            match attribute {
                1 => put(data, owner.raw()),
                2 => put(data, if on_device { 2_u32 } else { 1 }),
                3 if on_device => put(data, address),
                4 if !on_device => put(data, address),
                8 => put(data, 0_u8),
                9 => put(data, driver.contexts.get(owner)?.device as c_int),
                11 => put(data, base),
                12 => put(data, bytes),
                13 => put(data, u8::from(on_device)),
                _ => Err(misuse(
                    Code::InvalidValue,
                    format!("pointer attribute {attribute} of {address:#x}"),
                )),
            }
        }
    })
}

/// Leaves a value of the type that belongs to an attribute.
///
/// # Safety
/// `place` is null or has room for a `T`.
unsafe fn put<T>(place: *mut c_void, value: T) -> Result<(), Failure> {
    // SAFETY: as promised by the caller.
    unsafe { out(place.cast()) }?.write(value);
    Ok(())
}
