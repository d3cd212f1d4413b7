//! Functions of the program that a stream calls.

use std::ffi::c_void;
use std::time::Duration;

use super::entry::{HostPointer, Locked, enter_context};
use super::error::{Code, misuse};
use super::queue::TaskId;
use super::work::Work;

/// How late a host function is called when the program does not synchronise.
const DELAY: Duration = Duration::from_millis(10);

/// A function of the program with its argument.
#[derive(Clone, Copy, Debug)]
pub struct HostCall {
    /// The function.
    pub function: unsafe extern "C" fn(*mut c_void),
    /// Its argument.
    pub argument: HostPointer,
}

impl HostCall {
    /// Calls it.
    pub fn run(self) {
        // SAFETY: the program passed the function together with this argument to be called once the stream gets here.
        unsafe { (self.function)(self.argument.0) }
    }
}

/// Runs a task in its time even if nobody synchronises: it calls host functions, and the program may wait for what they do.
pub fn call_in_time(task: TaskId) {
    std::thread::spawn(move || {
        std::thread::sleep(DELAY);
        Locked::acquire().complete(&[task]);
    });
}

/// Calls a function of the program once the stream gets there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchHostFunc(
    stream: *mut c_void,
    function: Option<unsafe extern "C" fn(*mut c_void)>,
    argument: *mut c_void,
) -> Code {
    enter_context("cuLaunchHostFunc", |driver, context| {
        let function =
            function.ok_or_else(|| misuse(Code::InvalidValue, "the function is null"))?;
        let stream = driver.stream(stream, context)?;
        let call = HostCall {
            function,
            argument: super::entry::HostPointer(argument),
        };
        if let Some(task) = driver.submit(stream, Work::HostCall(call))? {
            call_in_time(task);
        }
        Ok(())
    })
}
