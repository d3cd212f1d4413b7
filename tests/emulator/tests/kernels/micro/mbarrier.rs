//! mbarrier: every way to arrive and to wait.

use crate::harness::{Case, equal};
use crate::workloads;

const FILE: &str = "micro_mbarrier";

#[test]
fn states_counts_and_drops() {
    let mut case = Case::new(FILE, "mbarrier_states").block(64);
    let y = case.output::<i32>(128);
    let got = case.check().get(y);
    let expected: Vec<i32> = (0..64).map(|i| (63 - (i ^ 1)) * 3).collect();
    equal(&got[..64], &expected).unwrap();
    equal(&got[64..], &[1; 64]).unwrap();
}

#[test]
fn arrivals_of_asynchronous_copies() {
    let x: Vec<[f32; 4]> = (0..64).map(|i| [i as f32, 0.5, -1.0, 2.0]).collect();
    let mut case = Case::new(FILE, "copies_arrive").block(64);
    case.input(&x);
    let y = case.output::<[f32; 4]>(64);
    let expected: Vec<_> = x.into_iter().rev().collect();
    equal(&case.check().get(y), &expected).unwrap();
}

#[test]
fn a_ring() {
    workloads::mbarrier_ring(9).check();
}
