//! Clusters and the rest of sm_90a.

use half::bf16;

use crate::harness::{Case, equal};
use crate::workloads;

const FILE: &str = "micro_cluster";

#[test]
fn ranks() {
    const BLOCKS: u32 = 8;
    const CLUSTER: u32 = 4;
    let mut case = Case::new(FILE, "ranks")
        .block(1)
        .grid(BLOCKS, 1)
        .cluster(CLUSTER);
    let y = case.output::<u32>(4 * BLOCKS as usize);
    let blocks = || 0..BLOCKS;
    let mut expected: Vec<u32> = blocks().map(|block| block % CLUSTER).collect();
    expected.extend(blocks().map(|block| block / CLUSTER));
    expected.extend(blocks().map(|block| block % CLUSTER));
    expected.extend(blocks().map(|_| BLOCKS / CLUSTER));
    equal(&case.check().get(y), &expected).unwrap();
}

#[test]
fn dependent_launch() {
    let x: Vec<i32> = (0..32).collect();
    let mut case = Case::new(FILE, "dependent");
    case.input(&x);
    let y = case.output::<i32>(32);
    equal(&case.check().get(y), &(1..33).collect::<Vec<i32>>()).unwrap();
}

#[test]
fn bf16_atomics() {
    let x: Vec<f32> = (0..64).map(|i| (i % 3) as f32).collect();
    let mut case = Case::new(FILE, "bf16_atomics").block(64);
    case.input(&x);
    let sums = case.input(&[bf16::ZERO; 2]);
    equal(
        &case.check().get(sums),
        &[bf16::from_f32(64.0), bf16::from_f32(x.iter().sum())],
    )
    .unwrap();
}

#[test]
fn exchange() {
    for cluster in [1, 2, 4, 8] {
        workloads::exchange(cluster).check();
    }
}

#[test]
fn remote_arrival() {
    workloads::remote_arrival().check();
}
