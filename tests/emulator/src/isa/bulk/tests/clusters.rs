//! Copies between the blocks of a cluster, and to several of them at once.

use super::*;
use crate::fault::FaultKind::*;
use crate::memory::CLUSTER_STRIDE;

const INSTRUCTIONS: &str = "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%r10], [%rd1, {0, 4}], [%r11], %r12;
cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%r10], [%r13], 64, [%r11];
cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes.add.u32 [%r10], [%r13], 64, [%r11];
barrier.cluster.arrive.aligned;
barrier.cluster.wait.aligned;
ld.shared.v4.u32 {%r20, %r21, %r22, %r23}, [buffer];
st.shared.v4.u32 [buffer+512], {%r1, %r1, %r1, %r1};
fence.proxy.async.shared::cta;";
const MULTICAST: u32 = BULK;
const COPY: u32 = BULK + 1;
const REDUCE: u32 = BULK + 2;
const CLUSTER_ARRIVE: u32 = BULK + 3;
const CLUSTER_WAIT: u32 = BULK + 4;
const READ: u32 = BULK + 5;
const FILL: u32 = BULK + 6;
const FENCE: u32 = BULK + 7;

/// A cluster of two blocks of one warp, each with a live mbarrier; with `barrier` they know of each other's.
fn cluster(machine: &Machine, map: u64, barrier: bool) -> Launched<'_> {
    let mut run = machine.launch_clusters(1, 2, 1);
    run.active = 1;
    for warp in [FIRST, SECOND] {
        run.execute(warp, INIT);
        run.execute(warp, FENCE_INIT);
        run.set32(warp, 1, |_| BOX_BYTES as u32);
        run.set32(warp, 2, |_| 0);
        run.set32(warp, 10, |_| BUFFER);
        run.set32(warp, 11, |_| BUFFER + OBJECT);
        run.set32(warp, 12, |_| 3);
        run.set64(warp, 1, |_| map);
    }
    if barrier {
        run.synchronise_cluster(0, CLUSTER_ARRIVE, CLUSTER_WAIT);
    }
    run
}

fn with_map() -> (Machine, u64, u64) {
    let mut machine = machine(INSTRUCTIONS);
    let tensor = machine.upload(&noise(TENSOR_BYTES, 0));
    let map = upload_map(&mut machine, tensor);
    (machine, tensor, map)
}

#[test]
fn a_multicast_lands_in_every_block_of_the_mask() {
    let (machine, tensor, map) = with_map();
    let mut run = cluster(&machine, map, true);
    run.execute(FIRST, EXPECT);
    run.execute(SECOND, EXPECT);
    run.execute(FIRST, MULTICAST);
    assert!(run.try_land(0).unwrap());
    assert!(
        waited(&mut run, FIRST) && !waited(&mut run, SECOND),
        "each block waits for its own bytes"
    );
    run.land(0);
    assert!(waited(&mut run, SECOND));
    let rows: Vec<u8> = (0..4)
        .flat_map(|row| global(&machine, tensor + 128 * (4 + row), 64))
        .collect();
    for rank in 0..2 {
        assert_eq!(shared(&mut run, rank, 0, BOX_BYTES), rows);
        run.execute((0, rank), READ);
    }
    assert_eq!(
        run.counters.bulk_load_bytes, BOX_BYTES as u64,
        "counted once"
    );
    assert_eq!(run.kinds(), []);
}

#[test]
fn the_mask_may_leave_the_issuer_out() {
    let (machine, _, map) = with_map();
    let mut run = cluster(&machine, map, true);
    run.execute(SECOND, EXPECT);
    run.set32(FIRST, 12, |_| 2);
    run.execute(FIRST, MULTICAST);
    run.land(0);
    assert!(waited(&mut run, SECOND) && !waited(&mut run, FIRST));
    run.execute(SECOND, READ);
    assert_eq!(run.kinds(), []);
    for mask in [0, 4, 0x8001] {
        run.set32(FIRST, 12, |_| mask);
        assert_eq!(run.stop(FIRST, MULTICAST).kind, InvalidOperand);
    }
}

#[test]
fn the_other_blocks_mbarrier_must_be_known() {
    let (machine, _, map) = with_map();
    let mut run = cluster(&machine, map, false);
    run.execute(FIRST, MULTICAST);
    assert_eq!(
        run.kinds(),
        [Race],
        "no cluster barrier after its initialisation"
    );
}

#[test]
fn a_block_that_has_ended_gets_no_copy() {
    let (machine, _, map) = with_map();
    let mut run = cluster(&machine, map, true);
    run.execute(FIRST, MULTICAST);
    run.block(0, 1).live_warps = 0;
    assert!(run.try_land(0).unwrap());
    assert_eq!(
        run.try_land(0).map_err(|fault| fault.kind),
        Err(Asynchronous)
    );
    assert_eq!(run.stop(FIRST, MULTICAST).kind, OutOfBounds);
}

/// Sets up a copy of 64 bytes from the first block to the second.
fn to_the_other(run: &mut Launched<'_>) {
    run.set32(FIRST, 10, |_| 2 * CLUSTER_STRIDE + BUFFER);
    run.set32(FIRST, 11, |_| 2 * CLUSTER_STRIDE + BUFFER + OBJECT);
    run.set32(FIRST, 13, |_| BUFFER + 512);
    run.set32(SECOND, 1, |_| 64);
    run.execute(SECOND, EXPECT);
}

#[test]
fn blocks_copy_to_each_other() {
    let (machine, _, map) = with_map();
    let mut run = cluster(&machine, map, true);
    to_the_other(&mut run);
    put_shared(&mut run, 0, 512, &noise(64, 1));
    run.execute(FIRST, COPY);
    run.execute(SECOND, READ);
    assert_eq!(run.kinds(), [Asynchronous]);
    run.land(0);
    assert!(waited(&mut run, SECOND));
    assert_eq!(shared(&mut run, 1, 0, 64), noise(64, 1));
    run.execute(SECOND, READ);
    assert_eq!(run.kinds(), []);
    assert_eq!(
        run.counters.bulk_load_bytes, 0,
        "nothing came in from global memory"
    );
    run.set32(FIRST, 11, |_| BUFFER + OBJECT);
    assert_eq!(
        run.stop(FIRST, COPY).kind,
        InvalidOperand,
        "the mbarrier of another block than the target"
    );
}

#[test]
fn a_copy_to_another_block_needs_a_proxy_fence_too() {
    let (machine, _, map) = with_map();
    for fence in [true, false] {
        let mut run = cluster(&machine, map, true);
        to_the_other(&mut run);
        put_shared(&mut run, 0, 512, &noise(64, 1));
        run.execute(FIRST, FILL);
        if fence {
            run.execute(FIRST, FENCE);
        }
        run.execute(FIRST, COPY);
        run.land(0);
        assert_eq!(run.kinds(), if fence { vec![] } else { vec![Race] });
    }
}

#[test]
fn blocks_reduce_into_each_other() {
    let (machine, _, map) = with_map();
    let mut run = cluster(&machine, map, true);
    to_the_other(&mut run);
    let words = |first: u32| {
        (first..first + 16)
            .flat_map(u32::to_le_bytes)
            .collect::<Vec<u8>>()
    };
    put_shared(&mut run, 0, 512, &words(100));
    put_shared(&mut run, 1, 0, &words(7));
    run.execute(FIRST, REDUCE);
    run.land(0);
    assert!(waited(&mut run, SECOND));
    let sums: Vec<u8> = (0..16u32)
        .flat_map(|i| (107 + 2 * i).to_le_bytes())
        .collect();
    assert_eq!(shared(&mut run, 1, 0, 64), sums);
    assert_eq!(run.kinds(), []);
}
