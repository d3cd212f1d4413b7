use crate::exec::machine::{BUFFER, Machine};
use crate::fault::FaultKind::{self, *};
use crate::memory::{LOCAL_WINDOW, SHARED_WINDOW};

const FIRST: (usize, usize) = (0, 0);
const SECOND: (usize, usize) = (0, 1);
const OTHER_BLOCK: (usize, usize) = (1, 0);

#[test]
fn lanes_take_turns() {
    let mut machine = Machine::new(
        "atom.global.add.u32 %r1, [%rd1], %r10;\natom.shared.cas.b32 %r2, [%r20], 0, %r11;\natom.exch.b64 %rd2, [%rd20], %rd10;
red.relaxed.gpu.global.max.s32 [%rd1+4], %r11;\nred.global.add.v2.f32 [%rd1+8], {%r12, %r12};\natom.global.gpu.acq_rel.inc.u32 %r3, [%rd1+16], 40;
ld.global.v4.u32 {%r30, %r31, %r32, %r33}, [%rd1];",
    );
    let base = machine.upload(&[0; 32]);
    let mut run = machine.launch(1, 1);
    run.block(0, 0).shared.write(BUFFER as usize, &[0; 64]);
    run.set64(FIRST, 1, |_| base);
    run.set64(FIRST, 10, |lane| lane << 33 | 1);
    run.set64(FIRST, 20, |_| SHARED_WINDOW + u64::from(BUFFER) + 8);
    run.set32(FIRST, 10, |lane| lane + 1);
    run.set32(FIRST, 11, |lane| lane + 100);
    run.set32(FIRST, 12, |_| 0.5f32.to_bits());
    run.set32(FIRST, 20, |_| BUFFER);
    (0..6).for_each(|line| run.execute(FIRST, line));
    run.synchronise(0);
    run.execute(FIRST, 6);
    assert_eq!(run.kinds(), []);
    let warp = run.warp(0, 0);
    for lane in 0..32 {
        assert_eq!(warp.narrow[1][lane], (0..=lane as u32).sum());
        assert_eq!(warp.narrow[2][lane], if lane == 0 { 0 } else { 100 });
        assert_eq!(
            warp.wide[2][lane],
            if lane == 0 {
                0
            } else {
                (lane as u64 - 1) << 33 | 1
            }
        );
        assert_eq!(warp.narrow[3][lane], lane as u32);
    }
    assert_eq!(
        [30, 31, 32, 33].map(|register| warp.narrow[register][0]),
        [528, 131, 16f32.to_bits(), 16f32.to_bits()]
    );
    assert_eq!(
        (
            run.counters.global_atomics,
            run.counters.shared_atomics,
            run.counters.shared_requests
        ),
        (128, 64, 2)
    );
}

#[test]
fn only_a_change_is_an_effect() {
    let mut machine = Machine::new(
        "atom.global.cas.b32 %r1, [%rd1], 7, 8;\nred.global.max.u32 [%rd1], 3;\nred.global.add.u32 [%rd1], 1;",
    );
    let base = machine.upload(&[5, 0, 0, 0]);
    let mut run = machine.launch(1, 1);
    run.active = 1;
    run.set64(FIRST, 1, |_| base);
    for (line, effects) in [(0, 0), (1, 0), (2, 1)] {
        let before = run.effects(0);
        run.execute(FIRST, line);
        assert_eq!(run.effects(0) - before, effects, "line {line}");
    }
    assert_eq!(run.warp(0, 0).narrow[1][0], 5);
}

#[test]
fn operands_are_checked() {
    let mut machine = Machine::new(
        "atom.global.add.u32 %r1, [%rd1], 1;\natom.global.exch.b32 %r1, [%rd1], 1;\nred.shared.add.u32 [%r2], 1;\nred.add.u32 [%rd2], 1;",
    );
    let fresh = machine.memory.allocate(64).unwrap();
    let mut run = machine.launch(1, 1);
    run.active = 1;
    run.set64(FIRST, 1, |_| fresh);
    run.set32(FIRST, 2, |_| BUFFER);
    run.execute(FIRST, 0);
    assert_eq!(run.kinds(), [Uninitialised]);
    run.set64(FIRST, 1, |_| fresh + 4);
    run.execute(FIRST, 1);
    assert_eq!(run.kinds(), []);
    run.execute(FIRST, 2);
    assert_eq!(run.kinds(), [Uninitialised]);
    run.set64(FIRST, 1, |_| fresh + 2);
    assert_eq!(run.stop(FIRST, 0).kind, Misaligned);
    run.set64(FIRST, 1, |_| fresh + 64);
    assert_eq!(run.stop(FIRST, 0).kind, OutOfBounds);
    run.set64(FIRST, 2, |_| LOCAL_WINDOW);
    assert_eq!(run.stop(FIRST, 3).kind, OutOfBounds);
}

/// Faults when two warps execute lines 0 and 1 on one word, with a barrier between or without.
fn pair(first: &str, second: &str, barrier: bool) -> Vec<FaultKind> {
    let mut machine = Machine::new(&format!("{first}\n{second}"));
    let base = machine.upload(&[0; 64]);
    let mut run = machine.launch(1, 2);
    run.block(0, 0).shared.write(BUFFER as usize, &[0; 64]);
    for warp in [FIRST, SECOND] {
        run.set64(warp, 1, |_| base);
        run.set32(warp, 1, |_| BUFFER);
        run.set32(warp, 2, |_| 3);
    }
    run.active = 1;
    run.execute(FIRST, 0);
    run.active = u32::MAX;
    if barrier {
        run.synchronise(0);
    }
    run.active = 1;
    run.execute(SECOND, 1);
    run.kinds()
}

#[test]
fn atomics_race_with_plain_accesses_only() {
    for (name, address) in [("global", "[%rd1]"), ("shared", "[%r1]")] {
        let atomic = format!("red.{name}.add.u32 {address}, %r2;");
        for plain in [
            format!("ld.{name}.u32 %r3, {address};"),
            format!("st.{name}.u32 {address}, %r2;"),
        ] {
            assert_eq!(pair(&atomic, &plain, false), [Race], "{plain}");
            assert_eq!(pair(&plain, &atomic, false), [Race], "{plain}");
            assert_eq!(pair(&atomic, &plain, true), [], "{plain}");
            assert_eq!(pair(&plain, &atomic, true), [], "{plain}");
        }
        assert_eq!(pair(&atomic, &atomic, false), []);
        assert_eq!(
            pair(
                &atomic,
                &format!("ld.volatile.{name}.u32 %r3, {address};"),
                false
            ),
            []
        );
    }
}

/// Faults of a block that takes over data by a counter: fence and increment there, increment and fence here.
fn counter(release: &str, acquire: &str) -> Vec<FaultKind> {
    let fence = |atomic: &str| {
        if atomic.contains("relaxed") {
            "membar.gl;"
        } else {
            "bar.warp.sync -1;"
        }
    };
    let code = format!(
        "st.global.u32 [%rd1], %r1;\n{}\n{release} %r2, [%rd2], 1;\n{acquire} %r2, [%rd2], 1;\n{}\nld.global.u32 %r3, [%rd1];",
        fence(release),
        fence(acquire)
    );
    let mut machine = Machine::new(&code);
    let base = machine.upload(&[0; 256]);
    let mut run = machine.launch(2, 1);
    for warp in [FIRST, OTHER_BLOCK] {
        run.set64(warp, 1, |lane| base + 4 * lane);
        run.set64(warp, 2, |_| base + 128);
    }
    (0..3).for_each(|line| run.execute(FIRST, line));
    (3..6).for_each(|line| run.execute(OTHER_BLOCK, line));
    run.kinds()
}

#[test]
fn counters_order_data_between_blocks() {
    let [relaxed, plain] = ["atom.relaxed.gpu.global.add.u32", "atom.global.add.u32"];
    let [release, acquire, both] =
        ["release", "acquire", "acq_rel"].map(|order| format!("atom.{order}.gpu.global.add.u32"));
    assert_eq!(counter(relaxed, relaxed), []);
    assert_eq!(counter(&release, &acquire), []);
    assert_eq!(counter(&both, &both), []);
    assert_eq!(counter(plain, relaxed), [Race]);
    assert_eq!(counter(relaxed, plain), [Race]);
    assert_eq!(counter(&acquire, &acquire), [Race]);
    assert_eq!(counter(&release, &release), [Race]);
    // A `cas` that finds another value tells nothing.
    let code = "st.global.u32 [%rd1], %r1;\natom.release.gpu.global.cas.b32 %r2, [%rd2], 9, 1;\nld.acquire.gpu.global.u32 %r2, [%rd2];\nld.global.u32 %r3, [%rd1];";
    for (value, kinds) in [(9, vec![]), (8, vec![Race])] {
        let mut machine = Machine::new(code);
        let base = machine.upload(&[0; 128]);
        let flag = machine.upload(&[value, 0, 0, 0]);
        let mut run = machine.launch(2, 1);
        for warp in [FIRST, OTHER_BLOCK] {
            run.set64(warp, 1, |lane| base + 4 * lane);
            run.set64(warp, 2, |_| flag);
        }
        (0..2).for_each(|line| run.execute(FIRST, line));
        (2..4).for_each(|line| run.execute(OTHER_BLOCK, line));
        assert_eq!(run.kinds(), kinds);
    }
}

#[test]
fn unknown_forms_are_refused() {
    assert!(Machine::error("atom.global.add.u16 %r1, [%rd1], %r2;").contains("does not know"));
    assert!(Machine::error("red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.add.u32 [%r1], %r2, [%r3];").contains("does not know"));
    assert!(
        Machine::error("red.global.add.v2.f32 [%rd1], {%r1, %r2, %r3, %r4};")
            .contains("a vector of 4")
    );
}
