//! Threads and blocks that wait for each other.

use crate::harness::{Case, Inputs, equal};
use crate::workloads;

const FILE: &str = "micro_block";

#[test]
fn barriers_that_vote() {
    const THREADS: usize = 96;
    let x: Vec<i32> = Inputs::new(1)
        .below(THREADS, 10)
        .into_iter()
        .map(|value| value as i32 + 1)
        .collect();
    let mut case = Case::new(FILE, "barrier_votes").block(THREADS as u32);
    case.input(&x);
    let y = case.output::<i32>(3 * THREADS);
    let above = x.iter().filter(|&&value| value > 5).count() as i32;
    let rows = [above, 1, i32::from(x.contains(&3))];
    let expected: Vec<i32> = rows
        .into_iter()
        .flat_map(|value| [value; THREADS])
        .collect();
    equal(&case.check().get(y), &expected).unwrap();
}

#[test]
fn flags_between_blocks() {
    let x: Vec<i32> = (1..=12).collect();
    let mut case = Case::new(FILE, "chain")
        .grid(x.len() as u32, 1)
        .cooperative();
    case.input(&x);
    let sums = case.output::<i32>(x.len());
    case.input(&vec![0_i32; x.len()]);
    let expected: Vec<i32> = (1..=12).map(|n| n * (n + 1) / 2).collect();
    equal(&case.check().get(sums), &expected).unwrap();
}

#[test]
fn named_barriers() {
    workloads::named_barriers(7).check();
}

#[test]
fn threads_that_end_early() {
    workloads::early_exit().check();
}

#[test]
fn flags_in_shared_memory() {
    workloads::shared_flag().check();
}

#[test]
fn locks() {
    workloads::lock().check();
}
