//! For tests: blocks whose warps execute single instructions, in the order that the test says.

use std::collections::HashMap;

use super::cluster::Resident;
use super::{Block, Dimensions, Launch, Options, Step, Warp};
use crate::counters::Counters;
use crate::fault::{Fault, FaultKind, Stop};
use crate::isa::{Flow, Kernel, RESERVED_SHARED, decode_as_written};
use crate::memory::GlobalMemory;
use crate::ptx::Module;

/// Where the `buffer` of shared memory begins.
pub(crate) const BUFFER: u32 = RESERVED_SHARED;

/// Bytes of shared memory of a block.
pub(crate) const BUFFER_BYTES: u32 = 48 << 10;

/// Bytes of local memory of a thread.
pub(crate) const LOCAL_BYTES: u32 = 64;

/// A kernel of single instructions, and global memory.
pub(crate) struct Machine {
    kernel: Kernel,
    pub memory: GlobalMemory,
    parameters: Vec<u8>,
}

impl Machine {
    /// One instruction a line, with registers `%p0` to `%p7`, `%r0` to `%r159`, `%rd0` to `%rd63`, the shared array `buffer`
    /// and a parameter `data` of 64 bytes that holds 0, 1, 2, ...
    pub fn new(instructions: &str) -> Self {
        let text = format!(
            ".version 8.7\n.target sm_90a\n.address_size 64\n.visible .entry kernel(.param .align 16 .b8 data[64]) {{\n\
            .reg .pred %p<8>;\n.reg .b32 %r<160>;\n.reg .b64 %rd<64>;\n.shared .align 16 .b8 buffer[{BUFFER_BYTES}];\n\
            .local .align 16 .b8 depot[{LOCAL_BYTES}];\n{instructions}\nbar.sync 0;\n}}\n"
        );
        let module = Module::parse(&text).expect("the test's instructions are PTX");
        let kernel = decode_as_written(&module, &module.entries[0], &HashMap::new())
            .expect("the stand-in knows them");
        Machine {
            kernel,
            memory: GlobalMemory::new(0x10_0000, 1 << 30),
            parameters: (0..64).collect(),
        }
    }

    /// The kernel's error, where an instruction cannot be decoded.
    pub fn error(instruction: &str) -> String {
        let text = format!(
            ".version 8.7\n.target sm_90a\n.address_size 64\n.visible .entry kernel() {{\n\
            .reg .pred %p<8>;\n.reg .b32 %r<160>;\n.reg .b64 %rd<64>;\n{instruction}\n}}\n"
        );
        let module = Module::parse(&text).expect("the test's instruction is PTX");
        decode_as_written(&module, &module.entries[0], &HashMap::new())
            .expect_err("the stand-in does not know it")
            .to_string()
    }

    /// An allocation filled with `bytes`; gives its address.
    pub fn upload(&mut self, bytes: &[u8]) -> u64 {
        let address = self
            .memory
            .allocate(bytes.len() as u64)
            .expect("the memory is large");
        let view = self.memory.view();
        view.allocation(view.len() - 1).write(0, bytes);
        address
    }

    /// A launch of blocks with `warps` warps each, none of which has begun.
    pub fn launch(&self, blocks: u32, warps: u32) -> Launched<'_> {
        self.launch_clusters(blocks, 1, warps)
    }

    /// The same with clusters of `blocks` blocks.
    pub fn launch_clusters(&self, clusters: u32, blocks: u32, warps: u32) -> Launched<'_> {
        let dimensions = Dimensions {
            grid: [clusters * blocks, 1, 1],
            block: [32 * warps, 1, 1],
            cluster: Some([blocks, 1, 1]),
            dynamic_shared: 0,
        };
        let launch = Launch::new(
            &self.kernel,
            self.memory.view(),
            dimensions,
            &self.parameters,
            Options::default(),
        );
        let start = |number| {
            let mut resident = Resident::new(&launch);
            resident.start(number, &launch);
            resident
        };
        let residents = (0..clusters).map(start).collect();
        Launched {
            residents,
            launch,
            counters: Counters::default(),
            active: u32::MAX,
        }
    }
}

/// A launch under the test's control.
pub(crate) struct Launched<'a> {
    residents: Vec<Resident>,
    launch: Launch<'a>,
    pub counters: Counters,
    /// Lanes that execute.
    pub active: u32,
}

impl Launched<'_> {
    /// A warp of a cluster.
    pub fn warp(&mut self, cluster: usize, warp: usize) -> &mut Warp {
        &mut self.residents[cluster].warps[warp]
    }

    /// A block of a cluster.
    pub fn block(&mut self, cluster: usize, rank: usize) -> &mut Block {
        &mut self.residents[cluster].cluster.blocks[rank]
    }

    /// Effects that others in the cluster could notice, so far.
    pub fn effects(&self, cluster: usize) -> u64 {
        self.residents[cluster].cluster.effects
    }

    /// Gives a 32-bit register of a warp its values.
    pub fn set32(
        &mut self,
        (cluster, warp): (usize, usize),
        register: u16,
        value: impl Fn(u32) -> u32,
    ) {
        self.warp(cluster, warp).narrow[register as usize] =
            std::array::from_fn(|lane| value(lane as u32));
    }

    /// Gives a 64-bit register of a warp its values.
    pub fn set64(
        &mut self,
        (cluster, warp): (usize, usize),
        register: u16,
        value: impl Fn(u64) -> u64,
    ) {
        self.warp(cluster, warp).wide[register as usize] =
            std::array::from_fn(|lane| value(lane as u64));
    }

    /// Does something as if it were the instruction in line `line` (from 0) of the test's text.
    pub fn step<T>(
        &mut self,
        (cluster, warp): (usize, usize),
        line: u32,
        act: impl FnOnce(&mut Step<'_>) -> T,
    ) -> T {
        let Resident { cluster, warps, .. } = &mut self.residents[cluster];
        let mut step = Step {
            warp: &mut warps[warp],
            cluster,
            launch: &self.launch,
            counters: &mut self.counters,
            active: self.active,
            pc: line,
        };
        act(&mut step)
    }

    /// Executes the instruction in line `line` of the test's text.
    pub fn try_execute(&mut self, warp: (usize, usize), line: u32) -> Result<Flow, Stop> {
        self.step(warp, line, |step| {
            let instruction = &step.launch.kernel.code[line as usize];
            if let Some(registers) = &instruction.watched {
                step.touch_watched(registers);
            }
            instruction.op.execute(step)
        })
    }

    /// The same for an instruction that must not stop the kernel.
    pub fn execute(&mut self, warp: (usize, usize), line: u32) {
        self.try_execute(warp, line).expect("the kernel goes on");
    }

    /// The fault with which an instruction stops the kernel.
    pub fn stop(&mut self, warp: (usize, usize), line: u32) -> Fault {
        *self.try_execute(warp, line).expect_err("the kernel stops")
    }

    /// `__syncthreads` of all warps of a cluster.
    pub fn synchronise(&mut self, cluster: usize) {
        let barrier = self.launch.kernel.code.len() as u32 - 2;
        self.all_execute(cluster, barrier);
        self.release_barriers(cluster);
    }

    /// Arrival and wait of all warps at the cluster barrier, with the instructions in these lines.
    pub fn synchronise_cluster(&mut self, cluster: usize, arrive: u32, wait: u32) {
        self.all_execute(cluster, arrive);
        self.all_execute(cluster, wait);
        self.release_barriers(cluster);
    }

    fn all_execute(&mut self, cluster: usize, line: u32) {
        for warp in 0..self.residents[cluster].warps.len() {
            self.execute((cluster, warp), line);
        }
    }

    /// Completes the barriers whose warps have all arrived.
    pub fn release_barriers(&mut self, cluster: usize) {
        let released = self.residents[cluster].release_barriers(&self.launch, &mut self.counters);
        released.expect("the barriers are in order");
    }

    /// Lands the oldest asynchronous operation of a cluster; gives whether there was one.
    pub fn try_land(&mut self, cluster: usize) -> Result<bool, Stop> {
        self.residents[cluster].land(&self.launch, &mut self.counters)
    }

    /// Lands all asynchronous operations of a cluster, which must not stop the kernel.
    pub fn land(&mut self, cluster: usize) {
        while self.try_land(cluster).expect("the kernel goes on") {}
    }

    /// The checks at a cluster's end.
    pub fn finish(&mut self, cluster: usize) -> Result<(), Stop> {
        self.residents[cluster].finish(&self.launch, &mut self.counters)
    }

    /// Faults reported so far, which are then forgotten.
    pub fn faults(&mut self) -> Vec<Fault> {
        self.residents
            .iter_mut()
            .flat_map(|resident| resident.cluster.faults.drain(..))
            .collect()
    }

    /// The kinds of the faults reported so far, which are then forgotten.
    pub fn kinds(&mut self) -> Vec<FaultKind> {
        self.faults().into_iter().map(|fault| fault.kind).collect()
    }
}
