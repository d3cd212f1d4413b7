//! Devices and their properties.

use std::collections::BTreeMap;
use std::ffi::{c_char, c_int, c_uint};

use super::context::Context;
use super::entry::{enter, enter_uninitialised, out};
use super::environment::Settings;
use super::error::{Code, misuse};
use super::memory::{ADDRESSES_PER_DEVICE, FIRST_DEVICE, Owner};
use super::model::Model;
use super::pool::Pool;
use super::table::Handle;
use crate::memory::GlobalMemory;

/// The driver interface that the stand-in offers: CUDA 13.0.
const DRIVER_VERSION: c_int = 13_000;

/// Highest number of a `CUdevice_attribute` in CUDA 13.0.
const LAST_ATTRIBUTE: c_int = 150;

/// A device.
#[derive(Debug)]
pub struct Device {
    /// Its numbers.
    pub model: Model,
    /// Its memory.
    pub memory: GlobalMemory,
    /// To whom the allocations belong, by address.
    pub owners: BTreeMap<u64, Owner>,
    /// Its primary context, and how often it is retained.
    pub primary: Option<(Handle<Context>, u32)>,
    /// The flags that its primary context gets.
    pub primary_flags: c_uint,
    /// Its own pool, once somebody has asked for it.
    pub default_pool: Option<Handle<Pool>>,
    /// The pool that allocations without a named one come from, where it is not the default one.
    pub current_pool: Option<Handle<Pool>>,
}

impl Device {
    /// The device with this number.
    pub fn new(index: usize, settings: &Settings) -> Self {
        Device {
            model: Model::of(settings.capability),
            memory: GlobalMemory::new(
                (FIRST_DEVICE + index as u64) * ADDRESSES_PER_DEVICE,
                settings.memory,
            ),
            owners: BTreeMap::new(),
            primary: None,
            primary_flags: 0,
            default_pool: None,
            current_pool: None,
        }
    }

    /// The devices that the settings ask for.
    pub fn all(settings: &Settings) -> Vec<Self> {
        (0..settings.devices)
            .map(|index| Device::new(index, settings))
            .collect()
    }
}

/// Starts the driver: reads the environment, once.
#[unsafe(no_mangle)]
pub extern "C" fn cuInit(flags: c_uint) -> Code {
    enter_uninitialised("cuInit", |driver| {
        if flags != 0 {
            return Err(misuse(
                Code::InvalidValue,
                format!("flags {flags:#x}: must be 0"),
            ));
        }
        if driver.initialised {
            return Ok(());
        }
        let settings = Settings::read(|name| std::env::var_os(name))
            .map_err(|message| misuse(Code::InvalidValue, message))?;
        if let Some(path) = &settings.report {
            let opened = std::fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(path);
            opened.map_err(|error| {
                misuse(
                    Code::InvalidValue,
                    format!("STANDIN_REPORT={}: {error}", path.display()),
                )
            })?;
        }
        driver.journal.file = settings.report.clone();
        driver.queue.set_seed(settings.seed);
        driver.devices = Device::all(&settings);
        driver.settings = settings;
        driver.initialised = true;
        Ok(())
    })
}

/// The version of the driver interface.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDriverGetVersion(version: *mut c_int) -> Code {
    enter_uninitialised("cuDriverGetVersion", |_| {
        // SAFETY: the driver interface demands a pointer that may be written.
        unsafe { out(version) }?.write(DRIVER_VERSION);
        Ok(())
    })
}

/// Number of devices.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetCount(count: *mut c_int) -> Code {
    enter("cuDeviceGetCount", |driver| {
        // SAFETY: the driver interface demands a pointer that may be written.
        unsafe { out(count) }?.write(driver.devices.len() as c_int);
        Ok(())
    })
}

/// The device with a number: the number itself.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> Code {
    enter("cuDeviceGet", |driver| {
        driver.device(ordinal)?;
        // SAFETY: the driver interface demands a pointer that may be written.
        unsafe { out(device) }?.write(ordinal);
        Ok(())
    })
}

/// The name of a device.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetName(name: *mut c_char, len: c_int, device: c_int) -> Code {
    enter("cuDeviceGetName", |driver| {
        let text = driver.devices[driver.device(device)?].model.name.as_bytes();
        let room = usize::try_from(len).unwrap_or(0);
        if name.is_null() || room == 0 {
            return Err(misuse(Code::InvalidValue, "no room for the name"));
        }
        let len = text.len().min(room - 1);
        // SAFETY: the program has room for `room` bytes there, and `len + 1` are written.
        unsafe {
            name.cast::<u8>()
                .copy_from_nonoverlapping(text.as_ptr(), len);
            name.add(len).write(0);
        }
        Ok(())
    })
}

/// The identity of a device: made up, but always the same.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetUuid_v2(uuid: *mut [u8; 16], device: c_int) -> Code {
    enter("cuDeviceGetUuid", |driver| {
        let mut bytes = *b"lexpeak-standin\0";
        bytes[15] = driver.device(device)? as u8;
        // SAFETY: the driver interface demands a pointer that may be written.
        unsafe { out(uuid) }?.write(bytes);
        Ok(())
    })
}

/// The same under its older name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetUuid(uuid: *mut [u8; 16], device: c_int) -> Code {
    // SAFETY: the same contract.
    unsafe { cuDeviceGetUuid_v2(uuid, device) }
}

/// A property of a device.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetAttribute(
    value: *mut c_int,
    attribute: c_int,
    device: c_int,
) -> Code {
    enter("cuDeviceGetAttribute", |driver| {
        // SAFETY: the driver interface demands a pointer that may be written.
        let value = unsafe { out(value) }?;
        let device = driver.device(device)?;
        if !(1..=LAST_ATTRIBUTE).contains(&attribute) {
            return Err(misuse(
                Code::InvalidValue,
                format!("device attribute {attribute}"),
            ));
        }
        let number = match attribute {
            33 => device as u32, // PCI_BUS_ID
            _ => driver.devices[device].model.attribute(attribute),
        };
        value.write(number as c_int);
        Ok(())
    })
}

/// Compute capability of a device.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceComputeCapability(
    major: *mut c_int,
    minor: *mut c_int,
    device: c_int,
) -> Code {
    enter("cuDeviceComputeCapability", |driver| {
        let numbers = driver.devices[driver.device(device)?]
            .model
            .capability
            .numbers();
        // SAFETY: the driver interface demands pointers that may be written.
        unsafe {
            out(major)?.write(numbers.0 as c_int);
            out(minor)?.write(numbers.1 as c_int);
        }
        Ok(())
    })
}

/// Memory of a device in bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceTotalMem_v2(bytes: *mut usize, device: c_int) -> Code {
    enter("cuDeviceTotalMem", |driver| {
        let total = driver.devices[driver.device(device)?].memory.capacity().0;
        // SAFETY: the driver interface demands a pointer that may be written.
        unsafe { out(bytes) }?.write(total as usize);
        Ok(())
    })
}

/// Whether one device may access another's memory: kernels of the stand-in may not, copies may.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceCanAccessPeer(
    can: *mut c_int,
    device: c_int,
    peer: c_int,
) -> Code {
    enter("cuDeviceCanAccessPeer", |driver| {
        driver.device(device)?;
        driver.device(peer)?;
        // SAFETY: the driver interface demands a pointer that may be written.
        unsafe { out(can) }?.write(0);
        Ok(())
    })
}
