//! What the tests of copies have in common: a block with an mbarrier, and lines of instructions to be executed on it.

mod boxes;
mod clusters;
mod linear;
mod misuse;
mod order;
mod pipeline;

use crate::exec::machine::{BUFFER, Launched, Machine};
use crate::isa::Flow;
use crate::tensor_map::{TensorMap, Tiled};

const FIRST: (usize, usize) = (0, 0);
const SECOND: (usize, usize) = (0, 1);

/// Where the mbarrier lies within `buffer`.
const OBJECT: u32 = 4080;

/// Lines that every test's instructions begin with: [`INIT`] to [`BULK`]. The mbarrier expects one arrival and `%r1` bytes;
/// `%r2` is the parity waited for.
const PROLOGUE: &str = "mbarrier.init.shared.b64 [buffer+4080], 1;
fence.mbarrier_init.release.cluster;
mbarrier.arrive.expect_tx.shared.b64 _, [buffer+4080], %r1;
mbarrier.try_wait.parity.shared.b64 %p1, [buffer+4080], %r2;
";
const INIT: u32 = 0;
const FENCE_INIT: u32 = 1;
const EXPECT: u32 = 2;
const WAIT: u32 = 3;
/// The first line of the test's own.
const BULK: u32 = 4;

/// A machine for the prologue and `instructions`.
fn machine(instructions: &str) -> Machine {
    Machine::new(&format!("{PROLOGUE}{instructions}"))
}

/// A block of `warps` warps with a live mbarrier that all of them and the asynchronous proxy know. Only the first lane
/// executes from here on.
fn start(machine: &Machine, warps: u32) -> Launched<'_> {
    let mut run = machine.launch(1, warps);
    run.active = 1;
    run.execute(FIRST, INIT);
    run.execute(FIRST, FENCE_INIT);
    run.synchronise(0);
    run
}

/// Whether the wait for the mbarrier succeeds.
fn waited(run: &mut Launched<'_>, warp: (usize, usize)) -> bool {
    let flow = run.try_execute(warp, WAIT).expect("the kernel goes on");
    flow == Flow::Next
}

/// The bytes of shared memory from an offset within `buffer` on.
fn shared(run: &mut Launched<'_>, rank: usize, offset: u32, bytes: usize) -> Vec<u8> {
    let first = (BUFFER + offset) as usize;
    run.block(0, rank)
        .shared
        .bytes(first..first + bytes)
        .to_vec()
}

/// Puts bytes into shared memory, as if they had always been there.
fn put_shared(run: &mut Launched<'_>, rank: usize, offset: u32, data: &[u8]) {
    run.block(0, rank)
        .shared
        .write((BUFFER + offset) as usize, data);
}

/// The bytes of an allocation of global memory.
fn global(machine: &Machine, address: u64, bytes: usize) -> Vec<u8> {
    let view = machine.memory.view();
    let place = view
        .find(address, bytes as u64, &mut Default::default())
        .expect("it is allocated");
    let mut data = vec![0; bytes];
    view.allocation(place.allocation)
        .read(place.offset, &mut data);
    data
}

/// Bytes that repeat nowhere nearby.
fn noise(bytes: usize, seed: u32) -> Vec<u8> {
    (0..bytes as u32)
        .map(|i| ((i + seed).wrapping_mul(0x9e37_79b1) >> 24) as u8)
        .collect()
}

/// Puts a map of a 2-D tensor of f16 into memory: 64 x 8 elements, of which boxes of 32 x 4 are copied.
fn upload_map(machine: &mut Machine, tensor: u64) -> u64 {
    let map = TensorMap::encode(&Tiled {
        data_type: 6,
        address: tensor,
        dimensions: &[64, 8],
        strides: &[128],
        box_sizes: &[32, 4],
        element_strides: &[1, 1],
        interleave: 0,
        swizzle: 0,
        promotion: 0,
        fill: 0,
    });
    machine.upload(&map.expect("the map is legal").to_bytes())
}

/// Bytes of a box of [`upload_map`].
const BOX_BYTES: usize = 256;
/// Bytes of its tensor.
const TENSOR_BYTES: usize = 1024;
