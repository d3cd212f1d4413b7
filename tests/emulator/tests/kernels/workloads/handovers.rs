//! Data handed from thread to thread and from block to block: barriers, flags, clusters, bulk copies.

use super::Workload;
use crate::harness::{Case, Inputs, equal};

/// A ring of rows of 32, from one warp to three others that add up.
fn ring(file: &'static str, kernel: &'static str, rounds: usize) -> Workload {
    let x: Vec<i32> = (0..rounds as i32 * 32).map(|i| i * i % 1001).collect();
    let mut case = Case::new(file, kernel).block(128);
    case.input(&x);
    let y = case.output::<i32>(96);
    case.value(rounds as i32);
    let expected: Vec<i32> = (0..96)
        .map(|i| {
            x.chunks(32)
                .map(|row| row[(i % 32 + i / 32 + 1) % 32])
                .sum()
        })
        .collect();
    Workload::new(case, move |run| equal(&run.get(y), &expected))
}

/// The ring with `bar.sync` and `bar.arrive`.
pub fn named_barriers(rounds: usize) -> Workload {
    ring("micro_block", "named_barriers", rounds)
}

/// The ring with mbarriers.
pub fn mbarrier_ring(rounds: usize) -> Workload {
    ring("micro_mbarrier", "mbarrier_ring", rounds)
}

/// Barriers that half the threads no longer take part in.
pub fn early_exit() -> Workload {
    let x: Vec<i32> = (0..128).map(|i| i * 7 % 31).collect();
    let mut case = Case::new("micro_block", "early_exit").block(128);
    case.input(&x);
    let y = case.output::<i32>(64);
    let expected: Vec<i32> = (0..64).map(|i| x[63 - i] + x[127 - i]).collect();
    Workload::new(case, move |run| equal(&run.get(y), &expected))
}

/// A flag in shared memory.
pub fn shared_flag() -> Workload {
    let mut case = Case::new("micro_block", "shared_flag").block(64);
    case.input(&[20_i32]);
    let y = case.output::<i32>(1);
    Workload::new(case, move |run| equal(&run.get(y), &[42]))
}

/// A counter behind a lock, for twelve warps.
pub fn lock() -> Workload {
    let mut case = Case::new("micro_block", "lock").block(128).grid(3, 1);
    case.input(&[0_u32]);
    let counter = case.input(&[0_i32]);
    Workload::new(case, move |run| equal(&run.get(counter), &[12]))
}

/// Blocks of a cluster read each other's shared memory and add to a counter in the first one's.
pub fn exchange(cluster: usize) -> Workload {
    const BLOCKS: usize = 8;
    let x: Vec<i32> = (0..BLOCKS as i32 * 64).map(|i| i * 13 % 101).collect();
    let mut case = Case::new("micro_cluster", "exchange").block(64);
    case = case.grid(BLOCKS as u32, 1).cluster(cluster as u32);
    case.input(&x);
    let y = case.output::<i32>(x.len());
    let sums = case.output::<i32>(BLOCKS / cluster);
    let read: Vec<i32> = (0..x.len())
        .map(|at| {
            let (block, i) = (at / 64, at % 64);
            let next = block / cluster * cluster + (block + 1) % cluster;
            x[next * 64 + 63 - i]
        })
        .collect();
    let added: Vec<i32> = x
        .chunks(cluster * 64)
        .map(|part| part.iter().sum())
        .collect();
    Workload::new(case, move |run| {
        equal(&run.get(y), &read)?;
        equal(&run.get(sums), &added)
    })
}

/// A block writes into another and arrives at its mbarrier.
pub fn remote_arrival() -> Workload {
    let x: Vec<i32> = (0..4 * 32).collect();
    let mut case = Case::new("micro_cluster", "remote_arrival").grid(4, 1);
    case.input(&x);
    let y = case.output::<i32>(2 * 32);
    let expected: Vec<i32> = (0..64)
        .map(|at| x[at / 32 * 64 + 31 - at % 32] + 5)
        .collect();
    Workload::new(case, move |run| equal(&run.get(y), &expected))
}

/// Bulk copies in, and sums of all blocks by the asynchronous engine.
pub fn bulk_sum(blocks: usize) -> Workload {
    let x = Inputs::new(4).below(blocks * 128, 50);
    let x: Vec<f32> = x.into_iter().map(|value| value as f32).collect();
    let mut case = Case::new("micro_tma", "bulk_sum")
        .block(128)
        .grid(blocks as u32, 1);
    case.input(&x);
    let y = case.input(&[0.5_f32; 128]);
    let column = |i: usize| x.iter().skip(i).step_by(128);
    let expected: Vec<f32> = (0..128)
        .map(|i| 0.5 + column(i).map(|value| 2.0 * value).sum::<f32>())
        .collect();
    Workload::new(case, move |run| equal(&run.get(y), &expected))
}
