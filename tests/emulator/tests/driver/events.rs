//! Events: order between streams, and time.

use cudarc::driver::sys::{self, CUevent_flags, CUresult};

use crate::support::{code, context, ok, stream};

#[test]
fn events_order_streams() {
    let context = context();
    let (writer, reader) = (stream(&context), stream(&context));
    let mut device = writer.clone_htod(&[1_u32; 4]).unwrap();
    writer.synchronize().unwrap();

    writer.memset_zeros(&mut device).unwrap();
    assert_eq!(
        reader.clone_dtoh(&device).unwrap(),
        [1; 4],
        "nothing orders the two: the fill comes late"
    );
    let event = writer.record_event(None).unwrap();
    reader.wait(&event).unwrap();
    assert_eq!(reader.clone_dtoh(&device).unwrap(), [0; 4]);
}

#[test]
fn a_wait_means_the_recording_of_its_moment() {
    let context = context();
    let (writer, reader) = (stream(&context), stream(&context));
    let mut device = writer.clone_htod(&[1_u32; 4]).unwrap();
    let event = writer.record_event(None).unwrap();
    reader.wait(&event).unwrap();
    // Recorded again behind the fill: the reader's wait is for the first recording.
    writer.memset_zeros(&mut device).unwrap();
    event.record(&writer).unwrap();
    assert_eq!(reader.clone_dtoh(&device).unwrap(), [1; 4]);
    reader.wait(&event).unwrap();
    assert_eq!(reader.clone_dtoh(&device).unwrap(), [0; 4]);
}

#[test]
fn an_event_brings_the_work_before_it_and_no_more() {
    let context = context();
    let stream = stream(&context);
    let device = stream.clone_htod(&[5_u32; 4]).unwrap();
    // SAFETY: the driver fills it with poison, and the copies write to it.
    let mut pinned = unsafe { context.alloc_pinned_with_flags::<u32>(8, 0) }.unwrap();
    let memory = pinned.as_mut_ptr().unwrap();
    let address = cudarc::driver::DevicePtr::device_ptr(&device, &stream).0;
    // SAFETY: each copy is 16 of the 32 bytes.
    let copy = |half: usize| unsafe {
        ok(sys::cuMemcpyDtoHAsync_v2(
            memory.add(4 * half).cast(),
            address,
            16,
            stream.cu_stream(),
        ))
    };
    copy(0);
    let event = stream.record_event(None).unwrap();
    copy(1);
    // SAFETY: the pinned memory holds eight numbers.
    let read = || unsafe { (memory.read_volatile(), memory.add(4).read_volatile()) };
    event.synchronize().unwrap();
    assert_eq!(read(), (5, u32::MAX));
    stream.synchronize().unwrap();
    assert_eq!(read(), (5, 5));
}

#[test]
fn asking_again_and_again_gets_an_event_done() {
    let context = context();
    let stream = stream(&context);
    let mut device = stream.alloc_zeros::<u32>(4).unwrap();
    stream.synchronize().unwrap();
    stream.memset_zeros(&mut device).unwrap();
    let event = stream.record_event(None).unwrap();
    assert!(!event.try_is_complete().unwrap());
    assert!(event.try_is_complete().unwrap());
    assert!(
        context.new_event(None).unwrap().try_is_complete().unwrap(),
        "an event that was never recorded is complete"
    );
}

#[test]
fn times_are_those_of_the_execution() {
    let context = context();
    let stream = stream(&context);
    let timed = Some(CUevent_flags::CU_EVENT_DEFAULT);
    let start = stream.record_event(timed).unwrap();
    let mut device = stream.alloc_zeros::<u8>(1 << 24).unwrap();
    for _ in 0..4 {
        stream.memset_zeros(&mut device).unwrap();
    }
    let end = stream.record_event(timed).unwrap();
    let mut milliseconds = 0.0;
    // SAFETY: both are events, and the result may be written.
    let elapsed =
        unsafe { sys::cuEventElapsedTime_v2(&mut milliseconds, start.cu_event(), end.cu_event()) };
    assert_eq!(elapsed, CUresult::CUDA_ERROR_NOT_READY);
    stream.synchronize().unwrap();
    let forward = start.elapsed_ms(&end).unwrap();
    assert!(forward > 0.0 && forward < 60e3, "{forward}");
    assert_eq!(end.elapsed_ms(&start).unwrap(), -forward);
    let untimed = stream.record_event(None).unwrap();
    stream.synchronize().unwrap();
    assert_eq!(
        code(untimed.elapsed_ms(&start)),
        CUresult::CUDA_ERROR_INVALID_HANDLE
    );
}
