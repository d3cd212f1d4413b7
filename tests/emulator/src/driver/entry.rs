//! The way into the driver: every exported function runs its body here, under one lock, and leaves with a result code.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_char, c_void};
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};

use super::capture::Mode;
use super::context::Context;
use super::error::{Code, Failure, misuse};
use super::state::Driver;
use super::table::Handle;

static DRIVER: LazyLock<Mutex<Driver>> = LazyLock::new(Mutex::default);

/// Told whenever a task is done that ran without the lock.
static DONE: Condvar = Condvar::new();

thread_local! {
    /// The contexts that this thread has pushed; the last one is current.
    static CONTEXTS: RefCell<Vec<Handle<Context>>> = const { RefCell::new(Vec::new()) };
    /// How this thread is restricted while streams are captured.
    static CAPTURE_MODE: Cell<Mode> = const { Cell::new(Mode::Global) };
    /// This thread runs a host function of a stream.
    static IN_HOST_CALL: Cell<bool> = const { Cell::new(false) };
    static THREAD: u64 = {
        static THREADS: AtomicU64 = AtomicU64::new(1);
        THREADS.fetch_add(1, Relaxed)
    };
}

/// A number of the calling thread, never used again for another.
pub fn thread() -> u64 {
    THREAD.with(|&number| number)
}

/// The capture mode of the calling thread.
pub fn capture_mode() -> &'static std::thread::LocalKey<Cell<Mode>> {
    &CAPTURE_MODE
}

/// Reads or changes the contexts of the calling thread. At the thread's very end there are none.
pub fn with_contexts<R: Default>(body: impl FnOnce(&mut Vec<Handle<Context>>) -> R) -> R {
    CONTEXTS
        .try_with(|contexts| body(&mut contexts.borrow_mut()))
        .unwrap_or_default()
}

/// The driver, locked.
#[derive(Debug)]
pub struct Locked(Option<MutexGuard<'static, Driver>>);

impl Deref for Locked {
    type Target = Driver;

    fn deref(&self) -> &Driver {
        self.0
            .as_ref()
            .expect("the lock is only away inside call_host()")
    }
}

impl DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut Driver {
        self.0
            .as_mut()
            .expect("the lock is only away inside call_host()")
    }
}

impl Locked {
    /// Waits for the lock. A panic elsewhere has been reported as `CUDA_ERROR_UNKNOWN`; the driver goes on as well as it can.
    pub fn acquire() -> Self {
        Locked(Some(DRIVER.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Runs a host function of a stream. Without the lock: it may wait for threads that call the driver. It must not do so
    /// itself.
    pub fn call_host(&mut self, function: impl FnOnce()) {
        self.0 = None;
        IN_HOST_CALL.set(true);
        function();
        IN_HOST_CALL.set(false);
        *self = Locked::acquire();
        DONE.notify_all();
    }

    /// Waits until a task that another thread runs without the lock is done.
    pub fn wait(&mut self) {
        let guard = self
            .0
            .take()
            .expect("the lock is only away inside call_host()");
        self.0 = Some(DONE.wait(guard).unwrap_or_else(PoisonError::into_inner));
    }
}

/// Runs the body of a function that works without `cuInit`.
pub fn enter_uninitialised(
    function: &str,
    body: impl FnOnce(&mut Locked) -> Result<(), Failure>,
) -> Code {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut driver = Locked::acquire();
        match body(&mut driver) {
            Ok(()) => Code::Success,
            Err(failure) => {
                driver.journal.refused(function, &failure, thread());
                failure.code
            }
        }
    }));
    outcome.unwrap_or_else(|_| {
        eprintln!("stand-in: {function} panicked (message above). This is a bug of the stand-in");
        Code::Unknown
    })
}

/// Runs the body of a function that needs `cuInit`.
pub fn enter(function: &str, body: impl FnOnce(&mut Locked) -> Result<(), Failure>) -> Code {
    enter_uninitialised(function, |driver| {
        if IN_HOST_CALL.get() {
            return Err(misuse(
                Code::NotPermitted,
                "a host function of a stream may not call the driver",
            ));
        }
        if !driver.initialised {
            return Err(misuse(
                Code::NotInitialised,
                "cuInit has not been called, or failed",
            ));
        }
        body(driver)
    })
}

/// Runs the body of a function that needs a healthy current context, which it is given.
pub fn enter_context(
    function: &str,
    body: impl FnOnce(&mut Locked, Handle<Context>) -> Result<(), Failure>,
) -> Code {
    enter(function, |driver| {
        let context = driver.current_context()?;
        driver.healthy(context)?;
        driver.make_room(context);
        body(driver, context)
    })
}

/// A place for a result.
///
/// # Safety
/// `pointer` is null or points to memory for a `T` that nothing else uses during the call.
pub unsafe fn out<'a, T>(pointer: *mut T) -> Result<&'a mut MaybeUninit<T>, Failure> {
    if pointer.is_null() || !pointer.is_aligned() {
        return Err(misuse(
            Code::InvalidValue,
            format!("{pointer:?} is no place for a result"),
        ));
    }
    // SAFETY: not null, aligned, and usable as the caller promises; uninitialised memory is fine for MaybeUninit.
    Ok(unsafe { &mut *pointer.cast() })
}

/// Leaves a result that the program may not want.
///
/// # Safety
/// As for [`out`].
pub unsafe fn write_if_wanted<T>(pointer: *mut T, value: T) -> Result<(), Failure> {
    if !pointer.is_null() {
        // SAFETY: as promised by the caller.
        unsafe { out(pointer) }?.write(value);
    }
    Ok(())
}

/// A structure that the program passes.
///
/// # Safety
/// `pointer` is null or points to a `T` that does not change during the call.
pub unsafe fn input<'a, T>(pointer: *const T) -> Result<&'a T, Failure> {
    if pointer.is_null() || !pointer.is_aligned() {
        return Err(misuse(
            Code::InvalidValue,
            format!("{pointer:?} points to no structure"),
        ));
    }
    // SAFETY: not null, aligned, and valid as the caller promises.
    Ok(unsafe { &*pointer })
}

/// A list that the program passes.
///
/// # Safety
/// `pointer` is null or points to `len` values that do not change during the call.
pub unsafe fn inputs<'a, T>(pointer: *const T, len: usize) -> Result<&'a [T], Failure> {
    if len == 0 {
        return Ok(&[]);
    }
    // SAFETY: as promised by the caller.
    unsafe { input(pointer) }?;
    // SAFETY: not null and aligned (checked above), `len` values long as the caller promises.
    Ok(unsafe { std::slice::from_raw_parts(pointer, len) })
}

/// A name that the program passes.
///
/// # Safety
/// `pointer` is null or points to a text that ends with a zero byte.
pub unsafe fn text<'a>(pointer: *const c_char) -> Result<&'a str, Failure> {
    if pointer.is_null() {
        return Err(misuse(Code::InvalidValue, "the name is null"));
    }
    // SAFETY: not null, and ends with a zero byte as the caller promises.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str().map_err(|_| {
        misuse(
            Code::InvalidValue,
            format!("the name {text:?} is not UTF-8"),
        )
    })
}

/// A host pointer that is carried to a task, which may run on another thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostPointer(pub *mut c_void);

// SAFETY: the driver interface itself hands these pointers over to other threads: the program promises that the memory
// stays valid until the operation is done, and that nothing else uses it meanwhile.
unsafe impl Send for HostPointer {}
// SAFETY: as above; the wrapper itself gives no access.
unsafe impl Sync for HostPointer {}
