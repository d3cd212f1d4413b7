//! Faults of kernels: the error stays, and says what a GPU would say.

use std::sync::Arc;

use cudarc::driver::sys::{self, CUresult};
use cudarc::driver::{CudaContext, CudaStream, DevicePtr, LaunchConfig, PushKernelArg};
use standin::fault::FaultKind;

use crate::support::{code, context, kernel, last_finding, ok, standin, stream};

fn shape(grid: u32, block: u32) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (grid, 1, 1),
        block_dim: (block, 1, 1),
        shared_mem_bytes: 0,
    }
}

/// Launches a kernel that takes the address of 32 numbers, `offset` bytes further.
fn launch(
    context: &Arc<CudaContext>,
    stream: &Arc<CudaStream>,
    name: &str,
    offset: u64,
    shape: LaunchConfig,
) {
    let kernel = kernel(context, name);
    let data = stream.alloc_zeros::<u32>(32).unwrap();
    let address = data.device_ptr(stream).0 + offset;
    let mut builder = stream.launch_builder(&kernel);
    builder.arg(&address);
    if name == "add" {
        builder.arg(&1_u32);
    }
    // SAFETY: faults are what these tests are about; they stay inside of the stand-in.
    unsafe { builder.launch(shape) }.expect("the launch itself is accepted");
    // The memory and the kernel stay until the launch has run.
    std::mem::forget((data, kernel));
}

fn sticky(name: &str, offset: u64, shape: LaunchConfig, expected: CUresult, kind: FaultKind) {
    let context = context();
    let (stream, other) = (stream(&context), stream(&context));
    let bystander = other.clone_htod(&[1_u32]).unwrap();
    launch(&context, &stream, name, offset, shape);
    assert_eq!(code(stream.synchronize()), expected);
    let finding = last_finding();
    assert_eq!(
        (finding.kind, finding.record.code),
        (Some(kind), expected as i32),
        "{}",
        finding.report
    );
    assert_eq!(finding.kernel, name);
    // Everything after it fails as well, in every stream.
    assert_eq!(code(other.synchronize()), expected);
    assert_eq!(code(other.clone_dtoh(&bystander)), expected);
    assert_eq!(code(context.new_stream()), expected);
    assert_eq!(code(context.synchronize()), expected);
    std::mem::forget(bystander);
}

#[test]
fn out_of_bounds_is_an_illegal_address() {
    sticky(
        "add",
        4,
        shape(1, 32),
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS,
        FaultKind::OutOfBounds,
    );
    let finding = last_finding();
    assert_eq!(
        (
            finding.source.as_str(),
            finding.record.block,
            finding.record.thread
        ),
        ("kernels.cu:21", [0; 3], [31, 0, 0])
    );
    assert!(
        finding.instruction.starts_with("ld.global.u32"),
        "{}",
        finding.instruction
    );
}

#[test]
fn misaligned_is_a_misaligned_address() {
    sticky(
        "add",
        2,
        shape(1, 1),
        CUresult::CUDA_ERROR_MISALIGNED_ADDRESS,
        FaultKind::Misaligned,
    );
}

#[test]
fn a_hang_is_a_timeout() {
    sticky(
        "spin",
        0,
        shape(1, 1),
        CUresult::CUDA_ERROR_LAUNCH_TIMEOUT,
        FaultKind::Hang,
    );
}

#[test]
fn a_trap_is_a_launch_failure() {
    sticky(
        "trap",
        0,
        shape(1, 1),
        CUresult::CUDA_ERROR_LAUNCH_FAILED,
        FaultKind::Trap,
    );
}

#[test]
fn a_failed_assertion_has_a_code_of_its_own() {
    sticky(
        "assertion",
        0,
        shape(1, 1),
        CUresult::CUDA_ERROR_ASSERT,
        FaultKind::Assert,
    );
}

#[test]
fn a_race_is_a_launch_failure() {
    sticky(
        "race",
        0,
        shape(8, 1),
        CUresult::CUDA_ERROR_LAUNCH_FAILED,
        FaultKind::Race,
    );
}

#[test]
fn only_the_context_of_the_fault_fails() {
    let (healthy, failing) = (context(), context());
    failing.bind_to_thread().unwrap();
    let stream_of_failing = stream(&failing);
    launch(&failing, &stream_of_failing, "trap", 0, shape(1, 1));
    assert_eq!(
        code(failing.synchronize()),
        CUresult::CUDA_ERROR_LAUNCH_FAILED
    );
    healthy.bind_to_thread().unwrap();
    let stream = stream(&healthy);
    let data = stream.clone_htod(&[4_u32]).unwrap();
    assert_eq!(stream.clone_dtoh(&data).unwrap(), [4]);
}

#[test]
fn a_copy_from_memory_that_its_stream_freed_is_found() {
    let context = context();
    let stream = stream(&context);
    let data = stream.clone_htod(&[4_u32; 4]).unwrap();
    let target = stream.alloc_zeros::<u32>(4).unwrap();
    let (from, to) = (data.leak(), target.device_ptr(&stream).0);
    // SAFETY: use after free is what the test is about; it stays inside of the stand-in.
    unsafe {
        ok(sys::cuMemFreeAsync(from, stream.cu_stream()));
        ok(sys::cuMemcpyDtoDAsync_v2(to, from, 16, stream.cu_stream()));
    }
    assert_eq!(
        code(stream.synchronize()),
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
    );
    let finding = last_finding();
    assert!(
        finding.kind.is_none() && finding.message.contains("which was freed"),
        "{}",
        finding.report
    );
    std::mem::forget(target);
}

#[test]
fn work_that_nobody_waited_for_is_checked_at_the_end_of_its_context() {
    let before = standin().faults_of_this_thread().len();
    let context = context();
    let stream = stream(&context);
    launch(&context, &stream, "trap", 0, shape(1, 1));
    assert_eq!(standin().faults_of_this_thread().len(), before);
    // SAFETY: the context is destroyed once: cudarc's own handles to it are forgotten.
    unsafe { ok(sys::cuCtxDestroy_v2(context.cu_ctx())) };
    std::mem::forget((stream, context));
    assert_eq!(last_finding().kind, Some(FaultKind::Trap));
}
