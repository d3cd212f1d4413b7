//! Memory pools. Freed memory is never kept for reuse here, so a pool is only a label with statistics.

use std::ffi::{c_int, c_void};

use super::entry::{enter, enter_context, input, out};
use super::error::{Code, Failure, misuse};
use super::state::Driver;
use super::table::{Handle, Object};

/// A pool.
#[derive(Debug)]
pub struct Pool {
    device: usize,
    /// Bytes allocated from it.
    pub used: u64,
    most_used: u64,
    release_threshold: u64,
    /// Whether freed memory may be reused: after events, by chance, by new dependencies. Remembered, without effect.
    reuse: [c_int; 3],
}

impl Object for Pool {
    const NAME: &'static str = "memory pool";
    const RANGE: u64 = 0x50;
    const INVALID: Code = Code::InvalidValue;
}

impl Pool {
    fn new(device: usize) -> Self {
        Pool {
            device,
            used: 0,
            most_used: 0,
            release_threshold: 0,
            reuse: [1; 3],
        }
    }

    /// Counts an allocation.
    pub fn add(&mut self, bytes: u64) {
        self.used += bytes;
        self.most_used = self.most_used.max(self.used);
    }
}

impl Driver {
    fn default_pool(&mut self, device: usize) -> Handle<Pool> {
        if let Some(pool) = self.devices[device].default_pool {
            return pool;
        }
        let pool = self.pools.insert(Pool::new(device));
        self.devices[device].default_pool = Some(pool);
        pool
    }

    /// The pool that allocations without a named one come from.
    pub fn current_pool(&mut self, device: usize) -> Handle<Pool> {
        let current = self.devices[device]
            .current_pool
            .filter(|&pool| self.pools.get(pool).is_ok());
        current.unwrap_or_else(|| self.default_pool(device))
    }
}

/// Leaves a pool of a device.
///
/// # Safety
/// `pool` is null or may be written.
unsafe fn give(
    function: &str,
    pool: *mut *mut c_void,
    device: c_int,
    which: fn(&mut Driver, usize) -> Handle<Pool>,
) -> Code {
    enter(function, |driver| {
        // SAFETY: as promised by the caller.
        let pool = unsafe { out(pool) }?;
        let device = driver.device(device)?;
        pool.write(which(driver, device).raw());
        Ok(())
    })
}

/// The device's own pool.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetDefaultMemPool(pool: *mut *mut c_void, device: c_int) -> Code {
    // SAFETY: the driver interface demands a pointer that may be written.
    unsafe {
        give(
            "cuDeviceGetDefaultMemPool",
            pool,
            device,
            Driver::default_pool,
        )
    }
}

/// The pool that allocations without a named one come from.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetMemPool(pool: *mut *mut c_void, device: c_int) -> Code {
    // SAFETY: the driver interface demands a pointer that may be written.
    unsafe { give("cuDeviceGetMemPool", pool, device, Driver::current_pool) }
}

/// Changes the pool that allocations without a named one come from.
#[unsafe(no_mangle)]
pub extern "C" fn cuDeviceSetMemPool(device: c_int, pool: *mut c_void) -> Code {
    enter("cuDeviceSetMemPool", |driver| {
        let device = driver.device(device)?;
        let pool = Handle::from_raw(pool);
        if driver.pools.get(pool)?.device != device {
            return Err(misuse(
                Code::InvalidValue,
                "the pool belongs to another device",
            ));
        }
        driver.devices[device].current_pool = Some(pool);
        Ok(())
    })
}

/// The beginning of `CUmemPoolProps`: what the stand-in looks at.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Properties {
    allocation: c_int,
    handles: c_int,
    location: c_int,
    device: c_int,
}

/// `CU_MEM_ALLOCATION_TYPE_PINNED`.
const PINNED: c_int = 1;

/// `CU_MEM_LOCATION_TYPE_DEVICE`.
const ON_DEVICE: c_int = 1;

/// Creates a pool.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemPoolCreate(
    pool: *mut *mut c_void,
    properties: *const Properties,
) -> Code {
    enter("cuMemPoolCreate", |driver| {
        // SAFETY: the driver interface demands a pointer that may be written.
        let pool = unsafe { out(pool) }?;
        // SAFETY: the driver interface demands a pointer to the structure.
        let properties = unsafe { input(properties) }?;
        if properties.allocation != PINNED
            || properties.location != ON_DEVICE
            || properties.handles != 0
        {
            return Err(misuse(
                Code::NotSupported,
                format!(
                    "only pools of device memory without handles for others are supported: {properties:?}"
                ),
            ));
        }
        let device = driver.device(properties.device)?;
        pool.write(driver.pools.insert(Pool::new(device)).raw());
        Ok(())
    })
}

/// Destroys a pool; what was allocated from it stays.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemPoolDestroy(pool: *mut c_void) -> Code {
    enter("cuMemPoolDestroy", |driver| {
        let pool = Handle::from_raw(pool);
        if driver
            .devices
            .iter()
            .any(|device| device.default_pool == Some(pool))
        {
            return Err(misuse(
                Code::InvalidValue,
                "a device's own pool cannot be destroyed",
            ));
        }
        driver.pools.remove(pool).map(drop)
    })
}

/// Gives unused memory back: there never is any.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemPoolTrimTo(pool: *mut c_void, _keep: usize) -> Code {
    enter("cuMemPoolTrimTo", |driver| {
        driver.pools.get(Handle::from_raw(pool)).map(drop)
    })
}

/// Allocates from a pool in stream order.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemAllocFromPoolAsync(
    address: *mut u64,
    bytes: usize,
    pool: *mut c_void,
    stream: *mut c_void,
) -> Code {
    enter_context("cuMemAllocFromPoolAsync", |driver, context| {
        driver.allocate_in_stream(
            address,
            bytes,
            Some(Handle::from_raw(pool)),
            stream,
            context,
        )
    })
}

/// `CUmemPool_attribute`.
mod attribute {
    use std::ffi::c_int;

    pub const FIRST_REUSE: c_int = 1;
    pub const LAST_REUSE: c_int = 3;
    pub const RELEASE_THRESHOLD: c_int = 4;
    pub const RESERVED: c_int = 5;
    pub const MOST_RESERVED: c_int = 6;
    pub const USED: c_int = 7;
    pub const MOST_USED: c_int = 8;
}

fn no_attribute(number: c_int) -> Failure {
    misuse(Code::InvalidValue, format!("pool attribute {number}"))
}

/// A property of a pool.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemPoolGetAttribute(
    pool: *mut c_void,
    number: c_int,
    value: *mut c_void,
) -> Code {
    enter("cuMemPoolGetAttribute", |driver| {
        let pool = driver.pools.get(Handle::from_raw(pool))?;
        // SAFETY: the driver interface demands a place for a 32-bit number for the first attributes, else for a 64-bit one.
        unsafe {
            match number {
                attribute::FIRST_REUSE..=attribute::LAST_REUSE => {
                    out(value.cast())?
                        .write(pool.reuse[(number - attribute::FIRST_REUSE) as usize]);
                }
                attribute::RELEASE_THRESHOLD => {
                    out(value.cast())?.write(pool.release_threshold);
                }
                attribute::RESERVED | attribute::USED => {
                    out(value.cast())?.write(pool.used);
                }
                attribute::MOST_RESERVED | attribute::MOST_USED => {
                    out(value.cast())?.write(pool.most_used);
                }
                _ => return Err(no_attribute(number)),
            }
        }
        Ok(())
    })
}

/// Changes a property of a pool; the high-water marks can only be set back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemPoolSetAttribute(
    pool: *mut c_void,
    number: c_int,
    value: *mut c_void,
) -> Code {
    enter("cuMemPoolSetAttribute", |driver| {
        let pool = driver.pools.get_mut(Handle::from_raw(pool))?;
        // SAFETY: the driver interface demands a 32-bit number for the first attributes, else a 64-bit one.
        unsafe {
            match number {
                attribute::FIRST_REUSE..=attribute::LAST_REUSE => {
                    pool.reuse[(number - attribute::FIRST_REUSE) as usize] = *input(value.cast())?;
                }
                attribute::RELEASE_THRESHOLD => pool.release_threshold = *input(value.cast())?,
                attribute::MOST_RESERVED | attribute::MOST_USED
                    if *input::<u64>(value.cast())? == 0 =>
                {
                    pool.most_used = pool.used;
                }
                _ => return Err(no_attribute(number)),
            }
        }
        Ok(())
    })
}
