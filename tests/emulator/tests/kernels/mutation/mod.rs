//! Deletes every barrier, wait, arrival, commit and fence of a set of kernels, one at a time, and expects that the checks
//! or the results notice.

mod deletion;
mod survivors;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use standin::isa::{Kernel, decode};

use crate::harness::SEEDS;
use crate::workloads::{self, Workload};

use deletion::without;
use survivors::SURVIVORS;

/// Enough for these kernels, and a hang is found soon.
const IDLE_LIMIT: u64 = 1 << 18;
const INSTRUCTION_BUDGET: u64 = 1 << 22;

fn kernels() -> Vec<Workload> {
    let mut all = vec![
        workloads::gemm_f16(128, 128, 160),
        workloads::gemm_wmma(64, 32, 48),
        workloads::attention(1, 200),
        workloads::layer_norm(2, 384),
        workloads::reduce_last_block(5, 3000),
        workloads::reduce_grid_barrier(4, 3000),
        workloads::topk(2, 600, 16),
        workloads::bitonic_sort(1, 256, 64),
        workloads::compact(256 * 5 + 17),
        workloads::gemm_wgmma(256, 128, 320, 2),
        workloads::gemm_multicast(256, 256),
        workloads::named_barriers(7),
        workloads::mbarrier_ring(7),
        workloads::early_exit(),
        workloads::shared_flag(),
        workloads::lock(),
        workloads::exchange(4),
        workloads::remote_arrival(),
        workloads::bulk_sum(6),
    ];
    for workload in &mut all {
        let options = &mut workload.case.options;
        // The mutants are spread over the cores, so a launch has but one.
        options.workers = 1;
        options.idle_limit = IDLE_LIMIT;
        options.instruction_budget = INSTRUCTION_BUDGET;
    }
    all
}

/// One instruction to delete.
struct Mutant<'a> {
    workload: &'a Workload,
    instruction: usize,
}

/// What became of a mutant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// A check reported it.
    Reported(&'static str),
    /// The results were wrong.
    WrongResult,
    /// Nothing happened.
    Survived,
}

impl Mutant<'_> {
    fn kernel(&self) -> Kernel {
        let file = self.workload.case.file();
        let mut entry = self.entry().clone();
        entry.instructions[self.instruction] = without(&entry.instructions[self.instruction])
            .expect("mutants are made of what can be deleted");
        decode(&file.module, &entry, &file.globals).unwrap_or_else(|error| panic!("{error}"))
    }

    fn entry(&self) -> &standin::ptx::Entry {
        let case = &self.workload.case;
        let entry = case
            .file()
            .module
            .entries
            .iter()
            .find(|entry| entry.name == case.name());
        entry.expect("the workload's kernel exists")
    }

    fn outcome(&self) -> (Outcome, String) {
        let kernel = self.kernel();
        let place = kernel.locations[self.instruction].source.clone();
        for seed in SEEDS {
            let run = self.workload.case.run_as(&kernel, seed);
            if let Some(fault) = run.report.faults.first() {
                return (Outcome::Reported(fault.kind.name()), place);
            }
            if self.workload.verify(&run).is_err() {
                return (Outcome::WrongResult, place);
            }
        }
        (Outcome::Survived, place)
    }
}

fn mutants(workloads: &[Workload]) -> Vec<Mutant<'_>> {
    let mut all = Vec::new();
    for workload in workloads {
        let whole = Mutant {
            workload,
            instruction: 0,
        };
        let instructions = whole.entry().instructions.iter().enumerate();
        let deletable = instructions.filter(|(_, instruction)| without(instruction).is_some());
        all.extend(deletable.map(|(instruction, _)| Mutant {
            workload,
            instruction,
        }));
    }
    all
}

#[test]
fn deleted_synchronisation_is_found() {
    let workloads = kernels();
    let mutants = mutants(&workloads);
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(mutant) = mutants.get(next.fetch_add(1, Relaxed)) {
                    let (outcome, place) = mutant.outcome();
                    let text = mutant.entry().instructions[mutant.instruction].text.clone();
                    outcomes.lock().expect("no holder panics").push((
                        mutant.workload.case.name(),
                        place,
                        text,
                        outcome,
                    ));
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().expect("no holder panicked");
    outcomes.sort();
    let mut table = String::new();
    let mut counts: BTreeMap<_, usize> = BTreeMap::new();
    for (kernel, place, text, outcome) in &outcomes {
        writeln!(table, "{kernel:20} {place:45} {text:60} {outcome:?}")
            .expect("strings take everything");
        *counts.entry(outcome).or_default() += 1;
    }
    println!("{table}{counts:?}");

    let survived = counts.get(&Outcome::Survived).copied().unwrap_or(0);
    assert!(
        10 * survived <= outcomes.len(),
        "{survived} of {} survived:\n{table}",
        outcomes.len()
    );
    for (kernel, place, text, outcome) in &outcomes {
        let known = SURVIVORS
            .iter()
            .any(|known| known.kernel == *kernel && place.starts_with(known.place));
        assert!(
            known || *outcome != Outcome::Survived,
            "{kernel} survives without `{text}` at {place}"
        );
    }
    for known in SURVIVORS {
        let survives = outcomes.iter().any(|(kernel, place, _, outcome)| {
            *kernel == known.kernel
                && place.starts_with(known.place)
                && *outcome == Outcome::Survived
        });
        assert!(
            survives,
            "{} no longer survives at {}: take it off the list",
            known.kernel, known.place
        );
    }
}
