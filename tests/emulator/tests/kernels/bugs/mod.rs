//! Kernels with one bug each: the report names what is wrong, the CUDA line, the block and the thread.

mod calls;
mod hopper;
mod launches;
mod memory;
mod synchronisation;

use standin::fault::{Fault, FaultKind};

use crate::harness::{Case, line_of};

/// Fails unless a run in the default order reports this kind of fault, at the line of `FILE.cu` marked with the name of
/// the kernel, for this block and thread (x of each).
#[track_caller]
fn finds(file: &'static str, case: &Case, kind: FaultKind, block: u32, thread: u32) -> Fault {
    let place = line_of(file, case.name());
    let run = case.run(0);
    let inlined = format!("{place} (");
    let fits = |fault: &&Fault| {
        fault.kind == kind
            && (fault.source == place || fault.source.starts_with(&inlined))
            && fault.kernel == case.name()
            && fault.block == [block, 0, 0]
            && fault.thread == [thread, 0, 0]
    };
    match run.report.faults.iter().find(fits) {
        Some(fault) => fault.clone(),
        None => panic!(
            "expected {} at {place}, block {block}, thread {thread}; found:\n{}",
            kind.name(),
            run.faults()
        ),
    }
}

/// The same with parts of the message that help the author of the kernel.
#[track_caller]
fn finds_saying(
    file: &'static str,
    case: &Case,
    kind: FaultKind,
    block: u32,
    thread: u32,
    parts: &[&str],
) {
    let fault = finds(file, case, kind, block, thread);
    for part in parts {
        assert!(
            fault.message.contains(part),
            "the message does not say {part:?}: {}",
            fault.message
        );
    }
}
