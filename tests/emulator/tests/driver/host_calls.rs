//! Functions of the program that a stream calls.

use std::ffi::c_void;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use cudarc::driver::result;
use cudarc::driver::sys::{self, CUresult};

use crate::support::{context, stream};

/// Sends a message through the `Sender` behind its argument.
unsafe extern "C" fn send(argument: *mut c_void) {
    // SAFETY: the tests pass a sender that outlives the call.
    let sender = unsafe { &*argument.cast::<Sender<u32>>() };
    let _ = sender.send(42);
}

#[test]
fn a_program_may_wait_for_what_a_host_function_does() {
    let context = context();
    let stream = stream(&context);
    let (sender, receiver) = channel::<u32>();
    let argument: *const Sender<u32> = &sender;
    // SAFETY: the sender lives until the stream is synchronised.
    unsafe {
        result::stream::launch_host_function(stream.cu_stream(), send, argument.cast_mut().cast())
    }
    .unwrap();
    // No call of the driver here: the function is called all the same.
    assert_eq!(receiver.recv_timeout(Duration::from_secs(20)), Ok(42));
    stream.synchronize().unwrap();
}

/// Blocks until the other thread has used the driver.
unsafe extern "C" fn wait_for_other(argument: *mut c_void) {
    // SAFETY: the test passes a receiver that outlives the call.
    let receiver = unsafe { &*argument.cast::<std::sync::mpsc::Receiver<u32>>() };
    assert_eq!(receiver.recv_timeout(Duration::from_secs(20)), Ok(7));
}

#[test]
fn others_use_the_driver_while_a_host_function_runs() {
    let context = context();
    let stream = stream(&context);
    let (sender, receiver) = channel::<u32>();
    let argument: *const std::sync::mpsc::Receiver<u32> = &receiver;
    // SAFETY: the receiver lives until the stream is synchronised.
    unsafe {
        result::stream::launch_host_function(
            stream.cu_stream(),
            wait_for_other,
            argument.cast_mut().cast(),
        )
    }
    .unwrap();
    std::thread::scope(|scope| {
        let (context, waiting) = (&context, stream.clone());
        scope.spawn(move || waiting.synchronize().unwrap());
        let other = context.new_stream().unwrap();
        let device = other.clone_htod(&[3_u32; 8]).unwrap();
        assert_eq!(other.clone_dtoh(&device).unwrap(), [3; 8]);
        sender.send(7).unwrap();
        stream.synchronize().unwrap();
    });
}

/// Calls the driver, and leaves behind its argument what came of it.
unsafe extern "C" fn call_the_driver(argument: *mut c_void) {
    // SAFETY: the test passes a place for a result that outlives the call.
    unsafe { argument.cast::<CUresult>().write(sys::cuCtxSynchronize()) };
}

#[test]
fn a_host_function_may_not_call_the_driver() {
    let context = context();
    let stream = stream(&context);
    let mut result = CUresult::CUDA_SUCCESS;
    let argument = (&raw mut result).cast();
    // SAFETY: the result lives until the stream is synchronised.
    unsafe { result::stream::launch_host_function(stream.cu_stream(), call_the_driver, argument) }
        .unwrap();
    stream.synchronize().unwrap();
    assert_eq!(result, CUresult::CUDA_ERROR_NOT_PERMITTED);
}
