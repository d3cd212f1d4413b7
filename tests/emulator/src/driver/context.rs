//! Contexts: to whom streams, memory and modules belong, and what an error of a kernel destroys.

use std::collections::HashMap;
use std::ffi::{c_int, c_uint, c_void};

use super::entry::{Locked, enter, enter_context, input, out, with_contexts, write_if_wanted};
use super::error::{Code, Failure, misuse};
use super::queue::TaskId;
use super::state::Driver;
use super::stream::{Kind, Stream};
use super::table::{Handle, Object};

/// Defaults of the limits that `cuCtxSetLimit` changes, by `CUlimit`: stack of a thread, `printf` buffer, `malloc` heap,
/// two of launches by kernels, cache fetch size, persisting cache. They are remembered and have no effect.
pub const LIMITS: [usize; 7] = [1 << 10, 1 << 20, 8 << 20, 2, 2048, 64, 0];

/// A context.
#[derive(Debug)]
pub struct Context {
    /// Its device.
    pub device: usize,
    /// The error of a kernel or copy: every later call gives it again.
    pub failed: Option<Code>,
    /// As given.
    pub flags: c_uint,
    /// Its legacy default stream.
    pub legacy: Handle<Stream>,
    /// The default streams of threads that asked for one, by thread number.
    pub per_thread: HashMap<u64, Handle<Stream>>,
    /// What destroyed blocking streams still have to do: the legacy default stream waits for it.
    pub detached: Vec<TaskId>,
    /// As set.
    pub limits: [usize; LIMITS.len()],
    /// The cache preference as set.
    pub cache: c_int,
}

impl Object for Context {
    const NAME: &'static str = "context";
    const RANGE: u64 = 0x41;
    const INVALID: Code = Code::InvalidContext;
}

impl Driver {
    /// The context of the calling thread.
    pub fn current_context(&self) -> Result<Handle<Context>, Failure> {
        let current = with_contexts(|contexts| contexts.last().copied());
        let current = current
            .ok_or_else(|| misuse(Code::InvalidContext, "no context is current in this thread"))?;
        if self.contexts.get(current).is_err() {
            return Err(misuse(
                Code::ContextIsDestroyed,
                "the current context was destroyed",
            ));
        }
        Ok(current)
    }

    /// Fails with the error that a context has run into.
    pub fn healthy(&self, context: Handle<Context>) -> Result<(), Failure> {
        self.contexts
            .get(context)?
            .failed
            .map_or(Ok(()), |code| Err(code.into()))
    }

    /// Creates a context on a device.
    pub fn create_context(
        &mut self,
        device: usize,
        flags: c_uint,
    ) -> Result<Handle<Context>, Failure> {
        let context = self.contexts.insert(Context {
            device,
            failed: None,
            flags,
            legacy: Handle::from_number(0),
            per_thread: HashMap::new(),
            detached: Vec::new(),
            limits: LIMITS,
            cache: 0,
        });
        self.contexts.get_mut(context)?.legacy =
            self.streams.insert(Stream::new(context, Kind::Legacy, 0));
        Ok(context)
    }

    fn drop_context(&mut self, context: Handle<Context>) -> Result<(), Failure> {
        let device = self.contexts.remove(context)?.device;
        self.queue.abandon(context);
        self.streams.retain(|stream| stream.context != context);
        self.events.retain(|event| event.context != context);
        self.modules.retain(|module| module.context != context);
        self.functions
            .retain(|function| function.context != context);
        let Driver {
            streams, devices, ..
        } = self;
        let streams: Vec<_> = streams.iter().map(|(handle, _)| handle).collect();
        let device = &mut devices[device];
        let owned: Vec<u64> = device
            .owners
            .iter()
            .filter(|(_, owner)| owner.context == context)
            .map(|(&base, _)| base)
            .collect();
        self.end_captures_of(|stream| streams.contains(&stream));
        owned
            .into_iter()
            .try_for_each(|address| self.free_now(address))
    }
}

impl Locked {
    /// Does what is left to do, so that its faults are found, and destroys a context with all that belongs to it.
    pub fn destroy_context(&mut self, context: Handle<Context>) -> Result<(), Failure> {
        self.contexts.get(context)?;
        self.complete_context(context);
        self.drop_context(context)
    }

    /// Does all that a context has to do.
    pub fn complete_context(&mut self, context: Handle<Context>) {
        let goals = self.queue.of_context(context);
        self.complete(&goals);
    }

    fn new_current_context(
        &mut self,
        result: *mut *mut c_void,
        flags: c_uint,
        device: c_int,
    ) -> Result<(), Failure> {
        // SAFETY: the driver interface demands a pointer that may be written.
        let result = unsafe { out(result) }?;
        let device = self.device(device)?;
        let context = self.create_context(device, flags)?;
        with_contexts(|contexts| contexts.push(context));
        result.write(context.raw());
        Ok(())
    }
}

/// Creates a context and makes it current.
#[unsafe(no_mangle)]
pub extern "C" fn cuCtxCreate_v2(context: *mut *mut c_void, flags: c_uint, device: c_int) -> Code {
    enter("cuCtxCreate", |driver| {
        driver.new_current_context(context, flags, device)
    })
}

/// As version 2; execution affinity is not supported.
#[unsafe(no_mangle)]
pub extern "C" fn cuCtxCreate_v3(
    context: *mut *mut c_void,
    affinity: *mut c_void,
    count: c_int,
    flags: c_uint,
    device: c_int,
) -> Code {
    enter("cuCtxCreate", |driver| {
        if !affinity.is_null() || count != 0 {
            return Err(misuse(
                Code::NotSupported,
                "execution affinity is not supported",
            ));
        }
        driver.new_current_context(context, flags, device)
    })
}

/// `CUctxCreateParams`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CreateParameters {
    affinity: *mut c_void,
    affinities: c_int,
    graphics: *mut c_void,
}

/// As version 2; neither execution affinity nor graphics are supported.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxCreate_v4(
    context: *mut *mut c_void,
    parameters: *const CreateParameters,
    flags: c_uint,
    device: c_int,
) -> Code {
    enter("cuCtxCreate", |driver| {
        if !parameters.is_null() {
            // SAFETY: not null; the driver interface demands that it points to the structure.
            let CreateParameters {
                affinities,
                graphics,
                ..
            } = *unsafe { input(parameters) }?;
            if affinities != 0 || !graphics.is_null() {
                return Err(misuse(
                    Code::NotSupported,
                    "execution affinity and graphics are not supported",
                ));
            }
        }
        driver.new_current_context(context, flags, device)
    })
}

/// Destroys a context with all that belongs to it.
#[unsafe(no_mangle)]
pub extern "C" fn cuCtxDestroy_v2(context: *mut c_void) -> Code {
    enter("cuCtxDestroy", |driver| {
        let context = Handle::from_raw(context);
        if driver
            .devices
            .iter()
            .any(|device| device.primary.is_some_and(|primary| primary.0 == context))
        {
            return Err(misuse(
                Code::InvalidContext,
                "a primary context is released, not destroyed",
            ));
        }
        driver.destroy_context(context)?;
        with_contexts(|contexts| {
            if contexts.last() == Some(&context) {
                contexts.pop();
            }
        });
        Ok(())
    })
}

/// The calling thread's context, or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetCurrent(context: *mut *mut c_void) -> Code {
    enter("cuCtxGetCurrent", |_| {
        let current = with_contexts(|contexts| contexts.last().copied());
        // SAFETY: the driver interface demands a pointer that may be written.
        unsafe { out(context) }?.write(current.map_or(std::ptr::null_mut(), Handle::raw));
        Ok(())
    })
}

/// Replaces the calling thread's context; null leaves it none.
#[unsafe(no_mangle)]
pub extern "C" fn cuCtxSetCurrent(context: *mut c_void) -> Code {
    enter("cuCtxSetCurrent", |driver| {
        let handle = Handle::from_raw(context);
        if !context.is_null() {
            driver.contexts.get(handle)?;
        }
        with_contexts(|contexts| {
            contexts.pop();
            if !context.is_null() {
                contexts.push(handle);
            }
        });
        Ok(())
    })
}

/// Makes a context current until it is popped.
#[unsafe(no_mangle)]
pub extern "C" fn cuCtxPushCurrent_v2(context: *mut c_void) -> Code {
    enter("cuCtxPushCurrent", |driver| {
        let context = Handle::from_raw(context);
        driver.contexts.get(context)?;
        with_contexts(|contexts| contexts.push(context));
        Ok(())
    })
}

/// Takes the current context away; the one below is current again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxPopCurrent_v2(context: *mut *mut c_void) -> Code {
    enter("cuCtxPopCurrent", |_| {
        let popped = with_contexts(Vec::pop)
            .ok_or_else(|| misuse(Code::InvalidContext, "no context is current in this thread"))?;
        // SAFETY: the driver interface allows null or a pointer that may be written.
        unsafe { write_if_wanted(context, popped.raw()) }
    })
}

/// Does all that the current context has to do.
#[unsafe(no_mangle)]
pub extern "C" fn cuCtxSynchronize() -> Code {
    enter_context("cuCtxSynchronize", |driver, context| {
        driver.refuse_while_capturing()?;
        driver.complete_context(context);
        driver.healthy(context)
    })
}
