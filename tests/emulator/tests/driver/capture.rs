//! Stream capture: what it forbids.

use cudarc::driver::sys::{
    self, CUgraphInstantiate_flags as Flags, CUresult, CUstreamCaptureMode as Mode,
    CUstreamCaptureStatus as Status,
};
use cudarc::driver::{CudaStream, result};

use crate::support::{code, context, ok, stream};

fn end(stream: &CudaStream) -> CUresult {
    // SAFETY: the stream exists; no graph comes of it in these tests, or it is left alone.
    code(unsafe { result::stream::end_capture(stream.cu_stream()) })
}

#[test]
fn a_captured_stream_cannot_be_waited_for() {
    let context = context();
    let stream = stream(&context);
    for forbidden in [sys::cuStreamSynchronize, sys::cuStreamQuery] {
        stream
            .begin_capture(Mode::CU_STREAM_CAPTURE_MODE_RELAXED)
            .unwrap();
        assert_eq!(
            stream.capture_status(),
            Ok(Status::CU_STREAM_CAPTURE_STATUS_ACTIVE)
        );
        // SAFETY: the stream exists.
        assert_eq!(
            unsafe { forbidden(stream.cu_stream()) },
            CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED
        );
        assert_eq!(
            stream.capture_status(),
            Ok(Status::CU_STREAM_CAPTURE_STATUS_INVALIDATED)
        );
        assert_eq!(
            code(stream.alloc_zeros::<u32>(1)),
            CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED
        );
        assert_eq!(
            end(&stream),
            CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED
        );
        assert_eq!(
            stream.capture_status(),
            Ok(Status::CU_STREAM_CAPTURE_STATUS_NONE)
        );
    }
    stream.synchronize().unwrap();
    assert_eq!(end(&stream), CUresult::CUDA_ERROR_ILLEGAL_STATE);
}

#[test]
fn a_capture_forbids_waiting_and_allocating_to_its_thread() {
    let context = context();
    let (stream, other) = (stream(&context), stream(&context));
    stream
        .begin_capture(Mode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
        .unwrap();
    // Another thread goes on as if nothing was.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            context.bind_to_thread().unwrap();
            other.synchronize().unwrap();
        });
    });
    assert_eq!(
        stream.capture_status(),
        Ok(Status::CU_STREAM_CAPTURE_STATUS_ACTIVE)
    );
    // SAFETY: nothing is allocated.
    assert_eq!(
        code(unsafe { result::malloc_sync(16) }),
        CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED
    );
    assert_eq!(
        end(&stream),
        CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED
    );

    stream
        .begin_capture(Mode::CU_STREAM_CAPTURE_MODE_RELAXED)
        .unwrap();
    other.synchronize().unwrap();
    stream.end_capture(Flags(0)).unwrap().unwrap();
}

#[test]
fn the_legacy_stream_keeps_out_of_captures() {
    let context = context();
    let legacy = context.default_stream();
    assert_eq!(
        code(legacy.begin_capture(Mode::CU_STREAM_CAPTURE_MODE_RELAXED)),
        CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED
    );
    let mut device = legacy.alloc_zeros::<u32>(4).unwrap();
    legacy.synchronize().unwrap();
    let blocking = result::stream::create(result::stream::StreamKind::Default).unwrap();
    // SAFETY: the stream exists until the end of the test.
    unsafe {
        result::stream::begin_capture(blocking, Mode::CU_STREAM_CAPTURE_MODE_RELAXED).unwrap();
        assert_eq!(
            code(legacy.memset_zeros(&mut device)),
            CUresult::CUDA_ERROR_STREAM_CAPTURE_IMPLICIT
        );
        assert_eq!(
            code(result::stream::end_capture(blocking)),
            CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED
        );
        result::stream::destroy(blocking).unwrap();
    }
}

#[test]
fn events_do_not_lead_into_or_out_of_a_capture() {
    let context = context();
    let (stream, other) = (stream(&context), stream(&context));
    let outside = other.record_event(None).unwrap();
    stream
        .begin_capture(Mode::CU_STREAM_CAPTURE_MODE_RELAXED)
        .unwrap();
    assert_eq!(
        code(stream.wait(&outside)),
        CUresult::CUDA_ERROR_STREAM_CAPTURE_ISOLATION
    );
    assert_eq!(
        end(&stream),
        CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED
    );

    stream
        .begin_capture(Mode::CU_STREAM_CAPTURE_MODE_RELAXED)
        .unwrap();
    let inside = stream.record_event(None).unwrap();
    assert_eq!(
        code(inside.synchronize()),
        CUresult::CUDA_ERROR_CAPTURED_EVENT
    );
    assert_eq!(
        end(&stream),
        CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED
    );
    assert_eq!(
        code(other.wait(&inside)),
        CUresult::CUDA_ERROR_CAPTURED_EVENT
    );

    stream
        .begin_capture(Mode::CU_STREAM_CAPTURE_MODE_RELAXED)
        .unwrap();
    other
        .begin_capture(Mode::CU_STREAM_CAPTURE_MODE_RELAXED)
        .unwrap();
    inside.record(&stream).unwrap();
    assert_eq!(
        code(other.wait(&inside)),
        CUresult::CUDA_ERROR_STREAM_CAPTURE_MERGE
    );
    assert_eq!(
        end(&stream),
        CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED
    );
    assert_eq!(end(&other), CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
}

#[test]
fn a_capture_ends_where_it_began_with_all_forks_joined() {
    let context = context();
    let (stream, fork) = (stream(&context), stream(&context));
    let mut device = stream.alloc_zeros::<u32>(4).unwrap();
    let begin = || {
        stream
            .begin_capture(Mode::CU_STREAM_CAPTURE_MODE_RELAXED)
            .unwrap();
        fork.wait(&stream.record_event(None).unwrap()).unwrap();
        assert_eq!(
            fork.capture_status(),
            Ok(Status::CU_STREAM_CAPTURE_STATUS_ACTIVE)
        );
    };
    begin();
    assert_eq!(end(&fork), CUresult::CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
    assert_eq!(
        end(&stream),
        CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED
    );

    begin();
    fork.memset_zeros(&mut device).unwrap();
    assert_eq!(end(&stream), CUresult::CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
    assert_eq!(
        fork.capture_status(),
        Ok(Status::CU_STREAM_CAPTURE_STATUS_NONE)
    );

    stream
        .begin_capture(Mode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
        .unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            context.bind_to_thread().unwrap();
            assert_eq!(
                end(&stream),
                CUresult::CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD
            );
        });
    });
    stream.end_capture(Flags(0)).unwrap().unwrap();
}

#[test]
fn a_capture_tells_its_state() {
    let context = context();
    let stream = stream(&context);
    let mut device = stream.alloc_zeros::<u32>(4).unwrap();
    stream
        .begin_capture(Mode::CU_STREAM_CAPTURE_MODE_RELAXED)
        .unwrap();
    stream.memset_zeros(&mut device).unwrap();
    let (mut status, mut id, mut graph) = (
        Status::CU_STREAM_CAPTURE_STATUS_NONE,
        0,
        std::ptr::null_mut(),
    );
    let (mut nodes, mut count) = (std::ptr::null(), 0);
    let captured;
    // SAFETY: the results have the types that the driver demands; the list of nodes is read before the next call.
    unsafe {
        ok(sys::cuStreamGetCaptureInfo_v3(
            stream.cu_stream(),
            &mut status,
            &mut id,
            &mut graph,
            &mut nodes,
            std::ptr::null_mut(),
            &mut count,
        ));
        assert_eq!(
            (status, count),
            (Status::CU_STREAM_CAPTURE_STATUS_ACTIVE, 1)
        );
        let node = *nodes;
        captured = result::stream::end_capture(stream.cu_stream()).unwrap();
        let mut kind = sys::CUgraphNodeType::CU_GRAPH_NODE_TYPE_EMPTY;
        ok(sys::cuGraphNodeGetType(node, &mut kind));
        assert_eq!(kind, sys::CUgraphNodeType::CU_GRAPH_NODE_TYPE_MEMSET);
        result::graph::destroy(captured).unwrap();
        assert_eq!(
            sys::cuGraphNodeGetType(node, &mut kind),
            CUresult::CUDA_ERROR_INVALID_HANDLE
        );
    }
    assert!(id != 0 && graph == captured);
}
