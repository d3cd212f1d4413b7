use crate::exec::Ticket;
use crate::exec::machine::{BUFFER, Launched, Machine};
use crate::fault::FaultKind::{self, *};
use crate::isa::{Flow, Space};
use crate::memory::{CLUSTER_STRIDE, SHARED_WINDOW};

const FIRST: (usize, usize) = (0, 0);
const SECOND: (usize, usize) = (0, 1);

/// Lines of [`INSTRUCTIONS`].
const INIT: u32 = 0;
const ARRIVE: u32 = 1;
const TRY_PARITY: u32 = 2;
const STORE: u32 = 3;
const LOAD: u32 = 4;
const ARRIVE_TOKEN: u32 = 5;
const TEST_TOKEN: u32 = 6;
const PENDING_COUNT: u32 = 7;
const ARRIVE_RELAXED: u32 = 8;
const TRY_RELAXED: u32 = 9;
const INVAL: u32 = 10;
const EXPECT: u32 = 11;
const COMPLETE: u32 = 12;
const ARRIVE_EXPECT: u32 = 13;
const ARRIVE_REMOTE: u32 = 14;
const DROP: u32 = 15;
const NO_COMPLETE: u32 = 16;
const LOAD_OBJECT: u32 = 17;

/// Operations on the mbarrier at the begin of `buffer` with count `%r1`, parity `%r2` and bytes `%r3`; data at `buffer+64`.
const INSTRUCTIONS: &str = "mbarrier.init.shared::cta.b64 [buffer], %r1;
mbarrier.arrive.shared::cta.b64 _, [buffer];
mbarrier.try_wait.parity.shared::cta.b64 %p1, [buffer], %r2, 1000;
st.shared.u32 [buffer+64], %r4;
ld.shared.u32 %r5, [buffer+64];
mbarrier.arrive.release.cta.shared::cta.b64 %rd1, [buffer], %r6;
mbarrier.test_wait.acquire.cta.shared::cta.b64 %p1, [buffer], %rd1;
mbarrier.pending_count.b64 %r7, %rd1;
mbarrier.arrive.relaxed.cta.shared::cta.b64 _, [buffer];
mbarrier.try_wait.parity.relaxed.cluster.shared::cta.b64 %p1, [buffer], %r2;
mbarrier.inval.shared::cta.b64 [buffer];
mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [buffer], %r3;
mbarrier.complete_tx.relaxed.cluster.shared::cluster.b64 [buffer], %r3;
mbarrier.arrive.expect_tx.shared::cta.b64 _, [buffer], %r3;
mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r8];
mbarrier.arrive_drop.shared::cta.b64 _, [buffer];
mbarrier.arrive.noComplete.shared.b64 %rd1, [buffer], %r6;
ld.shared.u64 %rd2, [buffer];";

/// A block whose first warp has initialised the mbarrier for `count` arrivals; the others know it, and no lane but the
/// first executes.
fn initialised(machine: &Machine, warps: u32, count: u32) -> Launched<'_> {
    let mut run = machine.launch(1, warps);
    run.active = 1;
    run.set32(FIRST, 1, |_| count);
    run.execute(FIRST, INIT);
    run.synchronise(0);
    run
}

/// Whether the wait in line `line` succeeds for all executing lanes; if not, the warp gives way.
fn waited(run: &mut Launched<'_>, warp: (usize, usize), line: u32) -> bool {
    let flow = run.try_execute(warp, line).expect("the kernel goes on");
    let (done, active) = (run.warp(0, warp.1).predicates[1], run.active);
    assert_eq!(
        flow,
        if done & active == active {
            Flow::Next
        } else {
            Flow::Yield
        }
    );
    done & active == active
}

#[test]
fn parities_tell_phases_apart() {
    let machine = Machine::new(INSTRUCTIONS);
    let mut run = initialised(&machine, 1, 2);
    run.set32(FIRST, 2, |_| 1);
    assert!(
        waited(&mut run, FIRST, TRY_PARITY),
        "the phase before the first counts as complete"
    );
    run.set32(FIRST, 2, |_| 0);
    run.execute(FIRST, ARRIVE);
    assert!(!waited(&mut run, FIRST, TRY_PARITY));
    run.execute(FIRST, ARRIVE);
    assert!(waited(&mut run, FIRST, TRY_PARITY));
    run.set32(FIRST, 2, |_| 1);
    assert!(!waited(&mut run, FIRST, TRY_PARITY));
    assert_eq!(run.kinds(), []);
    run.set32(FIRST, 2, |_| 2);
    assert_eq!(run.stop(FIRST, TRY_PARITY).kind, InvalidOperand);
}

#[test]
fn tokens_tell_phases_apart() {
    let machine = Machine::new(INSTRUCTIONS);
    let mut run = initialised(&machine, 1, 5);
    run.set32(FIRST, 6, |_| 2);
    run.execute(FIRST, ARRIVE_TOKEN);
    run.execute(FIRST, PENDING_COUNT);
    assert_eq!(
        run.warp(0, 0).narrow[7][0],
        5,
        "the count before the arrival"
    );
    assert!(!waited(&mut run, FIRST, TEST_TOKEN));
    run.set32(FIRST, 6, |_| 3);
    run.execute(FIRST, ARRIVE_TOKEN);
    run.execute(FIRST, PENDING_COUNT);
    assert_eq!(run.warp(0, 0).narrow[7][0], 3);
    assert!(waited(&mut run, FIRST, TEST_TOKEN));
    run.set32(FIRST, 6, |_| 5);
    let first_phase = run.warp(0, 0).wide[1];
    run.execute(FIRST, ARRIVE_TOKEN);
    run.warp(0, 0).wide[1] = first_phase;
    let stop = run.stop(FIRST, TEST_TOKEN);
    assert!(
        stop.kind == Barrier && stop.message.contains("older"),
        "{stop}"
    );
    run.set64(FIRST, 1, |_| 0xdead_beef_0000_0000);
    assert!(
        run.stop(FIRST, TEST_TOKEN)
            .message
            .contains("another mbarrier")
    );
}

#[test]
fn every_lane_arrives_for_itself() {
    let machine = Machine::new(INSTRUCTIONS);
    let mut run = initialised(&machine, 1, 64);
    run.active = u32::MAX;
    run.execute(FIRST, ARRIVE);
    run.set32(FIRST, 2, |_| 0);
    assert!(!waited(&mut run, FIRST, TRY_PARITY));
    run.execute(FIRST, ARRIVE);
    assert!(waited(&mut run, FIRST, TRY_PARITY));
    // The executing lanes may wait for different parities.
    run.set32(FIRST, 2, |lane| lane % 2);
    assert!(!waited(&mut run, FIRST, TRY_PARITY));
    assert_eq!(run.warp(0, 0).predicates[1], 0x5555_5555);
}

/// The first warp stores and arrives, the second waits and loads.
fn hand_over(arrive: u32, wait: u32) -> Vec<FaultKind> {
    let machine = Machine::new(INSTRUCTIONS);
    let mut run = initialised(&machine, 2, 1);
    run.set32(FIRST, 4, |_| 77);
    run.execute(FIRST, STORE);
    run.execute(FIRST, arrive);
    run.set32(SECOND, 2, |_| 0);
    assert!(waited(&mut run, SECOND, wait));
    run.execute(SECOND, LOAD);
    assert_eq!(run.warp(0, 1).narrow[5][0], 77);
    run.kinds()
}

#[test]
fn release_and_acquire_order_data() {
    assert_eq!(hand_over(ARRIVE, TRY_PARITY), []);
    assert_eq!(hand_over(ARRIVE_RELAXED, TRY_PARITY), [Race]);
    assert_eq!(hand_over(ARRIVE, TRY_RELAXED), [Race]);
}

#[test]
fn what_comes_after_an_arrival_is_not_ordered_by_it() {
    let machine = Machine::new(INSTRUCTIONS);
    let mut run = initialised(&machine, 2, 1);
    run.execute(FIRST, ARRIVE);
    run.execute(FIRST, STORE);
    run.set32(SECOND, 2, |_| 0);
    assert!(waited(&mut run, SECOND, TRY_PARITY));
    run.execute(SECOND, LOAD);
    assert_eq!(run.kinds(), [Race]);
}

#[test]
fn uses_must_come_after_the_initialisation() {
    let machine = Machine::new(INSTRUCTIONS);
    let mut run = machine.launch(1, 2);
    run.active = 1;
    run.set32(FIRST, 1, |_| 3);
    run.execute(FIRST, INIT);
    run.execute(SECOND, ARRIVE);
    let faults = run.faults();
    assert_eq!(faults.len(), 1);
    assert!(
        faults[0].kind == Race && faults[0].message.contains("a barrier between is missing"),
        "{}",
        faults[0]
    );
    // Another lane of the same warp.
    run.active = 2;
    run.execute(FIRST, ARRIVE);
    let faults = run.faults();
    assert!(
        faults[0].message.contains("__syncwarp is missing"),
        "{}",
        faults[0]
    );
}

#[test]
fn only_live_objects_can_be_used() {
    let machine = Machine::new(INSTRUCTIONS);
    let mut run = machine.launch(1, 1);
    run.active = 1;
    assert_eq!(run.stop(FIRST, ARRIVE).kind, Barrier);
    run.set32(FIRST, 1, |_| 0);
    assert_eq!(run.stop(FIRST, INIT).kind, Barrier);
    run.set32(FIRST, 1, |_| 1 << 20);
    assert!(run.stop(FIRST, INIT).message.contains("1048576"));
    let mut run = initialised(&machine, 1, 1);
    run.execute(FIRST, INIT);
    assert_eq!(run.kinds(), [Barrier], "initialised again");
    run.execute(FIRST, INVAL);
    assert_eq!(run.stop(FIRST, TRY_PARITY).kind, Barrier);
    run.execute(FIRST, INIT);
    run.execute(FIRST, ARRIVE);
    assert_eq!(run.kinds(), []);
}

#[test]
fn the_end_must_come_after_all_uses() {
    let machine = Machine::new(INSTRUCTIONS);
    let mut run = initialised(&machine, 2, 2);
    run.execute(SECOND, ARRIVE);
    run.execute(FIRST, INVAL);
    assert_eq!(run.kinds(), [Race]);
    let mut run = initialised(&machine, 2, 2);
    run.execute(SECOND, ARRIVE);
    run.synchronise(0);
    run.execute(FIRST, INVAL);
    assert_eq!(run.kinds(), []);
    // The bytes are nobody's value afterwards, and free for anything.
    run.execute(FIRST, LOAD_OBJECT);
    assert_eq!(run.kinds(), [Uninitialised]);
}

#[test]
fn the_bytes_of_an_object_are_no_data() {
    let machine = Machine::new(INSTRUCTIONS);
    let mut run = initialised(&machine, 1, 2);
    run.execute(FIRST, LOAD_OBJECT);
    assert_eq!(run.kinds(), [Barrier]);
}

#[test]
fn counts_and_bytes_are_checked() {
    let machine = Machine::new(INSTRUCTIONS);
    let mut run = initialised(&machine, 1, 2);
    run.set32(FIRST, 6, |_| 3);
    let stop = run.stop(FIRST, ARRIVE_TOKEN);
    assert!(
        stop.kind == Barrier
            && stop
                .message
                .contains("3 arrivals in phase 0, which waits for 2 more of 2"),
        "{stop}"
    );
    run.set32(FIRST, 6, |_| 2);
    assert!(run.stop(FIRST, NO_COMPLETE).message.contains("noComplete"));
    run.set32(FIRST, 6, |_| 1);
    run.execute(FIRST, NO_COMPLETE);
    run.set32(FIRST, 3, |_| 1 << 20);
    assert!(
        run.stop(FIRST, EXPECT)
            .message
            .contains("1048576 bytes under way")
    );
    let mut run = initialised(&machine, 1, 1);
    run.set32(FIRST, 3, |_| 64);
    run.execute(FIRST, ARRIVE_EXPECT);
    assert_eq!(
        run.stop(FIRST, ARRIVE).kind,
        Barrier,
        "the phase waits for bytes only"
    );
}

#[test]
fn bytes_hold_a_phase_back() {
    let machine = Machine::new(INSTRUCTIONS);
    let mut run = initialised(&machine, 1, 1);
    run.set32(FIRST, 2, |_| 0);
    run.set32(FIRST, 3, |_| 64);
    run.execute(FIRST, EXPECT);
    run.execute(FIRST, ARRIVE_EXPECT);
    run.execute(FIRST, COMPLETE);
    assert!(!waited(&mut run, FIRST, TRY_PARITY));
    run.execute(FIRST, COMPLETE);
    assert!(waited(&mut run, FIRST, TRY_PARITY));
}

#[test]
fn dropped_threads_are_not_waited_for_again() {
    let machine = Machine::new(INSTRUCTIONS);
    let mut run = initialised(&machine, 1, 2);
    run.set32(FIRST, 2, |_| 0);
    run.execute(FIRST, DROP);
    run.execute(FIRST, ARRIVE);
    assert!(waited(&mut run, FIRST, TRY_PARITY));
    run.set32(FIRST, 2, |_| 1);
    run.execute(FIRST, ARRIVE);
    assert!(waited(&mut run, FIRST, TRY_PARITY));
}

#[test]
fn a_waiter_two_phases_behind_is_told() {
    let machine = Machine::new(INSTRUCTIONS);
    let mut run = initialised(&machine, 2, 1);
    run.execute(FIRST, ARRIVE);
    run.execute(FIRST, ARRIVE);
    // The second warp means phase 0, which is long complete; its parity is that of phase 2.
    run.set32(SECOND, 2, |_| 0);
    assert!(!waited(&mut run, SECOND, TRY_PARITY));
    let faults = run.faults();
    assert!(
        faults[0].kind == Barrier && faults[0].message.contains("lags behind"),
        "{}",
        faults[0]
    );
}

#[test]
fn who_waits_for_every_phase_does_not_lag() {
    let machine = Machine::new(INSTRUCTIONS);
    for wait in [TRY_PARITY, TRY_RELAXED] {
        let mut run = initialised(&machine, 2, 1);
        for phase in 0..5 {
            run.set32(SECOND, 2, |_| phase % 2);
            assert!(!waited(&mut run, SECOND, wait));
            run.execute(FIRST, ARRIVE);
            assert!(waited(&mut run, SECOND, wait));
        }
        assert_eq!(run.kinds(), []);
    }
}

#[test]
fn other_blocks_arrive_but_do_not_wait() {
    let machine = Machine::new(INSTRUCTIONS);
    let mut run = machine.launch_clusters(1, 2, 1);
    run.active = 1;
    run.set32(SECOND, 1, |_| 1);
    run.execute(SECOND, INIT);
    run.set32(FIRST, 8, |_| 2 * CLUSTER_STRIDE + BUFFER);
    run.execute(FIRST, ARRIVE_REMOTE);
    assert_eq!(
        run.kinds(),
        [Race],
        "no cluster barrier after the initialisation"
    );
    run.set32(SECOND, 2, |_| 0);
    assert!(waited(&mut run, SECOND, TRY_PARITY));
    let remote = Machine::new(
        "mbarrier.init.b64 [%rd1], %r1;\nmbarrier.try_wait.parity.b64 %p1, [%rd1], %r1;
mbarrier.arrive.b64 %rd2, [%rd1];",
    );
    let mut run = remote.launch_clusters(1, 2, 1);
    run.active = 1;
    run.set32(FIRST, 1, |_| 1);
    run.set64(FIRST, 1, |_| {
        SHARED_WINDOW + u64::from(2 * CLUSTER_STRIDE + BUFFER)
    });
    run.execute(FIRST, 0);
    assert!(run.stop(FIRST, 1).message.contains("another block"));
    assert!(run.stop(FIRST, 2).message.contains("no token"));
    run.set64(FIRST, 1, |_| 0x1_0000);
    assert_eq!(run.stop(FIRST, 0).kind, InvalidOperand);
    run.set64(FIRST, 1, |_| SHARED_WINDOW + u64::from(BUFFER) + 4);
    assert_eq!(run.stop(FIRST, 0).kind, Misaligned);
}

#[test]
fn copies_arrive_when_they_have_landed() {
    let machine = Machine::new(INSTRUCTIONS);
    for (counted, expected) in [(false, 1), (true, 2)] {
        let mut run = initialised(&machine, 1, expected);
        let copies = Ticket { agent: 40, tick: 3 };
        let arrival = run.step(FIRST, ARRIVE, |step| {
            step.announce_arrival(0, u64::from(BUFFER), Space::Shared, counted)
        });
        let arrival = arrival.expect("the mbarrier lives");
        run.execute(FIRST, ARRIVE);
        run.set32(FIRST, 2, |_| 0);
        assert!(
            !waited(&mut run, FIRST, TRY_PARITY),
            "the copies are missing"
        );
        run.step(FIRST, ARRIVE, |step| {
            arrival.arrive(step.cluster, step.launch, copies)
        })
        .expect("it is waited for");
        assert!(waited(&mut run, FIRST, TRY_PARITY));
        assert_eq!(run.warp(0, 0).clock.get(copies.agent), copies.tick);
        let stop = run.step(FIRST, ARRIVE, |step| {
            step.cluster.blocks[0].mbarriers.end(BUFFER as usize);
            arrival.arrive(step.cluster, step.launch, copies)
        });
        assert_eq!(stop.map_err(|fault| fault.kind), Err(Barrier));
    }
}

#[test]
fn unknown_forms_are_refused() {
    for instruction in [
        "mbarrier.init.shared.b32 [%r1], 1;",
        "mbarrier.frob.shared.b64 [%r1];",
        "mbarrier.arrive.expect_tx.shared.b64 _, [%r1];",
    ] {
        let error = Machine::error(instruction);
        assert!(error.contains("mbarrier"), "{error}");
    }
}
