//! What the devices and contexts say about themselves.

use cudarc::driver::CudaContext;
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute, CUresult};

use crate::support::{code, context, ok, standin};

#[test]
fn a_hopper_device_by_default() {
    let context = context();
    assert_eq!(standin().capability(), (9, 0));
    assert_eq!(context.compute_capability(), Ok((9, 0)));
    assert!(
        context.name().unwrap().contains("H100"),
        "{:?}",
        context.name()
    );
    let numbers = [
        (Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 132),
        (
            Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK,
            48 << 10,
        ),
        (
            Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
            227 << 10,
        ),
        (
            Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR,
            228 << 10,
        ),
        (Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, 50 << 20),
        (Attribute::CU_DEVICE_ATTRIBUTE_WARP_SIZE, 32),
        (
            Attribute::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR,
            2048,
        ),
        (Attribute::CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH, 1),
        (Attribute::CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH, 1),
        (Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED, 1),
        (Attribute::CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY, 0),
        (Attribute::CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY, 0),
    ];
    for (attribute, value) in numbers {
        assert_eq!(context.attribute(attribute), Ok(value), "{attribute:?}");
    }
    assert_eq!(context.uuid().unwrap().bytes[15], 0);
    assert_eq!(context.total_mem(), Ok(16 << 30));
    let mut version = 0;
    // SAFETY: the result may be written.
    unsafe { ok(sys::cuDriverGetVersion(&mut version)) };
    assert_eq!(version, 13_000);
}

#[test]
fn limits_and_preferences_are_remembered() {
    let context = context();
    let limit = sys::CUlimit::CU_LIMIT_STACK_SIZE;
    assert_eq!(context.get_limit(limit), Ok(1024));
    context.set_limit(limit, 4096).unwrap();
    assert_eq!(context.get_limit(limit), Ok(4096));
    context
        .set_cache_config(sys::CUfunc_cache::CU_FUNC_CACHE_PREFER_L1)
        .unwrap();
    assert_eq!(
        context.get_cache_config(),
        Ok(sys::CUfunc_cache::CU_FUNC_CACHE_PREFER_L1)
    );
    context.set_blocking_synchronize().unwrap();
    assert_eq!(
        code(context.get_limit(sys::CUlimit::CU_LIMIT_SHMEM_SIZE)),
        CUresult::CUDA_ERROR_NOT_SUPPORTED
    );
}

#[test]
fn the_primary_context_is_one_for_all() {
    standin();
    let first = CudaContext::new(0).unwrap();
    let second = CudaContext::new(0).unwrap();
    assert_eq!(first.cu_ctx(), second.cu_ctx());
    assert_ne!(first.cu_ctx(), context().cu_ctx());
    let data = first.default_stream().clone_htod(&[1_u32; 4]).unwrap();
    drop(first);
    second.bind_to_thread().unwrap();
    assert_eq!(second.default_stream().clone_dtoh(&data).unwrap(), [1; 4]);
    // SAFETY: a wrong call is what the test is about: it is refused.
    assert_eq!(
        unsafe { sys::cuCtxDestroy_v2(second.cu_ctx()) },
        CUresult::CUDA_ERROR_INVALID_CONTEXT
    );
}

#[test]
fn contexts_form_a_stack() {
    let (outer, inner) = (context(), context());
    outer.bind_to_thread().unwrap();
    let mut current = std::ptr::null_mut();
    // SAFETY: the contexts exist, and the results may be written.
    unsafe {
        ok(sys::cuCtxPushCurrent_v2(inner.cu_ctx()));
        ok(sys::cuCtxGetCurrent(&mut current));
        assert_eq!(current, inner.cu_ctx());
        ok(sys::cuCtxPopCurrent_v2(&mut current));
        assert_eq!(current, inner.cu_ctx());
        ok(sys::cuCtxGetCurrent(&mut current));
        assert_eq!(current, outer.cu_ctx());
    }
}
