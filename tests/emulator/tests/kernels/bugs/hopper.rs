//! Bugs in the asynchronous operations of sm_90a.

use standin::fault::FaultKind;

use super::{finds, finds_saying};
use crate::harness::Case;

const FILE: &str = "bugs_hopper";
const THREADS: u32 = 128;

/// With `y` of 128 words.
fn case(kernel: &'static str) -> Case {
    let mut case = Case::new(FILE, kernel).block(THREADS);
    case.output::<f32>(THREADS as usize);
    case
}

/// With `x` of `inputs` floats and `y` of as many.
fn mapping(kernel: &'static str, inputs: usize) -> Case {
    let mut case = Case::new(FILE, kernel).block(THREADS);
    case.input(&vec![1.0_f32; inputs]);
    case.output::<f32>(inputs);
    case
}

#[test]
fn barrier_not_yet_there() {
    finds(
        FILE,
        &case("barrier_not_yet_there"),
        FaultKind::Barrier,
        0,
        0,
    );
}

#[test]
fn missing_sync_after_init() {
    finds(
        FILE,
        &case("missing_sync_after_init"),
        FaultKind::Race,
        0,
        32,
    );
}

#[test]
fn too_many_arrivals() {
    finds(FILE, &case("too_many_arrivals"), FaultKind::Barrier, 0, 0);
}

#[test]
fn plain_access_to_barrier() {
    let mut case = Case::new(FILE, "plain_access_to_barrier").block(THREADS);
    case.output::<u64>(THREADS as usize);
    finds(FILE, &case, FaultKind::Barrier, 0, 0);
}

#[test]
fn barrier_made_twice() {
    finds(FILE, &case("barrier_made_twice"), FaultKind::Barrier, 0, 0);
}

#[test]
fn too_few_arrivals() {
    finds(FILE, &case("too_few_arrivals"), FaultKind::Hang, 0, 0);
}

#[test]
fn expects_too_much() {
    finds(
        FILE,
        &mapping("expects_too_much", 128),
        FaultKind::Hang,
        0,
        0,
    );
}

#[test]
fn expects_too_little() {
    // The phase completes with the first of two loads; the second has not landed then.
    finds(
        FILE,
        &mapping("expects_too_little", 128),
        FaultKind::Asynchronous,
        0,
        0,
    );
}

#[test]
fn load_not_waited_for() {
    finds(
        FILE,
        &mapping("load_not_waited_for", 128),
        FaultKind::Asynchronous,
        0,
        0,
    );
}

#[test]
fn wrong_parity() {
    finds(
        FILE,
        &mapping("wrong_parity", 128),
        FaultKind::Asynchronous,
        0,
        0,
    );
}

#[test]
fn stage_refilled_early() {
    let mut case = mapping("stage_refilled_early", 256);
    case.value(2_i32);
    // Warp 1 reads what thread 0, a step ahead, loads again.
    finds(FILE, &case, FaultKind::Asynchronous, 0, 32);
}

#[test]
fn bulk_load_past_end() {
    let mut case = Case::new(FILE, "bulk_load_past_end").block(THREADS);
    case.input(&[1.0_f32; 120]);
    case.output::<f32>(128);
    finds(FILE, &case, FaultKind::OutOfBounds, 0, 0);
}

#[test]
fn store_without_proxy_fence() {
    finds_saying(
        FILE,
        &case("store_without_proxy_fence"),
        FaultKind::Race,
        0,
        0,
        &["fence.proxy.async"],
    );
}

#[test]
fn store_not_waited_for() {
    finds(
        FILE,
        &case("store_not_waited_for"),
        FaultKind::Asynchronous,
        0,
        0,
    );
}

#[test]
fn source_overwritten() {
    finds_saying(
        FILE,
        &case("source_overwritten"),
        FaultKind::Race,
        0,
        0,
        &["st.shared"],
    );
}

#[test]
fn operands_without_proxy_fence() {
    // The product begins when the last warp of the warpgroup issues it.
    let case = case("operands_without_proxy_fence");
    finds_saying(
        FILE,
        &case,
        FaultKind::Asynchronous,
        0,
        96,
        &["fence.proxy.async", "st.shared"],
    );
}

#[test]
fn missing_wgmma_fence() {
    finds_saying(
        FILE,
        &mapping("missing_wgmma_fence", 128),
        FaultKind::Asynchronous,
        0,
        0,
        &["wgmma.fence"],
    );
}

#[test]
fn accumulators_read_early() {
    finds(
        FILE,
        &case("accumulators_read_early"),
        FaultKind::Asynchronous,
        0,
        0,
    );
}

#[test]
fn operands_overwritten() {
    finds_saying(
        FILE,
        &case("operands_overwritten"),
        FaultKind::Race,
        0,
        96,
        &["st.shared"],
    );
}

#[test]
fn warpgroup_incomplete() {
    // Three warps wait for the fourth, which has ended.
    finds(FILE, &case("warpgroup_incomplete"), FaultKind::Hang, 0, 0);
}

#[test]
fn too_many_registers() {
    let mut case = Case::new(FILE, "too_many_registers").block(384);
    case.output::<i32>(384);
    // No warpgroup gives registers back: they wait for ever.
    finds(FILE, &case, FaultKind::Hang, 0, 0);
}

#[test]
fn peer_has_ended() {
    let case = case("peer_has_ended").grid(2, 1);
    finds_saying(FILE, &case, FaultKind::OutOfBounds, 0, 0, &["has ended"]);
}

#[test]
fn remote_write_unordered() {
    let case = case("remote_write_unordered").grid(2, 1);
    finds(FILE, &case, FaultKind::Race, 1, 0);
}

#[test]
fn arrives_twice() {
    let case = case("arrives_twice").grid(2, 1);
    finds(FILE, &case, FaultKind::Barrier, 0, 0);
}
