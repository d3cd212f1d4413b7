use crate::exec::machine::{BUFFER, Launched, Machine};
use crate::fault::FaultKind::*;
use crate::memory::ByteState;

const FIRST: (usize, usize) = (0, 0);
const SECOND: (usize, usize) = (0, 1);

const COPY: &str = "cp.async.cg.shared.global.L2::128B [%r1], [%rd1], 16;";
const COMMIT: &str = "cp.async.commit_group;";
const READ: &str = "ld.shared.v4.u32 {%r10, %r11, %r12, %r13}, [%r1];";

/// Source bytes: 0, 1, 2, ...
fn source() -> Vec<u8> {
    (0..1024).map(|at| at as u8).collect()
}

/// Lane `n` of every warp copies sixteen bytes from `16 n` to the `n`-th place of its buffer.
fn place(run: &mut Launched<'_>, base: u64) {
    for warp in [FIRST, SECOND] {
        run.set64(warp, 1, |lane| base + 16 * lane);
        run.set32(warp, 1, |lane| BUFFER + 16 * lane);
    }
}

#[test]
fn bytes_land_when_waited_for() {
    let mut machine = Machine::new(&format!("{COPY}\n{COMMIT}\ncp.async.wait_group 0;\n{READ}"));
    let base = machine.upload(&source());
    let mut run = machine.launch(1, 2);
    place(&mut run, base);
    (0..2).for_each(|line| run.execute(FIRST, line));
    assert_eq!(
        run.block(0, 0)
            .shared
            .irregular(BUFFER as usize..BUFFER as usize + 16),
        Some(ByteState::InFlight)
    );
    // Too late: the copy has not read yet.
    machine.memory.view().allocation(0).write(0, &[99]);
    run.execute(FIRST, 2);
    run.execute(FIRST, 3);
    assert_eq!(run.kinds(), []);
    let warp = run.warp(0, 0);
    assert_eq!(
        [10, 13].map(|register| warp.narrow[register][1]),
        [0x1312_1110, 0x1f1e_1d1c]
    );
    assert_eq!(warp.narrow[10][0], 0x0302_0163);
    assert_eq!(
        (
            run.counters.global_load_requests,
            run.counters.global_load_sectors,
            run.counters.global_load_bytes
        ),
        (1, 16, 512)
    );
    assert_eq!(run.counters.shared_requests, 1);
}

#[test]
fn reading_or_writing_too_early_is_found() {
    let mut machine = Machine::new(&format!(
        "{COPY}\n{COMMIT}\n{READ}\nst.shared.v4.u32 [%r1], {{%r1, %r1, %r1, %r1}};\n{COPY}"
    ));
    let base = machine.upload(&source());
    for early in 2..5 {
        let mut run = machine.launch(1, 2);
        place(&mut run, base);
        (0..2).for_each(|line| run.execute(FIRST, line));
        run.execute(FIRST, early);
        assert_eq!(run.kinds(), [Asynchronous], "line {early}");
    }
}

#[test]
fn groups_land_oldest_first() {
    let groups = format!("{COPY}\n{COMMIT}\ncp.async.wait_group 1;\ncp.async.wait_all;\n{READ}");
    let mut machine = Machine::new(&groups);
    let base = machine.upload(&source());
    let mut run = machine.launch(1, 2);
    let states = |run: &mut Launched<'_>| {
        [0, 1, 2].map(|group| {
            let at = BUFFER as usize + 512 * group;
            run.block(0, 0).shared.irregular(at..at + 512)
        })
    };
    for group in 0..3 {
        run.set64(FIRST, 1, |lane| base + 16 * lane);
        run.set32(FIRST, 1, |lane| BUFFER + 512 * group + 16 * lane);
        run.execute(FIRST, 0);
        if group < 2 {
            run.execute(FIRST, 1);
        }
    }
    let (flight, unwritten) = (Some(ByteState::InFlight), Some(ByteState::Unwritten));
    assert_eq!(states(&mut run), [flight; 3]);
    run.execute(FIRST, 2);
    assert_eq!(states(&mut run), [None, flight, flight]);
    run.execute(FIRST, 3);
    assert_eq!(states(&mut run), [None; 3]);
    assert_eq!(
        run.block(0, 0)
            .shared
            .irregular(BUFFER as usize + 1536..BUFFER as usize + 1552),
        unwritten
    );
    assert_eq!(run.kinds(), []);
}

#[test]
fn every_lane_has_groups_of_its_own() {
    let mut machine = Machine::new(&format!("{COPY}\n{COMMIT}\ncp.async.wait_group 1;\n{READ}"));
    let base = machine.upload(&source());
    let mut run = machine.launch(1, 2);
    place(&mut run, base);
    run.execute(FIRST, 0);
    run.execute(FIRST, 1);
    // The upper lanes commit an empty group more, so one group may be under way for them and none of these copies.
    run.active = 0xffff_0000;
    run.execute(FIRST, 1);
    run.active = u32::MAX;
    run.execute(FIRST, 2);
    let shared = &run.block(0, 0).shared;
    assert_eq!(
        shared.irregular(BUFFER as usize..BUFFER as usize + 16),
        Some(ByteState::InFlight)
    );
    assert_eq!(
        shared.irregular(BUFFER as usize + 256..BUFFER as usize + 512),
        None
    );
    run.active = 0xffff_0000;
    run.execute(FIRST, 3);
    assert_eq!(run.kinds(), []);
    run.active = 1;
    run.execute(FIRST, 3);
    assert_eq!(run.kinds(), [Asynchronous]);
}

#[test]
fn zeros_fill_what_is_not_copied() {
    let mut machine = Machine::new(
        "cp.async.ca.shared.global [%r1], [%rd1], 16, %r2;\ncp.async.ca.shared.global.L2::cache_hint [%r3], [%rd1], 8, %p1, %rd9;
cp.async.wait_all;\nld.shared.v4.u32 {%r10, %r11, %r12, %r13}, [%r1];\nld.shared.v2.u32 {%r14, %r15}, [%r3];",
    );
    let base = machine.upload(&source());
    let mut run = machine.launch(1, 1);
    // Lane 31 copies nothing: its source may be anywhere.
    run.set64(
        FIRST,
        1,
        |lane| if lane == 31 { 16 } else { base + 16 * lane },
    );
    run.set32(FIRST, 1, |lane| BUFFER + 16 * lane);
    run.set32(FIRST, 2, |lane| (31 - lane).min(16));
    run.set32(FIRST, 3, |lane| BUFFER + 1024 + 8 * lane);
    run.warp(0, 0).predicates[1] = 0x8000_ff00;
    (0..5).for_each(|line| run.execute(FIRST, line));
    assert_eq!(run.kinds(), []);
    let warp = run.warp(0, 0);
    for lane in 0..32 {
        let copied = |register: usize, first: usize, amount: usize| {
            let bytes: [u8; 4] = std::array::from_fn(|at| {
                if first + at < amount {
                    (16 * lane + first + at) as u8
                } else {
                    0
                }
            });
            assert_eq!(
                warp.narrow[register][lane],
                u32::from_le_bytes(bytes),
                "lane {lane}, register {register}"
            );
        };
        (0..4).for_each(|word| copied(10 + word, 4 * word, 31 - lane));
        (0..2).for_each(|word| {
            copied(
                14 + word,
                4 * word,
                if 0x8000_ff00u32 >> lane & 1 == 1 {
                    0
                } else {
                    8
                },
            )
        });
    }
    run.set32(FIRST, 2, |_| 17);
    assert_eq!(run.stop(FIRST, 0).kind, InvalidOperand);
}

#[test]
fn copies_are_ordered_by_wait_and_barrier() {
    let mut machine = Machine::new(&format!(
        "{COPY}\ncp.async.wait_all;\n{READ}\nst.global.v4.u32 [%rd1], {{%r1, %r1, %r1, %r1}};"
    ));
    for barrier in [true, false] {
        let base = machine.upload(&source());
        let mut run = machine.launch(1, 2);
        place(&mut run, base);
        run.execute(FIRST, 0);
        run.execute(FIRST, 1);
        let expected = if barrier { vec![] } else { vec![Race] };
        if barrier {
            run.synchronise(0);
        }
        // Another warp reads the target, and writes the source.
        run.execute(SECOND, 2);
        assert_eq!(run.kinds(), expected);
        run.execute(SECOND, 3);
        assert_eq!(run.kinds(), expected);
        // Another warp fills the buffer again that the first still reads.
        run.execute(FIRST, 2);
        run.kinds();
        if barrier {
            run.synchronise(0);
        }
        run.set64(SECOND, 1, |lane| base + 512 + 16 * lane);
        run.execute(SECOND, 0);
        assert_eq!(run.kinds(), expected);
    }
}

#[test]
fn waiting_before_the_barrier_is_not_enough_for_later_copies() {
    // Waits for the first group only; the second is read by another warp after a barrier.
    let mut machine = Machine::new(&format!("{COPY}\n{COMMIT}\ncp.async.wait_group 1;\n{READ}"));
    let base = machine.upload(&source());
    let mut run = machine.launch(1, 2);
    place(&mut run, base);
    (0..2).for_each(|line| run.execute(FIRST, line));
    run.set32(FIRST, 1, |lane| BUFFER + 512 + 16 * lane);
    (0..3).for_each(|line| run.execute(FIRST, line));
    run.synchronise(0);
    run.execute(SECOND, 3);
    assert_eq!(run.kinds(), []);
    run.set32(SECOND, 1, |lane| BUFFER + 512 + 16 * lane);
    run.execute(SECOND, 3);
    assert_eq!(run.kinds(), [Asynchronous]);
}

#[test]
fn operands_are_checked() {
    let mut machine = Machine::new(COPY);
    let base = machine.memory.allocate(500).unwrap();
    let mut run = machine.launch(1, 2);
    place(&mut run, base);
    assert_eq!(run.stop(FIRST, 0).kind, OutOfBounds);
    run.active = 1;
    run.execute(FIRST, 0);
    assert_eq!(run.kinds(), [Uninitialised]);
    run.set64(FIRST, 1, |_| base + 8);
    assert_eq!(run.stop(FIRST, 0).kind, Misaligned);
    run.set64(FIRST, 1, |_| base);
    run.set32(FIRST, 1, |_| BUFFER + 8);
    assert_eq!(run.stop(FIRST, 0).kind, Misaligned);
    run.set32(FIRST, 1, |_| 16);
    assert_eq!(run.stop(FIRST, 0).kind, OutOfBounds);
}

#[test]
fn unknown_forms_are_refused() {
    assert!(
        Machine::error("cp.async.cg.shared.global [%r1], [%rd1], 8;").contains("copies of 8 bytes")
    );
}
