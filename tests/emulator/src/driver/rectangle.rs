//! Copies of rectangles.

use std::ffi::{c_uint, c_void};

use super::entry::{HostPointer, enter_context, input};
use super::error::{Code, Failure, misuse};
use super::transfer::{Copy, HostRows, Source, Target};

/// One side of `CUDA_MEMCPY2D`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Side {
    x: usize,
    y: usize,
    kind: c_uint,
    host: *mut c_void,
    device: u64,
    array: *mut c_void,
    pitch: usize,
}

/// `CUDA_MEMCPY2D`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Rows {
    from: Side,
    to: Side,
    width: usize,
    height: usize,
}

/// `CU_MEMORYTYPE_HOST`.
const HOST: c_uint = 1;

/// `CU_MEMORYTYPE_DEVICE`.
const DEVICE: c_uint = 2;

impl Rows {
    fn copy(&self) -> Result<Copy, Failure> {
        let from = match self.from.kind {
            HOST => Source::Host(self.from.host_rows()),
            DEVICE => Source::Device(self.from.device + self.from.start() as u64, self.from.pitch),
            kind => {
                return Err(misuse(
                    Code::NotSupported,
                    format!("copies from memory type {kind} are not supported"),
                ));
            }
        };
        let to = match self.to.kind {
            HOST => Target::Host(self.to.host_rows()),
            DEVICE => Target::Device(self.to.device + self.to.start() as u64, self.to.pitch),
            kind => {
                return Err(misuse(
                    Code::NotSupported,
                    format!("copies to memory type {kind} are not supported"),
                ));
            }
        };
        Ok(Copy {
            from,
            to,
            width: self.width,
            height: self.height,
        })
    }
}

impl Side {
    fn start(&self) -> usize {
        self.y * self.pitch + self.x
    }

    fn host_rows(&self) -> HostRows {
        let first = HostPointer(self.host.wrapping_byte_add(self.start()));
        HostRows {
            first,
            pitch: self.pitch,
            locked: false,
        }
    }
}

/// Copies a rectangle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpy2D_v2(rows: *const Rows) -> Code {
    enter_context("cuMemcpy2D", |driver, context| {
        // SAFETY: the driver interface demands a pointer to the structure.
        let copy = unsafe { input(rows) }?.copy()?;
        driver.copy_at_once(copy, context)
    })
}

/// Copies a rectangle in stream order.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpy2DAsync_v2(rows: *const Rows, stream: *mut c_void) -> Code {
    enter_context("cuMemcpy2DAsync", |driver, context| {
        // SAFETY: the driver interface demands a pointer to the structure.
        let copy = unsafe { input(rows) }?.copy()?;
        driver.copy_in_stream(copy, stream, context)
    })
}
