//! What orders copies and what does not.

use super::*;
use crate::fault::Fault;
use crate::fault::FaultKind::{self, *};

/// Lines of a test of loads: copies into the first 64 bytes of `buffer`.
const LOADS: &str = "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [buffer], [%rd1], 64, [buffer+4080];
ld.shared.v4.u32 {%r20, %r21, %r22, %r23}, [buffer+16];
st.shared.v4.u32 [buffer+16], {%r20, %r21, %r22, %r23};
mbarrier.init.shared.b64 [buffer+4088], 1;
mbarrier.arrive.shared.b64 _, [buffer+4088];
mbarrier.try_wait.parity.shared.b64 %p1, [buffer+4088], 0;";
const READ: u32 = BULK + 1;
const WRITE: u32 = BULK + 2;
const INIT_EMPTY: u32 = BULK + 3;
const ARRIVE_EMPTY: u32 = BULK + 4;
const WAIT_EMPTY: u32 = BULK + 5;

/// A block of two warps in which the first has issued a load.
fn loading(machine: &Machine, source: u64) -> Launched<'_> {
    let mut run = start(machine, 2);
    run.execute(FIRST, INIT_EMPTY);
    run.synchronise(0);
    for warp in [FIRST, SECOND] {
        run.set32(warp, 1, |_| 64);
        run.set64(warp, 1, |_| source);
        run.set32(warp, 2, |_| 0);
    }
    run.execute(FIRST, EXPECT);
    run.execute(FIRST, BULK);
    run
}

fn loads() -> (Machine, u64) {
    let mut machine = machine(LOADS);
    let source = machine.upload(&noise(64, 5));
    (machine, source)
}

#[test]
fn who_waited_reads_what_was_loaded() {
    let (machine, source) = loads();
    let mut run = loading(&machine, source);
    run.land(0);
    assert!(waited(&mut run, SECOND));
    run.execute(SECOND, READ);
    run.synchronise(0);
    run.execute(FIRST, WRITE);
    assert_eq!(run.kinds(), []);
}

#[test]
fn the_target_is_untouchable_until_the_wait() {
    let (machine, source) = loads();
    for line in [READ, WRITE] {
        let mut run = loading(&machine, source);
        run.execute(FIRST, line);
        assert_eq!(run.kinds(), [Asynchronous], "under way");
        let mut run = loading(&machine, source);
        run.land(0);
        run.execute(FIRST, line);
        assert_eq!(run.kinds(), [Race], "landed, but nobody knows");
        let mut run = loading(&machine, source);
        run.land(0);
        assert!(waited(&mut run, SECOND));
        run.execute(FIRST, line);
        assert_eq!(run.kinds(), [Race], "only the other warp knows");
    }
}

#[test]
fn a_second_copy_into_the_target_is_found() {
    let (machine, source) = loads();
    let mut run = loading(&machine, source);
    run.execute(FIRST, BULK);
    let faults = run.faults();
    assert!(
        faults[0].kind == Asynchronous && faults[0].message.contains("another copy"),
        "{}",
        faults[0]
    );
    let mut run = loading(&machine, source);
    run.land(0);
    run.execute(FIRST, BULK);
    run.land(0);
    assert_eq!(run.kinds(), [Race], "landed, but not waited for");
}

/// The second warp reads the stage, and the first refills it; `empty` says whether it is told first that it may.
fn refill(empty: bool) -> Vec<FaultKind> {
    let (machine, source) = loads();
    let mut run = loading(&machine, source);
    run.land(0);
    assert!(waited(&mut run, SECOND));
    run.execute(SECOND, READ);
    run.execute(SECOND, ARRIVE_EMPTY);
    // The producer never reads the stage itself: it needs no wait for the first load.
    if empty {
        run.execute(FIRST, WAIT_EMPTY);
        assert_eq!(run.warp(0, 0).predicates[1] & 1, 1);
    }
    run.execute(FIRST, EXPECT);
    run.execute(FIRST, BULK);
    run.land(0);
    run.kinds()
}

#[test]
fn a_stage_is_refilled_only_after_its_readers() {
    assert_eq!(refill(true), []);
    assert_eq!(refill(false), [Race]);
}

#[test]
fn the_initialisation_must_be_visible_to_the_asynchronous_proxy() {
    let (machine, source) = loads();
    let mut run = machine.launch(1, 1);
    run.active = 1;
    run.set32(FIRST, 1, |_| 64);
    run.set64(FIRST, 1, |_| source);
    run.execute(FIRST, INIT);
    run.execute(FIRST, EXPECT);
    run.execute(FIRST, BULK);
    let faults = run.faults();
    assert!(
        faults[0].kind == Race && faults[0].message.contains("fence.mbarrier_init"),
        "{}",
        faults[0]
    );
}

#[test]
fn bytes_that_nobody_expects_let_the_phase_complete_too_early() {
    let (machine, source) = loads();
    let mut run = loading(&machine, source);
    // A second load, for which only the arrival of the next phase comes.
    run.land(0);
    run.set32(FIRST, 2, |_| 1);
    run.set32(FIRST, 1, |_| 0);
    assert!(waited(&mut run, SECOND));
    run.execute(SECOND, READ);
    run.synchronise(0);
    run.execute(FIRST, BULK);
    run.execute(FIRST, EXPECT);
    assert!(waited(&mut run, FIRST), "the phase knows of no bytes");
    run.execute(FIRST, READ);
    assert_eq!(run.kinds(), [Asynchronous]);
}

/// Lines of a test of stores: copies of the first 64 bytes of `buffer`.
const STORES: &str = "st.shared.v4.u32 [buffer+16], {%r20, %r21, %r22, %r23};
fence.proxy.async.shared::cta;
cp.async.bulk.global.shared::cta.bulk_group [%rd1], [buffer], 64;
cp.async.bulk.commit_group;
cp.async.bulk.wait_group.read 0;
cp.async.bulk.wait_group 0;
ld.global.v4.u32 {%r20, %r21, %r22, %r23}, [%rd1];
exit;
cp.async.bulk.wait_group 1;";
const FILL: u32 = BULK;
const FENCE: u32 = BULK + 1;
const STORE: u32 = BULK + 2;
const COMMIT: u32 = BULK + 3;
const WAIT_READ: u32 = BULK + 4;
const WAIT_ALL: u32 = BULK + 5;
const LOAD_BACK: u32 = BULK + 6;
const EXIT: u32 = BULK + 7;
const WAIT_ALL_BUT_ONE: u32 = BULK + 8;

/// What two warps report that execute these lines in turn; no line: a barrier. Copies land at the latest moment.
fn stores(lines: &[(usize, Option<u32>)]) -> Vec<Fault> {
    let mut machine = machine(STORES);
    let target = machine.upload(&[0; 64]);
    let mut run = start(&machine, 2);
    put_shared(&mut run, 0, 0, &noise(64, 3));
    for warp in [FIRST, SECOND] {
        run.set64(warp, 1, |_| target);
    }
    for &(warp, line) in lines {
        match line {
            Some(line) => run.execute((0, warp), line),
            None => run.synchronise(0),
        }
    }
    run.land(0);
    run.faults()
}

fn kinds(lines: &[(usize, Option<u32>)]) -> Vec<FaultKind> {
    stores(lines).into_iter().map(|fault| fault.kind).collect()
}

#[test]
fn a_store_sees_what_a_proxy_fence_showed_it() {
    let own = [(0, Some(FILL)), (0, Some(FENCE)), (0, Some(STORE))];
    assert_eq!(kinds(&own), []);
    let others = [
        (1, Some(FILL)),
        (1, Some(FENCE)),
        (0, None),
        (0, Some(STORE)),
    ];
    assert_eq!(kinds(&others), []);
    let fenced_by_the_issuer = [
        (1, Some(FILL)),
        (0, None),
        (0, Some(FENCE)),
        (0, Some(STORE)),
    ];
    assert_eq!(kinds(&fenced_by_the_issuer), []);
    let unfenced = stores(&[(1, Some(FILL)), (0, None), (0, Some(STORE))]);
    assert!(
        unfenced[0].kind == Race && unfenced[0].message.contains("fence.proxy.async"),
        "{}",
        unfenced[0]
    );
    let fenced_before = stores(&[(0, Some(FENCE)), (0, Some(FILL)), (0, Some(STORE))]);
    assert!(
        fenced_before[0].message.contains("fence.proxy.async"),
        "{}",
        fenced_before[0]
    );
    let unordered = stores(&[(1, Some(FILL)), (1, Some(FENCE)), (0, Some(STORE))]);
    assert!(
        unordered[0].kind == Race && !unordered[0].message.contains("fence.proxy.async"),
        "{}",
        unordered[0]
    );
}

#[test]
fn the_source_may_be_overwritten_after_the_wait_for_reads() {
    let issue = [
        (0, Some(FILL)),
        (0, Some(FENCE)),
        (0, Some(STORE)),
        (0, Some(COMMIT)),
    ];
    let after = |rest: &[(usize, Option<u32>)]| kinds(&[&issue, rest].concat());
    assert_eq!(after(&[(0, Some(FILL))]), [Race]);
    assert_eq!(after(&[(0, Some(WAIT_READ)), (0, Some(FILL))]), []);
    assert_eq!(
        after(&[(0, Some(WAIT_READ)), (0, None), (1, Some(FILL))]),
        []
    );
    assert_eq!(
        after(&[(0, Some(WAIT_READ)), (1, Some(FILL))]),
        [Race],
        "no barrier tells the other warp"
    );
    assert_eq!(
        after(&[(1, Some(WAIT_READ)), (0, Some(FILL))]),
        [Race],
        "another thread's wait is none"
    );
    let uncommitted = [
        (0, Some(FENCE)),
        (0, Some(STORE)),
        (0, Some(WAIT_READ)),
        (0, Some(FILL)),
    ];
    assert_eq!(kinds(&uncommitted), [Race]);
}

#[test]
fn global_memory_is_written_after_the_full_wait_only() {
    let issue = [(0, Some(STORE)), (0, Some(COMMIT))];
    let after = |rest: &[(usize, Option<u32>)]| kinds(&[&issue, rest].concat());
    assert_eq!(after(&[(0, Some(WAIT_READ)), (0, Some(LOAD_BACK))]), [Race]);
    assert_eq!(after(&[(0, Some(WAIT_ALL)), (0, Some(LOAD_BACK))]), []);
    assert_eq!(
        after(&[
            (0, Some(WAIT_READ)),
            (0, Some(WAIT_ALL)),
            (0, None),
            (1, Some(LOAD_BACK))
        ]),
        []
    );
    assert_eq!(
        after(&[(0, Some(WAIT_ALL_BUT_ONE)), (0, Some(FILL))]),
        [Race]
    );
    // Nothing orders two copies of one thread to one place.
    assert_eq!(after(&[(0, Some(STORE))]), [Race]);
}

#[test]
fn threads_wait_for_the_reads_before_they_end() {
    let faults = stores(&[(0, Some(STORE)), (0, Some(COMMIT)), (0, Some(EXIT))]);
    assert_eq!(faults.len(), 1);
    assert!(
        faults[0].kind == Asynchronous && faults[0].instruction.contains("bulk_group"),
        "{}",
        faults[0]
    );
    assert_eq!(kinds(&[(0, Some(STORE)), (0, Some(EXIT))]), [Asynchronous]);
    assert_eq!(
        kinds(&[
            (0, Some(STORE)),
            (0, Some(COMMIT)),
            (0, Some(WAIT_READ)),
            (0, Some(EXIT))
        ]),
        []
    );
    assert_eq!(
        kinds(&[
            (0, Some(STORE)),
            (0, Some(COMMIT)),
            (0, Some(WAIT_ALL)),
            (0, Some(EXIT))
        ]),
        []
    );
}

#[test]
fn only_writes_to_global_memory_outlive_the_block() {
    let mut machine = machine(STORES);
    let data = noise(64, 3);
    let target = machine.upload(&[0; 64]);
    let mut run = start(&machine, 1);
    put_shared(&mut run, 0, 0, &data);
    run.set64(FIRST, 1, |_| target);
    run.execute(FIRST, STORE);
    run.execute(FIRST, COMMIT);
    run.execute(FIRST, WAIT_READ);
    assert_eq!(global(&machine, target, 64), [0; 64], "as late as possible");
    run.finish(0).expect("all that is left is in global memory");
    assert_eq!(global(&machine, target, 64), data);
    let (machine, source) = loads();
    let mut run = loading(&machine, source);
    let stop = run.finish(0).expect_err("a load is under way");
    assert!(
        stop.kind == Asynchronous && stop.instruction.contains("complete_tx"),
        "{stop}"
    );
}
