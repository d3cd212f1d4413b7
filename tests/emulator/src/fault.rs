//! What the checks find: one [`Fault`] each, naming kernel, source line, block and thread.

use std::fmt;

/// The kinds of fault, in the words of the checks that find them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum FaultKind {
    /// An access outside every allocation, array or block's shared memory.
    OutOfBounds = 1,
    /// An access to memory that was freed.
    UseAfterFree = 2,
    /// An address that is no multiple of the access's size.
    Misaligned = 3,
    /// A value that was never written reached an address, a branch or a store, or was loaded from memory.
    Uninitialised = 4,
    /// Two accesses, at least one a write, that nothing orders.
    Race = 5,
    /// A warp-wide or block-wide instruction that only some of its lanes reach.
    Divergence = 6,
    /// A barrier used against its rules: wrong count, over-arrival, plain access, exit with arrivals missing.
    Barrier = 7,
    /// The result or the source of an asynchronous operation was touched before it was waited for.
    Asynchronous = 8,
    /// An operand that the instruction set forbids: bad descriptor, tensor map, register count.
    InvalidOperand = 9,
    /// Nothing moves any more, or the instruction budget is spent.
    Hang = 10,
    /// `trap` was executed.
    Trap = 11,
    /// An `assert` of the kernel failed.
    Assert = 12,
}

impl FaultKind {
    /// The CUresult that a GPU's driver would return: 700 illegal address, 716 misaligned address, 702 launch timeout, 710 assert, else
    /// 719.
    pub fn cuda_error(self) -> i32 {
        match self {
            FaultKind::OutOfBounds | FaultKind::UseAfterFree => 700,
            FaultKind::Misaligned => 716,
            FaultKind::Hang => 702,
            FaultKind::Assert => 710,
            _ => 719,
        }
    }

    /// A few words for a report's first line.
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::OutOfBounds => "access out of bounds",
            FaultKind::UseAfterFree => "access to freed memory",
            FaultKind::Misaligned => "misaligned access",
            FaultKind::Uninitialised => "uninitialised value",
            FaultKind::Race => "race",
            FaultKind::Divergence => "divergent collective",
            FaultKind::Barrier => "barrier misuse",
            FaultKind::Asynchronous => "asynchronous operation not waited for",
            FaultKind::InvalidOperand => "invalid operand",
            FaultKind::Hang => "hang",
            FaultKind::Trap => "trap",
            FaultKind::Assert => "failed assertion",
        }
    }
}

/// One finding of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which check.
    pub kind: FaultKind,
    /// What exactly, with the numbers.
    pub message: String,
    /// Kernel name as in PTX.
    pub kernel: String,
    /// CUDA source: `file.cu:12`, or `file.cu:12 (in ptx.cuh:8)` for inlined code; empty without `-lineinfo`.
    pub source: String,
    /// Line of the PTX text.
    pub ptx_line: u32,
    /// The PTX instruction.
    pub instruction: String,
    /// blockIdx.
    pub block: [u32; 3],
    /// threadIdx of the first lane concerned.
    pub thread: [u32; 3],
    /// Schedule seed of the launch.
    pub seed: u64,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [bx, by, bz] = self.block;
        let [tx, ty, tz] = self.thread;
        writeln!(f, "{}: {}", self.kind.name(), self.message)?;
        write!(f, "    kernel {}", self.kernel)?;
        if !self.source.is_empty() {
            write!(f, " at {}", self.source)?;
        }
        writeln!(
            f,
            ", block ({bx}, {by}, {bz}), thread ({tx}, {ty}, {tz}), schedule {}",
            self.seed
        )?;
        write!(f, "    PTX line {}: {}", self.ptx_line, self.instruction)
    }
}

/// Ends a launch: a fault after which the kernel cannot go on.
pub type Stop = Box<Fault>;
