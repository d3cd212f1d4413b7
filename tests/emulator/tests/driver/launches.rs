//! Launches: results, limits that are refused at the call, clusters, cooperation, attributes of functions.

use cudarc::driver::sys::{
    self, CUfunction_attribute_enum as Attribute, CUlaunchAttributeID as Id, CUresult,
};
use cudarc::driver::{CudaFunction, DevicePtr, DriverError, LaunchConfig, PushKernelArg};

use crate::support::{
    attribute, cluster_attribute, code, context, kernel, last_finding, module, ok, parameter,
    stream,
};

fn shape(grid: u32, block: u32, shared: u32) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (grid, 1, 1),
        block_dim: (block, 1, 1),
        shared_mem_bytes: shared,
    }
}

#[test]
fn a_kernel_gets_its_parameters_and_runs_when_it_is_waited_for() {
    let context = context();
    let stream = stream(&context);
    let fill = kernel(&context, "fill");
    let mut device = stream.alloc_zeros::<u32>(1000).unwrap();
    // SAFETY: the pinned memory is filled by the driver.
    let mut pinned = unsafe { context.alloc_pinned_with_flags::<u32>(1000, 0) }.unwrap();
    let memory = pinned.as_mut_ptr().unwrap();
    // SAFETY: 1024 threads, of which 1000 write; source and target of the copy are 4000 bytes.
    unsafe {
        stream
            .launch_builder(&fill)
            .arg(&mut device)
            .arg(&77_u32)
            .arg(&1000_u32)
            .launch(shape(8, 128, 0))
            .unwrap();
        ok(sys::cuMemcpyDtoHAsync_v2(
            memory.cast(),
            device.device_ptr(&stream).0,
            4000,
            stream.cu_stream(),
        ));
        assert_eq!(memory.read(), u32::MAX, "nobody has waited");
    }
    stream.synchronize().unwrap();
    // SAFETY: the pinned memory holds 1000 numbers.
    assert_eq!(
        unsafe { std::slice::from_raw_parts(memory, 1000) },
        [77; 1000]
    );
}

#[test]
fn parameters_may_come_in_a_buffer() {
    let context = context();
    let stream = stream(&context);
    let add = kernel(&context, "add");
    let device = stream.alloc_zeros::<u32>(32).unwrap();
    let mut buffer = [0_u8; 12];
    buffer[..8].copy_from_slice(&device.device_ptr(&stream).0.to_le_bytes());
    buffer[8..].copy_from_slice(&9_u32.to_le_bytes());
    let launch = |mut size: usize| {
        let option = |number: usize| std::ptr::without_provenance_mut(number);
        let mut extra = [
            option(1),
            parameter(&buffer),
            option(2),
            (&raw mut size).cast(),
            option(0),
        ];
        // SAFETY: the list of options is as the driver demands, and ends.
        unsafe {
            sys::cuLaunchKernel(
                add.cu_function(),
                1,
                1,
                1,
                32,
                1,
                1,
                0,
                stream.cu_stream(),
                std::ptr::null_mut(),
                extra.as_mut_ptr(),
            )
        }
    };
    ok(launch(12));
    assert_eq!(launch(8), CUresult::CUDA_ERROR_INVALID_VALUE);
    assert_eq!(stream.clone_dtoh(&device).unwrap(), [9; 32]);
}

#[test]
fn impossible_shapes_are_refused_at_the_call_and_do_no_harm() {
    let context = context();
    let stream = stream(&context);
    let mut device = stream.alloc_zeros::<u32>(1024).unwrap();
    let mut launch = |function: &CudaFunction, shape: LaunchConfig| -> Result<(), DriverError> {
        // SAFETY: none of the kernels writes more than 1024 numbers.
        unsafe {
            stream
                .launch_builder(function)
                .arg(&mut device)
                .launch(shape)
        }
        .map(drop)
    };
    let (bounded, shared) = (kernel(&context, "bounded"), kernel(&context, "shared"));
    let invalid = CUresult::CUDA_ERROR_INVALID_VALUE;
    assert_eq!(code(launch(&shared, shape(1, 1025, 0))), invalid);
    assert_eq!(code(launch(&shared, shape(1, 0, 0))), invalid);
    assert_eq!(code(launch(&shared, shape(0, 1, 0))), invalid);
    for grid_dim in [(1, 65_536, 1), (1 << 30, 65_535, 65_535)] {
        let grid = LaunchConfig {
            grid_dim,
            ..shape(1, 1, 0)
        };
        assert_eq!(code(launch(&shared, grid)), invalid, "{grid_dim:?}");
    }
    assert_eq!(
        code(launch(
            &shared,
            LaunchConfig {
                block_dim: (1, 1, 65),
                ..shape(1, 1, 0)
            }
        )),
        invalid
    );
    assert_eq!(
        code(launch(&bounded, shape(1, 65, 0))),
        CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES
    );
    assert!(last_finding().message.contains("__launch_bounds__"));
    launch(&bounded, shape(1, 64, 0)).unwrap();

    // 64 of 49152 bytes are static.
    assert_eq!(
        shared.get_attribute(Attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES),
        Ok(64)
    );
    assert_eq!(code(launch(&shared, shape(1, 32, 49_089))), invalid);
    assert!(
        last_finding()
            .message
            .contains("MAX_DYNAMIC_SHARED_SIZE_BYTES")
    );
    launch(&shared, shape(1, 32, 49_088)).unwrap();
    let most = Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    assert_eq!(code(shared.set_attribute(most, 232_448 - 63)), invalid);
    shared.set_attribute(most, 232_448 - 64).unwrap();
    launch(&shared, shape(1, 32, 232_448 - 64)).unwrap();
    stream.synchronize().unwrap();
}

#[test]
fn missing_parameters_are_found() {
    let context = context();
    let stream = stream(&context);
    let fill = kernel(&context, "fill");
    let launch = |values: *mut *mut std::ffi::c_void| {
        // SAFETY: wrong parameters are what the test is about; those that are named exist.
        unsafe {
            sys::cuLaunchKernel(
                fill.cu_function(),
                1,
                1,
                1,
                1,
                1,
                1,
                0,
                stream.cu_stream(),
                values,
                std::ptr::null_mut(),
            )
        }
    };
    assert_eq!(
        launch(std::ptr::null_mut()),
        CUresult::CUDA_ERROR_INVALID_VALUE
    );
    let mut values = [
        parameter(&0_u64),
        std::ptr::null_mut(),
        std::ptr::null_mut(),
    ];
    assert_eq!(
        launch(values.as_mut_ptr()),
        CUresult::CUDA_ERROR_INVALID_VALUE
    );
    assert!(
        last_finding().message.contains("parameter 1 of 3"),
        "{}",
        last_finding().message
    );
}

#[test]
fn clusters_are_a_launch_attribute() {
    let context = context();
    let stream = stream(&context);
    let rank = module(&context, crate::ptx::CLUSTER)
        .load_function("rank")
        .unwrap();
    let device = stream.alloc_zeros::<u32>(12).unwrap();
    let address = device.device_ptr(&stream).0;
    let launch = |attributes: &mut [sys::CUlaunchAttribute]| {
        let config = sys::CUlaunchConfig {
            gridDimX: 12,
            gridDimY: 1,
            gridDimZ: 1,
            blockDimX: 1,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: 0,
            hStream: stream.cu_stream(),
            attrs: attributes.as_mut_ptr(),
            numAttrs: attributes.len() as u32,
        };
        let mut values = [parameter(&address)];
        // SAFETY: 12 blocks write 12 numbers.
        unsafe {
            sys::cuLaunchKernelEx(
                &config,
                rank.cu_function(),
                values.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        }
    };
    ok(launch(&mut [
        cluster_attribute(4, 1, 1),
        attribute(Id::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION),
    ]));
    assert_eq!(
        stream.clone_dtoh(&device).unwrap(),
        [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]
    );
    ok(launch(&mut []));
    assert_eq!(stream.clone_dtoh(&device).unwrap(), [0; 12]);
    for shape in [(5, 1, 1), (12, 1, 1), (0, 1, 1), (1, 2, 1)] {
        assert_eq!(
            launch(&mut [cluster_attribute(shape.0, shape.1, shape.2)]),
            CUresult::CUDA_ERROR_INVALID_CLUSTER_SIZE,
            "{shape:?}"
        );
    }
    assert_eq!(
        launch(&mut [attribute(Id::CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN)]),
        CUresult::CUDA_ERROR_NOT_SUPPORTED
    );
}

#[test]
fn blocks_of_a_cooperative_launch_meet() {
    let context = context();
    let stream = stream(&context);
    let meet = kernel(&context, "meet");
    let mut device = stream.alloc_zeros::<u32>(1).unwrap();
    let mut launch = |blocks: u32| -> Result<(), DriverError> {
        stream.memset_zeros(&mut device)?;
        // SAFETY: each block adds 1 to one number.
        unsafe {
            stream
                .launch_builder(&meet)
                .arg(&mut device)
                .arg(&blocks)
                .launch_cooperative(shape(blocks, 1, 0))
        }?;
        stream.synchronize()
    };
    launch(20).unwrap();
    // 132 multiprocessors with 32 blocks each.
    assert_eq!(
        code(launch(132 * 32 + 1)),
        CUresult::CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE
    );
    assert_eq!(stream.clone_dtoh(&device).unwrap(), [0]);
}

#[test]
fn functions_know_their_attributes() {
    let context = context();
    let module = module(&context, crate::ptx::KERNELS);
    let (bounded, shared) = (
        module.load_function("bounded").unwrap(),
        module.load_function("shared").unwrap(),
    );
    assert_eq!(bounded.max_threads_per_block(), Ok(64));
    assert_eq!(shared.max_threads_per_block(), Ok(1024));
    assert_eq!(shared.ptx_version(), Ok(80));
    assert_eq!(shared.binary_version(), Ok(90));
    assert_eq!(shared.local_size_bytes(), Ok(0));
    assert_eq!(
        shared.get_attribute(Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES),
        Ok(49_088)
    );
    assert_eq!(
        module.load_function("shared").unwrap().cu_function(),
        shared.cu_function()
    );
    let (mut name, mut offset, mut bytes) = (std::ptr::null(), 0, 0);
    let fill = module.load_function("fill").unwrap();
    // SAFETY: the results have the types that the driver demands; the name lives as long as the module.
    unsafe {
        ok(sys::cuFuncGetName(&mut name, fill.cu_function()));
        assert_eq!(std::ffi::CStr::from_ptr(name), c"fill");
        ok(sys::cuFuncGetParamInfo(
            fill.cu_function(),
            2,
            &mut offset,
            &mut bytes,
        ));
        assert_eq!((offset, bytes), (12, 4));
        assert_eq!(
            sys::cuFuncGetParamInfo(fill.cu_function(), 3, &mut offset, &mut bytes),
            CUresult::CUDA_ERROR_INVALID_VALUE
        );
    }
}

#[test]
fn occupancy_follows_from_threads_and_shared_memory() {
    let context = context();
    let (shared, bounded) = (kernel(&context, "shared"), kernel(&context, "bounded"));
    let blocks = |threads, bytes| {
        shared
            .occupancy_max_active_blocks_per_multiprocessor(threads, bytes, None)
            .unwrap()
    };
    assert_eq!(blocks(1024, 0), 2);
    assert_eq!(blocks(32, 0), 32);
    assert_eq!(blocks(96, 0), 21);
    // 228 KB, of which each block takes 64 bytes, what it asks for and 1 KB of the system, in steps of 128 bytes.
    assert_eq!(blocks(128, 37 << 10), 5);
    assert_eq!(blocks(128, 100 << 10), 2);
    assert_eq!(blocks(128, 227 << 10), 0);
    let available = shared
        .occupancy_available_dynamic_smem_per_block(2, 128)
        .unwrap();
    assert_eq!(blocks(128, available), 2);
    assert_eq!(blocks(128, available + 128), 1);
    extern "C" fn nothing(_block: std::ffi::c_int) -> usize {
        0
    }
    assert_eq!(
        bounded.occupancy_max_potential_block_size(nothing, 0, 0, None),
        Ok((132 * 32, 64))
    );
}
