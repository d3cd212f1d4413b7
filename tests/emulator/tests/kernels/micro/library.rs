//! What comes with CUDA: cooperative groups and libcu++.

use crate::harness::{Case, Inputs, equal};

const FILE: &str = "micro_library";
const THREADS: usize = 128;

fn numbers() -> Vec<i32> {
    Inputs::new(1)
        .below(THREADS, 1000)
        .into_iter()
        .map(|value| value as i32)
        .collect()
}

#[test]
fn cooperative_groups() {
    let x = numbers();
    let mut case = Case::new(FILE, "groups").block(THREADS as u32);
    case.input(&x);
    let sums = case.output::<i32>(THREADS / 8);
    let largest = case.output::<i32>(1);
    let run = case.check();
    let expected: Vec<i32> = x.chunks(8).map(|tile| tile.iter().sum()).collect();
    equal(&run.get(sums), &expected).unwrap();
    equal(&run.get(largest), &[x.iter().copied().max().unwrap()]).unwrap();
}

#[test]
fn barriers() {
    let x = numbers();
    let mut case = Case::new(FILE, "library_barrier").block(THREADS as u32);
    case.input(&x);
    let y = case.output::<i32>(THREADS);
    let expected: Vec<i32> = x.into_iter().rev().collect();
    equal(&case.check().get(y), &expected).unwrap();
}

#[test]
fn atomics() {
    let mut case = Case::new(FILE, "library_atomics").grid(2, 1).cooperative();
    case.output::<i32>(1);
    case.input(&[0_i32]);
    let y = case.output::<i32>(1);
    equal(&case.check().get(y), &[42]).unwrap();
}
