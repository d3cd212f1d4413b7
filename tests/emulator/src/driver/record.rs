//! What a test reads about launches and faults: plain numbers with a fixed layout, and texts by number.

use crate::counters::Counters;

/// Changes whenever a layout of this file or an exported `standin_` function does.
pub const INTERFACE: u32 = 1;

/// One launch that was executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LaunchRecord {
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads a block.
    pub block: [u32; 3],
    /// Blocks a cluster.
    pub cluster: [u32; 3],
    /// Dynamic shared memory a block, in bytes.
    pub dynamic_shared: u32,
    /// Faults that it had.
    pub faults: u32,
    /// Device.
    pub device: u32,
    /// Schedule seed.
    pub seed: u64,
    /// The `CUcontext`.
    pub context: u64,
    /// The `CUstream`; 0 for the default one.
    pub stream: u64,
    /// Number of the thread that asked for it: see `standin_thread`.
    pub thread: u64,
    /// Time the interpreter took.
    pub nanoseconds: u64,
    /// What the kernel did.
    pub counters: Counters,
}

/// One fault of a kernel, or one wrong use of the driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FaultRecord {
    /// The number of the [`FaultKind`](crate::fault::FaultKind); 0 for wrong use of the driver by the host program.
    pub kind: u32,
    /// The `CUresult` that it leads to.
    pub code: i32,
    /// blockIdx.
    pub block: [u32; 3],
    /// threadIdx of the first thread concerned.
    pub thread: [u32; 3],
    /// Line of the PTX text.
    pub ptx_line: u32,
    /// Device.
    pub device: u32,
    /// Schedule seed.
    pub seed: u64,
    /// Number of the thread that asked for the launch or made the call: see `standin_thread`.
    pub host_thread: u64,
}

/// Which text of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FaultText {
    /// What exactly, with the numbers.
    Message = 0,
    /// The kernel's name; for wrong use of the driver, the function called.
    Kernel = 1,
    /// CUDA source line.
    Source = 2,
    /// The PTX instruction.
    Instruction = 3,
    /// The whole report as printed.
    Report = 4,
}

impl FaultText {
    /// The text with this number.
    pub fn from_number(number: u32) -> Option<Self> {
        [
            FaultText::Message,
            FaultText::Kernel,
            FaultText::Source,
            FaultText::Instruction,
            FaultText::Report,
        ]
        .into_iter()
        .find(|&text| text as u32 == number)
    }
}
