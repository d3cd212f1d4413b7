//! Plain bulk copies and reductions.

use super::*;
use crate::exec::machine::BUFFER_BYTES;
use crate::fault::FaultKind::*;

#[test]
fn bytes_come_in_and_go_out() {
    let mut machine = machine(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r10], [%rd1], %r1, [buffer+4080];
cp.async.bulk.global.shared::cta.bulk_group [%rd2], [%r10], %r1;
cp.async.bulk.commit_group;
cp.async.bulk.wait_group 0;
cp.async.bulk.prefetch.L2.global [%rd1], %r1;
cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%r10], [%rd1], %r1, [buffer+4080], %rd3;",
    );
    let data = noise(512, 1);
    let source = machine.upload(&data);
    let target = machine.memory.allocate(512).unwrap();
    let mut run = start(&machine, 1);
    run.set32(FIRST, 1, |_| 208);
    run.set32(FIRST, 2, |_| 0);
    run.set32(FIRST, 10, |_| BUFFER + 16);
    run.set64(FIRST, 1, |_| source + 32);
    run.set64(FIRST, 2, |_| target + 16);
    run.execute(FIRST, EXPECT);
    run.execute(FIRST, BULK);
    run.land(0);
    assert!(waited(&mut run, FIRST));
    assert_eq!(shared(&mut run, 0, 16, 208), data[32..240]);
    // What a copy brought in, a copy may take out without a proxy fence.
    (BULK + 1..BULK + 5).for_each(|line| run.execute(FIRST, line));
    assert_eq!(global(&machine, target + 16, 208), data[32..240]);
    assert_eq!(
        (run.counters.bulk_load_bytes, run.counters.bulk_store_bytes),
        (208, 208)
    );
    run.execute(FIRST, EXPECT);
    run.execute(FIRST, BULK + 5);
    assert_eq!(run.kinds(), []);
}

#[test]
fn reductions_in_global_memory() {
    let mut machine = machine(
        "cp.reduce.async.bulk.global.shared::cta.bulk_group.max.s32 [%rd1], [buffer], 16;
cp.reduce.async.bulk.global.shared::cta.bulk_group.add.noftz.f16 [%rd1+16], [buffer+16], 16;
cp.reduce.async.bulk.global.shared::cta.bulk_group.L2::cache_hint.xor.b64 [%rd1+32], [buffer+32], 16, %rd2;
cp.async.bulk.commit_group;
cp.async.bulk.wait_group.read 0;",
    );
    let words = |values: [i32; 4]| values.map(i32::to_le_bytes).concat();
    let mut old = words([-5, 5, 0, 7]);
    old.extend([0x00, 0x3c].repeat(8));
    old.extend(0x1234_5678_9abc_def0_u64.to_le_bytes().repeat(2));
    let target = machine.upload(&old);
    let mut run = start(&machine, 1);
    let mut new = words([-4, 4, -1, 8]);
    new.extend([0x00, 0x40].repeat(8));
    new.extend(u64::MAX.to_le_bytes().repeat(2));
    put_shared(&mut run, 0, 0, &new);
    run.set64(FIRST, 1, |_| target);
    (BULK..BULK + 5).for_each(|line| run.execute(FIRST, line));
    assert_eq!(
        global(&machine, target, 48),
        old,
        "nobody has waited for more than the reads"
    );
    run.land(0);
    let mut expected = words([-4, 5, 0, 8]);
    expected.extend([0x00, 0x42].repeat(8));
    expected.extend((!0x1234_5678_9abc_def0_u64).to_le_bytes().repeat(2));
    assert_eq!(global(&machine, target, 48), expected);
    assert_eq!(run.kinds(), []);
}

#[test]
fn reductions_of_several_blocks_do_not_race_but_a_plain_store_does() {
    let mut machine = machine(
        "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u32 [%rd1], [buffer], 16;
cp.async.bulk.global.shared::cta.bulk_group [%rd1], [buffer], 16;",
    );
    let target = machine.upload(&[0; 16]);
    let mut run = machine.launch(2, 1);
    run.active = 1;
    for cluster in 0..2 {
        run.block(cluster, 0)
            .shared
            .write(BUFFER as usize, &[1; 16]);
        run.set64((cluster, 0), 1, |_| target);
        run.execute((cluster, 0), BULK);
        run.land(cluster);
    }
    assert_eq!(run.kinds(), []);
    assert_eq!(global(&machine, target, 16), [2; 16]);
    run.execute((1, 0), BULK + 1);
    run.land(1);
    assert_eq!(run.kinds(), [Race]);
}

#[test]
fn sizes_and_addresses_are_checked() {
    let mut machine = machine(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r10], [%rd1], %r1, [%r11];
cp.async.bulk.global.shared::cta.bulk_group [%rd1], [%r10], %r1;",
    );
    let memory = machine.upload(&[7; 64]);
    let freed = machine.upload(&[7; 64]);
    machine.memory.free(freed).unwrap();
    let issue = |line: u32, bytes: u32, address: u64, shared: u32| {
        let mut run = start(&machine, 1);
        put_shared(&mut run, 0, 0, &[1; 256]);
        run.set32(FIRST, 1, |_| bytes);
        run.set32(FIRST, 10, |_| shared);
        run.set32(FIRST, 11, |_| BUFFER + OBJECT);
        run.set64(FIRST, 1, |_| address);
        let fault = run
            .try_execute(FIRST, line)
            .err()
            .or_else(|| run.try_land(0).err());
        fault.map(|fault| fault.kind)
    };
    for line in [BULK, BULK + 1] {
        assert_eq!(issue(line, 64, memory, BUFFER), None);
        assert_eq!(issue(line, 40, memory, BUFFER), Some(InvalidOperand));
        assert_eq!(issue(line, 16, memory + 8, BUFFER), Some(Misaligned));
        assert_eq!(issue(line, 16, memory, BUFFER + 8), Some(Misaligned));
        assert_eq!(issue(line, 80, memory, BUFFER), Some(OutOfBounds));
        assert_eq!(issue(line, 16, freed, BUFFER), Some(UseAfterFree));
        assert_eq!(
            issue(line, 32, memory, BUFFER + BUFFER_BYTES - 16),
            Some(OutOfBounds)
        );
        assert_eq!(issue(line, 16, memory, 512), Some(OutOfBounds));
    }
}
