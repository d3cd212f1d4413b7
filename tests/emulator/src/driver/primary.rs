//! Primary contexts: one a device, shared by all that retain it.

use std::ffi::{c_int, c_uint, c_void};

use super::entry::{enter, out};
use super::error::{Code, misuse};

/// Retains a device's primary context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRetain(
    context: *mut *mut c_void,
    device: c_int,
) -> Code {
    enter("cuDevicePrimaryCtxRetain", |driver| {
        // SAFETY: the driver interface demands a pointer that may be written.
        let result = unsafe { out(context) }?;
        let device = driver.device(device)?;
        let (context, retained) = match driver.devices[device].primary {
            Some(primary) => primary,
            None => {
                let flags = driver.devices[device].primary_flags;
                (driver.create_context(device, flags)?, 0)
            }
        };
        driver.devices[device].primary = Some((context, retained + 1));
        result.write(context.raw());
        Ok(())
    })
}

/// Releases a device's primary context; the last release destroys it.
#[unsafe(no_mangle)]
pub extern "C" fn cuDevicePrimaryCtxRelease_v2(device: c_int) -> Code {
    enter("cuDevicePrimaryCtxRelease", |driver| {
        let device = driver.device(device)?;
        let Some((context, retained)) = driver.devices[device].primary else {
            return Err(misuse(
                Code::InvalidContext,
                "the primary context is not retained",
            ));
        };
        driver.devices[device].primary = (retained > 1).then_some((context, retained - 1));
        if retained == 1 {
            driver.destroy_context(context)
        } else {
            Ok(())
        }
    })
}

/// Destroys a device's primary context, however often it is retained.
#[unsafe(no_mangle)]
pub extern "C" fn cuDevicePrimaryCtxReset_v2(device: c_int) -> Code {
    enter("cuDevicePrimaryCtxReset", |driver| {
        let device = driver.device(device)?;
        driver.devices[device]
            .primary
            .take()
            .map_or(Ok(()), |(context, _)| driver.destroy_context(context))
    })
}

/// Flags of a device's primary context, and whether there is one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxGetState(
    device: c_int,
    flags: *mut c_uint,
    active: *mut c_int,
) -> Code {
    enter("cuDevicePrimaryCtxGetState", |driver| {
        let device = &driver.devices[driver.device(device)?];
        // SAFETY: the driver interface demands pointers that may be written.
        unsafe {
            out(flags)?.write(device.primary_flags);
            out(active)?.write(c_int::from(device.primary.is_some()));
        }
        Ok(())
    })
}

/// Flags for a device's primary context.
#[unsafe(no_mangle)]
pub extern "C" fn cuDevicePrimaryCtxSetFlags_v2(device: c_int, flags: c_uint) -> Code {
    enter("cuDevicePrimaryCtxSetFlags", |driver| {
        let device = driver.device(device)?;
        driver.devices[device].primary_flags = flags;
        Ok(())
    })
}
