//! What the kernels take of a multiprocessor, as ptxas counted it: nothing spills, and as many blocks run at a time as a
//! kernel's file counts on.

use cudarc::driver::sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
use cudarc::nvrtc::Ptx;
use lexpeak::cuda::launch_shape::{
    attention, embed_ln, gemm, l2_normalize, layer_norm, sparsify, splade_head, token_head, topk,
};
use lexpeak::cuda::{KernelResources, kernel_images, kernel_resources};

use crate::rig::Rig;

/// What a multiprocessor holds at a time: "Technical Specifications per Compute Capability" in the CUDA programming guide.
#[derive(Debug)]
struct Processor {
    target: &'static str,
    warps: u32,
    blocks: u32,
    shared_kib: u32,
}

impl Processor {
    const fn new(target: &'static str, warps: u32, blocks: u32, shared_kib: u32) -> Self {
        Self {
            target,
            warps,
            blocks,
            shared_kib,
        }
    }

    fn of(target: &str) -> &'static Self {
        let found = PROCESSORS.iter().find(|known| known.target == target);
        found.unwrap_or_else(|| panic!("{target} is not listed here: say what it has"))
    }
}

/// Warps, blocks and KiB of shared memory.
const PROCESSORS: [Processor; 5] = [
    Processor::new("sm_80", 64, 32, 164),   // A100
    Processor::new("sm_89", 48, 24, 100),   // L4, L40, RTX 40
    Processor::new("sm_90a", 64, 32, 228),  // H100, H200
    Processor::new("sm_100a", 64, 32, 228), // B200
    Processor::new("sm_120a", 48, 24, 100), // RTX 50
];

/// Those that the kernels are shaped for; the others have less shared memory.
const DATA_CENTRE: [&str; 3] = ["sm_80", "sm_90a", "sm_100a"];

const KIB: u32 = 1024;
const WARP: u32 = 32;

/// A multiprocessor is four of these, and a warp has its registers in one of them.
const PARTITIONS: u32 = 4;
const PARTITION_REGISTERS: u32 = 16 * KIB;
/// A warp's registers are rounded up to a multiple of this.
const REGISTER_UNIT: u32 = 256;

/// A block's shared memory is rounded up to a multiple of this, and the system takes some of its own.
const SHARED_UNIT: u32 = 128;
const SYSTEM_SHARED_BYTES: u32 = KIB;

/// How many blocks of a kernel one multiprocessor holds, by each of its limits.
#[derive(Debug)]
struct Room {
    by_registers: u32,
    by_shared_memory: u32,
    by_warps: u32,
    by_blocks: u32,
}

impl Room {
    fn new(processor: &Processor, registers: u32, threads: u32, shared_bytes: u32) -> Self {
        let warps = threads.div_ceil(WARP);
        let warp_registers = (registers * WARP).next_multiple_of(REGISTER_UNIT);
        let shared_bytes = (shared_bytes + SYSTEM_SHARED_BYTES).next_multiple_of(SHARED_UNIT);
        Self {
            by_registers: PARTITIONS * (PARTITION_REGISTERS / warp_registers) / warps,
            by_shared_memory: processor.shared_kib * KIB / shared_bytes,
            by_warps: processor.warps / warps,
            by_blocks: processor.blocks,
        }
    }

    fn of(row: &KernelResources, launch: &Launch) -> Self {
        let shared_bytes = row.static_shared + launch.dynamic_shared_bytes;
        let processor = Processor::of(row.target);
        Self::new(processor, row.registers, launch.threads, shared_bytes)
    }

    fn blocks(&self) -> u32 {
        self.by_registers.min(self.blocks_whatever_registers())
    }

    fn blocks_whatever_registers(&self) -> u32 {
        self.by_shared_memory.min(self.by_warps).min(self.by_blocks)
    }
}

/// How many blocks of a kernel its file counts on.
#[derive(Clone, Copy, Debug)]
enum Blocks {
    /// Tiles in shared memory and sums in registers are as large as these blocks allow: room for more lies idle.
    Exactly(u32),
    /// The grid or the data decide how many there are.
    AtLeast(u32),
}

impl Blocks {
    fn least(self) -> u32 {
        match self {
            Self::Exactly(blocks) | Self::AtLeast(blocks) => blocks,
        }
    }

    fn agree_with(self, room: &Room) -> bool {
        match self {
            Self::Exactly(blocks) => room.blocks() == blocks,
            Self::AtLeast(blocks) => room.blocks() >= blocks,
        }
    }
}

/// How a kernel is launched.
#[derive(Debug)]
struct Launch {
    threads: u32,
    dynamic_shared_bytes: u32,
    blocks: Blocks,
}

impl Launch {
    /// As the kernel's file says.
    fn of(row: &KernelResources) -> Self {
        use Blocks::{AtLeast, Exactly};
        let launch = |threads, dynamic_shared_bytes, blocks| Self {
            threads,
            dynamic_shared_bytes,
            blocks,
        };
        let KernelResources { file, kernel, .. } = *row;
        match file {
            "attention" => {
                use attention::*;
                match kernel.split('_').nth(1) {
                    Some("32") => launch(THREADS, SMEM_BYTES32, Exactly(BLOCKS32)),
                    Some("64") => launch(THREADS, SMEM_BYTES64, Exactly(BLOCKS64)),
                    Some("128") => launch(THREADS, SMEM_BYTES128, Exactly(BLOCKS128)),
                    _ => panic!("the head size of {kernel} is not listed here"),
                }
            }
            "embed_ln" => {
                use embed_ln::*;
                let blocks = [BLOCKS_PER_PROCESSOR, BLOCKS_PER_PROCESSOR_WIDE];
                launch(
                    THREADS,
                    0,
                    AtLeast(by_width(kernel, [NARROW, WIDE], blocks)),
                )
            }
            "gemm" => {
                use gemm::{BLOCKS_PER_PROCESSOR, SMEM_BYTES, THREADS};
                launch(THREADS, SMEM_BYTES, Exactly(BLOCKS_PER_PROCESSOR))
            }
            "l2_normalize" => {
                use l2_normalize::*;
                let blocks = [BLOCKS_PER_PROCESSOR, BLOCKS_PER_PROCESSOR_WIDE];
                launch(
                    THREADS,
                    0,
                    AtLeast(by_width(kernel, [NARROW, WIDE], blocks)),
                )
            }
            "layer_norm" => {
                use layer_norm::*;
                let blocks = [BLOCKS_PER_PROCESSOR, BLOCKS_PER_PROCESSOR_WIDE];
                launch(
                    THREADS,
                    0,
                    AtLeast(by_width(kernel, [NARROW, WIDE], blocks)),
                )
            }
            "sparsify" => {
                use sparsify::{BLOCKS_PER_PROCESSOR, THREADS};
                launch(THREADS, 0, AtLeast(BLOCKS_PER_PROCESSOR))
            }
            "splade_head" => {
                use splade_head::*;
                if kernel.contains("_positions_") {
                    launch(THREADS, SMEM_BYTES_POSITIONS, AtLeast(1))
                } else {
                    launch(THREADS, SMEM_BYTES, Exactly(BLOCKS_PER_PROCESSOR))
                }
            }
            "token_head" => {
                use token_head::*;
                let blocks = [BLOCKS_PER_PROCESSOR, BLOCKS_PER_PROCESSOR_WIDE];
                launch(
                    THREADS,
                    0,
                    AtLeast(by_width(kernel, [NARROW, WIDE], blocks)),
                )
            }
            "topk" => launch(topk::THREADS, 0, AtLeast(1)),
            other => panic!("{other}.cu is not listed here: say how it is launched"),
        }
    }
}

/// Of two figures the one for rows of the width that a kernel is named for.
fn by_width(kernel: &str, widths: [u32; 2], figures: [u32; 2]) -> u32 {
    let named = |width: u32| kernel.contains(&format!("_{width}_"));
    let found = widths.into_iter().position(named);
    figures[found.unwrap_or_else(|| panic!("the width of {kernel} is not listed here"))]
}

/// How many blocks of a kernel one multiprocessor of its target holds.
pub fn blocks(row: &KernelResources) -> u32 {
    Room::of(row, &Launch::of(row)).blocks()
}

/// Every kernel and target of this build.
fn for_all(check: impl Fn(&KernelResources, &Launch, &Room)) {
    assert!(!kernel_resources().is_empty());
    for row in kernel_resources() {
        let launch = Launch::of(row);
        check(row, &launch, &Room::of(row, &launch));
    }
}

#[test]
fn nothing_lies_in_local_memory() {
    for_all(|row, _, _| {
        assert_eq!((row.spill_stores, row.spill_loads), (0, 0), "{row:?}");
        assert_eq!(row.stack, 0, "{row:?}");
    });
}

#[test]
fn registers_leave_room_for_the_blocks_that_a_file_counts_on() {
    for_all(|row, launch, room| {
        let least = launch.blocks.least();
        assert!(room.by_registers >= least, "{row:?}, {launch:?}: {room:?}");
    });
}

#[test]
fn data_centre_gpus_hold_the_blocks_that_a_file_counts_on() {
    for_all(|row, launch, room| {
        let shaped_for = DATA_CENTRE.contains(&row.target);
        assert!(
            !shaped_for || launch.blocks.agree_with(room),
            "{row:?}, {launch:?}: {room:?}"
        );
    });
}

#[test]
fn every_gpu_holds_a_block() {
    for_all(|row, launch, room| assert!(room.blocks() >= 1, "{row:?}, {launch:?}: {room:?}"));
}

/// Registers, threads and bytes of shared memory, and what `cuda_occupancy.h` of CUDA 13.0 makes of them. Each limit binds.
#[test]
fn room_is_what_nvidia_calculates() {
    for (target, registers, threads, shared_bytes, blocks) in [
        ("sm_80", 127, 256, 90_112, 1),
        ("sm_80", 206, 128, 81_920, 2),
        ("sm_89", 96, 128, 20_480, 4),
        ("sm_90a", 96, 128, 20_480, 5),
        ("sm_90a", 127, 256, 90_112, 2),
        ("sm_100a", 35, 512, 32_836, 3),
        ("sm_120a", 16, 256, 0, 6),
        ("sm_120a", 16, 32, 0, 24),
    ] {
        let room = Room::new(Processor::of(target), registers, threads, shared_bytes);
        assert_eq!(
            room.blocks(),
            blocks,
            "{target}, {registers}, {threads}: {room:?}"
        );
    }
}

/// The stand-in knows nothing of registers.
#[test]
fn the_driver_counts_as_many_blocks() {
    let rig = Rig::new();
    let context = rig.gpu.stream().context();
    let (major, minor) = context.compute_capability().unwrap();
    let target = format!("sm_{major}{minor}");
    for image in kernel_images() {
        let ptx = Ptx::from_binary(image.fatbin.to_vec());
        let module = context.load_module(ptx).unwrap();
        let of_this_gpu = |row: &&KernelResources| {
            row.file == image.name && row.target.trim_end_matches('a') == target
        };
        for row in kernel_resources().iter().filter(of_this_gpu) {
            let launch = Launch::of(row);
            let room = Room::of(row, &launch);
            let expected = if rig.standin.is_some() {
                room.blocks_whatever_registers()
            } else {
                room.blocks()
            };
            let function = module.load_function(row.kernel).unwrap();
            let attribute = CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let shared_bytes = launch.dynamic_shared_bytes;
            function
                .set_attribute(attribute, shared_bytes as i32)
                .unwrap();
            let counted = function.occupancy_max_active_blocks_per_multiprocessor(
                launch.threads,
                shared_bytes as usize,
                None,
            );
            assert_eq!(counted.unwrap(), expected, "{row:?}, {launch:?}: {room:?}");
        }
    }
}
