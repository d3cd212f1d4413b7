//! Reductions, selection, sorting and compaction.

use super::Workload;
use crate::harness::{Case, Inputs, equal};

/// Integers as floats, so that their sums are exact in any order.
fn integers_as_floats(len: usize) -> Vec<f32> {
    Inputs::new(4)
        .below(len, 100)
        .into_iter()
        .map(|value| value as f32)
        .collect()
}

/// The sum of `n` floats; the block that finishes last adds up.
pub fn reduce_last_block(blocks: u32, n: usize) -> Workload {
    let x = integers_as_floats(n);
    let mut case = Case::new("reduce", "reduce_last_block")
        .block(128)
        .grid(blocks, 1);
    case.input(&x);
    case.value(n as i32);
    case.output::<f32>(blocks as usize);
    let counter = case.input(&[0_u32]);
    let total = case.output::<f32>(1);
    let expected = [x.iter().sum::<f32>()];
    Workload::new(case, move |run| {
        equal(&run.get(total), &expected)?;
        equal(&run.get(counter), &[0])
    })
}

/// Sums by column of a matrix of 128 columns, in every block, with a barrier of the whole grid.
pub fn reduce_grid_barrier(blocks: u32, n: usize) -> Workload {
    const THREADS: usize = 128;
    let x = integers_as_floats(n);
    let threads = blocks as usize * THREADS;
    let mut case = Case::new("reduce", "reduce_grid_barrier")
        .block(THREADS as u32)
        .grid(blocks, 1)
        .cooperative();
    case.input(&x);
    case.value(n as i32);
    case.output::<f32>(threads);
    case.input(&[0_u32]);
    let sums = case.output::<f32>(threads);
    let expected: Vec<f32> = (0..threads)
        .map(|at| x.iter().skip(at % THREADS).step_by(THREADS).sum())
        .collect();
    Workload::new(case, move |run| equal(&run.get(sums), &expected))
}

/// The `k` largest of each row.
pub fn topk(rows: usize, n: usize, k: usize) -> Workload {
    let x = Inputs::new(5).floats(rows * n);
    let mut case = Case::new("topk", "topk").block(256).grid(rows as u32, 1);
    case.input(&x);
    case.value(n as i32);
    case.value(k as i32);
    case.output::<u32>(rows * k);
    let places = case.output::<i32>(rows * k);
    let found = case.output::<i32>(rows);
    let expected: Vec<i32> = x
        .chunks(n)
        .flat_map(|row| {
            let mut order: Vec<i32> = (0..n as i32).collect();
            order.sort_by(|&a, &b| row[b as usize].total_cmp(&row[a as usize]));
            order.truncate(k);
            order.sort_unstable();
            order
        })
        .collect();
    Workload::new(case, move |run| {
        equal(&run.get(found), &vec![k as i32; rows])?;
        // The kernel promises no order.
        let mut got = run.get(places);
        got.chunks_mut(k).for_each(<[i32]>::sort_unstable);
        equal(&got, &expected)
    })
}

/// Rows of `n` (a power of two) integers, sorted.
pub fn bitonic_sort(rows: usize, n: usize, threads: u32) -> Workload {
    let mut inputs = Inputs::new(6);
    let values: Vec<u64> = std::iter::repeat_with(|| inputs.bits())
        .take(rows * n)
        .collect();
    let mut case = Case::new("sort", "bitonic_sort")
        .block(threads)
        .grid(rows as u32, 1)
        .shared(n as u32 * 8);
    let sorted = case.input(&values);
    case.value(n as i32);
    let mut expected = values;
    expected
        .chunks_mut(n)
        .for_each(|row| row.sort_unstable_by(|a, b| b.cmp(a)));
    Workload::new(case, move |run| equal(&run.get(sorted), &expected))
}

/// The values of `n` that are above a threshold.
pub fn compact(n: usize) -> Workload {
    const THRESHOLD: i32 = 60;
    let values: Vec<i32> = Inputs::new(7)
        .below(n, 100)
        .into_iter()
        .map(|value| value as i32)
        .collect();
    let expected: Vec<i32> = values
        .iter()
        .copied()
        .filter(|&value| value > THRESHOLD)
        .collect();
    let blocks = n.div_ceil(256);
    let mut case = Case::new("compact", "compact")
        .block(256)
        .grid(blocks as u32, 1);
    case.input(&values);
    case.value(n as i32);
    case.value(THRESHOLD);
    let out = case.output::<i32>(expected.len());
    case.input(&vec![0_u64; blocks]);
    case.input(&[0_u32]);
    let total = case.output::<i32>(1);
    Workload::new(case, move |run| {
        equal(&run.get(total), &[expected.len() as i32])?;
        equal(&run.get(out), &expected)
    })
}
