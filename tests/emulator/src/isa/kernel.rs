//! A decoded kernel.

use std::collections::HashMap;

use super::decoder::layout;
use super::flow::{Tracking, compact};
use super::{
    DecodeError, Decoder, Execute, Footprint, Space, arithmetic, async_copy, atomic, barrier, bulk,
    call, collective, compare, control, convert, fence, load_store, logic, matrix, mbarrier, mma,
    mov, wgmma, wmma,
};
use crate::ptx::{Entry, Guard, Instruction, Module, expand};

/// A kernel ready to run.
#[derive(Debug)]
pub struct Kernel {
    /// Name as in PTX.
    pub name: String,
    /// `.target` of its module.
    pub target: String,
    /// The instructions; a `ret` is appended.
    pub code: Vec<Guarded>,
    /// Where each instruction came from.
    pub locations: Vec<Location>,
    /// Registers a thread, constants included: predicates, 32-bit, 64-bit.
    pub registers: [usize; 3],
    /// 32-bit registers that hold constants and special registers.
    pub constants32: Vec<(u16, Constant)>,
    /// 64-bit registers that hold constants.
    pub constants64: Vec<(u16, Constant)>,
    /// Parameters in order.
    pub parameters: Vec<Parameter>,
    /// Bytes of all parameters.
    pub parameter_bytes: u32,
    /// Where dynamic shared memory begins: the end of the static one, aligned.
    pub static_shared: u32,
    /// Local memory a thread, in bytes.
    pub local_bytes: u32,
    /// `.maxntid` or `.reqntid`.
    pub max_threads: Option<[u32; 3]>,
    /// The block must have exactly `max_threads` threads.
    pub exact_threads: bool,
    /// `.maxnreg`.
    pub max_registers: Option<u32>,
    /// `.reqnctapercluster`.
    pub cluster: Option<[u32; 3]>,
    /// Smallest accesses of any instruction; 0: none.
    pub footprint: Footprint,
    /// Where some path reads a register before it writes it: how undefined values spread.
    pub tracking: Option<Tracking>,
}

/// An instruction under its guard.
#[derive(Debug)]
pub struct Guarded {
    /// `@p`.
    pub guard: Option<Guard>,
    /// Whether [`Execute::participants`] has to be asked.
    pub collective: bool,
    /// 32-bit registers of `wgmma` that it touches, to be checked before it is executed.
    pub watched: Option<Box<[u16]>>,
    /// The instruction.
    pub op: Box<dyn Execute>,
}

/// Where an instruction came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// `file.cu:12` or `file.cu:12 (in ptx.cuh:8)`; empty without `-lineinfo`.
    pub source: String,
    /// Line of the PTX text.
    pub ptx_line: u32,
    /// The instruction as written.
    pub text: String,
}

/// A kernel parameter: where it lies among the parameter bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Offset in bytes.
    pub offset: u32,
    /// Size in bytes.
    pub size: u32,
}

/// What a constant register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Constant {
    /// The same for all threads.
    Value(u64),
    /// A special register that does not change while a thread runs.
    Special(Special),
}

/// Special registers that do not change while a thread runs. The index is the dimension: 0 x, 1 y, 2 z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Special {
    /// `%tid`.
    Thread(u8),
    /// `%ntid`.
    Threads(u8),
    /// `%ctaid`.
    Block(u8),
    /// `%nctaid`.
    Blocks(u8),
    /// `%laneid`.
    Lane,
    /// `%warpid`.
    Warp,
    /// `%nwarpid`.
    Warps,
    /// `%smid`.
    Multiprocessor,
    /// `%nsmid`.
    Multiprocessors,
    /// `%lanemask_lt` and its like.
    LanesBelow,
    /// `%lanemask_le`.
    LanesUpTo,
    /// `%lanemask_gt`.
    LanesAbove,
    /// `%lanemask_ge`.
    LanesFrom,
    /// `%lanemask_eq`.
    LaneMask,
    /// `%clusterid`.
    Cluster(u8),
    /// `%nclusterid`.
    Clusters(u8),
    /// `%cluster_ctaid`.
    BlockInCluster(u8),
    /// `%cluster_nctaid`.
    BlocksInCluster(u8),
    /// `%cluster_ctarank`.
    RankInCluster,
    /// `%cluster_nctarank`.
    RanksInCluster,
    /// `%dynamic_smem_size`.
    DynamicShared,
    /// `%total_smem_size`.
    TotalShared,
}

/// Decodes one kernel. `globals` are the device addresses of the module's variables.
///
/// # Errors
/// Names opcode, kernel and line of what it does not know.
pub fn decode(
    module: &Module,
    entry: &Entry,
    globals: &HashMap<String, u64>,
) -> Result<Kernel, DecodeError> {
    let expanded = expand(module, entry).map_err(|refusal| {
        DecodeError::because(refusal.reason).at(&entry.name, refusal.instruction)
    })?;
    decode_as_written(module, &compact(&expanded), globals)
}

/// Decodes one kernel with the registers that it names and without calls of functions.
///
/// # Errors
/// Names opcode, kernel and line of what it does not know.
pub(crate) fn decode_as_written(
    module: &Module,
    entry: &Entry,
    globals: &HashMap<String, u64>,
) -> Result<Kernel, DecodeError> {
    let mut decoder = Decoder::new(module, entry, globals)?;
    let mut code = Vec::with_capacity(entry.instructions.len() + 1);
    let mut footprint = Footprint::default();
    let fragments = wgmma::fragments(entry);
    for instruction in &entry.instructions {
        let op = decode_one(instruction, &mut decoder)
            .map_err(|error| error.at(&entry.name, instruction))?;
        let smallest = |all: u32, one: u32| {
            if all == 0 || one == 0 {
                all.max(one)
            } else {
                all.min(one)
            }
        };
        let own = op.footprint();
        footprint.shared = smallest(footprint.shared, own.shared);
        footprint.global = smallest(footprint.global, own.global);
        let watched = wgmma::watched(instruction, &fragments);
        code.push(Guarded {
            guard: instruction.guard,
            collective: is_collective(instruction),
            watched,
            op,
        });
    }
    code.push(Guarded {
        guard: None,
        collective: false,
        watched: None,
        op: control::end(),
    });
    let mut locations: Vec<_> = entry
        .instructions
        .iter()
        .map(|instruction| locate(module, instruction))
        .collect();
    locations.push(Location {
        text: "end of the kernel".into(),
        ..Location::default()
    });
    Ok(decoder.finish(module, entry, code, locations, footprint))
}

/// Collective instructions carry `.sync` or are barriers of whole warps.
fn is_collective(instruction: &Instruction) -> bool {
    instruction.has("sync")
        || instruction.has("aligned")
        || matches!(instruction.opcode[0].as_str(), "bar" | "barrier")
}

fn decode_one(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let second = instruction.opcode.get(1).map_or("", String::as_str);
    let third = instruction.opcode.get(2).map_or("", String::as_str);
    match instruction.opcode[0].as_str() {
        "add" | "sub" | "mul" | "mul24" | "mad" | "mad24" | "fma" | "div" | "rem" | "abs"
        | "neg" | "min" | "max" | "sad" | "rcp" | "sqrt" | "rsqrt" | "ex2" | "lg2" | "sin"
        | "cos" | "tanh" | "addc" | "subc" | "madc" | "dp4a" | "dp2a" | "copysign"
        | "vabsdiff2" | "vabsdiff4" => arithmetic::decode(instruction, decoder),
        "and" | "or" | "xor" | "not" | "cnot" | "shl" | "shr" | "shf" | "lop3" | "popc" | "clz"
        | "bfind" | "brev" | "bfe" | "bfi" | "prmt" | "fns" | "bmsk" | "szext" => {
            logic::decode(instruction, decoder)
        }
        "setp" | "set" | "selp" | "slct" | "testp" => compare::decode(instruction, decoder),
        "cvt" => convert::decode(instruction, decoder),
        "mov" | "cvta" | "isspacep" | "mapa" | "getctarank" => mov::decode(instruction, decoder),
        "shfl" | "vote" | "match" | "redux" | "activemask" | "elect" => {
            collective::decode(instruction, decoder)
        }
        "ld" | "ldu" | "st" | "prefetch" | "prefetchu" | "applypriority" | "createpolicy" => {
            load_store::decode(instruction, decoder)
        }
        "call" => call::decode(instruction, decoder),
        "atom" | "red" => atomic::decode(instruction, decoder),
        "cp" if second == "async" && third != "bulk" => async_copy::decode(instruction, decoder),
        "cp" => bulk::decode(instruction, decoder),
        "ldmatrix" | "stmatrix" | "movmatrix" => matrix::decode(instruction, decoder),
        "mma" => mma::decode(instruction, decoder),
        "wmma" => wmma::decode(instruction, decoder),
        "wgmma" | "setmaxnreg" => wgmma::decode(instruction, decoder),
        "mbarrier" => mbarrier::decode(instruction, decoder),
        "bar" | "barrier" => barrier::decode(instruction, decoder),
        "fence" | "membar" => fence::decode(instruction, decoder),
        "bra" | "brx" | "ret" | "exit" | "trap" | "nanosleep" | "griddepcontrol" | "brkpt"
        | "pmevent" => control::decode(instruction, decoder),
        _ => Err(DecodeError::unsupported()),
    }
}

fn locate(module: &Module, instruction: &Instruction) -> Location {
    let name = |number: u32| {
        let path = module
            .files
            .iter()
            .find(|file| file.0 == number)
            .map_or("?", |file| file.1.as_str());
        path.rsplit('/').next().unwrap_or(path).to_owned()
    };
    let source = instruction
        .source
        .map_or(String::new(), |source| match source.inlined_at {
            Some((file, line)) => format!(
                "{}:{line} (in {}:{})",
                name(file),
                name(source.file),
                source.line
            ),
            None => format!("{}:{}", name(source.file), source.line),
        });
    Location {
        source,
        ptx_line: instruction.line,
        text: instruction.text.clone(),
    }
}

impl Decoder<'_> {
    fn finish(
        self,
        module: &Module,
        entry: &Entry,
        code: Vec<Guarded>,
        locations: Vec<Location>,
        footprint: Footprint,
    ) -> Kernel {
        let parameters = layout(entry);
        Kernel {
            name: entry.name.clone(),
            target: module.target.clone(),
            code,
            locations,
            registers: self.registers(),
            parameter_bytes: parameters.last().map_or(0, |last| last.offset + last.size),
            parameters,
            static_shared: self.extent(Space::Shared),
            local_bytes: self.extent(Space::Local),
            max_threads: entry.max_threads,
            exact_threads: entry.exact_threads,
            max_registers: entry.max_registers,
            cluster: entry.cluster,
            footprint,
            tracking: Tracking::of(entry),
            constants32: self.constants32,
            constants64: self.constants64,
        }
    }
}
