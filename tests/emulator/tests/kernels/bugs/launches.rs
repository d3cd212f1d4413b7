//! Launches that no device accepts.

use standin::fault::FaultKind;

use crate::harness::Case;

/// The launch is refused, in words that say why.
#[track_caller]
fn refused(case: &Case, parts: &[&str]) {
    let run = case.run(0);
    let [fault] = &run.report.faults[..] else {
        panic!("one fault expected:\n{}", run.faults())
    };
    assert_eq!(fault.kind, FaultKind::InvalidOperand);
    for part in parts {
        assert!(
            fault.message.contains(part),
            "the message does not say {part:?}: {}",
            fault.message
        );
    }
    assert_eq!(run.report.counters.warp_instructions, 0);
}

fn case(threads: u32) -> Case {
    let mut case = Case::new("bugs_sync", "bounded_launch").block(threads);
    case.output::<i32>(threads as usize);
    case
}

#[test]
fn more_threads_than_a_block_can_have() {
    refused(&case(1025), &["1024"]);
}

#[test]
fn more_threads_than_the_launch_bounds() {
    refused(&case(256), &["launch bounds", "128"]);
    assert!(case(128).run(0).report.faults.is_empty());
}

#[test]
fn no_blocks() {
    refused(&case(128).grid(0, 1), &["grid"]);
}

#[test]
fn too_many_blocks() {
    refused(&case(128).grid(1, 65_536), &["65535"]);
}

#[test]
fn more_shared_memory_than_allowed() {
    refused(
        &case(128).shared(48 * 1024 + 1).shared_limit(48 * 1024),
        &["MAX_DYNAMIC_SHARED_SIZE_BYTES", "49153", "49152"],
    );
    assert!(
        case(128)
            .shared(48 * 1024)
            .shared_limit(48 * 1024)
            .run(0)
            .report
            .faults
            .is_empty()
    );
}

#[test]
fn clusters_that_do_not_divide_the_grid() {
    refused(&case(128).grid(3, 1).cluster(2), &["clusters"]);
}

#[test]
fn clusters_that_are_too_large() {
    refused(&case(128).grid(16, 1).cluster(16), &["8"]);
}
