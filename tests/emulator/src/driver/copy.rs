//! Copies and fills.
//!
//! When a copy reads and writes follows the driver's documented rules: between device memory and page-locked host memory,
//! an asynchronous copy does both when the stream gets there; pageable memory is read at the call and written before the
//! call returns.

use std::ffi::c_void;
use std::sync::Arc;

use super::context::Context;
use super::entry::{HostPointer, Locked, enter_context};
use super::error::{Code, Failure, misuse};
use super::state::Driver;
use super::stream::Stream;
use super::table::Handle;
use super::transfer::{Copy, HostRows, Source, Target, extent};
use super::work::Work;

/// Whether the call waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// It does, where host memory is concerned.
    Blocking,
    /// Only where the rules for pageable memory demand it.
    Asynchronous,
}

impl Driver {
    /// Rows of host memory, with whether they are page-locked.
    fn host_rows(&self, rows: HostRows, width: usize, height: usize) -> Result<HostRows, Failure> {
        if rows.first.0.is_null() {
            return Err(misuse(Code::InvalidValue, "the host pointer is null"));
        }
        let locked = self
            .host_memory
            .is_locked(rows.first.0, extent(rows.pitch, width, height)?)?;
        Ok(HostRows { locked, ..rows })
    }

    fn check_rows(
        &self,
        address: u64,
        pitch: usize,
        width: usize,
        height: usize,
        what: &str,
    ) -> Result<(), Failure> {
        self.check_range(address, extent(pitch, width, height)? as u64, what)
    }
}

impl Locked {
    /// Checks a copy, and does it or queues it.
    fn copy(&mut self, mut copy: Copy, stream: Handle<Stream>, wait: Wait) -> Result<(), Failure> {
        if copy.width == 0 || copy.height == 0 {
            return Ok(());
        }
        let Copy { width, height, .. } = copy;
        let captured = self.streams.get(stream)?.capture.is_some();
        let mut waits = false;
        match copy.from {
            Source::Device(address, pitch) => {
                self.check_rows(address, pitch, width, height, "copy from")?;
            }
            Source::Host(rows) => {
                waits = wait == Wait::Blocking;
                let rows = self.host_rows(rows, width, height)?;
                // A graph reads pageable memory too when it runs: there is no call at which it could be read.
                copy.from = if rows.locked || captured {
                    Source::Host(rows)
                } else {
                    stage(rows, width, height)
                };
            }
            Source::Staged(_) => {}
        }
        match copy.to {
            Target::Device(address, pitch) => {
                self.check_rows(address, pitch, width, height, "copy to")?;
            }
            Target::Host(rows) => {
                let rows = self.host_rows(rows, width, height)?;
                waits |= wait == Wait::Blocking || !rows.locked && !captured;
                copy.to = Target::Host(rows);
            }
        }
        if waits {
            return self.submit_and_wait(stream, Work::Copy(copy));
        }
        self.submit(stream, Work::Copy(copy)).map(drop)
    }

    /// A copy of the functions without a stream: in the legacy default stream.
    pub fn copy_at_once(&mut self, copy: Copy, context: Handle<Context>) -> Result<(), Failure> {
        self.refuse_while_capturing()?;
        let legacy = self.contexts.get(context)?.legacy;
        self.copy(copy, legacy, Wait::Blocking)
    }

    /// A copy in stream order.
    pub fn copy_in_stream(
        &mut self,
        copy: Copy,
        stream: *mut c_void,
        context: Handle<Context>,
    ) -> Result<(), Failure> {
        let stream = self.stream(stream, context)?;
        self.copy(copy, stream, Wait::Asynchronous)
    }
}

/// The rows as they are now.
fn stage(rows: HostRows, width: usize, height: usize) -> Source {
    let mut bytes = Vec::with_capacity(width * height);
    for row in 0..height {
        // SAFETY: the program passed these rows to be copied, and that happens during the call.
        bytes.extend_from_slice(unsafe { rows.row(row, width) });
    }
    Source::Staged(Arc::new(bytes))
}

fn one_row(from: Source, to: Target, bytes: usize) -> Copy {
    Copy {
        from,
        to,
        width: bytes,
        height: 1,
    }
}

fn from_device(address: u64) -> Source {
    Source::Device(address, 0)
}

fn to_device(address: u64) -> Target {
    Target::Device(address, 0)
}

fn from_host(pointer: *const c_void) -> Source {
    Source::Host(HostRows {
        first: HostPointer(pointer.cast_mut()),
        pitch: 0,
        locked: false,
    })
}

fn to_host(pointer: *mut c_void) -> Target {
    Target::Host(HostRows {
        first: HostPointer(pointer),
        pitch: 0,
        locked: false,
    })
}

/// Copies from the host to the device.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyHtoD_v2(to: u64, from: *const c_void, bytes: usize) -> Code {
    enter_context("cuMemcpyHtoD", |driver, context| {
        driver.copy_at_once(one_row(from_host(from), to_device(to), bytes), context)
    })
}

/// Copies from the host to the device in stream order.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyHtoDAsync_v2(
    to: u64,
    from: *const c_void,
    bytes: usize,
    stream: *mut c_void,
) -> Code {
    enter_context("cuMemcpyHtoDAsync", |driver, context| {
        driver.copy_in_stream(
            one_row(from_host(from), to_device(to), bytes),
            stream,
            context,
        )
    })
}

/// Copies from the device to the host.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyDtoH_v2(to: *mut c_void, from: u64, bytes: usize) -> Code {
    enter_context("cuMemcpyDtoH", |driver, context| {
        driver.copy_at_once(one_row(from_device(from), to_host(to), bytes), context)
    })
}

/// Copies from the device to the host in stream order.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyDtoHAsync_v2(
    to: *mut c_void,
    from: u64,
    bytes: usize,
    stream: *mut c_void,
) -> Code {
    enter_context("cuMemcpyDtoHAsync", |driver, context| {
        driver.copy_in_stream(
            one_row(from_device(from), to_host(to), bytes),
            stream,
            context,
        )
    })
}

/// Copies within device memory; as on a GPU, the call does not wait for it.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) -> Code {
    enter_context("cuMemcpyDtoD", |driver, context| {
        driver.copy_at_once(one_row(from_device(from), to_device(to), bytes), context)
    })
}

/// Copies within device memory in stream order.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyDtoDAsync_v2(
    to: u64,
    from: u64,
    bytes: usize,
    stream: *mut c_void,
) -> Code {
    enter_context("cuMemcpyDtoDAsync", |driver, context| {
        driver.copy_in_stream(
            one_row(from_device(from), to_device(to), bytes),
            stream,
            context,
        )
    })
}

/// Copies between the devices of two contexts in stream order.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyPeerAsync(
    to: u64,
    to_context: *mut c_void,
    from: u64,
    from_context: *mut c_void,
    bytes: usize,
    stream: *mut c_void,
) -> Code {
    enter_context("cuMemcpyPeerAsync", |driver, context| {
        driver.healthy(Handle::from_raw(to_context))?;
        driver.healthy(Handle::from_raw(from_context))?;
        driver.copy_in_stream(
            one_row(from_device(from), to_device(to), bytes),
            stream,
            context,
        )
    })
}

/// Copies between any two addresses: those of a device are told from those of the host.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpy(to: u64, from: u64, bytes: usize) -> Code {
    enter_context("cuMemcpy", |driver, context| {
        let copy = any_to_any(driver, to, from, bytes);
        driver.copy_at_once(copy, context)
    })
}

/// Copies between any two addresses in stream order.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyAsync(to: u64, from: u64, bytes: usize, stream: *mut c_void) -> Code {
    enter_context("cuMemcpyAsync", |driver, context| {
        let copy = any_to_any(driver, to, from, bytes);
        driver.copy_in_stream(copy, stream, context)
    })
}

fn any_to_any(driver: &Driver, to: u64, from: u64, bytes: usize) -> Copy {
    let host = |address: u64| std::ptr::with_exposed_provenance_mut(address as usize);
    let source = if driver.device_of(from).is_some() {
        from_device(from)
    } else {
        from_host(host(from))
    };
    let target = if driver.device_of(to).is_some() {
        to_device(to)
    } else {
        to_host(host(to))
    };
    one_row(source, target, bytes)
}
