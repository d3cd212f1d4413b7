//! Device memory: allocating and freeing, at once or in stream order.

use std::ffi::c_void;

use super::context::Context;
use super::entry::{Locked, enter_context, out, write_if_wanted};
use super::error::{Code, Failure, misuse};
use super::pool::Pool;
use super::state::Driver;
use super::table::Handle;
use super::work::Work;
use crate::memory::AddressError;

/// Addresses of a device: as many as a window of the generic address space.
pub const ADDRESSES_PER_DEVICE: u64 = crate::memory::WINDOW_BYTES;

/// Device 0 has the addresses behind the windows of shared, local and parameter memory.
pub const FIRST_DEVICE: u64 = crate::memory::PARAMETER_WINDOW / ADDRESSES_PER_DEVICE + 1;

/// To whom an allocation belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// It is freed with this context.
    pub context: Handle<Context>,
    /// The pool that it came from.
    pub pool: Option<Handle<Pool>>,
    /// It belongs to a module: the program cannot free it.
    pub of_module: bool,
    /// A stream has been told to free it.
    pub freed_in_stream: bool,
}

impl Driver {
    /// The allocation that begins at an address.
    fn owner(&mut self, address: u64) -> Result<&mut Owner, Failure> {
        let device = self.device_of(address).ok_or_else(|| {
            misuse(
                Code::InvalidValue,
                format!("{address:#x} is no address of a device"),
            )
        })?;
        if !self.devices[device].owners.contains_key(&address) {
            let why = match self.locate(address, 1) {
                Ok((memory, offset)) => format!(
                    "it is byte {offset} of the allocation at {:#x}",
                    memory.base()
                ),
                Err(error @ AddressError::Freed { .. }) => format!("it is {error}"),
                Err(error) => error.to_string(),
            };
            return Err(misuse(
                Code::InvalidValue,
                format!("no allocation begins at {address:#x}: {why}"),
            ));
        }
        Ok(self.devices[device]
            .owners
            .get_mut(&address)
            .expect("just found"))
    }

    /// The allocation that a program wants to free.
    fn owner_to_free(&mut self, address: u64) -> Result<&mut Owner, Failure> {
        let owner = self.owner(address)?;
        if owner.of_module {
            return Err(misuse(
                Code::InvalidValue,
                format!("{address:#x} belongs to a module"),
            ));
        }
        if owner.freed_in_stream {
            return Err(misuse(
                Code::InvalidValue,
                format!("the allocation at {address:#x} was freed before, in a stream"),
            ));
        }
        Ok(owner)
    }

    /// Frees an allocation.
    pub fn free_now(&mut self, address: u64) -> Result<(), Failure> {
        let owner = *self.owner(address)?;
        let device = self.device_of(address).expect("the owner has been found");
        let device = &mut self.devices[device];
        let bytes = device
            .memory
            .view()
            .find(address, 1, &mut Default::default());
        let bytes = bytes.map_or(0, |place| {
            device.memory.view().allocation(place.allocation).bytes()
        });
        device.owners.remove(&address);
        device
            .memory
            .free(address)
            .map_err(|error| misuse(Code::InvalidValue, format!("{address:#x}: {error}")))?;
        if let Some(pool) = owner.pool.and_then(|pool| self.pools.get_mut(pool).ok()) {
            pool.used -= bytes;
        }
        Ok(())
    }

    /// Whether `bytes` bytes at an address are allocated now.
    pub fn check_range(&self, address: u64, bytes: u64, what: &str) -> Result<(), Failure> {
        let found = self.locate(address, bytes).map(drop);
        found.map_err(|error| {
            misuse(
                Code::InvalidValue,
                format!("{what} of {bytes} bytes at {address:#x}: {error}"),
            )
        })
    }
}

impl Locked {
    /// Allocates memory on the device of a context. Where there is no room, streams may yet have something to free.
    pub fn allocate(
        &mut self,
        context: Handle<Context>,
        bytes: u64,
        owner: Owner,
    ) -> Result<u64, Failure> {
        let device = self.contexts.get(context)?.device;
        let mut allocated = self.devices[device].memory.allocate(bytes);
        if allocated.is_err() {
            let goals = self.queue.with(|work| matches!(work, Work::Free(_)));
            self.complete(&goals);
            self.healthy(context)?;
            allocated = self.devices[device].memory.allocate(bytes);
        }
        let address = allocated
            .map_err(|error| misuse(Code::OutOfMemory, format!("device memory: {error}")))?;
        self.devices[device].owners.insert(address, owner);
        Ok(address)
    }

    /// Allocates memory in stream order. It is there at once; its end is what follows the stream.
    pub fn allocate_in_stream(
        &mut self,
        address: *mut u64,
        bytes: usize,
        pool: Option<Handle<Pool>>,
        stream: *mut c_void,
        context: Handle<Context>,
    ) -> Result<(), Failure> {
        // SAFETY: the driver interface demands a pointer that may be written.
        let address = unsafe { out(address) }?;
        let stream = self.stream(stream, context)?;
        self.refuse_captured(stream)?;
        if bytes == 0 {
            address.write(0);
            return Ok(());
        }
        let context = self.streams.get(stream)?.context;
        let device = self.contexts.get(context)?.device;
        let pool = match pool {
            Some(pool) => pool,
            None => self.current_pool(device),
        };
        self.pools.get(pool)?;
        let owner = Owner {
            context,
            pool: Some(pool),
            of_module: false,
            freed_in_stream: false,
        };
        address.write(self.allocate(context, bytes as u64, owner)?);
        self.pools.get_mut(pool)?.add(bytes as u64);
        Ok(())
    }
}

/// Allocates device memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAlloc_v2(address: *mut u64, bytes: usize) -> Code {
    enter_context("cuMemAlloc", |driver, context| {
        // SAFETY: the driver interface demands a pointer that may be written.
        let address = unsafe { out(address) }?;
        driver.refuse_while_capturing()?;
        if bytes == 0 {
            return Err(misuse(Code::InvalidValue, "0 bytes"));
        }
        let owner = Owner {
            context,
            pool: None,
            of_module: false,
            freed_in_stream: false,
        };
        address.write(driver.allocate(context, bytes as u64, owner)?);
        Ok(())
    })
}

/// Allocates rows, each aligned to 512 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocPitch_v2(
    address: *mut u64,
    pitch: *mut usize,
    width: usize,
    height: usize,
    _element: u32,
) -> Code {
    let bytes_a_row = width.saturating_add(511) / 512 * 512;
    if !pitch.is_null() {
        // SAFETY: not null; the driver interface demands that it may be written.
        unsafe { pitch.write(bytes_a_row) };
    }
    // SAFETY: the same contract.
    unsafe { cuMemAlloc_v2(address, bytes_a_row.saturating_mul(height)) }
}

/// Frees device memory, after everything that its context was asked for is done.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemFree_v2(address: u64) -> Code {
    enter_context("cuMemFree", |driver, context| {
        if address == 0 {
            return Ok(());
        }
        driver.refuse_while_capturing()?;
        let owner = driver.owner_to_free(address)?.context;
        driver.complete_context(owner);
        driver.free_now(address)?;
        driver.healthy(context)
    })
}

/// Allocates device memory in stream order.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemAllocAsync(address: *mut u64, bytes: usize, stream: *mut c_void) -> Code {
    enter_context("cuMemAllocAsync", |driver, context| {
        driver.allocate_in_stream(address, bytes, None, stream, context)
    })
}

/// Frees device memory in stream order: what comes later in the stream finds it gone.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemFreeAsync(address: u64, stream: *mut c_void) -> Code {
    enter_context("cuMemFreeAsync", |driver, context| {
        let stream = driver.stream(stream, context)?;
        driver.refuse_captured(stream)?;
        if address == 0 {
            return Ok(());
        }
        driver.owner_to_free(address)?.freed_in_stream = true;
        driver.submit(stream, Work::Free(address)).map(drop)
    })
}

/// Free and total bytes of the device.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> Code {
    enter_context("cuMemGetInfo", |driver, context| {
        let device = driver.contexts.get(context)?.device;
        let (all, unused) = driver.devices[device].memory.capacity();
        // SAFETY: the driver interface allows null or pointers that may be written.
        unsafe {
            write_if_wanted(free, unused as usize)?;
            write_if_wanted(total, all as usize)
        }
    })
}

/// Memory that host and device share does not exist here.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemAllocManaged(_address: *mut u64, _bytes: usize, _flags: u32) -> Code {
    enter_context("cuMemAllocManaged", |_, _| {
        Err(misuse(
            Code::NotSupported,
            "managed memory is not supported (MANAGED_MEMORY is 0): allocate device memory and copy",
        ))
    })
}
