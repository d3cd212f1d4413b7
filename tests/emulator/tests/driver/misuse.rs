//! Wrong use of the driver by the host program: refused, named, and without consequences.

use std::ffi::{CStr, c_void};

use cudarc::driver::sys::{self, CUresult};
use cudarc::driver::{DevicePtr, result};

use crate::support::{code, context, last_finding, ok, stream};

#[test]
fn copies_beyond_an_allocation() {
    let context = context();
    let stream = stream(&context);
    let device = stream.clone_htod(&[1_u32; 8]).unwrap();
    let address = device.device_ptr(&stream).0;
    let mut host = [0_u8; 64];
    let memory: *mut c_void = host.as_mut_ptr().cast();
    let invalid = CUresult::CUDA_ERROR_INVALID_VALUE;
    // SAFETY: the host memory has 64 bytes; wrong device ranges are what the test is about.
    unsafe {
        assert_eq!(sys::cuMemcpyDtoH_v2(memory, address, 33), invalid);
        let finding = last_finding();
        assert!(
            finding.kind.is_none() && finding.record.code == 1,
            "{}",
            finding.report
        );
        assert_eq!(finding.kernel, "cuMemcpyDtoH");
        assert!(
            finding
                .message
                .contains("1 bytes past the end of the allocation of 32 bytes"),
            "{}",
            finding.message
        );
        assert_eq!(
            sys::cuMemcpyHtoDAsync_v2(address + 16, memory, 20, stream.cu_stream()),
            invalid
        );
        assert_eq!(
            sys::cuMemsetD32Async(address, 0, 9, stream.cu_stream()),
            invalid
        );
        assert_eq!(
            sys::cuMemsetD32Async(address + 2, 0, 1, stream.cu_stream()),
            invalid,
            "misaligned"
        );
        assert_eq!(
            sys::cuMemcpyDtoDAsync_v2(address, 0x10, 4, stream.cu_stream()),
            invalid
        );
        assert_eq!(sys::cuMemcpyHtoD_v2(address, std::ptr::null(), 4), invalid);
        ok(sys::cuMemcpyDtoH_v2(memory, address, 32));
        ok(sys::cuMemcpyDtoH_v2(std::ptr::null_mut(), 0, 0));
    }
}

#[test]
fn frees_of_what_is_not_there() {
    let context = context();
    let stream = stream(&context);
    let invalid = CUresult::CUDA_ERROR_INVALID_VALUE;
    // SAFETY: wrong frees are what the test is about.
    unsafe {
        let address = result::malloc_sync(64).unwrap();
        assert_eq!(code(result::free_sync(address + 8)), invalid);
        assert!(
            last_finding()
                .message
                .contains("it is byte 8 of the allocation"),
            "{}",
            last_finding().message
        );
        result::free_sync(address).unwrap();
        assert_eq!(code(result::free_sync(address)), invalid);
        assert!(
            last_finding().message.contains("which was freed"),
            "{}",
            last_finding().message
        );
        assert_eq!(
            code(result::free_async(address, stream.cu_stream())),
            invalid
        );
        assert_eq!(code(result::free_host(std::ptr::dangling_mut())), invalid);
        ok(sys::cuMemFree_v2(0));
        let mut host = std::ptr::null_mut();
        assert_eq!(sys::cuMemAlloc_v2(std::ptr::null_mut(), 8), invalid);
        assert_eq!(sys::cuMemAllocHost_v2(&mut host, 0), invalid);
    }
}

#[test]
fn handles_that_name_nothing() {
    let own = context();
    let stream = stream(&own);
    let event = own.new_event(None).unwrap();
    let handle = CUresult::CUDA_ERROR_INVALID_HANDLE;
    // SAFETY: wrong handles are what the test is about: the driver only ever compares them.
    unsafe {
        assert_eq!(
            sys::cuEventRecord(std::ptr::null_mut(), stream.cu_stream()),
            handle
        );
        assert_eq!(
            sys::cuEventSynchronize(stream.cu_stream().cast()),
            handle,
            "a stream is no event"
        );
        assert_eq!(
            sys::cuStreamWaitEvent(event.cu_event().cast(), event.cu_event(), 0),
            handle,
            "an event is no stream"
        );
        assert_eq!(sys::cuStreamDestroy_v2(std::ptr::null_mut()), handle);
        assert_eq!(
            sys::cuGraphLaunch(0x1234 as sys::CUgraphExec, stream.cu_stream()),
            handle
        );
        assert_eq!(sys::cuModuleUnload(std::ptr::null_mut()), handle);
        let mut count = 0;
        assert_eq!(
            sys::cuDeviceGetAttribute(
                &mut count,
                sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_WARP_SIZE,
                7
            ),
            CUresult::CUDA_ERROR_INVALID_DEVICE
        );
        assert_eq!(
            sys::cuCtxSetCurrent(0x77 as sys::CUcontext),
            CUresult::CUDA_ERROR_INVALID_CONTEXT
        );
    }
    let elsewhere = context();
    let theirs = crate::support::stream(&elsewhere);
    // SAFETY: wrong handles are what the test is about.
    assert_eq!(
        unsafe { sys::cuEventRecord(event.cu_event(), theirs.cu_stream()) },
        handle,
        "event and stream of different contexts"
    );
    drop(theirs);
    let gone = event.cu_event();
    drop(event);
    // SAFETY: a stale handle is what the test is about.
    assert_eq!(
        unsafe { sys::cuEventRecord(gone, stream.cu_stream()) },
        handle
    );
    assert!(last_finding().message.ends_with("is already destroyed"));
}

#[test]
fn calls_without_a_context() {
    crate::support::standin();
    let mut address = 0;
    std::thread::spawn(move || {
        result::init().unwrap();
        // SAFETY: nothing is allocated.
        assert_eq!(
            unsafe { sys::cuMemAlloc_v2(&mut address, 8) },
            CUresult::CUDA_ERROR_INVALID_CONTEXT
        );
        // SAFETY: the result may be written.
        unsafe {
            let mut current = std::ptr::dangling_mut();
            ok(sys::cuCtxGetCurrent(&mut current));
            assert!(current.is_null());
            assert_eq!(
                sys::cuCtxPopCurrent_v2(&mut current),
                CUresult::CUDA_ERROR_INVALID_CONTEXT
            );
        }
    })
    .join()
    .unwrap();
}

#[test]
fn codes_have_names_and_meanings() {
    crate::support::standin();
    let text = |get: unsafe fn(CUresult, *mut *const std::ffi::c_char) -> CUresult, error| {
        let mut text = std::ptr::null();
        // SAFETY: the result may be written, and leads to text that stays.
        unsafe {
            ok(get(error, &mut text));
            CStr::from_ptr(text).to_str().unwrap()
        }
    };
    assert_eq!(
        text(sys::cuGetErrorName, CUresult::CUDA_ERROR_ILLEGAL_ADDRESS),
        "CUDA_ERROR_ILLEGAL_ADDRESS"
    );
    assert_eq!(
        text(sys::cuGetErrorString, CUresult::CUDA_ERROR_ILLEGAL_ADDRESS),
        "an illegal memory access was encountered"
    );
    let mut unknown = std::ptr::dangling();
    // SAFETY: the result may be written.
    let found =
        unsafe { sys::cuGetErrorName(CUresult::CUDA_ERROR_ECC_UNCORRECTABLE, &mut unknown) };
    assert_eq!(
        (found, unknown),
        (CUresult::CUDA_ERROR_INVALID_VALUE, std::ptr::null())
    );
}

#[test]
fn functions_are_found_by_name() {
    let standin = crate::support::standin();
    let names = [
        "cuInit",
        "cuMemAlloc_v2",
        "cuLaunchKernelEx",
        "cuStreamBeginCapture_v2",
        "cuGetProcAddress_v2",
    ];
    for name in names {
        let (mut function, mut status) = (
            std::ptr::null_mut(),
            sys::CUdriverProcAddressQueryResult::CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND,
        );
        let text = std::ffi::CString::new(name).unwrap();
        // SAFETY: the text ends with a zero byte, the results may be written; the symbol is only compared.
        unsafe {
            ok(sys::cuGetProcAddress_v2(
                text.as_ptr(),
                &mut function,
                13_000,
                0,
                &mut status,
            ));
            let symbol: libloading::Symbol<'_, *mut c_void> =
                standin.library().get(text.as_bytes_with_nul()).unwrap();
            assert_eq!(function, *symbol, "{name}");
        }
        assert_eq!(
            status,
            sys::CUdriverProcAddressQueryResult::CU_GET_PROC_ADDRESS_SUCCESS
        );
    }
    let (mut function, mut status) = (
        std::ptr::dangling_mut(),
        sys::CUdriverProcAddressQueryResult::CU_GET_PROC_ADDRESS_SUCCESS,
    );
    // SAFETY: as above.
    let found = unsafe {
        sys::cuGetProcAddress_v2(
            c"cuNoSuchThing".as_ptr(),
            &mut function,
            13_000,
            0,
            &mut status,
        )
    };
    assert_eq!(found, CUresult::CUDA_ERROR_NOT_FOUND);
    assert!(
        function.is_null()
            && status == sys::CUdriverProcAddressQueryResult::CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND
    );
}
