use crate::exec::machine::{BUFFER, BUFFER_BYTES, Machine};
use crate::fault::FaultKind::{self, *};
use crate::memory::{LOCAL_WINDOW, PARAMETER_WINDOW, SHARED_WINDOW};

const FIRST: (usize, usize) = (0, 0);
const SECOND: (usize, usize) = (0, 1);
const OTHER_BLOCK: (usize, usize) = (1, 0);

#[test]
fn types_extend_to_the_register() {
    let mut machine = Machine::new(
        "ld.global.u8 %r1, [%rd1+1];\nld.global.s8 %r2, [%rd1+1];\nld.global.nc.s16 %r3, [%rd1+2];\nld.global.L1::no_allocate.L2::128B.s32 %rd2, [%rd1+4];
ld.global.u32 %rd3, [%rd1+4];\nld.global.v2.b64 {%rd4, _}, [%rd1];\nld.global.v4.u16 {%r4, %r5, %r6, %r7}, [%rd1];",
    );
    let data = [
        0x01, 0x82, 0x03, 0x84, 0x05, 0x06, 0x07, 0x88, 9, 10, 11, 12, 13, 14, 15, 16,
    ];
    let base = machine.upload(&data);
    let mut run = machine.launch(1, 1);
    run.set64(FIRST, 1, |_| base);
    (0..7).for_each(|line| run.execute(FIRST, line));
    let warp = run.warp(0, 0);
    assert_eq!(
        [1, 2, 3, 4, 5, 6, 7].map(|r| warp.narrow[r][31]),
        [
            0x82,
            0xffff_ff82,
            0xffff_8403,
            0x8201,
            0x8403,
            0x0605,
            0x8807
        ]
    );
    assert_eq!(
        [2, 3, 4].map(|r| warp.wide[r][0]),
        [0xffff_ffff_8807_0605, 0x8807_0605, 0x8807_0605_8403_8201]
    );
    assert_eq!(run.counters.global_load_requests, 7);
    assert_eq!(run.kinds(), []);
}

#[test]
fn vectors_go_through_every_space() {
    let mut machine = Machine::new(
        "st.global.v4.f32 [%rd1], {%r1, %r2, %r3, 0f3F800000};\nld.global.v4.f32 {%r11, %r12, %r13, %r14}, [%rd1];
st.shared.v2.u64 [%r20+16], {%rd11, %rd12};\nld.shared.v4.u32 {%r15, %r16, %r17, %r18}, [%r20+16];
st.local.u8 [%r21], %r1;\nld.local.s8 %r19, [%r21];
st.v2.u32 [%rd20], {%r1, %r2};\nld.v2.u32 {%r22, %r23}, [%rd20];\nld.param.v2.u8 {%r24, %r25}, [data+6];\nld.u16 %r26, [%rd21];",
    );
    let base = machine.memory.allocate(1 << 10).unwrap();
    let mut run = machine.launch(1, 1);
    for register in 1..4 {
        run.set32(FIRST, register, |lane| 1000 * u32::from(register) + lane);
    }
    run.set64(FIRST, 1, |lane| base + 16 * lane);
    run.set64(FIRST, 11, |lane| lane << 32 | 77);
    run.set64(FIRST, 12, |lane| lane << 40);
    run.set32(FIRST, 20, |lane| BUFFER + 32 * lane);
    run.set32(FIRST, 21, |lane| lane);
    // Generic addresses: some lanes in each space.
    run.set64(FIRST, 20, |lane| match lane % 3 {
        0 => base + 512 + 8 * lane,
        1 => SHARED_WINDOW + u64::from(BUFFER) + 2048 + 8 * lane,
        _ => LOCAL_WINDOW + 40,
    });
    run.set64(FIRST, 21, |lane| PARAMETER_WINDOW + 2 * (lane % 8));
    (0..10).for_each(|line| run.execute(FIRST, line));
    assert_eq!(run.kinds(), []);
    let warp = run.warp(0, 0);
    for lane in 0..32 {
        let expected = |register: usize| warp.narrow[register][lane];
        assert_eq!(
            [11, 12, 13, 14].map(expected),
            [expected(1), expected(2), expected(3), 1f32.to_bits()]
        );
        assert_eq!(
            [15, 16, 17, 18].map(expected),
            [77, lane as u32, 0, (lane as u32) << 8]
        );
        assert_eq!(expected(19) as i32, i32::from((1000 + lane) as i8));
        assert_eq!([22, 23].map(expected), [expected(1), expected(2)]);
        assert_eq!([24, 25].map(expected), [6, 7]);
        assert_eq!(expected(26), 0x0100 + 0x0202 * (lane as u32 % 8));
    }
    // One store and one load of 16 bytes a lane, and the eleven lanes of the generic pair.
    assert_eq!(
        (
            run.counters.global_store_sectors,
            run.counters.global_load_bytes
        ),
        (16 + 8, 512 + 88)
    );
    assert_eq!(
        (run.counters.shared_requests, run.counters.local_bytes),
        (4, 64 + 160)
    );
}

#[test]
fn shared_memory_of_another_block_of_the_cluster() {
    let machine = Machine::new("st.shared.u32 [%r1], %r2;\nld.shared::cluster.u32 %r3, [%r4];");
    let mut run = machine.launch_clusters(1, 2, 1);
    for rank in 0..2 {
        run.set32((0, rank), 1, |lane| BUFFER + 4 * lane);
        run.set32((0, rank), 2, |lane| 100 * rank as u32 + lane);
        run.execute((0, rank), 0);
    }
    run.set32(FIRST, 4, |lane| {
        2 * crate::memory::CLUSTER_STRIDE + BUFFER + 4 * lane
    });
    run.execute(FIRST, 1);
    assert_eq!(run.warp(0, 0).narrow[3][7], 107);
    // No cluster barrier stood between.
    assert_eq!(run.kinds(), [Race]);
    run.set32(FIRST, 4, |_| 3 * crate::memory::CLUSTER_STRIDE + BUFFER);
    assert_eq!(run.stop(FIRST, 1).kind, OutOfBounds);
}

#[test]
fn addresses_outside_say_how_far() {
    let mut machine = Machine::new(
        "ld.global.u32 %r1, [%rd1];\nst.global.v4.u32 [%rd1], {%r1, %r1, %r1, %r1};\nld.shared.u32 %r1, [%r2];\nst.local.u32 [%r2], %r1;\nld.param.u32 %r1, [data+64];",
    );
    let base = machine.upload(&[0; 100]);
    let freed = machine.upload(&[0; 64]);
    machine.memory.free(freed).unwrap();
    let mut run = machine.launch(1, 1);
    run.set64(FIRST, 1, |lane| base + 4 * lane);
    let fault = run.stop(FIRST, 0);
    assert_eq!((fault.kind, fault.thread), (OutOfBounds, [25, 0, 0]));
    assert!(
        fault
            .message
            .contains("4 bytes past the end of the allocation of 100 bytes"),
        "{fault}"
    );
    run.set64(FIRST, 1, |_| freed);
    assert_eq!(run.stop(FIRST, 0).kind, UseAfterFree);
    run.set64(FIRST, 1, |_| 0);
    assert_eq!(run.stop(FIRST, 0).kind, OutOfBounds);
    run.set64(FIRST, 1, |_| base + 8);
    assert_eq!(run.stop(FIRST, 1).kind, Misaligned);
    run.set32(FIRST, 2, |lane| BUFFER + BUFFER_BYTES - 4 * (31 - lane));
    let fault = run.stop(FIRST, 2);
    assert_eq!((fault.kind, fault.thread), (OutOfBounds, [31, 0, 0]));
    run.set32(FIRST, 2, |_| BUFFER + 2);
    assert_eq!(run.stop(FIRST, 2).kind, Misaligned);
    run.set32(FIRST, 2, |_| 68);
    let fault = run.stop(FIRST, 3);
    assert!(
        fault.kind == OutOfBounds && fault.message.contains("8 bytes past"),
        "{fault}"
    );
    assert_eq!(run.stop(FIRST, 4).kind, OutOfBounds);
}

#[test]
fn values_never_written_are_reported_and_the_kernel_goes_on() {
    let mut machine = Machine::new(
        "ld.global.u32 %r1, [%rd1];\nld.shared.u32 %r1, [%r2];\nld.local.u32 %r1, [%r3];\nst.shared.u8 [%r2], %r1;\nst.global.u16 [%rd1], %r1;",
    );
    let base = machine.memory.allocate(64).unwrap();
    let mut run = machine.launch(1, 1);
    run.active = 1;
    run.set64(FIRST, 1, |_| base);
    run.set32(FIRST, 2, |_| BUFFER);
    run.set32(FIRST, 3, |_| 0);
    for line in 0..3 {
        run.execute(FIRST, line);
        assert_eq!(run.kinds(), [Uninitialised], "line {line}");
    }
    assert_eq!(run.warp(0, 0).narrow[1][0], u32::MAX);
    // Part of a word is not the word.
    for (store, load) in [(3, 1), (4, 0)] {
        run.execute(FIRST, store);
        run.execute(FIRST, load);
        assert_eq!(run.kinds(), [Uninitialised]);
    }
}

/// The faults of two warps of a block: the first executes line 0, the second line 1, with a barrier between or without.
fn hand_over(code: &str, second_offset: u32, barrier: bool) -> Vec<FaultKind> {
    let mut machine = Machine::new(code);
    let base = machine.upload(&[0; 1024]);
    let mut run = machine.launch(1, 2);
    run.block(0, 0)
        .shared
        .write(BUFFER as usize, &[0; BUFFER_BYTES as usize]);
    for (warp, offset) in [(FIRST, 0), (SECOND, second_offset)] {
        run.set64(warp, 1, |lane| base + u64::from(offset) + 8 * lane);
        run.set32(warp, 2, |lane| BUFFER + offset + 8 * lane);
        run.set32(warp, 3, |_| 5);
    }
    run.execute(FIRST, 0);
    if barrier {
        run.synchronise(0);
    }
    run.execute(SECOND, 1);
    run.kinds()
}

#[test]
fn warps_race_without_a_barrier() {
    for (name, address) in [("global", "[%rd1]"), ("shared", "[%r2]")] {
        let store = format!("st.{name}.u32 {address}, %r3;");
        let load = format!("ld.{name}.u32 %r4, {address};");
        for (first, second) in [(&store, &load), (&load, &store), (&store, &store)] {
            let code = format!("{first}\n{second}");
            assert_eq!(hand_over(&code, 0, false), [Race], "{code}");
            assert_eq!(hand_over(&code, 0, true), [], "{code}");
            // The other half of each eight bytes.
            assert_eq!(hand_over(&code, 4, false), [], "{code}");
        }
        assert_eq!(hand_over(&format!("{load}\n{load}"), 0, false), []);
    }
}

#[test]
fn neighbours_within_a_word_do_not_race() {
    for (name, address) in [("global", "[%rd1]"), ("shared", "[%r2]")] {
        let code = format!("st.{name}.u16 {address}, %r3;\nst.{name}.u16 {address}, %r3;");
        assert_eq!(hand_over(&code, 2, false), [], "{code}");
        assert_eq!(hand_over(&code, 0, false), [Race], "{code}");
    }
}

#[test]
fn volatile_accesses_race_with_plain_ones_only() {
    let strong = [
        "st.volatile.global.u32 [%rd1], %r3;",
        "ld.relaxed.gpu.global.u32 %r4, [%rd1];",
    ];
    let plain = ["st.global.u32 [%rd1], %r3;", "ld.global.u32 %r4, [%rd1];"];
    assert_eq!(hand_over(&strong.join("\n"), 0, false), []);
    assert_eq!(hand_over(&[strong[0], strong[0]].join("\n"), 0, false), []);
    assert_eq!(
        hand_over(&[strong[0], plain[1]].join("\n"), 0, false),
        [Race]
    );
    assert_eq!(
        hand_over(&[plain[0], strong[1]].join("\n"), 0, false),
        [Race]
    );
    assert_eq!(
        hand_over(&[strong[1], plain[0]].join("\n"), 0, false),
        [Race]
    );
    assert_eq!(
        hand_over(&[plain[1], strong[0]].join("\n"), 0, false),
        [Race]
    );
    assert_eq!(hand_over(&[strong[0], plain[1]].join("\n"), 0, true), []);
}

#[test]
fn lanes_of_one_warp_race_without_syncwarp() {
    for (name, address) in [("global", "[%rd1]"), ("shared", "[%r2]")] {
        let code = format!(
            "st.{name}.u32 {address}, %r3;\nld.{name}.u32 %r4, {address};\nbar.warp.sync -1;\nst.{name}.u32 {address}, %r3;"
        );
        for (with_sync, kinds) in [(false, vec![Race, Race]), (true, vec![])] {
            let mut machine = Machine::new(&code);
            let base = machine.upload(&[0; 1024]);
            let mut run = machine.launch(1, 1);
            let address = |run: &mut crate::exec::machine::Launched<'_>, turn: u32| {
                run.set64(FIRST, 1, |lane| {
                    base + 4 * u64::from((lane as u32 + turn) % 32)
                });
                run.set32(FIRST, 2, |lane| BUFFER + 4 * ((lane + turn) % 32));
            };
            run.set32(FIRST, 3, |lane| lane);
            address(&mut run, 0);
            run.execute(FIRST, 0);
            // A lane may read what it wrote itself.
            run.execute(FIRST, 1);
            assert_eq!(run.kinds(), []);
            let mut found = Vec::new();
            for line in [1, 3] {
                if with_sync {
                    run.execute(FIRST, 2);
                }
                address(&mut run, line);
                run.execute(FIRST, line);
                found.extend(run.kinds());
            }
            assert_eq!(found, kinds, "{name}");
        }
    }
}

#[test]
fn lanes_may_write_one_address_with_one_value() {
    let mut machine = Machine::new(
        "st.global.u32 [%rd1], %r1;\nst.shared.u32 [%r2], %r1;\nst.volatile.global.u32 [%rd1], %r1;",
    );
    let base = machine.upload(&[0; 128]);
    let mut run = machine.launch(1, 1);
    run.set64(FIRST, 1, |lane| base + 4 * (lane / 2));
    run.set32(FIRST, 2, |lane| BUFFER + 4 * (lane / 2));
    run.set32(FIRST, 1, |lane| lane / 2);
    run.execute(FIRST, 0);
    run.execute(FIRST, 1);
    assert_eq!(run.kinds(), []);
    run.set32(FIRST, 1, |lane| lane / 2 + u32::from(lane == 8));
    for line in [0, 1] {
        run.execute(FIRST, line);
        let faults = run.faults();
        assert_eq!(faults.len(), 1);
        assert!(
            faults[0].kind == Race
                && faults[0]
                    .message
                    .contains("lanes 8 and 9 write different values"),
            "{}",
            faults[0]
        );
    }
    run.synchronise(0);
    run.execute(FIRST, 2);
    assert_eq!(run.kinds(), []);
}

/// Block 0 writes data, then a flag; block 1 reads the flag, then the data.
fn flag(between_stores: &str, store: &str, load: &str, between_loads: &str) -> Vec<FaultKind> {
    let code = format!(
        "st.global.u32 [%rd1], %r1;\n{between_stores}\n{store} [%rd2], %r1;\n{load} %r2, [%rd2];\n{between_loads}\nld.global.u32 %r3, [%rd1];"
    );
    let mut machine = Machine::new(&code);
    let base = machine.upload(&[0; 256]);
    let mut run = machine.launch(2, 1);
    for warp in [FIRST, OTHER_BLOCK] {
        run.set64(warp, 1, |lane| base + 4 * lane);
        run.set64(warp, 2, |_| base + 128);
        run.set32(warp, 1, |_| 1);
    }
    (0..3).for_each(|line| run.execute(FIRST, line));
    (3..6).for_each(|line| run.execute(OTHER_BLOCK, line));
    assert_eq!(run.warp(1, 0).narrow[3], [1; 32]);
    run.kinds()
}

#[test]
fn flags_order_data_between_blocks() {
    let (store, load) = ("st.volatile.global.u32", "ld.volatile.global.u32");
    let (none, fence) = ("membar.cta;", "membar.gl;");
    assert_eq!(flag(fence, store, load, fence), []);
    assert_eq!(flag(none, store, load, fence), [Race]);
    assert_eq!(flag("bar.warp.sync -1;", store, load, fence), [Race]);
    assert_eq!(flag(fence, store, load, "bar.warp.sync -1;"), [Race]);
    let sync = "bar.warp.sync -1;";
    assert_eq!(
        flag(
            sync,
            "st.release.gpu.global.u32",
            "ld.acquire.gpu.global.u32",
            sync
        ),
        []
    );
    assert_eq!(
        flag(
            sync,
            "st.release.cta.global.u32",
            "ld.acquire.gpu.global.u32",
            sync
        ),
        [Race]
    );
    assert_eq!(
        flag(
            sync,
            "st.release.gpu.global.u32",
            "ld.acquire.cta.global.u32",
            sync
        ),
        [Race]
    );
    assert_eq!(
        flag(
            sync,
            "st.relaxed.gpu.global.u32",
            "ld.acquire.gpu.global.u32",
            sync
        ),
        [Race]
    );
    // A plain flag is a race of its own.
    assert_eq!(
        flag(fence, "st.global.u32", "ld.global.u32", fence),
        [Race, Race]
    );
}

#[test]
fn unknown_forms_are_refused() {
    assert!(Machine::error("ld.global.b128 %rd1, [%rd2];").contains("ld.global.b128"));
    assert!(
        Machine::error("ld.global.v2.u32 %r1, [%rd2];")
            .contains("a vector of 1 where 2 are expected")
    );
    assert!(
        Machine::error(
            "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.u32 [%r1], %r2, [%r3];"
        )
        .contains("does not know")
    );
}

#[test]
fn hints_to_the_caches_touch_no_memory() {
    let machine = Machine::new(
        "prefetch.global.L2 [%rd1];\napplypriority.global.L2::evict_normal [%rd1], 128;
createpolicy.fractional.L2::evict_first.b64 %rd2, 0f3F800000;",
    );
    let mut run = machine.launch(1, 1);
    run.set64(FIRST, 1, |_| 3);
    (0..3).for_each(|line| run.execute(FIRST, line));
    assert_eq!(run.kinds(), []);
    assert_eq!(run.warp(0, 0).wide[1], [3; 32]);
    assert_eq!(run.counters, crate::counters::Counters::default());
}
