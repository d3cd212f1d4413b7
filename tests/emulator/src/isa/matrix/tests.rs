use crate::exec::machine::{BUFFER, Machine};
use crate::fault::FaultKind::*;

const WARP: (usize, usize) = (0, 0);

/// Element of a matrix in shared memory, different for each.
fn value(matrix: usize, row: usize, column: usize) -> u16 {
    (matrix * 64 + row * 8 + column) as u16
}

/// Address of a row: the matrices lie behind each other, rows dense.
fn dense(lane: u32) -> u32 {
    BUFFER + 16 * lane
}

fn fill(run: &mut crate::exec::machine::Launched<'_>) {
    let bytes: Vec<u8> = (0..256u16).flat_map(u16::to_le_bytes).collect();
    run.block(0, 0).shared.write(BUFFER as usize, &bytes);
}

#[test]
fn fragments_are_laid_out_as_documented() {
    let machine = Machine::new(
        "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r1, %r2, %r3, %r4}, [%r10];
ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%r5, %r6, %r7, %r8}, [%r10];
ldmatrix.sync.aligned.m8n8.x1.shared::cta.b16 {%r9}, [%r10+128];
movmatrix.sync.aligned.m8n8.trans.b16 %r11, %r1;",
    );
    let mut run = machine.launch(1, 1);
    fill(&mut run);
    run.set32(WARP, 10, dense);
    (0..4).for_each(|line| run.execute(WARP, line));
    assert_eq!(run.kinds(), []);
    let pair = |low: u16, high: u16| u32::from(low) | u32::from(high) << 16;
    let warp = run.warp(0, 0);
    for lane in 0..32 {
        let (row, column) = (lane / 4, lane % 4 * 2);
        for matrix in 0..4 {
            let plain = pair(value(matrix, row, column), value(matrix, row, column + 1));
            let transposed = pair(value(matrix, column, row), value(matrix, column + 1, row));
            assert_eq!(warp.narrow[1 + matrix][lane], plain);
            assert_eq!(warp.narrow[5 + matrix][lane], transposed);
        }
        assert_eq!(warp.narrow[9][lane], warp.narrow[2][lane]);
        assert_eq!(warp.narrow[11][lane], warp.narrow[5][lane]);
    }
    assert_eq!(
        (
            run.counters.matrices_moved,
            run.counters.shared_requests,
            run.counters.shared_waves
        ),
        (9, 9, 9)
    );
}

#[test]
fn stored_matrices_come_back() {
    let machine = Machine::new(
        "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%r1, %r2, %r3, %r4}, [%r10];
stmatrix.sync.aligned.m8n8.x4.shared.b16 [%r10+512], {%r1, %r2, %r3, %r4};
stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%r10+1024], {%r1, %r2};",
    );
    let mut run = machine.launch(1, 1);
    fill(&mut run);
    run.set32(WARP, 10, dense);
    (0..3).for_each(|line| run.execute(WARP, line));
    assert_eq!(run.kinds(), []);
    let shared = &run.block(0, 0).shared;
    let read = |at: usize| u16::from_le_bytes(shared.bytes(at..at + 2).try_into().unwrap());
    for (matrix, row, column) in (0..256).map(|at| (at / 64, at / 8 % 8, at % 8)) {
        let at = BUFFER as usize + 2 * usize::from(value(matrix, row, column));
        assert_eq!(read(at + 512), value(matrix, column, row));
        if matrix < 2 {
            assert_eq!(read(at + 1024), value(matrix, row, column));
        }
    }
    assert_eq!(
        shared.irregular(BUFFER as usize + 1280..BUFFER as usize + 1282),
        Some(crate::memory::ByteState::Unwritten)
    );
}

#[test]
fn rows_in_one_bank_group_take_a_wave_each() {
    let machine = Machine::new("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r1, %r2}, [%r10];");
    let mut run = machine.launch(1, 1);
    run.block(0, 0).shared.write(BUFFER as usize, &[0; 2048]);
    run.set32(WARP, 10, |lane| BUFFER + 128 * (lane % 16));
    run.execute(WARP, 0);
    assert_eq!(
        (run.counters.shared_waves, run.counters.shared_ideal_waves),
        (16, 2)
    );
    // Rows of 72 elements: neighbouring rows are four banks apart.
    run.set32(WARP, 10, |lane| BUFFER + 144 * (lane % 8));
    run.execute(WARP, 0);
    assert_eq!(
        (run.counters.shared_waves, run.counters.shared_ideal_waves),
        (18, 4)
    );
}

#[test]
fn rows_are_checked() {
    let machine = Machine::new(
        "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r1}, [%r10];\nstmatrix.sync.aligned.m8n8.x1.shared.b16 [%r10], {%r1};",
    );
    let mut run = machine.launch(1, 2);
    run.set32(WARP, 10, dense);
    run.execute(WARP, 0);
    assert_eq!(run.kinds(), [Uninitialised]);
    fill(&mut run);
    // Only the lanes that name rows matter.
    run.set32(WARP, 10, |lane| if lane < 8 { dense(lane) } else { 3 });
    run.execute(WARP, 0);
    assert_eq!(run.kinds(), []);
    run.set32(WARP, 10, |lane| dense(lane) + 8);
    assert_eq!(run.stop(WARP, 0).kind, Misaligned);
    run.set32(WARP, 10, |_| BUFFER - 16);
    assert_eq!(run.stop(WARP, 1).kind, OutOfBounds);
    // A store over what another warp reads.
    run.set32((0, 1), 10, dense);
    run.execute((0, 1), 1);
    assert_eq!(run.kinds(), [Race]);
    run.synchronise(0);
    run.set32(WARP, 1, |lane| lane / 4);
    run.set32(WARP, 10, |lane| dense(lane / 2));
    run.execute(WARP, 1);
    let faults = run.faults();
    assert!(
        faults.len() == 1
            && faults[0]
                .message
                .contains("lanes 0 and 1 write different values"),
        "{faults:?}"
    );
}

#[test]
fn other_shapes_are_refused() {
    assert!(
        Machine::error("ldmatrix.sync.aligned.m16n16.x1.trans.shared.b8 {%r1, %r2}, [%r3];")
            .contains("m16n16")
    );
    assert!(
        Machine::error("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r1, %r2}, [%r3];")
            .contains("2 registers for 4 matrices")
    );
}
