//! Graphs: replay of captured work.

use cudarc::driver::sys::{
    self, CUgraphInstantiate_flags as Flags, CUresult, CUstreamCaptureMode as Mode,
};
use cudarc::driver::{DevicePtr, LaunchConfig, PushKernelArg};

use crate::support::{context, kernel, ok, parameter, stream};

const ONE_WARP: LaunchConfig = LaunchConfig {
    grid_dim: (1, 1, 1),
    block_dim: (32, 1, 1),
    shared_mem_bytes: 0,
};

#[test]
fn a_replay_does_what_was_captured_each_time() {
    let context = context();
    let stream = stream(&context);
    let add = kernel(&context, "add");
    let mut device = stream.alloc_zeros::<u32>(32).unwrap();
    let mut value = 3_u32;
    stream
        .begin_capture(Mode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
        .unwrap();
    for _ in 0..2 {
        // SAFETY: 32 threads add to 32 numbers.
        unsafe {
            stream
                .launch_builder(&add)
                .arg(&mut device)
                .arg(&value)
                .launch(ONE_WARP)
        }
        .unwrap();
    }
    let graph = stream.end_capture(Flags(0)).unwrap().unwrap();
    // Parameters are those of the capture.
    value += 100;
    assert_eq!(
        stream.clone_dtoh(&device).unwrap(),
        [0; 32],
        "nothing runs while it is captured"
    );
    graph.upload().unwrap();
    for replay in 1..=3 {
        graph.launch().unwrap();
        assert_eq!(stream.clone_dtoh(&device).unwrap(), [6 * replay; 32]);
    }
    assert_eq!(value, 103);
}

#[test]
fn forks_and_joins_are_kept() {
    let context = context();
    let (stream, fork) = (stream(&context), stream(&context));
    let add = kernel(&context, "add");
    let mut left = stream.alloc_zeros::<u32>(32).unwrap();
    let mut right = stream.alloc_zeros::<u32>(32).unwrap();
    stream.synchronize().unwrap();
    let launch = |stream: &std::sync::Arc<cudarc::driver::CudaStream>,
                  data: &mut cudarc::driver::CudaSlice<u32>,
                  value: u32| {
        // SAFETY: 32 threads add to 32 numbers.
        unsafe {
            stream
                .launch_builder(&add)
                .arg(data)
                .arg(&value)
                .launch(ONE_WARP)
        }
        .unwrap();
    };
    stream
        .begin_capture(Mode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
        .unwrap();
    launch(&stream, &mut left, 1);
    fork.join(&stream).unwrap();
    launch(&fork, &mut right, 5);
    launch(&stream, &mut left, 1);
    stream.join(&fork).unwrap();
    stream.memcpy_dtod(&right, &mut left.slice_mut(..)).unwrap();
    let graph = stream.end_capture(Flags(0)).unwrap().unwrap();
    let (mut nodes, mut count) = ([std::ptr::null_mut(); 8], 8);
    // SAFETY: there is room for eight nodes.
    unsafe {
        ok(sys::cuGraphGetNodes(
            graph.cu_graph(),
            nodes.as_mut_ptr(),
            &mut count,
        ))
    };
    assert_eq!(count, 4);
    assert!(nodes[..4].iter().all(|node| !node.is_null()) && nodes[4].is_null());
    graph.launch().unwrap();
    graph.launch().unwrap();
    assert_eq!(stream.clone_dtoh(&left).unwrap(), [10; 32]);
    assert_eq!(stream.clone_dtoh(&right).unwrap(), [10; 32]);
}

#[test]
fn replays_of_one_graph_follow_each_other_in_any_streams() {
    let context = context();
    let (stream, other) = (stream(&context), stream(&context));
    let add = kernel(&context, "add");
    let mut device = stream.alloc_zeros::<u32>(32).unwrap();
    stream.synchronize().unwrap();
    stream
        .begin_capture(Mode::CU_STREAM_CAPTURE_MODE_RELAXED)
        .unwrap();
    // SAFETY: 32 threads add to 32 numbers.
    unsafe {
        stream
            .launch_builder(&add)
            .arg(&mut device)
            .arg(&1_u32)
            .launch(ONE_WARP)
    }
    .unwrap();
    let graph = stream.end_capture(Flags(0)).unwrap().unwrap();
    // SAFETY: graph and streams exist.
    unsafe {
        ok(sys::cuGraphLaunch(
            graph.cu_graph_exec(),
            stream.cu_stream(),
        ));
        ok(sys::cuGraphLaunch(graph.cu_graph_exec(), other.cu_stream()));
    }
    assert_eq!(other.clone_dtoh(&device).unwrap(), [2; 32]);
}

#[test]
fn a_graph_inside_of_a_capture_becomes_part_of_it() {
    let context = context();
    let stream = stream(&context);
    let add = kernel(&context, "add");
    let mut device = stream.alloc_zeros::<u32>(32).unwrap();
    stream
        .begin_capture(Mode::CU_STREAM_CAPTURE_MODE_RELAXED)
        .unwrap();
    // SAFETY: 32 threads add to 32 numbers.
    unsafe {
        stream
            .launch_builder(&add)
            .arg(&mut device)
            .arg(&1_u32)
            .launch(ONE_WARP)
    }
    .unwrap();
    let inner = stream.end_capture(Flags(0)).unwrap().unwrap();
    stream
        .begin_capture(Mode::CU_STREAM_CAPTURE_MODE_RELAXED)
        .unwrap();
    inner.launch().unwrap();
    inner.launch().unwrap();
    let outer = stream.end_capture(Flags(0)).unwrap().unwrap();
    drop(inner);
    outer.launch().unwrap();
    assert_eq!(stream.clone_dtoh(&device).unwrap(), [2; 32]);
}

#[test]
fn pinned_memory_is_read_at_every_replay() {
    let context = context();
    let stream = stream(&context);
    let device = stream.alloc_zeros::<u32>(4).unwrap();
    // SAFETY: it is written before each replay.
    let mut pinned = unsafe { context.alloc_pinned_with_flags::<u32>(4, 0) }.unwrap();
    let memory = pinned.as_mut_ptr().unwrap();
    let address = device.device_ptr(&stream).0;
    stream
        .begin_capture(Mode::CU_STREAM_CAPTURE_MODE_RELAXED)
        .unwrap();
    // SAFETY: both are 16 bytes.
    unsafe {
        ok(sys::cuMemcpyHtoDAsync_v2(
            address,
            memory.cast(),
            16,
            stream.cu_stream(),
        ))
    };
    let graph = stream.end_capture(Flags(0)).unwrap().unwrap();
    for round in 1..=2 {
        // SAFETY: the pinned memory holds four numbers, and no copy is under way.
        unsafe { std::slice::from_raw_parts_mut(memory, 4).fill(round) };
        graph.launch().unwrap();
        assert_eq!(stream.clone_dtoh(&device).unwrap(), [round; 4]);
    }
    drop(pinned);
    graph.launch().unwrap();
    let illegal = CUresult::CUDA_ERROR_ILLEGAL_ADDRESS;
    assert_eq!(
        crate::support::code(stream.synchronize()),
        illegal,
        "the source was freed"
    );
    std::mem::forget(device);
}

#[test]
fn parameters_can_be_exchanged() {
    let context = context();
    let stream = stream(&context);
    let add = kernel(&context, "add");
    let mut device = stream.alloc_zeros::<u32>(32).unwrap();
    let mut capture = |value: u32, launches: usize| {
        stream
            .begin_capture(Mode::CU_STREAM_CAPTURE_MODE_RELAXED)
            .unwrap();
        for _ in 0..launches {
            // SAFETY: 32 threads add to 32 numbers.
            unsafe {
                stream
                    .launch_builder(&add)
                    .arg(&mut device)
                    .arg(&value)
                    .launch(ONE_WARP)
            }
            .unwrap();
        }
        stream.end_capture(Flags(0)).unwrap().unwrap()
    };
    let (graph, other, longer) = (capture(1, 1), capture(10, 1), capture(1, 2));
    let address = device.device_ptr(&stream).0;
    // SAFETY: the handles are alive and the structures valid.
    unsafe {
        let mut result: sys::CUgraphExecUpdateResultInfo = std::mem::zeroed();
        ok(sys::cuGraphExecUpdate_v2(
            graph.cu_graph_exec(),
            other.cu_graph(),
            &mut result,
        ));
        graph.launch().unwrap();
        let failed =
            sys::cuGraphExecUpdate_v2(graph.cu_graph_exec(), longer.cu_graph(), &mut result);
        assert_eq!(failed, CUresult::CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
        assert_eq!(
            result.result,
            sys::CUgraphExecUpdateResult::CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED
        );

        let (mut node, mut count) = (std::ptr::null_mut(), 1);
        ok(sys::cuGraphGetNodes(
            graph.cu_graph(),
            &mut node,
            &mut count,
        ));
        let mut values = [parameter(&address), parameter(&100_u32)];
        let mut parameters: sys::CUDA_KERNEL_NODE_PARAMS = std::mem::zeroed();
        parameters.func = add.cu_function();
        (
            parameters.gridDimX,
            parameters.gridDimY,
            parameters.gridDimZ,
        ) = (1, 1, 1);
        (
            parameters.blockDimX,
            parameters.blockDimY,
            parameters.blockDimZ,
        ) = (32, 1, 1);
        parameters.kernelParams = values.as_mut_ptr();
        ok(sys::cuGraphExecKernelNodeSetParams_v2(
            graph.cu_graph_exec(),
            node,
            &parameters,
        ));
        graph.launch().unwrap();
        let foreign =
            sys::cuGraphExecKernelNodeSetParams_v2(other.cu_graph_exec(), node, &parameters);
        assert_eq!(
            foreign,
            CUresult::CUDA_ERROR_INVALID_VALUE,
            "the node belongs to another graph"
        );
    }
    assert_eq!(stream.clone_dtoh(&device).unwrap(), [110; 32]);
}

#[test]
fn flags_that_exclude_each_other_are_refused() {
    let context = context();
    let stream = stream(&context);
    let both = Flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH
        | Flags::CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH;
    stream
        .begin_capture(Mode::CU_STREAM_CAPTURE_MODE_RELAXED)
        .unwrap();
    assert_eq!(
        crate::support::code(stream.end_capture(both)),
        CUresult::CUDA_ERROR_INVALID_VALUE
    );
    stream
        .begin_capture(Mode::CU_STREAM_CAPTURE_MODE_RELAXED)
        .unwrap();
    stream
        .end_capture(Flags(0))
        .unwrap()
        .unwrap()
        .launch()
        .unwrap();
    stream.synchronize().unwrap();
}
