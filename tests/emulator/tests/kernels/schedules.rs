//! What a seed changes and what it does not.

use standin::exec::Options;
use standin::fault::FaultKind;

use crate::harness::{Case, SEEDS};

fn order(seed: u64, workers: usize) -> Vec<u32> {
    const BLOCKS: u32 = 12;
    let mut case = Case::new("counted", "take_ticket").block(1).grid(BLOCKS, 1);
    case.options = Options {
        workers,
        ..Options::default()
    };
    case.input(&[0_u32]);
    let order = case.output::<u32>(BLOCKS as usize);
    let run = case.run(seed);
    assert!(run.report.faults.is_empty(), "{}", run.faults());
    run.get(order)
}

#[test]
fn a_seed_decides_the_order() {
    let in_order: Vec<u32> = (0..12).collect();
    assert_eq!(order(0, 1), in_order);
    let orders: Vec<_> = SEEDS.skip(1).map(|seed| order(seed, 1)).collect();
    for (seed, first) in SEEDS.skip(1).zip(&orders) {
        assert_eq!(&order(seed, 1), first, "schedule {seed} again");
        assert_eq!(&order(seed, 4), first, "schedule {seed} with more workers");
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, in_order);
    }
    assert!(orders.iter().any(|order| order != &in_order));
    assert!(orders.iter().any(|order| order != &orders[0]));
}

#[test]
fn every_block_runs_once_on_many_workers() {
    let mut order = order(0, 4);
    order.sort_unstable();
    assert_eq!(order, (0..12).collect::<Vec<u32>>());
}

#[test]
fn a_report_names_its_schedule_and_comes_back_with_it() {
    let mut case = Case::new("bugs_sync", "missing_syncthreads").block(128);
    case.input(&[1.0_f32; 128]);
    case.output::<f32>(128);
    for seed in SEEDS {
        let first = case.run(seed).report.faults;
        assert!(
            first.iter().any(|fault| fault.kind == FaultKind::Race),
            "schedule {seed}: {first:?}"
        );
        assert!(first.iter().all(|fault| fault.seed == seed));
        assert_eq!(case.run(seed).report.faults, first, "schedule {seed} again");
    }
}
