//! Operands and objects that copies must not have.

use super::*;
use crate::fault::FaultKind::*;

const INSTRUCTIONS: &str = "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r10], [%rd1, {%r20, %r21}], [%r11];
cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%rd1, {%r20, %r21}], [%r10];
cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%r10], [%rd1, {0, 0, 0}], [%r11];
cp.reduce.async.bulk.tensor.2d.global.shared::cta.inc.bulk_group [%rd1, {%r20, %r21}], [%r10];
mbarrier.inval.shared.b64 [buffer+4080];";
const LOAD: u32 = BULK;
const STORE: u32 = BULK + 1;
const LOAD_3D: u32 = BULK + 2;
const REDUCE: u32 = BULK + 3;
const INVAL: u32 = BULK + 4;

/// A machine with a tensor and its map.
fn with_map() -> (Machine, u64, u64) {
    let mut machine = machine(INSTRUCTIONS);
    let tensor = machine.upload(&noise(TENSOR_BYTES, 0));
    let map = upload_map(&mut machine, tensor);
    (machine, tensor, map)
}

fn prepared(machine: &Machine, map: u64) -> Launched<'_> {
    let mut run = start(machine, 1);
    put_shared(&mut run, 0, 0, &noise(BOX_BYTES, 9));
    run.set64(FIRST, 1, |_| map);
    run.set32(FIRST, 1, |_| BOX_BYTES as u32);
    run.set32(FIRST, 2, |_| 0);
    run.set32(FIRST, 10, |_| BUFFER);
    run.set32(FIRST, 11, |_| BUFFER + OBJECT);
    run.set32(FIRST, 20, |_| 0);
    run.set32(FIRST, 21, |_| 0);
    run
}

#[test]
fn a_tensor_map_must_be_one() {
    let (mut machine, tensor, map) = with_map();
    let short = machine.upload(&[0; 64]);
    let mut run = prepared(&machine, tensor);
    let stop = run.stop(FIRST, LOAD);
    assert!(
        stop.kind == InvalidOperand && stop.message.contains("cuTensorMapEncodeTiled"),
        "{stop}"
    );
    let mut wrong = |map: u64| {
        run.set64(FIRST, 1, |_| map);
        run.stop(FIRST, LOAD).kind
    };
    assert_eq!(wrong(map + 16), Misaligned);
    assert_eq!(wrong(short), OutOfBounds);
    assert_eq!(wrong(crate::memory::SHARED_WINDOW + 1024), InvalidOperand);
    assert_eq!(
        wrong(crate::memory::PARAMETER_WINDOW),
        OutOfBounds,
        "64 bytes of parameters are no map"
    );
    let stop = prepared(&machine, map).stop(FIRST, LOAD_3D);
    assert!(
        stop.message
            .contains("3 coordinates for a tensor map of rank 2"),
        "{stop}"
    );
    assert_eq!(
        prepared(&machine, map).stop(FIRST, REDUCE).kind,
        InvalidOperand
    );
}

#[test]
fn boxes_begin_at_multiples_of_128_bytes() {
    let (machine, _, map) = with_map();
    for line in [LOAD, STORE] {
        let mut run = prepared(&machine, map);
        run.set32(FIRST, 10, |_| BUFFER + 64);
        assert_eq!(run.stop(FIRST, line).kind, Misaligned);
    }
}

#[test]
fn rows_inside_the_tensor_must_be_inside_its_memory() {
    let mut machine = machine(INSTRUCTIONS);
    let tensor = machine.upload(&noise(TENSOR_BYTES - 128, 0));
    let map = upload_map(&mut machine, tensor);
    for (line, row, expected) in [
        (LOAD, 0, None),
        (LOAD, 4, Some(OutOfBounds)),
        (STORE, 4, Some(OutOfBounds)),
    ] {
        let mut run = prepared(&machine, map);
        run.set32(FIRST, 21, |_| row);
        run.execute(FIRST, line);
        assert_eq!(run.try_land(0).err().map(|fault| fault.kind), expected);
    }
}

#[test]
fn values_never_written_are_reported() {
    let mut machine = machine(INSTRUCTIONS);
    let tensor = machine.memory.allocate(TENSOR_BYTES as u64).unwrap();
    let map = upload_map(&mut machine, tensor);
    let mut run = prepared(&machine, map);
    run.execute(FIRST, LOAD);
    run.land(0);
    assert_eq!(run.kinds(), [Uninitialised]);
    let mut run = start(&machine, 1);
    put_shared(&mut run, 0, 0, &noise(BOX_BYTES / 2, 9));
    run.set64(FIRST, 1, |_| map);
    run.set32(FIRST, 10, |_| BUFFER);
    // The lower half of the box is outside the tensor: that it was never written does not matter.
    run.set32(FIRST, 21, |_| 6);
    run.execute(FIRST, STORE);
    run.land(0);
    assert_eq!(run.kinds(), []);
    run.set32(FIRST, 21, |_| 5);
    run.execute(FIRST, STORE);
    run.land(0);
    assert_eq!(run.kinds(), [Uninitialised, Race]);
}

#[test]
fn a_store_of_what_is_still_coming_in_is_reported() {
    let (machine, _, map) = with_map();
    let mut run = prepared(&machine, map);
    run.execute(FIRST, EXPECT);
    run.execute(FIRST, LOAD);
    run.execute(FIRST, STORE);
    run.step(FIRST, STORE, |step| step.cluster.pending.swap(0, 1));
    run.land(0);
    assert!(run.kinds().contains(&Asynchronous));
}

#[test]
fn copies_and_mbarriers_do_not_overlap() {
    let (machine, _, map) = with_map();
    let mut run = prepared(&machine, map);
    run.set32(FIRST, 10, |_| BUFFER + 3840);
    run.execute(FIRST, LOAD);
    let faults = run.faults();
    assert!(
        faults[0].kind == Barrier && faults[0].message.contains("belong to an mbarrier"),
        "{}",
        faults[0]
    );
}

#[test]
fn the_mbarrier_must_live_until_the_copy_lands() {
    let (machine, _, map) = with_map();
    let mut run = prepared(&machine, map);
    run.set32(FIRST, 11, |_| BUFFER + 2048);
    assert_eq!(run.stop(FIRST, LOAD).kind, Barrier);
    run.set32(FIRST, 11, |_| BUFFER + OBJECT);
    run.execute(FIRST, LOAD);
    run.execute(FIRST, INVAL);
    assert_eq!(run.try_land(0).map_err(|fault| fault.kind), Err(Barrier));
}

#[test]
fn more_bytes_than_can_be_counted_are_a_fault() {
    let (machine, _, map) = with_map();
    let mut run = prepared(&machine, map);
    // Nobody expects them: 4096 boxes of 256 bytes are one more than an mbarrier can be short of.
    for _ in 0..4095 {
        run.execute(FIRST, LOAD);
        run.land(0);
    }
    run.execute(FIRST, LOAD);
    assert_eq!(run.try_land(0).map_err(|fault| fault.kind), Err(Barrier));
}

#[test]
fn unknown_forms_are_refused() {
    let cases = [
        (
            "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%r1], [%rd1, {%r2, %r3, %r4, %r5}], [%r6], {%r7, %r8};",
            "load modes",
        ),
        (
            "cp.async.bulk.tensor.2d.shared::cluster.global.tile::gather4.mbarrier::complete_tx::bytes [%r1], [%rd1, {%r2, %r3}], [%r6];",
            "load modes",
        ),
        (
            "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.cta_group::2 [%r1], [%rd1, {%r2, %r3}], [%r6];",
            "cta_group::2",
        ),
        (
            "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd1, {%r2}], [%r6];",
            "1 coordinates for .2d",
        ),
        (
            "cp.async.bulk.global.shared::cta.bulk_group.cp_mask [%rd1], [%r1], %r2, %r3;",
            "cp_mask",
        ),
        (
            "cp.async.bulk.global.shared::cta [%rd1], [%r1], %r2;",
            "tracked by groups",
        ),
        (
            "cp.async.bulk.shared::cluster.global [%r1], [%rd1], %r2;",
            "completes on an mbarrier",
        ),
        (
            "cp.reduce.async.bulk.global.shared::cta.bulk_group.min.f32 [%rd1], [%r1], %r2;",
            "no bulk reduction .min of .f32",
        ),
        (
            "cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes.add.f32 [%r1], [%r2], 16, [%r3];",
            "no bulk reduction .add of .f32",
        ),
        (
            "cp.reduce.async.bulk.global.shared::cta.bulk_group.u32 [%rd1], [%r1], %r2;",
            "reduction is missing",
        ),
        (
            "tensormap.replace.tile.global_address.shared::cta.b1024.b64 [%rd1], %rd2;",
            "tensormap",
        ),
    ];
    for (instruction, reason) in cases {
        let error = Machine::error(instruction);
        assert!(error.contains(reason), "{error}");
    }
}
