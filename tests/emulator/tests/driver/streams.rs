//! Streams: who waits for whom.

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::driver::sys::{self, CUresult, CUstream};
use cudarc::driver::{CudaContext, CudaSlice, DevicePtr, result};

use crate::support::{code, context, ok, stream};

/// `CU_STREAM_PER_THREAD`.
const PER_THREAD: CUstream = 2 as CUstream;

/// Pinned memory that shows whether a copy to it has happened, and a device value to copy.
struct Probe {
    pinned: *mut u32,
    device: CudaSlice<u32>,
    context: Arc<CudaContext>,
}

impl Probe {
    fn new(context: &Arc<CudaContext>) -> Self {
        let device = stream(context).clone_htod(&[1_u32]).unwrap();
        device.stream().synchronize().unwrap();
        // SAFETY: it is written at once.
        let pinned: *mut u32 = unsafe { result::malloc_host(4, 0) }.unwrap().cast();
        let probe = Probe {
            pinned,
            device,
            context: context.clone(),
        };
        probe.clear();
        probe
    }

    fn clear(&self) {
        // SAFETY: the pinned allocation holds one number.
        unsafe { self.pinned.write(0) };
    }

    /// Asks a stream to copy.
    fn copy_in(&self, stream: CUstream) {
        let address = self.device.device_ptr(self.device.stream()).0;
        // SAFETY: both are 4 bytes.
        unsafe {
            ok(sys::cuMemcpyDtoHAsync_v2(
                self.pinned.cast(),
                address,
                4,
                stream,
            ))
        };
    }

    fn has_landed(&self) -> bool {
        // SAFETY: the pinned allocation holds one number.
        unsafe { self.pinned.read_volatile() == 1 }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = self.context.bind_to_thread();
        // SAFETY: allocated in `new`, freed once; the driver does what still uses it before.
        let _ = unsafe { result::free_host(self.pinned.cast::<c_void>()) };
    }
}

/// A stream that the legacy default stream waits for.
fn blocking_stream() -> CUstream {
    result::stream::create(result::stream::StreamKind::Default).unwrap()
}

fn synchronize(stream: CUstream) {
    // SAFETY: the tests pass streams that exist.
    unsafe { ok(sys::cuStreamSynchronize(stream)) };
}

#[test]
fn work_waits_for_the_synchronisation_of_its_own_stream() {
    let context = context();
    let probe = Probe::new(&context);
    let (a, b) = (stream(&context), stream(&context));
    probe.copy_in(a.cu_stream());
    b.synchronize().unwrap();
    assert!(!probe.has_landed(), "another stream was synchronised");
    a.synchronize().unwrap();
    assert!(probe.has_landed());
    probe.clear();
    probe.copy_in(a.cu_stream());
    context.synchronize().unwrap();
    assert!(probe.has_landed(), "the context was synchronised");
}

#[test]
fn the_legacy_stream_and_blocking_streams_wait_for_each_other() {
    let context = context();
    let (probe, other) = (Probe::new(&context), Probe::new(&context));
    let (blocking, free) = (blocking_stream(), stream(&context));
    let legacy = std::ptr::null_mut();

    probe.copy_in(blocking);
    other.copy_in(free.cu_stream());
    synchronize(legacy);
    assert!(
        probe.has_landed() && !other.has_landed(),
        "the legacy stream comes after blocking streams only"
    );

    probe.clear();
    probe.copy_in(legacy);
    other.copy_in(blocking);
    synchronize(blocking);
    assert!(
        probe.has_landed() && other.has_landed(),
        "a blocking stream comes after the legacy stream"
    );

    probe.clear();
    probe.copy_in(legacy);
    free.synchronize().unwrap();
    assert!(!probe.has_landed(), "a non-blocking stream does not");

    // A copy without stream belongs to the legacy stream.
    probe.clear();
    probe.copy_in(blocking);
    let address = other.device.device_ptr(other.device.stream()).0;
    // SAFETY: both are 4 bytes.
    unsafe { result::memcpy_htod_sync(address, &[1_u32]) }.unwrap();
    assert!(probe.has_landed());

    // Also a blocking stream that is gone had to be waited for.
    probe.clear();
    probe.copy_in(blocking);
    // SAFETY: it is destroyed once.
    unsafe { result::stream::destroy(blocking) }.unwrap();
    assert!(!probe.has_landed());
    synchronize(legacy);
    assert!(probe.has_landed());
}

#[test]
fn each_thread_has_a_default_stream_of_its_own() {
    let context = context();
    let (probe, legacy) = (Probe::new(&context), std::ptr::null_mut());
    probe.copy_in(PER_THREAD);
    std::thread::scope(|scope| {
        let context = &context;
        scope.spawn(move || {
            context.bind_to_thread().unwrap();
            synchronize(PER_THREAD);
        });
    });
    assert!(
        !probe.has_landed(),
        "another thread's stream was synchronised"
    );
    synchronize(PER_THREAD);
    assert!(probe.has_landed());
    probe.clear();
    probe.copy_in(PER_THREAD);
    synchronize(legacy);
    assert!(probe.has_landed(), "it is a blocking stream");
}

#[test]
fn asking_again_and_again_gets_a_stream_done() {
    let context = context();
    let probe = Probe::new(&context);
    let stream = stream(&context);
    // SAFETY: the stream exists.
    let query = || unsafe { sys::cuStreamQuery(stream.cu_stream()) };
    ok(query());
    for _ in 0..3 {
        probe.copy_in(stream.cu_stream());
    }
    assert_eq!(query(), CUresult::CUDA_ERROR_NOT_READY);
    assert_eq!(query(), CUresult::CUDA_ERROR_NOT_READY);
    ok(query());
    assert!(probe.has_landed());
}

#[test]
fn a_stream_does_not_grow_without_end() {
    let context = context();
    let probe = Probe::new(&context);
    let stream = stream(&context);
    let mut device = stream.alloc_zeros::<u32>(1).unwrap();
    probe.copy_in(stream.cu_stream());
    for _ in 0..3000 {
        stream.memset_zeros(&mut device).unwrap();
    }
    assert!(probe.has_landed(), "the oldest work has made room");
}

#[test]
fn streams_say_what_they_are() {
    let context = context();
    let stream = context.new_stream_with_priority(-3).unwrap();
    let (mut owner, mut flags, mut priority) = (std::ptr::null_mut(), 9, 9);
    // SAFETY: the results have the types that the driver demands.
    unsafe {
        ok(sys::cuStreamGetCtx(stream.cu_stream(), &mut owner));
        ok(sys::cuStreamGetFlags(stream.cu_stream(), &mut flags));
        ok(sys::cuStreamGetPriority(stream.cu_stream(), &mut priority));
    }
    assert_eq!((owner, flags, priority), (context.cu_ctx(), 1, -3));
    let gone = stream.cu_stream();
    drop(stream);
    // SAFETY: a stale handle is what the test is about.
    assert_eq!(
        unsafe { sys::cuStreamSynchronize(gone) },
        CUresult::CUDA_ERROR_INVALID_HANDLE
    );
}

#[test]
fn many_threads_at_once() {
    let context = context();
    std::thread::scope(|scope| {
        for number in 0..8_u32 {
            let context = &context;
            scope.spawn(move || {
                let stream = stream(context);
                for round in 0..20 {
                    let values = vec![number * 100 + round; 257];
                    let device = stream.clone_htod(&values).unwrap();
                    let mut copy = stream.alloc_zeros::<u32>(257).unwrap();
                    stream.memcpy_dtod(&device, &mut copy).unwrap();
                    assert_eq!(stream.clone_dtoh(&copy).unwrap(), values);
                }
            });
        }
    });
    assert_eq!(code(context.synchronize()), CUresult::CUDA_SUCCESS);
}
