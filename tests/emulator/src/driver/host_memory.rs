//! Page-locked host memory: asynchronous copies read and write it when the stream gets there, not at the call.

use std::alloc::Layout;
use std::collections::BTreeMap;
use std::ffi::{c_uint, c_void};

use super::entry::{Locked, enter_context, out};
use super::error::{Code, Failure, misuse};
use super::state::Driver;
use super::work::Work;
use crate::memory::POISON;

/// Page-locked memory begins at multiples of this.
const PAGE: usize = 4096;

/// `CU_MEMHOSTALLOC_PORTABLE`, `_DEVICEMAP` and `_WRITECOMBINED`.
const ALLOCATION_FLAGS: c_uint = 7;

/// `CU_MEMHOSTREGISTER_PORTABLE`, `_DEVICEMAP`, `_IOMEMORY` and `_READ_ONLY`.
const REGISTRATION_FLAGS: c_uint = 15;

/// A page-locked range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    bytes: usize,
    flags: c_uint,
    /// Allocated here, or registered by the program.
    allocated: bool,
}

/// All page-locked ranges, by their first address.
#[derive(Debug, Default)]
pub struct HostMemory {
    ranges: BTreeMap<usize, Range>,
}

impl HostMemory {
    /// Whether a range of host memory is page-locked.
    ///
    /// # Errors
    /// Where only part of it is.
    pub fn is_locked(&self, pointer: *const c_void, bytes: usize) -> Result<bool, Failure> {
        let (first, end) = (pointer.addr(), pointer.addr().saturating_add(bytes));
        // Ranges do not overlap: of those that begin before the end, the last one reaches furthest.
        let Some((&base, range)) = self
            .ranges
            .range(..end)
            .next_back()
            .filter(|(base, range)| first < *base + range.bytes)
        else {
            return Ok(false);
        };
        if first >= base && end <= base + range.bytes {
            return Ok(true);
        }
        let message = format!(
            "{bytes} bytes at {pointer:?} lie only in part in the page-locked {} bytes at {base:#x}",
            range.bytes
        );
        Err(misuse(Code::InvalidValue, message))
    }

    /// First address and size of the page-locked range that holds an address.
    pub fn range_of(&self, address: usize) -> Option<(usize, usize)> {
        let (&base, range) = self.ranges.range(..=address).next_back()?;
        (address - base < range.bytes).then_some((base, range.bytes))
    }

    fn take(
        &mut self,
        pointer: *mut c_void,
        allocated: bool,
        code: Code,
    ) -> Result<Range, Failure> {
        match self.ranges.get(&pointer.addr()) {
            Some(range) if range.allocated == allocated => {
                Ok(self.ranges.remove(&pointer.addr()).expect("just found"))
            }
            _ => Err(misuse(
                code,
                format!(
                    "no page-locked memory {} begins at {pointer:?}",
                    if allocated {
                        "allocated by the driver"
                    } else {
                        "registered"
                    }
                ),
            )),
        }
    }
}

fn layout(bytes: usize) -> Result<Layout, Failure> {
    Layout::from_size_align(bytes, PAGE)
        .map_err(|_| misuse(Code::OutOfMemory, format!("{bytes} bytes of host memory")))
}

impl Driver {
    fn allocate_host(
        &mut self,
        pointer: *mut *mut c_void,
        bytes: usize,
        flags: c_uint,
    ) -> Result<(), Failure> {
        // SAFETY: the driver interface demands a pointer that may be written.
        let pointer = unsafe { out(pointer) }?;
        if bytes == 0 || flags & !ALLOCATION_FLAGS != 0 {
            return Err(misuse(
                Code::InvalidValue,
                format!("{bytes} bytes with flags {flags:#x}"),
            ));
        }
        // SAFETY: the size is not 0.
        let memory = unsafe { std::alloc::alloc(layout(bytes)?) };
        if memory.is_null() {
            return Err(misuse(
                Code::OutOfMemory,
                format!("{bytes} bytes of host memory"),
            ));
        }
        // SAFETY: just allocated with this size. Poison shows who reads it before anything was copied here.
        unsafe { memory.write_bytes(POISON, bytes) };
        self.host_memory.ranges.insert(
            memory.addr(),
            Range {
                bytes,
                flags,
                allocated: true,
            },
        );
        pointer.write(memory.cast());
        Ok(())
    }
}

impl Locked {
    /// Does everything that still uses the page-locked memory at `pointer`, which is about to go.
    fn complete_users(&mut self, pointer: *mut c_void) -> Result<(), Failure> {
        self.refuse_while_capturing()?;
        if let Some((first, bytes)) = self.host_memory.range_of(pointer.addr()) {
            let uses =
                |work: &Work| matches!(work, Work::Copy(copy) if copy.uses_host(first, bytes));
            let goals = self.queue.with(uses);
            self.complete(&goals);
        }
        Ok(())
    }
}

/// Allocates page-locked memory.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemHostAlloc(pointer: *mut *mut c_void, bytes: usize, flags: c_uint) -> Code {
    enter_context("cuMemHostAlloc", |driver, _| {
        driver.refuse_while_capturing()?;
        driver.allocate_host(pointer, bytes, flags)
    })
}

/// Allocates page-locked memory.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemAllocHost_v2(pointer: *mut *mut c_void, bytes: usize) -> Code {
    cuMemHostAlloc(pointer, bytes, 0)
}

/// Frees page-locked memory, after everything that uses it is done.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemFreeHost(pointer: *mut c_void) -> Code {
    enter_context("cuMemFreeHost", |driver, context| {
        driver.complete_users(pointer)?;
        let range = driver.host_memory.take(pointer, true, Code::InvalidValue)?;
        // SAFETY: it was allocated with this layout, and taking it out of the table makes sure that it is freed once. All
        // tasks that could use it are done.
        unsafe { std::alloc::dealloc(pointer.cast(), layout(range.bytes)?) };
        driver.healthy(context)
    })
}

/// Makes memory of the program page-locked.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemHostRegister_v2(pointer: *mut c_void, bytes: usize, flags: c_uint) -> Code {
    enter_context("cuMemHostRegister", |driver, _| {
        if pointer.is_null() || bytes == 0 || flags & !REGISTRATION_FLAGS != 0 {
            return Err(misuse(
                Code::InvalidValue,
                format!("{bytes} bytes at {pointer:?} with flags {flags:#x}"),
            ));
        }
        if driver.host_memory.is_locked(pointer, bytes) != Ok(false) {
            return Err(misuse(
                Code::HostMemoryAlreadyRegistered,
                format!("{bytes} bytes at {pointer:?} are page-locked already, at least in part"),
            ));
        }
        driver.host_memory.ranges.insert(
            pointer.addr(),
            Range {
                bytes,
                flags,
                allocated: false,
            },
        );
        Ok(())
    })
}

/// Ends that, after everything that uses it is done.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemHostUnregister(pointer: *mut c_void) -> Code {
    enter_context("cuMemHostUnregister", |driver, context| {
        driver.complete_users(pointer)?;
        driver
            .host_memory
            .take(pointer, false, Code::HostMemoryNotRegistered)?;
        driver.healthy(context)
    })
}

/// The flags with which page-locked memory was made.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostGetFlags(flags: *mut c_uint, pointer: *mut c_void) -> Code {
    enter_context("cuMemHostGetFlags", |driver, _| {
        // SAFETY: the driver interface demands a pointer that may be written.
        let flags = unsafe { out(flags) }?;
        let range = driver
            .host_memory
            .range_of(pointer.addr())
            .and_then(|(base, _)| driver.host_memory.ranges.get(&base));
        let range = range.ok_or_else(|| {
            misuse(
                Code::InvalidValue,
                format!("{pointer:?} is not page-locked"),
            )
        })?;
        flags.write(range.flags);
        Ok(())
    })
}

/// Device addresses of host memory do not exist here: kernels cannot reach it.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemHostGetDevicePointer_v2(
    _address: *mut u64,
    _pointer: *mut c_void,
    _flags: c_uint,
) -> Code {
    enter_context("cuMemHostGetDevicePointer", |_, _| {
        Err(misuse(
            Code::NotSupported,
            "kernels of the stand-in cannot reach host memory (CAN_MAP_HOST_MEMORY is 0): copy it",
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_inside_outside_or_neither() {
        let mut memory = HostMemory::default();
        memory.ranges.insert(
            0x1000,
            Range {
                bytes: 0x100,
                flags: 0,
                allocated: true,
            },
        );
        memory.ranges.insert(
            0x1100,
            Range {
                bytes: 0x10,
                flags: 0,
                allocated: false,
            },
        );
        let is_locked = |address: usize, bytes| {
            memory
                .is_locked(std::ptr::without_provenance(address), bytes)
                .map_err(|failure| failure.code)
        };
        assert_eq!(is_locked(0x1000, 0x100), Ok(true));
        assert_eq!(is_locked(0x10f0, 0x10), Ok(true));
        assert_eq!(is_locked(0xff0, 0x10), Ok(false));
        assert_eq!(is_locked(0x1110, 8), Ok(false));
        for (address, bytes) in [(0xff0, 0x11), (0x10f0, 0x20), (0x110f, 2), (0xf00, 0x1000)] {
            assert_eq!(
                is_locked(address, bytes),
                Err(Code::InvalidValue),
                "{address:#x}"
            );
        }
        assert_eq!(memory.range_of(0x1108), Some((0x1100, 0x10)));
        assert!(
            memory
                .take(
                    std::ptr::without_provenance_mut(0x1000),
                    false,
                    Code::HostMemoryNotRegistered
                )
                .is_err()
        );
        assert!(
            memory
                .take(
                    std::ptr::without_provenance_mut(0x1000),
                    true,
                    Code::InvalidValue
                )
                .is_ok()
        );
        assert_eq!(memory.range_of(0x1000), None);
    }
}
