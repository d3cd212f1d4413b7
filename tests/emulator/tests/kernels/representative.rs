//! Whole kernels against plain Rust, in eight schedules without a report.

use crate::workloads;

#[test]
fn gemm_f16() {
    workloads::gemm_f16(128, 128, 32).check();
    workloads::gemm_f16(256, 128, 160).check();
    // Partial tiles on every side.
    workloads::gemm_f16(140, 136, 40).check();
}

#[test]
fn gemm_wmma() {
    workloads::gemm_wmma(32, 32, 16).check();
    workloads::gemm_wmma(64, 96, 80).check();
}

#[test]
fn attention() {
    workloads::attention(2, 64).check();
    workloads::attention(1, 200).check();
}

#[test]
fn layer_norm() {
    workloads::layer_norm(3, 384).check();
    workloads::layer_norm(2, 62).check();
}

#[test]
fn reductions() {
    workloads::reduce_last_block(5, 3000).check();
    workloads::reduce_grid_barrier(8, 3000).check();
}

#[test]
fn topk() {
    workloads::topk(2, 1000, 16).check();
}

#[test]
fn bitonic_sort() {
    workloads::bitonic_sort(2, 256, 128).check();
    // More than one pair a thread.
    workloads::bitonic_sort(1, 512, 64).check();
}

#[test]
fn compact() {
    workloads::compact(256 * 5 + 17).check();
}

#[test]
fn gemm_wgmma() {
    workloads::gemm_wgmma(128, 64, 64, 1).check();
    // More tiles than blocks, more steps than stages, partial tiles on every side.
    workloads::gemm_wgmma(300, 136, 328, 2).check();
}

#[test]
fn gemm_multicast() {
    workloads::gemm_multicast(256, 320).check();
}
