//! What the environment and the process as a whole decide: each of these tests runs in a process of its own, started by
//! another test.

use cudarc::driver::sys::{self, CUresult};
use cudarc::driver::{CudaContext, DevicePtr, LaunchConfig, PushKernelArg, result};

use crate::support::{child, code, context, kernel, module, ok, standin, stream};

#[test]
fn the_environment_chooses_the_devices() {
    let text = child(
        "two_ampere_devices",
        &[("STANDIN_CC", "8.0"), ("STANDIN_DEVICES", "2")],
    );
    assert!(
        text.contains("running on the stand-in (compute capability 8.0)"),
        "{text}"
    );
}

#[test]
fn kernels_print_when_somebody_waits_for_them() {
    let text = child("a_kernel_prints", &[]);
    assert!(text.contains("before\nhello!\nafter\n"), "{text}");
}

#[test]
#[ignore = "runs in a process of its own"]
fn a_kernel_prints() {
    let context = context();
    let stream = stream(&context);
    let hello = kernel(&context, "hello_from_kernel");
    let shape = LaunchConfig {
        grid_dim: (1, 1, 1),
        block_dim: (1, 1, 1),
        shared_mem_bytes: 0,
    };
    // SAFETY: the kernel does not look at its argument.
    unsafe { stream.launch_builder(&hello).arg(&0_u64).launch(shape) }.unwrap();
    println!("before");
    stream.synchronize().unwrap();
    println!("after");
}

#[test]
#[ignore = "runs in a process of its own"]
fn two_ampere_devices() {
    standin();
    assert_eq!(CudaContext::device_count(), Ok(2));
    let contexts = [0, 1].map(|device| CudaContext::new(device).unwrap());
    for (number, context) in contexts.iter().enumerate() {
        assert_eq!(
            (context.compute_capability(), context.ordinal()),
            (Ok((8, 0)), number)
        );
        assert_eq!(
            context.attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT),
            Ok(108)
        );
        assert_eq!(
            context.attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH),
            Ok(0)
        );
        assert_eq!(context.uuid().unwrap().bytes[15] as usize, number);
    }
    // A kernel of each, and a copy between them.
    let [first, second] = contexts.each_ref().map(stream);
    let run = |context, stream: &std::sync::Arc<cudarc::driver::CudaStream>, value: u32| {
        let fill = kernel(context, "fill");
        let mut data = stream.alloc_zeros::<u32>(32).unwrap();
        let shape = LaunchConfig {
            grid_dim: (1, 1, 1),
            block_dim: (32, 1, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: 32 threads write 32 numbers.
        unsafe {
            stream
                .launch_builder(&fill)
                .arg(&mut data)
                .arg(&value)
                .arg(&32_u32)
                .launch(shape)
        }
        .unwrap();
        data
    };
    let (a, mut b) = (run(&contexts[0], &first, 1), run(&contexts[1], &second, 2));
    assert_eq!(second.clone_dtoh(&b).unwrap(), [2; 32]);
    assert_eq!(first.clone_dtoh(&a).unwrap(), [1; 32]);
    second.memcpy_dtod(&a, &mut b).unwrap();
    assert_eq!(second.clone_dtoh(&b).unwrap(), [1; 32]);
    // Its kernels need compute capability 9.0.
    let hopper = contexts[0].load_module(cudarc::nvrtc::Ptx::from_src(crate::ptx::CLUSTER));
    assert_eq!(code(hopper), CUresult::CUDA_ERROR_INVALID_PTX);
    // Kernels do not reach the other device's memory.
    let add = kernel(&contexts[0], "add");
    let address = b.device_ptr(&second).0;
    let shape = LaunchConfig {
        grid_dim: (1, 1, 1),
        block_dim: (1, 1, 1),
        shared_mem_bytes: 0,
    };
    // SAFETY: the fault is what the test is about; it stays inside of the stand-in.
    unsafe {
        first
            .launch_builder(&add)
            .arg(&address)
            .arg(&1_u32)
            .launch(shape)
    }
    .unwrap();
    assert_eq!(
        code(first.synchronize()),
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
    );
    // The other device goes on.
    assert_eq!(second.clone_dtoh(&b).unwrap(), [1; 32]);
}

#[test]
fn an_environment_that_makes_no_sense_stops_the_program() {
    for (name, value) in [
        ("STANDIN_CC", "7.0"),
        ("STANDIN_DEVICES", "none"),
        ("STANDIN_SEED", "x"),
        ("STANDIN_REPORT", "/no/such/folder/report"),
    ] {
        let text = child("init_fails", &[(name, value)]);
        assert!(text.contains(&format!("{name}={value}: ")), "{text}");
    }
}

#[test]
#[ignore = "runs in a process of its own"]
fn init_fails() {
    standin();
    assert_eq!(code(result::init()), CUresult::CUDA_ERROR_INVALID_VALUE);
    assert_eq!(
        code(result::device::get_count()),
        CUresult::CUDA_ERROR_NOT_INITIALIZED
    );
}

#[test]
fn reports_are_appended_to_a_file() {
    let path = std::env::temp_dir().join(format!("standin-report-{}.jsonl", std::process::id()));
    std::fs::write(&path, "what was there\n").unwrap();
    child("two_reports", &[("STANDIN_REPORT", path.to_str().unwrap())]);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, "what was there"));
    assert!(
        lines[1].starts_with(r#"{"kind":1,"code":700,"message":"4 bytes at global address"#),
        "{}",
        lines[1]
    );
    assert!(
        lines[1]
            .contains(r#""kernel":"add","source":"kernels.cu:21","instruction":"ld.global.u32"#),
        "{}",
        lines[1]
    );
    assert!(
        lines[1].contains(r#""block":[0, 0, 0],"thread":[32, 0, 0],"device":0,"seed":0}"#),
        "{}",
        lines[1]
    );
    assert!(
        lines[2].starts_with(r#"{"kind":0,"code":1,"message":"#) && lines[2].contains("cuMemFree"),
        "{}",
        lines[2]
    );
}

#[test]
#[ignore = "runs in a process of its own"]
fn two_reports() {
    let context = context();
    let stream = stream(&context);
    let add = kernel(&context, "add");
    let mut data = stream.alloc_zeros::<u32>(32).unwrap();
    let shape = LaunchConfig {
        grid_dim: (1, 1, 1),
        block_dim: (33, 1, 1),
        shared_mem_bytes: 0,
    };
    // SAFETY: the fault is what the test is about; it stays inside of the stand-in.
    unsafe {
        stream
            .launch_builder(&add)
            .arg(&mut data)
            .arg(&1_u32)
            .launch(shape)
    }
    .unwrap();
    assert_eq!(
        code(stream.synchronize()),
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
    );
    assert_eq!(standin().faults().len(), 1);
    // Healed, the context goes on, and nothing is left of what happened.
    standin().reset();
    assert!(standin().faults().is_empty() && standin().launches().is_empty());
    stream.synchronize().unwrap();
    // SAFETY: a wrong call is what the test is about: it is refused.
    assert_eq!(
        unsafe { sys::cuMemFree_v2(0x1234) },
        CUresult::CUDA_ERROR_INVALID_VALUE
    );
}

#[test]
fn seeds_change_the_order_of_unordered_work_only() {
    child("seeds", &[]);
    let text = child("seed_of_the_environment", &[("STANDIN_SEED", "5")]);
    assert!(text.contains("seed 5"), "{text}");
}

#[test]
#[ignore = "runs in a process of its own"]
fn seed_of_the_environment() {
    let context = context();
    let stream = stream(&context);
    let add = kernel(&context, "add");
    let mut data = stream.alloc_zeros::<u32>(1).unwrap();
    let shape = LaunchConfig {
        grid_dim: (1, 1, 1),
        block_dim: (1, 1, 1),
        shared_mem_bytes: 0,
    };
    // SAFETY: one thread adds to one number.
    unsafe {
        stream
            .launch_builder(&add)
            .arg(&mut data)
            .arg(&1_u32)
            .launch(shape)
    }
    .unwrap();
    stream.synchronize().unwrap();
    println!("seed {}", standin().launches()[0].record.seed);
}

#[test]
#[ignore = "runs in a process of its own"]
fn seeds() {
    let context = context();
    let (writer, reader) = (stream(&context), stream(&context));
    let mut seen = [false; 2];
    for seed in 1..=64 {
        standin().set_seed(seed);
        let mut data = writer.clone_htod(&[1_u32]).unwrap();
        let mut copy = writer.alloc_zeros::<u32>(1).unwrap();
        writer.synchronize().unwrap();
        // Nothing orders the fill and the copy.
        writer.memset_zeros(&mut data).unwrap();
        reader.memcpy_dtod(&data, &mut copy).unwrap();
        seen[reader.clone_dtoh(&copy).unwrap()[0] as usize] = true;
        // Here an event does.
        reader.join(&writer).unwrap();
        reader.memcpy_dtod(&data, &mut copy).unwrap();
        assert_eq!(reader.clone_dtoh(&copy).unwrap(), [0], "seed {seed}");
    }
    assert_eq!(seen, [true; 2], "both orders happen");
    // More blocks than a seeded schedule has under way otherwise: they wait for each other, as in a cooperative launch.
    let meet = kernel(&context, "meet");
    let mut met = writer.alloc_zeros::<u32>(1).unwrap();
    let shape = LaunchConfig {
        grid_dim: (12, 1, 1),
        block_dim: (1, 1, 1),
        shared_mem_bytes: 0,
    };
    let mut launch = writer.launch_builder(&meet);
    launch.arg(&mut met).arg(&12_u32);
    // SAFETY: each block adds 1 to one number.
    unsafe { launch.launch_cooperative(shape) }.unwrap();
    assert_eq!(writer.clone_dtoh(&met).unwrap(), [12]);
}

#[test]
fn devices_change_while_there_is_no_context() {
    child("other_devices", &[]);
}

#[test]
#[ignore = "runs in a process of its own"]
fn other_devices() {
    let loaded = standin();
    result::init().unwrap();
    loaded.set_devices((8, 0), 3).unwrap();
    assert_eq!(
        (CudaContext::device_count(), loaded.capability()),
        (Ok(3), (8, 0))
    );
    assert_eq!(loaded.set_devices((7, 0), 1), Err(1));
    assert_eq!(loaded.set_devices((8, 0), 0), Err(1));
    let context = context();
    assert_eq!(loaded.set_devices((9, 0), 1), Err(708));
    drop(module(&context, crate::ptx::KERNELS));
    drop(context);
    loaded.set_devices((9, 0), 1).unwrap();
    let last = CudaContext::new_non_primary(0, 0).unwrap();
    assert_eq!(last.compute_capability(), Ok((9, 0)));
    // SAFETY: the result may be written.
    unsafe {
        let mut can = 7;
        ok(sys::cuDeviceCanAccessPeer(&mut can, 0, 0));
        assert_eq!(can, 0);
    }
}

#[test]
fn a_full_device_says_so_and_waits_for_pending_frees() {
    child("full_device", &[]);
}

#[test]
#[ignore = "runs in a process of its own"]
fn full_device() {
    let context = context();
    let stream = stream(&context);
    let (free, total) = context.mem_get_info().unwrap();
    assert!(free <= total);
    // SAFETY: the memory is never used.
    unsafe {
        assert_eq!(
            code(result::malloc_sync(total + 1)),
            CUresult::CUDA_ERROR_OUT_OF_MEMORY
        );
        // More than half of the device, twice: the second fits only once the first is really free.
        let most = total / 2 + 1;
        let first = result::malloc_async(stream.cu_stream(), most).unwrap();
        result::free_async(first, stream.cu_stream()).unwrap();
        let second = result::malloc_async(stream.cu_stream(), most).unwrap();
        assert_ne!(first, second, "addresses are never given twice");
        result::free_sync(second).unwrap();
    }
}

#[test]
fn a_global_capture_forbids_waiting_to_every_thread() {
    child("global_capture", &[]);
}

#[test]
#[ignore = "runs in a process of its own"]
fn global_capture() {
    use sys::CUstreamCaptureMode::{CU_STREAM_CAPTURE_MODE_GLOBAL, CU_STREAM_CAPTURE_MODE_RELAXED};
    use sys::CUstreamCaptureStatus::{
        CU_STREAM_CAPTURE_STATUS_ACTIVE, CU_STREAM_CAPTURE_STATUS_INVALIDATED,
    };
    let context = context();
    let (stream, other) = (stream(&context), stream(&context));
    let event = other.record_event(None).unwrap();
    stream.begin_capture(CU_STREAM_CAPTURE_MODE_GLOBAL).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            context.bind_to_thread().unwrap();
            let mut mode = CU_STREAM_CAPTURE_MODE_RELAXED;
            // SAFETY: the mode may be read and written.
            unsafe { ok(sys::cuThreadExchangeStreamCaptureMode(&mut mode)) };
            assert_eq!(mode, CU_STREAM_CAPTURE_MODE_GLOBAL);
            event.synchronize().unwrap();
            assert_eq!(stream.capture_status(), Ok(CU_STREAM_CAPTURE_STATUS_ACTIVE));
            // SAFETY: as above.
            unsafe { ok(sys::cuThreadExchangeStreamCaptureMode(&mut mode)) };
            let refused = code(event.synchronize());
            assert_eq!(refused, CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        });
    });
    assert_eq!(
        stream.capture_status(),
        Ok(CU_STREAM_CAPTURE_STATUS_INVALIDATED)
    );
}
