//! Device memory, pools, page-locked memory, and when copies happen.

use std::ffi::c_void;

use cudarc::driver::sys::{self, CUresult};
use cudarc::driver::{DevicePtr, result};

use crate::support::{code, context, kernel, last_finding, ok, stream};

const POISON: u32 = u32::MAX;

#[test]
fn copies_and_fills_of_every_kind() {
    let context = context();
    let stream = stream(&context);
    let numbers: Vec<u32> = (0..1000).collect();
    let mut device = stream.clone_htod(&numbers).unwrap();
    let mut other = stream.alloc_zeros::<u32>(1000).unwrap();
    stream.memcpy_dtod(&device, &mut other).unwrap();
    stream.memset_zeros(&mut device.slice_mut(10..20)).unwrap();
    let mut expected = numbers.clone();
    assert_eq!(stream.clone_dtoh(&other).unwrap(), expected);
    expected[10..20].fill(0);
    assert_eq!(stream.clone_dtoh(&device).unwrap(), expected);

    let address = device.device_ptr(&stream).0;
    // SAFETY: the ranges lie inside of the allocation.
    unsafe {
        ok(sys::cuMemsetD16Async(
            address + 2,
            0xabcd,
            3,
            stream.cu_stream(),
        ));
        ok(sys::cuMemsetD32Async(
            address + 16,
            0x1234_5678,
            2,
            stream.cu_stream(),
        ));
    }
    expected[0] = 0xabcd_0000;
    expected[1] = 0xabcd_abcd;
    expected[4..6].fill(0x1234_5678);
    assert_eq!(stream.clone_dtoh(&device).unwrap(), expected);
}

#[test]
fn rectangles_keep_what_is_around_them() {
    let context = context();
    let stream = stream(&context);
    let device = stream.clone_htod(&[0_u8; 64]).unwrap();
    let host: Vec<u8> = (1..=12).collect();
    let copy = sys::CUDA_MEMCPY2D {
        srcXInBytes: 1,
        srcY: 0,
        srcMemoryType: sys::CUmemorytype::CU_MEMORYTYPE_HOST,
        srcHost: host.as_ptr().cast(),
        srcDevice: 0,
        srcArray: std::ptr::null_mut(),
        srcPitch: 4,
        dstXInBytes: 2,
        dstY: 1,
        dstMemoryType: sys::CUmemorytype::CU_MEMORYTYPE_DEVICE,
        dstHost: std::ptr::null_mut(),
        dstDevice: device.device_ptr(&stream).0,
        dstArray: std::ptr::null_mut(),
        dstPitch: 16,
        WidthInBytes: 3,
        Height: 3,
    };
    // SAFETY: both rectangles lie inside of their memories.
    unsafe { ok(sys::cuMemcpy2DAsync_v2(&copy, stream.cu_stream())) };
    let mut expected = [0; 64];
    expected[18..21].copy_from_slice(&[2, 3, 4]);
    expected[34..37].copy_from_slice(&[6, 7, 8]);
    expected[50..53].copy_from_slice(&[10, 11, 12]);
    assert_eq!(stream.clone_dtoh(&device).unwrap(), expected);
}

#[test]
fn pageable_sources_are_read_at_the_call_and_pinned_ones_late() {
    let context = context();
    let stream = stream(&context);
    let mut pageable = vec![1_u32; 4];
    let mut device = stream.clone_htod(&pageable).unwrap();
    pageable.fill(2);
    assert_eq!(stream.clone_dtoh(&device).unwrap(), [1; 4]);

    // SAFETY: it is written before it is read.
    let mut pinned = unsafe { context.alloc_pinned_with_flags::<u32>(4, 0) }.unwrap();
    let memory = pinned.as_mut_ptr().unwrap();
    // SAFETY: `memory` is the pinned allocation of four numbers, which nothing else uses.
    unsafe {
        std::slice::from_raw_parts_mut(memory, 4).fill(3);
        let address = device.device_ptr(&stream).0;
        ok(sys::cuMemcpyHtoDAsync_v2(
            address,
            memory.cast(),
            16,
            stream.cu_stream(),
        ));
        // The program forgot to wait before it uses the buffer again.
        std::slice::from_raw_parts_mut(memory, 4).fill(4);
    }
    assert_eq!(stream.clone_dtoh(&device).unwrap(), [4; 4]);
    stream.memcpy_htod(&[5_u32; 4], &mut device).unwrap();
    assert_eq!(stream.clone_dtoh(&device).unwrap(), [5; 4]);
}

#[test]
fn pinned_targets_hold_poison_until_the_stream_is_synchronised() {
    let context = context();
    let stream = stream(&context);
    let device = stream.clone_htod(&[7_u32; 4]).unwrap();
    // SAFETY: a test reads the raw memory on purpose before it is copied to.
    let mut pinned = unsafe { context.alloc_pinned_with_flags::<u32>(4, 0) }.unwrap();
    let memory = pinned.as_mut_ptr().unwrap().cast_const();
    let address = device.device_ptr(&stream).0;
    // SAFETY: `memory` is the pinned allocation of four numbers, filled by the driver.
    let read = || unsafe { std::slice::from_raw_parts(memory, 4).to_vec() };
    // SAFETY: source and target are 16 bytes.
    unsafe {
        ok(sys::cuMemcpyDtoHAsync_v2(
            memory.cast_mut().cast(),
            address,
            16,
            stream.cu_stream(),
        ))
    };
    assert_eq!(read(), [POISON; 4]);
    stream.synchronize().unwrap();
    assert_eq!(read(), [7; 4]);
}

#[test]
fn registered_memory_is_pinned_until_it_is_unregistered() {
    let context = context();
    let stream = stream(&context);
    let device = stream.clone_htod(&[7_u32; 4]).unwrap();
    let mut host = vec![1_u32; 8];
    let memory: *mut c_void = host.as_mut_ptr().cast();
    let address = device.device_ptr(&stream).0;
    // SAFETY: `memory` has 32 bytes and stays.
    unsafe {
        ok(sys::cuMemHostRegister_v2(memory, 16, 0));
        assert_eq!(
            sys::cuMemHostRegister_v2(memory.byte_add(8), 16, 0),
            CUresult::CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED
        );
        ok(sys::cuMemcpyDtoHAsync_v2(
            memory,
            address,
            16,
            stream.cu_stream(),
        ));
        assert_eq!(memory.cast::<u32>().read(), 1);
        let half = sys::cuMemcpyDtoHAsync_v2(memory.byte_add(8), address, 16, stream.cu_stream());
        assert_eq!(
            half,
            CUresult::CUDA_ERROR_INVALID_VALUE,
            "half of the target is pinned"
        );
        // What was asked for lands before the memory is given back.
        ok(sys::cuMemHostUnregister(memory));
        assert_eq!(memory.cast::<u32>().read(), 7);
        assert_eq!(
            sys::cuMemHostUnregister(memory),
            CUresult::CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED
        );
    }
}

#[test]
fn memory_freed_in_a_stream_is_gone_for_what_comes_later() {
    let context = context();
    let stream = stream(&context);
    let fill = kernel(&context, "fill");
    // SAFETY: the test uses the memory after it was freed, which the stand-in is to find.
    unsafe {
        let address = result::malloc_async(stream.cu_stream(), 128).unwrap();
        let mut arguments = [
            crate::support::parameter(&address),
            crate::support::parameter(&5_u32),
            crate::support::parameter(&32_u32),
        ];
        let mut launch = || {
            sys::cuLaunchKernel(
                fill.cu_function(),
                1,
                1,
                1,
                32,
                1,
                1,
                0,
                stream.cu_stream(),
                arguments.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        };
        ok(launch());
        result::free_async(address, stream.cu_stream()).unwrap();
        assert_eq!(
            code(result::free_async(address, stream.cu_stream())),
            CUresult::CUDA_ERROR_INVALID_VALUE
        );
        ok(launch());
    }
    assert_eq!(
        code(stream.synchronize()),
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
    );
    assert_eq!(
        last_finding().kind,
        Some(standin::fault::FaultKind::UseAfterFree)
    );
}

#[test]
fn pools_count_what_they_gave() {
    let context = context();
    let stream = stream(&context);
    let used = |pool, attribute| {
        let mut bytes = 0_u64;
        // SAFETY: these attributes are 64-bit numbers.
        unsafe {
            ok(sys::cuMemPoolGetAttribute(
                pool,
                attribute,
                (&raw mut bytes).cast(),
            ))
        };
        bytes
    };
    let (now, most) = (
        sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT,
        sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH,
    );
    // SAFETY: all bits zero is a valid description of a pool; the allocation is freed once.
    unsafe {
        let mut properties: sys::CUmemPoolProps = std::mem::zeroed();
        properties.allocType = sys::CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED;
        properties.location.type_ = sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE;
        let mut pool = std::ptr::null_mut();
        ok(sys::cuMemPoolCreate(&mut pool, &properties));
        let mut threshold = u64::MAX;
        let release = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        ok(sys::cuMemPoolSetAttribute(
            pool,
            release,
            (&raw mut threshold).cast(),
        ));
        assert_eq!(used(pool, release), u64::MAX);
        let mut address = 0;
        ok(sys::cuMemAllocFromPoolAsync(
            &mut address,
            1000,
            pool,
            stream.cu_stream(),
        ));
        ok(sys::cuMemFreeAsync(address, stream.cu_stream()));
        assert_eq!((used(pool, now), used(pool, most)), (1000, 1000));
        stream.synchronize().unwrap();
        assert_eq!((used(pool, now), used(pool, most)), (0, 1000));
        ok(sys::cuMemPoolDestroy(pool));
        assert_eq!(
            sys::cuMemAllocFromPoolAsync(&mut address, 8, pool, stream.cu_stream()),
            CUresult::CUDA_ERROR_INVALID_VALUE
        );
    }
}

#[test]
fn addresses_know_their_range() {
    let context = context();
    let stream = stream(&context);
    let device = stream.clone_htod(&[0_u32; 16]).unwrap();
    let address = device.device_ptr(&stream).0;
    let (mut base, mut bytes, mut kind) = (0, 0, 0_u32);
    let memory_type = sys::CUpointer_attribute::CU_POINTER_ATTRIBUTE_MEMORY_TYPE;
    // SAFETY: the results have the types that the driver demands.
    unsafe {
        ok(sys::cuMemGetAddressRange_v2(
            &mut base,
            &mut bytes,
            address + 12,
        ));
        ok(sys::cuPointerGetAttribute(
            (&raw mut kind).cast(),
            memory_type,
            address + 63,
        ));
        assert_eq!(
            sys::cuPointerGetAttribute((&raw mut kind).cast(), memory_type, address + 64),
            CUresult::CUDA_ERROR_INVALID_VALUE
        );
    }
    assert_eq!((base, bytes, kind), (address, 64, 2));
}
