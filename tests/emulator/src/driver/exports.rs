//! The functions that only the stand-in has: a test finds them by `dlsym` and reads launches and faults as data.

use std::ffi::{c_char, c_int};

use super::device::Device;
use super::entry::Locked;
use super::entry::{enter_uninitialised, out, thread};
use super::environment::{Capability, MAX_DEVICES};
use super::error::{Code, Failure, misuse};
use super::record::{FaultRecord, FaultText, INTERFACE, LaunchRecord};
use super::state::Driver;
use super::table::Table;

/// The version of these functions and their structures. That it exists tells the stand-in from a real driver.
#[unsafe(no_mangle)]
pub extern "C" fn standin_interface() -> u32 {
    INTERFACE
}

/// The number of the calling thread, as in [`LaunchRecord::thread`].
#[unsafe(no_mangle)]
pub extern "C" fn standin_thread() -> u64 {
    thread()
}

/// Launches executed since the last reset.
#[unsafe(no_mangle)]
pub extern "C" fn standin_launch_count() -> u64 {
    Locked::acquire().journal.launches.count()
}

/// Faults found and calls refused since the last reset.
#[unsafe(no_mangle)]
pub extern "C" fn standin_fault_count() -> u64 {
    Locked::acquire().journal.faults.count()
}

/// Numbers of a launch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn standin_launch(number: u64, record: *mut LaunchRecord) -> Code {
    enter_uninitialised("standin_launch", |driver| {
        let launch = driver.journal.launches.get(number).ok_or(Code::NotFound)?.1;
        // SAFETY: this interface demands a pointer that may be written.
        unsafe { out(record) }?.write(launch);
        Ok(())
    })
}

/// Numbers of a fault.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn standin_fault(number: u64, record: *mut FaultRecord) -> Code {
    enter_uninitialised("standin_fault", |driver| {
        let fault = driver
            .journal
            .faults
            .get(number)
            .ok_or(Code::NotFound)?
            .record;
        // SAFETY: this interface demands a pointer that may be written.
        unsafe { out(record) }?.write(fault);
        Ok(())
    })
}

/// Copies as much of a text as fits, and gives its whole length; 0 where there is none.
///
/// # Safety
/// `buffer` is null or has room for `room` bytes.
unsafe fn give_text(
    buffer: *mut c_char,
    room: usize,
    text: impl FnOnce(&Driver) -> Option<&str>,
) -> usize {
    let driver = Locked::acquire();
    let text = text(&driver).unwrap_or("");
    if !buffer.is_null() {
        // SAFETY: as promised by the caller; not more than `room` bytes are written.
        unsafe {
            buffer
                .cast::<u8>()
                .copy_from_nonoverlapping(text.as_ptr(), text.len().min(room))
        };
    }
    text.len()
}

/// The kernel name of a launch: gives its length, and copies as much as fits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn standin_launch_name(
    number: u64,
    buffer: *mut c_char,
    room: usize,
) -> usize {
    // SAFETY: this interface demands a buffer of this size, or null.
    unsafe {
        give_text(buffer, room, |driver| {
            Some(&driver.journal.launches.get(number)?.0)
        })
    }
}

/// A text of a fault, see [`FaultText`]: gives its length, and copies as much as fits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn standin_fault_text(
    number: u64,
    which: u32,
    buffer: *mut c_char,
    room: usize,
) -> usize {
    // SAFETY: this interface demands a buffer of this size, or null.
    unsafe {
        give_text(buffer, room, |driver| {
            Some(
                driver
                    .journal
                    .faults
                    .get(number)?
                    .text(FaultText::from_number(which)?),
            )
        })
    }
}

/// Forgets launches and faults, and heals contexts that had failed: the next variant of a test starts afresh.
#[unsafe(no_mangle)]
pub extern "C" fn standin_reset() {
    let mut driver = Locked::acquire();
    driver.journal.clear();
    driver
        .contexts
        .iter_mut()
        .for_each(|(_, context)| context.failed = None);
}

/// Chooses the schedule of everything that is asked for from now on; 0 is the default order.
#[unsafe(no_mangle)]
pub extern "C" fn standin_set_seed(seed: u64) {
    let mut driver = Locked::acquire();
    driver.settings.seed = seed;
    driver.queue.set_seed(seed);
}

/// Changes compute capability and number of the devices. Possible after `cuInit`, while no context exists.
#[unsafe(no_mangle)]
pub extern "C" fn standin_set_devices(major: u32, minor: u32, count: u32) -> Code {
    enter_uninitialised("standin_set_devices", |driver| {
        let refuse = |message: String| -> Failure { misuse(Code::InvalidValue, message) };
        if !driver.contexts.is_empty() || !driver.initialised {
            return Err(misuse(
                Code::PrimaryContextActive,
                "devices can be changed after cuInit, while no context exists",
            ));
        }
        let capability = Capability::from_numbers(major, minor);
        driver.settings.capability = capability.ok_or_else(|| {
            refuse(format!(
                "compute capability {major}.{minor}: 7.5, 8.0 and 9.0 are possible"
            ))
        })?;
        if !(1..=MAX_DEVICES).contains(&(count as usize)) {
            return Err(refuse(format!(
                "{count} devices: 1 to {MAX_DEVICES} are possible"
            )));
        }
        driver.settings.devices = count as usize;
        driver.pools = Table::default();
        driver.devices = Device::all(&driver.settings);
        Ok(())
    })
}

/// The compute capability that the devices have, as 10 times the major number plus the minor one.
#[unsafe(no_mangle)]
pub extern "C" fn standin_capability() -> c_int {
    let (major, minor) = Locked::acquire().settings.capability.numbers();
    (10 * major + minor) as c_int
}
