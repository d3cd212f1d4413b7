//! `cuGetProcAddress`: functions by name.

use std::ffi::{c_char, c_int, c_void};

use super::entry::{enter_uninitialised, out, text, write_if_wanted};
use super::error::{Code, misuse};
use super::{
    capture_calls, context, context_properties, copy, device, error, event, fill, function, graph,
    host_call, host_memory, launch_calls, memory, module, occupancy, pointer, pool, primary,
    profiler, rectangle, replay, stream, stream_properties, tensor_map,
};

/// `CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND`.
const NOT_FOUND: c_int = 1;

/// `CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM`.
const PER_THREAD_DEFAULT_STREAM: u64 = 2;

/// Versions of functions that a program for CUDA 13 means by a name without version, the likeliest first.
const VERSIONS: [&str; 4] = ["_v4", "_v3", "_v2", ""];

/// The function that a program for a CUDA version means by a name.
fn find(name: &str, cuda: c_int) -> Option<*const c_void> {
    if name.contains("_v") {
        return exact(name);
    }
    let versions = if cuda >= 13_000 {
        &VERSIONS[..]
    } else {
        &VERSIONS[2..]
    };
    versions
        .iter()
        .find_map(|version| exact(&format!("{name}{version}")))
}

fn exact(name: &str) -> Option<*const c_void> {
    Some(match name {
        // capture_calls.rs
        "cuStreamBeginCapture_v2" => capture_calls::cuStreamBeginCapture_v2 as *const c_void,
        "cuStreamEndCapture" => capture_calls::cuStreamEndCapture as *const c_void,
        "cuStreamIsCapturing" => capture_calls::cuStreamIsCapturing as *const c_void,
        "cuStreamGetCaptureInfo_v2" => capture_calls::cuStreamGetCaptureInfo_v2 as *const c_void,
        "cuStreamGetCaptureInfo_v3" => capture_calls::cuStreamGetCaptureInfo_v3 as *const c_void,
        "cuThreadExchangeStreamCaptureMode" => {
            capture_calls::cuThreadExchangeStreamCaptureMode as *const c_void
        }
        // context.rs
        "cuCtxCreate_v2" => context::cuCtxCreate_v2 as *const c_void,
        "cuCtxCreate_v3" => context::cuCtxCreate_v3 as *const c_void,
        "cuCtxCreate_v4" => context::cuCtxCreate_v4 as *const c_void,
        "cuCtxDestroy_v2" => context::cuCtxDestroy_v2 as *const c_void,
        "cuCtxGetCurrent" => context::cuCtxGetCurrent as *const c_void,
        "cuCtxSetCurrent" => context::cuCtxSetCurrent as *const c_void,
        "cuCtxPushCurrent_v2" => context::cuCtxPushCurrent_v2 as *const c_void,
        "cuCtxPopCurrent_v2" => context::cuCtxPopCurrent_v2 as *const c_void,
        "cuCtxSynchronize" => context::cuCtxSynchronize as *const c_void,
        // context_properties.rs
        "cuCtxGetDevice" => context_properties::cuCtxGetDevice as *const c_void,
        "cuCtxGetFlags" => context_properties::cuCtxGetFlags as *const c_void,
        "cuCtxSetFlags" => context_properties::cuCtxSetFlags as *const c_void,
        "cuCtxGetCacheConfig" => context_properties::cuCtxGetCacheConfig as *const c_void,
        "cuCtxSetCacheConfig" => context_properties::cuCtxSetCacheConfig as *const c_void,
        "cuCtxGetLimit" => context_properties::cuCtxGetLimit as *const c_void,
        "cuCtxSetLimit" => context_properties::cuCtxSetLimit as *const c_void,
        "cuCtxGetStreamPriorityRange" => {
            context_properties::cuCtxGetStreamPriorityRange as *const c_void
        }
        // copy.rs
        "cuMemcpyHtoD_v2" => copy::cuMemcpyHtoD_v2 as *const c_void,
        "cuMemcpyHtoDAsync_v2" => copy::cuMemcpyHtoDAsync_v2 as *const c_void,
        "cuMemcpyDtoH_v2" => copy::cuMemcpyDtoH_v2 as *const c_void,
        "cuMemcpyDtoHAsync_v2" => copy::cuMemcpyDtoHAsync_v2 as *const c_void,
        "cuMemcpyDtoD_v2" => copy::cuMemcpyDtoD_v2 as *const c_void,
        "cuMemcpyDtoDAsync_v2" => copy::cuMemcpyDtoDAsync_v2 as *const c_void,
        "cuMemcpyPeerAsync" => copy::cuMemcpyPeerAsync as *const c_void,
        "cuMemcpy" => copy::cuMemcpy as *const c_void,
        "cuMemcpyAsync" => copy::cuMemcpyAsync as *const c_void,
        // device.rs
        "cuInit" => device::cuInit as *const c_void,
        "cuDriverGetVersion" => device::cuDriverGetVersion as *const c_void,
        "cuDeviceGetCount" => device::cuDeviceGetCount as *const c_void,
        "cuDeviceGet" => device::cuDeviceGet as *const c_void,
        "cuDeviceGetName" => device::cuDeviceGetName as *const c_void,
        "cuDeviceGetUuid_v2" => device::cuDeviceGetUuid_v2 as *const c_void,
        "cuDeviceGetUuid" => device::cuDeviceGetUuid as *const c_void,
        "cuDeviceGetAttribute" => device::cuDeviceGetAttribute as *const c_void,
        "cuDeviceComputeCapability" => device::cuDeviceComputeCapability as *const c_void,
        "cuDeviceTotalMem_v2" => device::cuDeviceTotalMem_v2 as *const c_void,
        "cuDeviceCanAccessPeer" => device::cuDeviceCanAccessPeer as *const c_void,
        // error.rs
        "cuGetErrorName" => error::cuGetErrorName as *const c_void,
        "cuGetErrorString" => error::cuGetErrorString as *const c_void,
        // event.rs
        "cuEventCreate" => event::cuEventCreate as *const c_void,
        "cuEventDestroy_v2" => event::cuEventDestroy_v2 as *const c_void,
        "cuEventRecord" => event::cuEventRecord as *const c_void,
        "cuEventRecordWithFlags" => event::cuEventRecordWithFlags as *const c_void,
        "cuEventSynchronize" => event::cuEventSynchronize as *const c_void,
        "cuEventQuery" => event::cuEventQuery as *const c_void,
        "cuEventElapsedTime_v2" => event::cuEventElapsedTime_v2 as *const c_void,
        "cuEventElapsedTime" => event::cuEventElapsedTime as *const c_void,
        // fill.rs
        "cuMemsetD8_v2" => fill::cuMemsetD8_v2 as *const c_void,
        "cuMemsetD16_v2" => fill::cuMemsetD16_v2 as *const c_void,
        "cuMemsetD32_v2" => fill::cuMemsetD32_v2 as *const c_void,
        "cuMemsetD8Async" => fill::cuMemsetD8Async as *const c_void,
        "cuMemsetD16Async" => fill::cuMemsetD16Async as *const c_void,
        "cuMemsetD32Async" => fill::cuMemsetD32Async as *const c_void,
        // function.rs
        "cuFuncGetAttribute" => function::cuFuncGetAttribute as *const c_void,
        "cuFuncSetAttribute" => function::cuFuncSetAttribute as *const c_void,
        "cuFuncSetCacheConfig" => function::cuFuncSetCacheConfig as *const c_void,
        "cuFuncGetName" => function::cuFuncGetName as *const c_void,
        "cuFuncGetParamInfo" => function::cuFuncGetParamInfo as *const c_void,
        // graph.rs
        "cuGraphDestroy" => graph::cuGraphDestroy as *const c_void,
        "cuGraphGetNodes" => graph::cuGraphGetNodes as *const c_void,
        "cuGraphNodeGetType" => graph::cuGraphNodeGetType as *const c_void,
        // host_call.rs
        "cuLaunchHostFunc" => host_call::cuLaunchHostFunc as *const c_void,
        // host_memory.rs
        "cuMemHostAlloc" => host_memory::cuMemHostAlloc as *const c_void,
        "cuMemAllocHost_v2" => host_memory::cuMemAllocHost_v2 as *const c_void,
        "cuMemFreeHost" => host_memory::cuMemFreeHost as *const c_void,
        "cuMemHostRegister_v2" => host_memory::cuMemHostRegister_v2 as *const c_void,
        "cuMemHostUnregister" => host_memory::cuMemHostUnregister as *const c_void,
        "cuMemHostGetFlags" => host_memory::cuMemHostGetFlags as *const c_void,
        "cuMemHostGetDevicePointer_v2" => {
            host_memory::cuMemHostGetDevicePointer_v2 as *const c_void
        }
        // launch_calls.rs
        "cuLaunchKernel" => launch_calls::cuLaunchKernel as *const c_void,
        "cuLaunchCooperativeKernel" => launch_calls::cuLaunchCooperativeKernel as *const c_void,
        "cuLaunchKernelEx" => launch_calls::cuLaunchKernelEx as *const c_void,
        // memory.rs
        "cuMemAlloc_v2" => memory::cuMemAlloc_v2 as *const c_void,
        "cuMemAllocPitch_v2" => memory::cuMemAllocPitch_v2 as *const c_void,
        "cuMemFree_v2" => memory::cuMemFree_v2 as *const c_void,
        "cuMemAllocAsync" => memory::cuMemAllocAsync as *const c_void,
        "cuMemFreeAsync" => memory::cuMemFreeAsync as *const c_void,
        "cuMemGetInfo_v2" => memory::cuMemGetInfo_v2 as *const c_void,
        "cuMemAllocManaged" => memory::cuMemAllocManaged as *const c_void,
        // module.rs
        "cuModuleLoadData" => module::cuModuleLoadData as *const c_void,
        "cuModuleLoadDataEx" => module::cuModuleLoadDataEx as *const c_void,
        "cuModuleLoadFatBinary" => module::cuModuleLoadFatBinary as *const c_void,
        "cuModuleLoad" => module::cuModuleLoad as *const c_void,
        "cuModuleUnload" => module::cuModuleUnload as *const c_void,
        "cuModuleGetFunction" => module::cuModuleGetFunction as *const c_void,
        "cuModuleGetGlobal_v2" => module::cuModuleGetGlobal_v2 as *const c_void,
        // occupancy.rs
        "cuOccupancyMaxActiveBlocksPerMultiprocessor" => {
            occupancy::cuOccupancyMaxActiveBlocksPerMultiprocessor as *const c_void
        }
        "cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags" => {
            occupancy::cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags as *const c_void
        }
        "cuOccupancyAvailableDynamicSMemPerBlock" => {
            occupancy::cuOccupancyAvailableDynamicSMemPerBlock as *const c_void
        }
        "cuOccupancyMaxPotentialBlockSize" => {
            occupancy::cuOccupancyMaxPotentialBlockSize as *const c_void
        }
        "cuOccupancyMaxPotentialBlockSizeWithFlags" => {
            occupancy::cuOccupancyMaxPotentialBlockSizeWithFlags as *const c_void
        }
        "cuOccupancyMaxActiveClusters" => occupancy::cuOccupancyMaxActiveClusters as *const c_void,
        "cuOccupancyMaxPotentialClusterSize" => {
            occupancy::cuOccupancyMaxPotentialClusterSize as *const c_void
        }
        // pointer.rs
        "cuMemGetAddressRange_v2" => pointer::cuMemGetAddressRange_v2 as *const c_void,
        "cuPointerGetAttribute" => pointer::cuPointerGetAttribute as *const c_void,
        // pool.rs
        "cuDeviceGetDefaultMemPool" => pool::cuDeviceGetDefaultMemPool as *const c_void,
        "cuDeviceGetMemPool" => pool::cuDeviceGetMemPool as *const c_void,
        "cuDeviceSetMemPool" => pool::cuDeviceSetMemPool as *const c_void,
        "cuMemPoolCreate" => pool::cuMemPoolCreate as *const c_void,
        "cuMemPoolDestroy" => pool::cuMemPoolDestroy as *const c_void,
        "cuMemPoolTrimTo" => pool::cuMemPoolTrimTo as *const c_void,
        "cuMemAllocFromPoolAsync" => pool::cuMemAllocFromPoolAsync as *const c_void,
        "cuMemPoolGetAttribute" => pool::cuMemPoolGetAttribute as *const c_void,
        "cuMemPoolSetAttribute" => pool::cuMemPoolSetAttribute as *const c_void,
        // primary.rs
        "cuDevicePrimaryCtxRetain" => primary::cuDevicePrimaryCtxRetain as *const c_void,
        "cuDevicePrimaryCtxRelease_v2" => primary::cuDevicePrimaryCtxRelease_v2 as *const c_void,
        "cuDevicePrimaryCtxReset_v2" => primary::cuDevicePrimaryCtxReset_v2 as *const c_void,
        "cuDevicePrimaryCtxGetState" => primary::cuDevicePrimaryCtxGetState as *const c_void,
        "cuDevicePrimaryCtxSetFlags_v2" => primary::cuDevicePrimaryCtxSetFlags_v2 as *const c_void,
        // profiler.rs
        "cuProfilerStart" => profiler::cuProfilerStart as *const c_void,
        "cuProfilerStop" => profiler::cuProfilerStop as *const c_void,
        // rectangle.rs
        "cuMemcpy2D_v2" => rectangle::cuMemcpy2D_v2 as *const c_void,
        "cuMemcpy2DAsync_v2" => rectangle::cuMemcpy2DAsync_v2 as *const c_void,
        // replay.rs
        "cuGraphInstantiateWithFlags" => replay::cuGraphInstantiateWithFlags as *const c_void,
        "cuGraphLaunch" => replay::cuGraphLaunch as *const c_void,
        "cuGraphUpload" => replay::cuGraphUpload as *const c_void,
        "cuGraphExecDestroy" => replay::cuGraphExecDestroy as *const c_void,
        "cuGraphExecKernelNodeSetParams_v2" => {
            replay::cuGraphExecKernelNodeSetParams_v2 as *const c_void
        }
        "cuGraphExecUpdate_v2" => replay::cuGraphExecUpdate_v2 as *const c_void,
        // stream.rs
        "cuStreamCreate" => stream::cuStreamCreate as *const c_void,
        "cuStreamCreateWithPriority" => stream::cuStreamCreateWithPriority as *const c_void,
        "cuStreamDestroy_v2" => stream::cuStreamDestroy_v2 as *const c_void,
        "cuStreamSynchronize" => stream::cuStreamSynchronize as *const c_void,
        "cuStreamQuery" => stream::cuStreamQuery as *const c_void,
        "cuStreamWaitEvent" => stream::cuStreamWaitEvent as *const c_void,
        // stream_properties.rs
        "cuStreamGetCtx" => stream_properties::cuStreamGetCtx as *const c_void,
        "cuStreamGetFlags" => stream_properties::cuStreamGetFlags as *const c_void,
        "cuStreamGetPriority" => stream_properties::cuStreamGetPriority as *const c_void,
        "cuStreamGetId" => stream_properties::cuStreamGetId as *const c_void,
        // tensor_map.rs
        "cuTensorMapEncodeTiled" => tensor_map::cuTensorMapEncodeTiled as *const c_void,
        "cuTensorMapReplaceAddress" => tensor_map::cuTensorMapReplaceAddress as *const c_void,
        "cuTensorMapEncodeIm2col" => tensor_map::cuTensorMapEncodeIm2col as *const c_void,
        "cuGetProcAddress" => cuGetProcAddress as *const c_void,
        "cuGetProcAddress_v2" => cuGetProcAddress_v2 as *const c_void,
        _ => return None,
    })
}

/// The address of a function, and whether there is one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetProcAddress_v2(
    name: *const c_char,
    function: *mut *const c_void,
    version: c_int,
    flags: u64,
    status: *mut c_int,
) -> Code {
    enter_uninitialised("cuGetProcAddress", |_| {
        // SAFETY: the driver interface demands a pointer that may be written.
        let function = unsafe { out(function) }?;
        // SAFETY: the driver interface demands text that ends with a zero byte.
        let name = unsafe { text(name) }?;
        if flags & PER_THREAD_DEFAULT_STREAM != 0 {
            return Err(misuse(
                Code::NotSupported,
                "functions with the default stream of the thread have no names here: pass CU_STREAM_PER_THREAD",
            ));
        }
        let found = find(name, version);
        function.write(found.unwrap_or(std::ptr::null()));
        // SAFETY: the driver interface allows null or a pointer that may be written.
        unsafe { write_if_wanted(status, if found.is_some() { 0 } else { NOT_FOUND }) }?;
        if found.is_some() {
            Ok(())
        } else {
            Err(Code::NotFound.into())
        }
    })
}

/// As version 2, without the status.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetProcAddress(
    name: *const c_char,
    function: *mut *const c_void,
    version: c_int,
    flags: u64,
) -> Code {
    // SAFETY: the same contract; the status is not wanted.
    unsafe { cuGetProcAddress_v2(name, function, version, flags, std::ptr::null_mut()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_the_version_of_their_time() {
        assert_eq!(
            find("cuMemAlloc", 13_000),
            Some(memory::cuMemAlloc_v2 as *const c_void)
        );
        assert_eq!(
            find("cuCtxCreate_v3", 12_000),
            Some(context::cuCtxCreate_v3 as *const c_void)
        );
        assert_eq!(
            find("cuCtxCreate", 12_000),
            Some(context::cuCtxCreate_v2 as *const c_void)
        );
        assert_eq!(
            find("cuCtxCreate", 13_000),
            Some(context::cuCtxCreate_v4 as *const c_void)
        );
        assert_eq!(
            find("cuInit", 13_000),
            Some(device::cuInit as *const c_void)
        );
        assert_eq!(find("cuNothing", 13_000), None);
    }
}
