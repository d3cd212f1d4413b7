//! A whole kernel: a producer warp loads tiles of a tensor into a ring of two stages, a consumer warp stores them again.
//! As it is, it is right under every schedule; without any one of its waits, fences and arrivals, it is found out.

use std::collections::HashMap;

use super::noise;
use crate::exec::{Dimensions, Limits, Options, Report, launch};
use crate::isa::decode;
use crate::memory::GlobalMemory;
use crate::ptx::Module;
use crate::tensor_map::{TensorMap, Tiled};

const TILES: usize = 5;
/// Bytes of a row of the tensor and of a tile.
const ROW_BYTES: usize = 64;
/// The tensor ends within the last tile.
const ROWS: usize = 4 * TILES - 1;
const TENSOR_BYTES: usize = ROW_BYTES * ROWS;

const KERNEL: &str = "
.version 8.7
.target sm_90a
.address_size 64
.visible .entry pipeline(.param .align 64 .b8 source[128], .param .align 64 .b8 target[128]) {
.reg .pred %first, %consumer, %done, %more;
.reg .b32 %thread, %tile, %stage, %turn, %parity, %empty, %full, %room, %row, %place, %at, %a, %b;
.reg .b64 %source, %target;
.shared .align 128 .b8 stages[512];
.shared .align 128 .b8 staging[256];
.shared .align 8 .b8 full[16];
.shared .align 8 .b8 empty[16];
mov.b64 %source, source;
mov.b64 %target, target;
mov.u32 %thread, %tid.x;
and.b32 %at, %thread, 31;
setp.eq.u32 %first, %at, 0;
setp.ge.u32 %consumer, %thread, 32;
shl.b32 %at, %at, 3;
@%consumer bra READY;
@!%first bra READY;
mbarrier.init.shared.b64 [full], 1;
mbarrier.init.shared.b64 [full+8], 1;
mbarrier.init.shared.b64 [empty], 1;
mbarrier.init.shared.b64 [empty+8], 1;
fence.mbarrier_init.release.cluster;
READY:
bar.sync 0;
mov.u32 %tile, 0;
NEXT:
and.b32 %stage, %tile, 1;
shr.u32 %turn, %tile, 1;
shl.b32 %place, %stage, 3;
mov.u32 %empty, empty;
add.u32 %empty, %empty, %place;
mov.u32 %full, full;
add.u32 %full, %full, %place;
shl.b32 %place, %stage, 8;
mov.u32 %room, stages;
add.u32 %room, %room, %place;
shl.b32 %row, %tile, 2;
@%consumer bra CONSUME;
@!%first bra END;
xor.b32 %parity, %turn, 1;
and.b32 %parity, %parity, 1;
WAIT_EMPTY:
mbarrier.try_wait.parity.shared.b64 %done, [%empty], %parity;
@!%done bra WAIT_EMPTY;
mbarrier.arrive.expect_tx.shared.b64 _, [%full], 256;
cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%room], [%source, {0, %row}], [%full];
bra ADVANCE;
CONSUME:
and.b32 %parity, %turn, 1;
WAIT_FULL:
mbarrier.try_wait.parity.shared.b64 %done, [%full], %parity;
@!%done bra WAIT_FULL;
add.u32 %place, %room, %at;
ld.shared.v2.u32 {%a, %b}, [%place];
bar.warp.sync -1;
@%first mbarrier.arrive.shared.b64 _, [%empty];
mov.u32 %place, staging;
add.u32 %place, %place, %at;
st.shared.v2.u32 [%place], {%a, %b};
fence.proxy.async.shared::cta;
bar.warp.sync -1;
@%first cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%target, {0, %row}], [staging];
@%first cp.async.bulk.commit_group;
@%first cp.async.bulk.wait_group.read 0;
bar.warp.sync -1;
ADVANCE:
add.u32 %tile, %tile, 1;
setp.lt.u32 %more, %tile, 5;
@%more bra NEXT;
END:
ret;
}
";

/// What the kernel must not lose: lines, or loops around one.
const NEEDED: [&str; 14] = [
    "mbarrier.init.shared.b64 [full], 1;\n",
    "mbarrier.init.shared.b64 [full+8], 1;\n",
    "mbarrier.init.shared.b64 [empty], 1;\n",
    "mbarrier.init.shared.b64 [empty+8], 1;\n",
    "fence.mbarrier_init.release.cluster;\n",
    "bar.sync 0;\n",
    "mbarrier.try_wait.parity.shared.b64 %done, [%empty], %parity;\n@!%done bra WAIT_EMPTY;\n",
    "mbarrier.arrive.expect_tx.shared.b64 _, [%full], 256;\n",
    "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes \
     [%room], [%source, {0, %row}], [%full];\n",
    "mbarrier.try_wait.parity.shared.b64 %done, [%full], %parity;\n@!%done bra WAIT_FULL;\n",
    "@%first mbarrier.arrive.shared.b64 _, [%empty];\n",
    "fence.proxy.async.shared::cta;\n",
    "@%first cp.async.bulk.commit_group;\n",
    "@%first cp.async.bulk.wait_group.read 0;\n",
];

fn map(address: u64) -> [u8; 128] {
    let tiled = Tiled {
        data_type: 6,
        address,
        dimensions: &[ROW_BYTES as u64 / 2, ROWS as u64],
        strides: &[ROW_BYTES as u64],
        box_sizes: &[ROW_BYTES as u32 / 2, 4],
        element_strides: &[1, 1],
        interleave: 0,
        swizzle: 0,
        promotion: 0,
        fill: 0,
    };
    TensorMap::encode(&tiled)
        .expect("the map is legal")
        .to_bytes()
}

/// Runs a kernel on a tensor of noise; gives what it reports, and whether the other tensor is equal in the end.
fn run(kernel: &str, seed: u64) -> (Report, bool) {
    let module = Module::parse(kernel).expect("the kernel is PTX");
    let kernel =
        decode(&module, &module.entries[0], &HashMap::new()).expect("the stand-in knows it");
    let mut memory = GlobalMemory::new(0x10_0000, 1 << 20);
    let addresses = [(); 2].map(|()| {
        memory
            .allocate(TENSOR_BYTES as u64)
            .expect("the memory is large")
    });
    let data = noise(TENSOR_BYTES, 1);
    memory.view().allocation(0).write(0, &data);
    let parameters = addresses.map(map).concat();
    let dimensions = Dimensions {
        grid: [1; 3],
        block: [64, 1, 1],
        cluster: None,
        dynamic_shared: 0,
    };
    let options = Options {
        seed,
        workers: 1,
        idle_limit: 1 << 16,
        ..Options::default()
    };
    let report = launch(
        &kernel,
        memory.view(),
        dimensions,
        &parameters,
        Limits { shared: 48 << 10 },
        options,
    );
    let mut copied = vec![0; TENSOR_BYTES];
    memory.view().allocation(1).read(0, &mut copied);
    (report, copied == data)
}

#[test]
fn the_pipeline_is_right_under_every_schedule() {
    for seed in 0..16 {
        let (report, right) = run(KERNEL, seed);
        assert!(
            report.faults.is_empty(),
            "schedule {seed}: {}",
            report.faults[0]
        );
        assert!(right, "schedule {seed}");
        assert_eq!(report.counters.bulk_load_bytes, 256 * TILES as u64);
        assert_eq!(report.counters.bulk_store_bytes, TENSOR_BYTES as u64);
    }
}

#[test]
fn every_missing_step_of_the_pipeline_is_found() {
    for needed in NEEDED {
        assert_eq!(KERNEL.matches(needed).count(), 1, "{needed}");
        let without = KERNEL.replace(needed, "");
        let found = (0..8).find(|&seed| !run(&without, seed).0.faults.is_empty());
        assert!(found.is_some(), "nothing is reported without {needed}");
    }
}
