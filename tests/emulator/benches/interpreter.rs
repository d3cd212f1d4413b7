//! How fast one core interprets, with every check on: `cargo bench -p standin`.

#[path = "../tests/kernels/harness/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "made for the tests, of which this needs a part"
)]
mod harness;
#[path = "../tests/kernels/workloads/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "made for the tests, of which this needs a part"
)]
mod workloads;

use standin::counters::Counters;
use workloads::Workload;

/// Seconds of one measurement: long against the ticks in which the kernel counts a thread's time.
const SECONDS: f64 = 0.3;

/// Measurements of a workload: other machines on the same host disturb some of them.
const MEASUREMENTS: usize = 7;

/// Runs a workload on one core again and again; gives what `count` makes of its counters, a second, in ascending order.
fn rates(mut workload: Workload, count: Count) -> [f64; MEASUREMENTS] {
    workload.case.options.workers = 1;
    // Compiles and decodes the kernel.
    let run = workload.case.run(0);
    assert!(run.report.faults.is_empty(), "{}", run.faults());
    workload.verify(&run).expect("the result is right");
    let mut rates = [(); MEASUREMENTS].map(|()| {
        let start = seconds_on_core();
        let (mut counted, mut seconds) = (0, 0.0);
        while seconds < SECONDS {
            let run = workload.case.run(0);
            assert!(run.report.faults.is_empty());
            counted += count(&run.report.counters);
            seconds = seconds_on_core() - start;
        }
        counted as f64 / seconds
    });
    rates.sort_unstable_by(f64::total_cmp);
    rates
}

/// Time that this thread has spent on a core, not waiting for one.
fn seconds_on_core() -> f64 {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat")
        .expect("Linux tells a thread's time");
    let nanoseconds = statistics
        .split(' ')
        .next()
        .and_then(|first| first.parse::<f64>().ok());
    nanoseconds.expect("the first number is the time on a core") / 1e9
}

type Count = fn(&Counters) -> u64;
type Make = fn() -> Workload;

fn main() {
    let products: Count = |counters| counters.tensor_multiply_adds;
    let instructions: Count = |counters| counters.thread_instructions;
    let rows: [(&str, Make, Count); 6] = [
        (
            "mma GEMM, multiply-adds",
            || workloads::gemm_f16(256, 256, 512),
            products,
        ),
        (
            "attention, multiply-adds",
            || workloads::attention(2, 256),
            products,
        ),
        (
            "wgmma GEMM, multiply-adds",
            || workloads::gemm_wgmma(512, 256, 512, 4),
            products,
        ),
        (
            "LayerNorm, thread instructions",
            || workloads::layer_norm(64, 2048),
            instructions,
        ),
        (
            "top-k, thread instructions",
            || workloads::topk(4, 4096, 64),
            instructions,
        ),
        (
            "bitonic sort, thread instructions",
            || workloads::bitonic_sort(4, 1024, 256),
            instructions,
        ),
    ];
    // Cargo adds an option of its own; what else is given is the beginning of the rows to measure.
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    for (what, workload, count) in rows {
        if wanted.is_empty() || wanted.iter().any(|part| what.starts_with(part.as_str())) {
            let rates = rates(workload(), count).map(|rate| rate / 1e9);
            let (median, best) = (rates[MEASUREMENTS / 2], rates[MEASUREMENTS - 1]);
            println!(
                "{what:34} {median:8.2} G/s a core, median of {MEASUREMENTS} ({best:.2} at best)"
            );
        }
    }
}
