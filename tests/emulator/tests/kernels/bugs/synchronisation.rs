//! Bugs in how threads and blocks wait for each other.

use standin::fault::FaultKind;

use super::{finds, finds_saying};
use crate::harness::Case;

const FILE: &str = "bugs_sync";
const THREADS: u32 = 128;

fn case(kernel: &'static str) -> Case {
    Case::new(FILE, kernel).block(THREADS)
}

/// With `x` of `inputs` floats and `y` of `outputs`.
fn mapping(kernel: &'static str, inputs: usize, outputs: usize) -> Case {
    let mut case = case(kernel);
    case.input(&vec![1.0_f32; inputs]);
    case.output::<f32>(outputs);
    case
}

/// A tile of 16x16 halves in, one of floats out.
fn mapping_halves(kernel: &'static str) -> Case {
    let mut case = case(kernel);
    case.input(&[half::f16::ONE; 256]);
    case.output::<f32>(256);
    case
}

#[test]
fn missing_syncthreads() {
    // Warp 2 writes what warp 1 has read already.
    finds_saying(
        FILE,
        &mapping("missing_syncthreads", 128, 128),
        FaultKind::Race,
        0,
        64,
        &["shared memory", "bugs_sync.cu"],
    );
}

#[test]
fn missing_syncthreads_tile() {
    // Warp 1 loads what warp 0 has written.
    finds_saying(
        FILE,
        &mapping_halves("missing_syncthreads_tile"),
        FaultKind::Race,
        0,
        32,
        &["shared memory", "bugs_sync.cu"],
    );
}

#[test]
fn missing_syncwarp() {
    let case = mapping("missing_syncwarp", 32, 32).block(32);
    finds_saying(FILE, &case, FaultKind::Race, 0, 0, &["__syncwarp"]);
}

#[test]
fn missing_syncwarp_around_atomics() {
    for kernel in [
        "missing_syncwarp_after_atomic",
        "missing_syncwarp_before_atomic",
    ] {
        let mut case = case(kernel).block(32);
        case.output::<i32>(32);
        finds_saying(FILE, &case, FaultKind::Race, 0, 0, &["__syncwarp"]);
    }
}

#[test]
fn missing_syncwarp_around_copies() {
    for kernel in [
        "missing_syncwarp_after_wait",
        "missing_syncwarp_before_copy",
    ] {
        let case = mapping(kernel, 128, 128).block(32);
        finds_saying(FILE, &case, FaultKind::Race, 0, 0, &["__syncwarp"]);
    }
}

#[test]
fn constant_load_of_written() {
    let mut case = case("constant_load_of_written");
    case.output::<i32>(128);
    case.output::<i32>(128);
    finds_saying(FILE, &case, FaultKind::Race, 0, 0, &["ld.global.nc"]);
}

#[test]
fn plain_sum() {
    let mut case = case("plain_sum").grid(2, 1);
    case.options.workers = 1;
    case.input(&[0_i32]);
    finds_saying(FILE, &case, FaultKind::Race, 1, 0, &["global memory"]);
}

#[test]
fn plain_reset() {
    let mut case = case("plain_reset");
    case.input(&[0_i32]);
    finds(FILE, &case, FaultKind::Race, 0, 64);
}

/// `values` of `blocks` blocks, a counter and a total.
fn counted(kernel: &'static str, blocks: u32) -> Case {
    let mut case = case(kernel).grid(blocks, 1).block(32);
    case.options.workers = 1;
    case.output::<i32>(blocks as usize);
    case.input(&[0_u32]);
    case.output::<i32>(1);
    case
}

#[test]
fn missing_release() {
    finds(FILE, &counted("missing_release", 3), FaultKind::Race, 2, 0);
}

#[test]
fn missing_acquire() {
    finds(FILE, &counted("missing_acquire", 3), FaultKind::Race, 2, 0);
}

#[test]
fn block_fence_only() {
    finds(FILE, &counted("block_fence_only", 3), FaultKind::Race, 2, 0);
}

#[test]
fn missing_copy_wait() {
    finds(
        FILE,
        &mapping("missing_copy_wait", 512, 512),
        FaultKind::Asynchronous,
        0,
        0,
    );
}

#[test]
fn short_copy_wait() {
    finds(
        FILE,
        &mapping("short_copy_wait", 1024, 512),
        FaultKind::Asynchronous,
        0,
        0,
    );
}

#[test]
fn missing_barrier_after_wait() {
    // Warp 3 reads what warp 0 waited for alone; the warps before it read what is not even there.
    finds(
        FILE,
        &mapping("missing_barrier_after_wait", 512, 512),
        FaultKind::Race,
        0,
        96,
    );
}

#[test]
fn early_refill() {
    let mut case = mapping("early_refill", 1024, 1024);
    case.value(2_i32);
    // Warp 2 reads what warp 1, a step ahead, refills.
    finds_saying(FILE, &case, FaultKind::Race, 0, 64, &["cp.async"]);
}

#[test]
fn divergent_syncthreads() {
    let mut case = case("divergent_syncthreads");
    let signs: Vec<f32> = (0..128)
        .map(|i| if i % 2 == 0 { 1.0 } else { -1.0 })
        .collect();
    case.input(&signs);
    case.output::<f32>(128);
    finds(FILE, &case, FaultKind::Divergence, 0, 0);
}

#[test]
fn shuffle_without_all() {
    let mut case = case("shuffle_without_all").block(32);
    case.input(&[1_i32; 32]);
    case.output::<i32>(32);
    finds(FILE, &case, FaultKind::Divergence, 0, 0);
}

#[test]
fn shuffles_apart() {
    let mut case = case("shuffles_apart").block(32);
    case.input(&[1_i32; 32]);
    case.output::<i32>(32);
    finds(FILE, &case, FaultKind::Divergence, 0, 5);
}

#[test]
fn shared_flag_never_set() {
    let mut case = case("shared_flag_never_set");
    case.options.idle_limit = 1 << 18;
    case.output::<i32>(128);
    finds(FILE, &case, FaultKind::Hang, 0, 0);
}

#[test]
fn global_flag_never_set() {
    let mut case = case("global_flag_never_set");
    case.options.idle_limit = 1 << 18;
    case.input(&[0_i32]);
    case.output::<i32>(128);
    finds(FILE, &case, FaultKind::Hang, 0, 0);
}

#[test]
fn barrier_too_many_threads() {
    let mut case = case("barrier_too_many_threads").block(96);
    case.output::<i32>(96);
    // Two warps pass; the third waits for a fourth that is not there.
    finds(FILE, &case, FaultKind::Hang, 0, 64);
}

#[test]
fn barrier_for_nobody() {
    let mut case = case("barrier_for_nobody");
    case.output::<i32>(128);
    finds_saying(FILE, &case, FaultKind::Hang, 0, 0, &["deadlock"]);
}

#[test]
fn barrier_counts_differ() {
    let mut case = case("barrier_counts_differ");
    case.output::<i32>(128);
    finds(FILE, &case, FaultKind::Barrier, 0, 64);
}

#[test]
fn trap() {
    let mut case = case("trap").grid(2, 1);
    let mut values = [0_i32; 128];
    values[70] = 7;
    case.input(&values);
    case.output::<i32>(128);
    case.options.workers = 1;
    finds(FILE, &case, FaultKind::Trap, 0, 70);
}
