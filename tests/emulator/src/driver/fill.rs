//! Fills.

use std::ffi::{c_uchar, c_uint, c_ushort, c_void};

use super::entry::{Locked, enter_context};
use super::error::{Code, Failure, misuse};
use super::stream::Stream;
use super::table::Handle;
use super::transfer::Fill;
use super::work::Work;

impl Locked {
    fn fill(&mut self, fill: Fill, stream: Handle<Stream>) -> Result<(), Failure> {
        let Fill {
            address,
            pattern_bytes,
            bytes,
            ..
        } = fill;
        if bytes == 0 {
            return Ok(());
        }
        if !address.is_multiple_of(pattern_bytes as u64) {
            let message = format!("fill at {address:#x}, which is no multiple of {pattern_bytes}");
            return Err(misuse(Code::InvalidValue, message));
        }
        self.check_range(address, bytes as u64, "fill")?;
        self.submit(stream, Work::Fill(fill)).map(drop)
    }
}

fn flat(address: u64, pattern: u32, pattern_bytes: usize, count: usize) -> Result<Fill, Failure> {
    let bytes = count.checked_mul(pattern_bytes);
    let bytes = bytes.ok_or_else(|| {
        misuse(
            Code::InvalidValue,
            format!("{count} values fit into no memory"),
        )
    })?;
    Ok(Fill {
        address,
        pattern,
        pattern_bytes,
        bytes,
    })
}

/// Fills in the legacy default stream; as on a GPU, the call does not wait for it.
fn fill_now(
    function: &str,
    address: u64,
    pattern: u32,
    pattern_bytes: usize,
    count: usize,
) -> Code {
    enter_context(function, |driver, context| {
        driver.refuse_while_capturing()?;
        let legacy = driver.contexts.get(context)?.legacy;
        driver.fill(flat(address, pattern, pattern_bytes, count)?, legacy)
    })
}

fn fill_in_stream(
    function: &str,
    address: u64,
    pattern: u32,
    pattern_bytes: usize,
    count: usize,
    stream: *mut c_void,
) -> Code {
    enter_context(function, |driver, context| {
        let stream = driver.stream(stream, context)?;
        driver.fill(flat(address, pattern, pattern_bytes, count)?, stream)
    })
}

/// Fills with bytes.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemsetD8_v2(address: u64, value: c_uchar, count: usize) -> Code {
    fill_now("cuMemsetD8", address, value.into(), 1, count)
}

/// Fills with 16-bit values.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemsetD16_v2(address: u64, value: c_ushort, count: usize) -> Code {
    fill_now("cuMemsetD16", address, value.into(), 2, count)
}

/// Fills with 32-bit values.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemsetD32_v2(address: u64, value: c_uint, count: usize) -> Code {
    fill_now("cuMemsetD32", address, value, 4, count)
}

/// Fills with bytes in stream order.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemsetD8Async(
    address: u64,
    value: c_uchar,
    count: usize,
    stream: *mut c_void,
) -> Code {
    fill_in_stream("cuMemsetD8Async", address, value.into(), 1, count, stream)
}

/// Fills with 16-bit values in stream order.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemsetD16Async(
    address: u64,
    value: c_ushort,
    count: usize,
    stream: *mut c_void,
) -> Code {
    fill_in_stream("cuMemsetD16Async", address, value.into(), 2, count, stream)
}

/// Fills with 32-bit values in stream order.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemsetD32Async(
    address: u64,
    value: c_uint,
    count: usize,
    stream: *mut c_void,
) -> Code {
    fill_in_stream("cuMemsetD32Async", address, value, 4, count, stream)
}
