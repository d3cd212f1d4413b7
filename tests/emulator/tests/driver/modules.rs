//! Modules: what loads, what does not, and variables.

use cudarc::driver::sys::CUresult;
use cudarc::driver::{LaunchConfig, PushKernelArg, result};
use cudarc::nvrtc::Ptx;

use crate::support::{code, context, kernel, last_finding, module, stream};

const ONE_THREAD: LaunchConfig = LaunchConfig {
    grid_dim: (1, 1, 1),
    block_dim: (1, 1, 1),
    shared_mem_bytes: 0,
};

#[test]
fn variables_hold_their_initial_values_and_can_be_written() {
    let context = context();
    let stream = stream(&context);
    let module = module(&context, crate::ptx::KERNELS);
    let variables = module.load_function("variables").unwrap();
    let mut out = stream.alloc_zeros::<u32>(3).unwrap();
    let mut run = || {
        // SAFETY: one thread writes three numbers.
        unsafe {
            stream
                .launch_builder(&variables)
                .arg(&mut out)
                .launch(ONE_THREAD)
        }
        .unwrap();
        stream.clone_dtoh(&out).unwrap()
    };
    assert_eq!(run(), [7, 2, 7]);
    let mut counter = module.get_global("counter", &stream).unwrap();
    assert_eq!(counter.len(), 4);
    stream.memcpy_htod(&[9_u8, 0, 0, 0], &mut counter).unwrap();
    assert_eq!(run(), [9, 2, 9]);
    let another = self::module(&context, crate::ptx::KERNELS);
    let other = another.get_global("counter", &stream).unwrap();
    assert_eq!(
        stream.clone_dtoh(&other).unwrap(),
        [7, 0, 0, 0],
        "each module has variables of its own"
    );
    assert_eq!(
        code(module.get_global("nothing", &stream)),
        CUresult::CUDA_ERROR_NOT_FOUND
    );
}

#[test]
fn an_unsupported_instruction_is_found_when_the_module_is_loaded() {
    let context = context();
    let loaded = context.load_module(Ptx::from_src(crate::ptx::UNSUPPORTED));
    assert_eq!(code(loaded), CUresult::CUDA_ERROR_NOT_SUPPORTED);
    let message = last_finding().message;
    for part in ["strange", "vadd.s32.s32.s32", "line 9"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn what_is_no_module_is_refused() {
    let context = context();
    let load = |bytes: &[u8]| code(context.load_module(Ptx::from_binary(bytes.to_vec())));
    let mut cubin = b"\x7fELF\x02\x01\x01\x41".to_vec();
    cubin.resize(64, 0);
    assert_eq!(load(&cubin), CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU);
    assert!(
        last_finding().message.contains("cubin"),
        "{}",
        last_finding().message
    );
    assert_eq!(load(&[0xff; 64]), CUresult::CUDA_ERROR_INVALID_IMAGE);
    assert_eq!(
        load(b".version 9.0\n.target sm_80\n.address_size 64\nnonsense\0"),
        CUresult::CUDA_ERROR_INVALID_PTX
    );
    assert!(
        last_finding().message.contains("line 4"),
        "{}",
        last_finding().message
    );
    assert_eq!(
        load(b".version 9.0\n.target sm_100\n.address_size 64\n\0"),
        CUresult::CUDA_ERROR_INVALID_PTX
    );
    let missing = c"/no/such/file.fatbin".to_owned();
    assert_eq!(
        code(result::module::load(missing)),
        CUresult::CUDA_ERROR_FILE_NOT_FOUND
    );
}

#[test]
fn a_module_loads_from_a_file() {
    let context = context();
    let path = std::env::temp_dir().join(format!("standin-module-{}.ptx", std::process::id()));
    std::fs::write(&path, crate::ptx::KERNELS.to_owned() + "\0").unwrap();
    let loaded = context.load_module(Ptx::from_file(&path));
    std::fs::remove_file(&path).unwrap();
    loaded.unwrap().load_function("fill").unwrap();
}

#[test]
fn a_module_stays_until_its_launches_are_done() {
    let context = context();
    let stream = stream(&context);
    let mut device = stream.alloc_zeros::<u32>(4).unwrap();
    let add = kernel(&context, "add");
    // SAFETY: four threads add to four numbers.
    unsafe {
        stream
            .launch_builder(&add)
            .arg(&mut device)
            .arg(&2_u32)
            .launch(LaunchConfig {
                block_dim: (4, 1, 1),
                ..ONE_THREAD
            })
    }
    .unwrap();
    drop(add);
    assert_eq!(stream.clone_dtoh(&device).unwrap(), [2; 4]);
    assert_eq!(
        code(module(&context, crate::ptx::KERNELS).load_function("nothing")),
        CUresult::CUDA_ERROR_NOT_FOUND
    );
}
