//! Hardware counters whose values are known by hand.

use standin::counters::Counters;

use crate::harness::Case;
use crate::workloads;

const FILE: &str = "counted";

fn counters(case: &Case) -> Counters {
    let run = case.run(0);
    assert!(run.report.faults.is_empty(), "{}", run.faults());
    run.report.counters
}

/// Waves of the load alone, and how many it needs without conflict: the stores before it have none.
fn waves(kernel: &'static str, outputs: usize, stores: u64, stride: i32) -> (u64, u64) {
    let mut case = Case::new(FILE, kernel);
    case.output::<u32>(outputs);
    case.value(stride);
    let counters = counters(&case);
    assert_eq!(
        counters.shared_requests,
        stores + if kernel == "matrix_load" { 4 } else { 1 }
    );
    let waves_of_stores = if outputs == 128 || kernel == "matrix_load" {
        4 * stores
    } else {
        stores
    };
    (
        counters.shared_waves - waves_of_stores,
        counters.shared_ideal_waves - waves_of_stores,
    )
}

#[test]
fn bank_conflicts_of_words() {
    let load = |stride| waves("shared_load", 32, 32, stride);
    assert_eq!(load(1), (1, 1), "neighbours");
    assert_eq!(load(33), (1, 1), "a padded column");
    assert_eq!(load(0), (1, 1), "a broadcast");
    assert_eq!(load(2), (2, 1), "every second bank");
    assert_eq!(load(8), (8, 1));
    assert_eq!(load(32), (32, 1), "a column: one bank");
}

#[test]
fn bank_conflicts_of_vectors() {
    let load = |stride| waves("shared_load_vector", 128, 8, stride);
    assert_eq!(load(1), (4, 4), "a quarter of the warp a wave");
    assert_eq!(load(8), (32, 4), "all lanes in the same four banks");
    assert_eq!(load(2), (8, 4));
}

#[test]
fn bank_conflicts_of_matrices() {
    let load = |pitch| waves("matrix_load", 32, 8, pitch);
    assert_eq!(load(16), (4, 4), "dense rows");
    assert_eq!(load(80), (4, 4), "padded rows");
    assert_eq!(load(128), (32, 4), "eight rows in the same four banks");
}

fn copy(stride: i32, first: i32) -> Counters {
    let mut case = Case::new(FILE, "global_copy");
    case.input(&[1.0_f32; 1200]);
    case.output::<f32>(32);
    case.value(stride);
    case.value(first);
    counters(&case)
}

#[test]
fn sectors_of_global_loads() {
    let sectors = |stride, first| copy(stride, first).global_load_sectors;
    assert_eq!(sectors(1, 0), 4, "coalesced");
    assert_eq!(sectors(1, 1), 5, "off by one word");
    assert_eq!(sectors(0, 0), 1, "one word for all");
    assert_eq!(sectors(2, 0), 8);
    assert_eq!(sectors(8, 0), 32, "a sector a lane");
    assert_eq!(sectors(32, 0), 32);
    assert_eq!(sectors(-1, 31), 4, "backwards");
}

#[test]
fn bytes_and_requests() {
    let scalar = copy(1, 0);
    assert_eq!(
        (scalar.global_load_requests, scalar.global_load_bytes),
        (1, 128)
    );
    assert_eq!(
        (
            scalar.global_store_requests,
            scalar.global_store_bytes,
            scalar.global_store_sectors
        ),
        (1, 128, 4)
    );

    let mut case = Case::new(FILE, "global_copy_vector").block(64);
    case.input(&[1.0_f32; 256]);
    case.output::<f32>(256);
    let vector = counters(&case);
    assert_eq!(
        (
            vector.global_load_requests,
            vector.global_load_bytes,
            vector.global_load_sectors
        ),
        (2, 1024, 32)
    );
    assert_eq!(
        (
            vector.global_store_requests,
            vector.global_store_bytes,
            vector.global_store_sectors
        ),
        (2, 1024, 32)
    );
}

#[test]
fn lanes_that_take_no_part_cost_nothing() {
    let mut case = Case::new(FILE, "half_a_warp");
    case.input(&[1.0_f32; 32]);
    case.output::<f32>(32);
    let counters = counters(&case);
    assert_eq!(
        (counters.global_load_bytes, counters.global_load_sectors),
        (64, 4)
    );
    assert!(counters.divergent_instructions <= counters.warp_instructions);
    assert!(counters.thread_instructions < 32 * counters.warp_instructions);
}

#[test]
fn atomics_barriers_and_blocks() {
    let mut case = Case::new(FILE, "count_up").block(64).grid(3, 1);
    case.input(&[0_u32; 4]);
    case.output::<u32>(3 * 64);
    let counters = counters(&case);
    assert_eq!(counters.global_atomics, 3 * 64);
    assert_eq!(counters.shared_atomics, 3 * 64);
    assert_eq!((counters.barriers, counters.blocks), (3 * 2, 3));
}

#[test]
fn products() {
    let counters = counters(&workloads::gemm_f16(256, 128, 160).case);
    // Two blocks, five steps of two k16, eight warps with sixteen products each.
    assert_eq!(counters.mma, 2 * 5 * 2 * 8 * 16);
    assert_eq!(counters.tensor_multiply_adds, 256 * 128 * 160);
    // Per k16 and warp: four ldmatrix for A and two for B.
    assert_eq!(counters.matrices_moved, 2 * 5 * 2 * 8 * 6 * 4);
    assert_eq!(
        counters.shared_waves, counters.shared_ideal_waves,
        "the swizzle leaves no conflict"
    );
    // Every element of A is read once, of B once a row of blocks; the bias once a row of accumulators.
    assert_eq!(counters.global_store_bytes, 2 * 256 * 128);
    assert_eq!(
        counters.global_load_bytes,
        2 * (256 * 160 + 2 * 160 * 128) + 2 * (8 * 32 * 4 * 4 * 4)
    );
}

#[test]
fn counts_depend_on_no_schedule() {
    let workload = workloads::layer_norm(3, 384);
    let first = counters(&workload.case);
    for seed in crate::harness::SEEDS {
        assert_eq!(
            workload.case.run(seed).report.counters,
            first,
            "schedule {seed}"
        );
    }
}
