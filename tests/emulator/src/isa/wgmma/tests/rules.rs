//! What the checks find: fences, waits, warps that differ, races.

use super::{all_execute, all_wait, descriptor};
use crate::exec::machine::{BUFFER, Launched, Machine};
use crate::fault::FaultKind::{self, *};
use crate::isa::Flow;

/// `m64n8k16` on shared memory without a swizzle.
const PRODUCT: &str = "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%r0, %r1, %r2, %r3}, %rd0, %rd1, %p0, 1, 1, 0, 0;";

/// The same with A in registers.
const FROM_REGISTERS: &str = "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%r0, %r1, %r2, %r3}, {%r10, %r11, %r12, %r13}, %rd1, %p0, 1, 1, 0;";

const FENCE: &str = "wgmma.fence.sync.aligned;";
const COMMIT: &str = "wgmma.commit_group.sync.aligned;";
const WAIT: &str = "wgmma.wait_group.sync.aligned 0;";

const A: u32 = BUFFER;
const B: u32 = BUFFER + 2048;

fn machine(lines: &[&str]) -> Machine {
    Machine::new(&lines.join("\n"))
}

/// A block of four warps with ones in A and B, accumulators 0, descriptors and scale-d set.
fn start(machine: &Machine) -> Launched<'_> {
    start_with(machine, 4)
}

fn start_with(machine: &Machine, warps: u32) -> Launched<'_> {
    let mut run = machine.launch(1, warps);
    let ones: Vec<u8> = std::iter::repeat_n(0x3c00u16.to_le_bytes(), 2048)
        .flatten()
        .collect();
    run.block(0, 0).shared.write(A as usize, &ones);
    for warp in 0..warps as usize {
        run.set64((0, warp), 0, |_| descriptor(A, 128, 256, 0));
        run.set64((0, warp), 1, |_| descriptor(B, 128, 256, 0));
        (0..4).for_each(|register| run.set32((0, warp), register, |_| 0));
        (10..14).for_each(|register| run.set32((0, warp), register, |_| 0x3c00_3c00));
        run.warp(0, warp).predicates[0] = u32::MAX;
    }
    run
}

fn sum(run: &mut Launched<'_>, warp: usize) -> f32 {
    f32::from_bits(run.warp(0, warp).narrow[3][31])
}

/// Faults were found, all of this kind and with these words.
fn assert_fault(run: &mut Launched<'_>, kind: FaultKind, word: &str) {
    let faults = run.faults();
    assert!(!faults.is_empty(), "nothing found");
    for fault in faults {
        assert_eq!(fault.kind, kind, "{fault}");
        assert!(fault.message.contains(word), "{fault}");
    }
}

#[test]
fn a_wait_leaves_the_newest_groups_under_way() {
    let machine = machine(&[
        FENCE,
        PRODUCT,
        COMMIT,
        PRODUCT,
        PRODUCT,
        COMMIT,
        "wgmma.wait_group.sync.aligned 1;",
        WAIT,
    ]);
    let mut run = start(&machine);
    all_execute(&mut run, 0..6);
    assert_eq!(sum(&mut run, 2), 0.0);
    all_wait(&mut run, 6);
    assert_eq!(sum(&mut run, 2), 16.0);
    all_wait(&mut run, 7);
    assert_eq!(sum(&mut run, 2), 48.0);
    assert_eq!(run.counters.wgmma, 3);
    assert_eq!(run.faults(), []);
}

#[test]
fn an_operation_is_complete_only_after_four_warps_issued_it() {
    let machine = machine(&[FENCE, PRODUCT, COMMIT, WAIT]);
    let mut run = start(&machine);
    for warp in 0..3 {
        (0..3).for_each(|line| run.execute((0, warp), line));
        assert_eq!(run.try_execute((0, warp), 3).unwrap(), Flow::Retry);
    }
    assert_eq!(run.counters.wgmma, 0);
    (0..3).for_each(|line| run.execute((0, 3), line));
    all_wait(&mut run, 3);
    assert_eq!((sum(&mut run, 0), sum(&mut run, 3)), (16.0, 16.0));
    assert_eq!(run.faults(), []);
}

#[test]
fn operands_are_read_when_the_first_warp_waits() {
    let machine = machine(&[FENCE, PRODUCT, COMMIT, WAIT]);
    let mut run = start(&machine);
    all_execute(&mut run, 0..3);
    run.block(0, 0).shared.write(B as usize, &[0; 512]);
    run.execute((0, 1), 3);
    run.block(0, 0).shared.write(B as usize, &[0xff; 512]);
    all_wait(&mut run, 3);
    assert_eq!([0, 1, 2, 3].map(|warp| sum(&mut run, warp)), [0.0; 4]);
}

/// Ordinary instructions that write and read an accumulator, and that write and read a register of A.
const TOUCHES: [&str; 4] = [
    "ld.shared.b32 %r1, [buffer+8192];",
    "st.shared.b32 [buffer+8192], %r2;",
    "ld.shared.b32 %r12, [buffer+8192];",
    "st.shared.b32 [buffer+8192], %r10;",
];

/// A run whose shared word for [`TOUCHES`] holds a value.
fn start_to_touch(machine: &Machine) -> Launched<'_> {
    let mut run = start(machine);
    run.block(0, 0)
        .shared
        .write(BUFFER as usize + 8192, &[0; 4]);
    run.active = 1;
    run
}

/// All lanes of the four warps execute lines.
fn together(run: &mut Launched<'_>, lines: std::ops::Range<u32>) {
    run.active = u32::MAX;
    all_execute(run, lines);
    run.active = 1;
}

#[test]
fn a_fence_must_stand_between_an_access_and_the_operation() {
    for touch in TOUCHES {
        let machine = machine(&[FENCE, touch, FROM_REGISTERS]);
        let mut run = start_to_touch(&machine);
        together(&mut run, 0..1);
        run.execute((0, 2), 1);
        together(&mut run, 2..3);
        assert_fault(&mut run, Asynchronous, "wgmma.fence is missing");
        let mut run = start_to_touch(&machine);
        run.execute((0, 2), 1);
        together(&mut run, 0..1);
        together(&mut run, 2..3);
        assert_eq!(run.faults(), [], "{touch}");
    }
}

#[test]
fn the_first_operation_needs_a_fence() {
    let machine = machine(&[PRODUCT]);
    let mut run = start(&machine);
    run.execute((0, 0), 0);
    assert_fault(&mut run, Asynchronous, "wgmma.fence is missing");
}

#[test]
fn accumulators_may_be_chained_by_operations_of_one_shape_only() {
    let wider = "wgmma.mma_async.sync.aligned.m64n16k16.f32.f16.f16 {%r0, %r1, %r2, %r3, %r4, %r5, %r6, %r7}, %rd0, %rd1, %p0, 1, 1, 0, 0;";
    let as_a = "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%r4, %r5, %r6, %r7}, {%r0, %r1, %r2, %r3}, %rd1, %p0, 1, 1, 0;";
    for other in [wider, as_a] {
        let machine = machine(&[FENCE, PRODUCT, PRODUCT, FENCE, other, other, PRODUCT]);
        let mut run = start(&machine);
        all_execute(&mut run, 0..6);
        assert_eq!(run.faults(), []);
        run.execute((0, 0), 6);
        assert_fault(&mut run, Asynchronous, "wgmma.fence is missing");
    }
}

#[test]
fn registers_of_an_operation_under_way_are_not_to_be_touched() {
    for touch in TOUCHES {
        let machine = machine(&[FENCE, FROM_REGISTERS, COMMIT, touch, WAIT, touch]);
        let mut run = start_to_touch(&machine);
        together(&mut run, 0..3);
        run.execute((0, 1), 3);
        assert_fault(&mut run, Asynchronous, "not waited for");
        let mut run = start_to_touch(&machine);
        together(&mut run, 0..3);
        together(&mut run, 4..5);
        run.execute((0, 1), 5);
        assert_eq!(run.faults(), [], "{touch}");
    }
}

#[test]
fn a_wait_without_a_commit_waits_for_nothing() {
    let machine = machine(&[FENCE, PRODUCT, WAIT, TOUCHES[1]]);
    let mut run = start_to_touch(&machine);
    together(&mut run, 0..2);
    run.active = u32::MAX;
    all_wait(&mut run, 2);
    run.active = 1;
    run.execute((0, 0), 3);
    assert_fault(&mut run, Asynchronous, "not waited for");
    assert_eq!(run.finish(0).unwrap_err().kind, Asynchronous);
}

#[test]
fn four_warps_must_do_the_same() {
    let machine = machine(&[FENCE, PRODUCT, PRODUCT]);
    let mut run = start(&machine);
    all_execute(&mut run, 0..1);
    run.execute((0, 0), 1);
    let other_place = run.stop((0, 1), 2);
    assert_eq!(other_place.kind, Divergence);
    assert!(other_place.message.contains("another warp"));

    for change in [0, 1, 2] {
        let mut run = start(&machine);
        all_execute(&mut run, 0..1);
        run.execute((0, 0), 1);
        match change {
            0 => run.set64((0, 1), 0, |_| descriptor(A + 16, 128, 256, 0)),
            1 => run.set64((0, 1), 1, |_| descriptor(B, 128, 512, 0)),
            _ => run.warp(0, 1).predicates[0] = 0,
        }
        assert_eq!(run.stop((0, 1), 1).kind, InvalidOperand);
    }

    let mut run = start(&machine);
    all_execute(&mut run, 0..1);
    (0..3).for_each(|warp| run.execute((0, warp), 1));
    let unfinished = run.finish(0).unwrap_err();
    assert_eq!(unfinished.kind, Divergence);
    assert!(unfinished.message.contains("only 3 of the four warps"));
}

#[test]
fn lanes_must_be_all_there_and_agree() {
    let machine = machine(&[FENCE, PRODUCT, COMMIT, WAIT]);
    for line in 0..4 {
        let mut run = start(&machine);
        run.active = 0x7fff_ffff;
        assert_eq!(run.stop((0, 0), line).kind, Divergence);
        let mut run = start_with(&machine, 6);
        assert_eq!(run.stop((0, 4), line).kind, Divergence);
        run.execute((0, 3), 0);
    }
    let mut run = start(&machine);
    run.set64((0, 0), 1, |lane| {
        descriptor(B + 16 * (lane as u32 / 31), 128, 256, 0)
    });
    assert!(
        run.stop((0, 0), 1)
            .message
            .contains("descriptor of B differs")
    );
    let mut run = start(&machine);
    run.warp(0, 0).predicates[0] = 1;
    assert!(run.stop((0, 0), 1).message.contains("scale-d differs"));
}

#[test]
fn descriptors_are_checked_where_they_are_used() {
    let machine = machine(&[FENCE, PRODUCT, COMMIT, WAIT]);
    let cases = [
        (descriptor(0x3_fff0, 128, 256, 0), OutOfBounds),
        (descriptor(0, 128, 256, 0), OutOfBounds),
        (descriptor(A, 128, 256, 0) | 1 << 46, InvalidOperand),
        (descriptor(A + 112, 0, 1024, 1), InvalidOperand),
    ];
    for (bits, kind) in cases {
        let mut run = start(&machine);
        (0..4).for_each(|warp| run.set64((0, warp), 1, |_| bits));
        all_execute(&mut run, 0..3);
        let fault = run.stop((0, 0), 3);
        assert_eq!(fault.kind, kind, "{fault}");
        assert!(
            fault.instruction.contains("mma_async"),
            "the report names the operation: {fault}"
        );
    }
    let mut run = start(&machine);
    (0..4).for_each(|warp| run.set64((0, warp), 1, |_| descriptor(BUFFER + 16384, 128, 256, 0)));
    all_execute(&mut run, 0..4);
    assert_fault(&mut run, Uninitialised, "never written");
}

/// Stores a word of A, as an ordinary access of one lane.
const STORE: &str = "st.shared.b32 [buffer+64], %r20;";
const PROXY_FENCE: &str = "fence.proxy.async;";

#[test]
fn ordinary_stores_need_a_proxy_fence_and_a_barrier() {
    let machine = machine(&[STORE, PROXY_FENCE, FENCE, PRODUCT, COMMIT, WAIT]);
    let multiply = |run: &mut Launched<'_>| {
        run.active = u32::MAX;
        all_execute(run, 2..6);
    };
    let store = |run: &mut Launched<'_>| {
        run.active = 1;
        run.execute((0, 2), 0);
    };
    let mut run = start(&machine);
    store(&mut run);
    run.execute((0, 2), 1);
    run.synchronise(0);
    multiply(&mut run);
    assert_eq!(run.faults(), []);

    let mut run = start(&machine);
    store(&mut run);
    run.synchronise(0);
    multiply(&mut run);
    assert_fault(&mut run, Asynchronous, "fence.proxy.async is missing");

    let mut run = start(&machine);
    store(&mut run);
    run.execute((0, 2), 1);
    multiply(&mut run);
    assert_fault(&mut run, Race, "wrote");

    // A fence before the store helps as little as none.
    let mut run = start(&machine);
    run.execute((0, 2), 1);
    store(&mut run);
    run.synchronise(0);
    multiply(&mut run);
    assert_fault(&mut run, Asynchronous, "fence.proxy.async is missing");
}

#[test]
fn operands_are_free_for_others_only_after_the_wait() {
    let machine = machine(&[FENCE, PRODUCT, COMMIT, WAIT, STORE]);
    let store = |run: &mut Launched<'_>, warp: usize| {
        run.active = 1;
        run.execute((0, warp), 4);
    };
    // Before the wait, even by a warp that issued the operation.
    let mut run = start(&machine);
    all_execute(&mut run, 0..3);
    store(&mut run, 0);
    run.active = u32::MAX;
    all_wait(&mut run, 3);
    assert_fault(&mut run, Race, "wrote");

    // After the wait of another warp, but without hearing of it.
    let mut run = start(&machine);
    all_execute(&mut run, 0..3);
    run.execute((0, 0), 3);
    store(&mut run, 1);
    assert_fault(&mut run, Race, "reads");

    // After one warp's own wait: the reads of all four are done.
    let mut run = start(&machine);
    all_execute(&mut run, 0..3);
    run.execute((0, 0), 3);
    store(&mut run, 0);
    assert_eq!(run.faults(), []);
}
