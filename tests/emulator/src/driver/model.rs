//! The GPU models that the stand-in can be, with the numbers of their data sheets.

use std::ffi::c_int;

use super::environment::Capability;

/// Numbers of a GPU model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Model {
    /// What `cuDeviceGetName` says.
    pub name: &'static str,
    /// Compute capability.
    pub capability: Capability,
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Threads of a multiprocessor.
    pub threads_per_multiprocessor: u32,
    /// Blocks of a multiprocessor.
    pub blocks_per_multiprocessor: u32,
    /// Shared memory of a multiprocessor, in bytes.
    pub shared_per_multiprocessor: u32,
    /// Most shared memory of a block, in bytes.
    pub shared_opt_in: u32,
    /// Second-level cache, in bytes.
    pub l2: u32,
    /// Clock in kHz.
    pub clock: u32,
    /// Memory clock in kHz.
    pub memory_clock: u32,
}

/// Most threads of a block, on all models.
pub const MAX_THREADS_PER_BLOCK: u32 = 1024;
/// Shared memory of a block without asking for more, in bytes.
pub const SHARED_PER_BLOCK: u32 = 48 << 10;
/// Shared memory that the system takes from every block, in bytes.
pub const SYSTEM_SHARED: u32 = 1 << 10;

const T4: Model = Model {
    name: "Stand-in for NVIDIA T4 (compute capability 7.5)",
    capability: Capability::Turing,
    multiprocessors: 40,
    threads_per_multiprocessor: 1024,
    blocks_per_multiprocessor: 16,
    shared_per_multiprocessor: 64 << 10,
    shared_opt_in: 64 << 10,
    l2: 4 << 20,
    clock: 1_590_000,
    memory_clock: 5_001_000,
};

const A100: Model = Model {
    name: "Stand-in for NVIDIA A100 (compute capability 8.0)",
    capability: Capability::Ampere,
    multiprocessors: 108,
    threads_per_multiprocessor: 2048,
    blocks_per_multiprocessor: 32,
    shared_per_multiprocessor: 164 << 10,
    shared_opt_in: 163 << 10,
    l2: 40 << 20,
    clock: 1_410_000,
    memory_clock: 1_215_000,
};

const H100: Model = Model {
    name: "Stand-in for NVIDIA H100 (compute capability 9.0)",
    capability: Capability::Hopper,
    multiprocessors: 132,
    threads_per_multiprocessor: 2048,
    blocks_per_multiprocessor: 32,
    shared_per_multiprocessor: 228 << 10,
    shared_opt_in: 227 << 10,
    l2: 50 << 20,
    clock: 1_980_000,
    memory_clock: 2_619_000,
};

impl Model {
    /// The model with a compute capability.
    pub fn of(capability: Capability) -> Self {
        match capability {
            Capability::Turing => T4,
            Capability::Ampere => A100,
            Capability::Hopper => H100,
        }
    }

    /// The value of a `CUdevice_attribute`; 0 for what the stand-in does not have or cannot do.
    pub fn attribute(&self, attribute: c_int) -> u32 {
        let (major, minor) = self.capability.numbers();
        match attribute {
            /* MAX_THREADS_PER_BLOCK */ 1 => MAX_THREADS_PER_BLOCK,
            /* MAX_BLOCK_DIM_X, _Y */ 2 | 3 => 1024,
            /* MAX_BLOCK_DIM_Z */ 4 => 64,
            /* MAX_GRID_DIM_X */ 5 => i32::MAX as u32,
            /* MAX_GRID_DIM_Y, _Z */ 6 | 7 => 65_535,
            /* MAX_SHARED_MEMORY_PER_BLOCK */ 8 => SHARED_PER_BLOCK,
            /* TOTAL_CONSTANT_MEMORY */ 9 => 64 << 10,
            /* WARP_SIZE */ 10 => 32,
            /* MAX_PITCH */ 11 => i32::MAX as u32,
            /* MAX_REGISTERS_PER_BLOCK, _PER_MULTIPROCESSOR */ 12 | 82 => 64 << 10,
            /* CLOCK_RATE */ 13 => self.clock,
            /* TEXTURE_ALIGNMENT */ 14 => 512,
            /* GPU_OVERLAP */ 15 => 1,
            /* MULTIPROCESSOR_COUNT */ 16 => self.multiprocessors,
            /* CONCURRENT_KERNELS */ 31 => 1,
            /* MEMORY_CLOCK_RATE */ 36 => self.memory_clock,
            /* GLOBAL_MEMORY_BUS_WIDTH */ 37 => 5120,
            /* L2_CACHE_SIZE */ 38 => self.l2,
            /* MAX_THREADS_PER_MULTIPROCESSOR */ 39 => self.threads_per_multiprocessor,
            /* ASYNC_ENGINE_COUNT */ 40 => 3,
            /* UNIFIED_ADDRESSING */ 41 => 1,
            /* COMPUTE_CAPABILITY_MAJOR */ 75 => major,
            /* COMPUTE_CAPABILITY_MINOR */ 76 => minor,
            /* STREAM_PRIORITIES, GLOBAL_L1_CACHE, LOCAL_L1_CACHE */ 78..=80 => 1,
            /* MAX_SHARED_MEMORY_PER_MULTIPROCESSOR */ 81 => self.shared_per_multiprocessor,
            /* SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO */ 87 => 2,
            /* COOPERATIVE_LAUNCH */ 95 => 1,
            /* MAX_SHARED_MEMORY_PER_BLOCK_OPTIN */ 97 => self.shared_opt_in,
            /* HOST_REGISTER_SUPPORTED */ 99 => 1,
            /* MAX_BLOCKS_PER_MULTIPROCESSOR */ 106 => self.blocks_per_multiprocessor,
            /* RESERVED_SHARED_MEMORY_PER_BLOCK */ 111 => SYSTEM_SHARED,
            /* MEMORY_POOLS_SUPPORTED */ 115 => 1,
            /* CLUSTER_LAUNCH, TENSOR_MAP_ACCESS_SUPPORTED */
            120 | 127 => u32::from(major >= 9),
            _ => 0,
        }
    }
}
