//! PTX text to syntax: what nvcc wrote, with names resolved and nothing interpreted yet.
//!
//! [`Module::parse`] reads one PTX translation unit. Registers, labels and variables are resolved in the scope they were
//! declared in (`{}` of inline assembly opens one), so the decoder of [`crate::isa`] sees indices only. The opcode stays a
//! list of its dot-separated parts: `ld.global.v4.f32` is `["ld", "global", "v4", "f32"]`, `shared::cta` is one part.

mod body;
mod cursor;
mod entry;
mod initial;
mod inline;
mod leaves;
mod lexer;
mod literal;
mod loc;
mod operand;
mod parser;
mod scope;
mod variable;

use std::collections::HashMap;
use std::fmt;

pub use inline::{Refusal, expand};

/// A parsed PTX translation unit.
#[derive(Clone, Debug, Default)]
pub struct Module {
    /// `.version`, major and minor.
    pub version: (u32, u32),
    /// `.target`, for instance `sm_80` or `sm_90a`.
    pub target: String,
    /// Source files named by `.file`, by their number.
    pub files: Vec<(u32, String)>,
    /// `.global` and `.const` variables.
    pub globals: Vec<Variable>,
    /// `.extern .shared` arrays: all begin where the static shared memory of a kernel ends.
    pub dynamic_shared: Vec<Variable>,
    /// `.shared` variables of module scope.
    pub shared: Vec<Variable>,
    /// Kernels.
    pub entries: Vec<Entry>,
    /// Device functions by name; the text says why one that is known cannot be called.
    pub functions: HashMap<String, Result<Function, String>>,
    /// `.alias`: the function that another name stands for.
    pub aliases: HashMap<String, String>,
}

/// A device function (`.func`).
#[derive(Clone, Debug, Default)]
pub struct Function {
    /// Its results.
    pub results: Vec<Variable>,
    /// Its parameters, variables and instructions.
    pub body: Entry,
}

/// A variable of `.global`, `.const`, `.shared`, `.local` or `.param` space.
#[derive(Clone, Debug, Default)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Alignment in bytes, a power of two.
    pub align: u32,
    /// Size in bytes; 0 for `name[]`.
    pub size: u64,
    /// Initial bytes, at most `size`; the rest is zero.
    pub initial: Vec<u8>,
    /// Places in `initial` that hold the address of another variable: byte offset, name, addend.
    pub pointers: Vec<(u64, String, i64)>,
}

/// One kernel (`.entry`).
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// Mangled name.
    pub name: String,
    /// Parameters in order; their offsets follow from size and alignment.
    pub parameters: Vec<Variable>,
    /// `.maxntid` or `.reqntid`: the most threads of a block, per dimension.
    pub max_threads: Option<[u32; 3]>,
    /// True where `max_threads` came from `.reqntid`: the block must have exactly this shape.
    pub exact_threads: bool,
    /// `.maxnreg`: the most registers a thread.
    pub max_registers: Option<u32>,
    /// `.minnctapersm`.
    pub min_blocks: Option<u32>,
    /// `.reqnctapercluster`.
    pub cluster: Option<[u32; 3]>,
    /// `.explicitcluster`: must be launched as a cluster.
    pub explicit_cluster: bool,
    /// `.shared` variables declared in the body.
    pub shared: Vec<Variable>,
    /// `.local` variables declared in the body.
    pub local: Vec<Variable>,
    /// `.param` variables declared in the body, for arguments and results of calls; `param0#3` is the fourth of them.
    pub arguments: Vec<Variable>,
    /// Registers declared in the body, by class: predicates, 32-bit (and narrower), 64-bit, 128-bit.
    pub registers: [usize; 4],
    /// The instructions, labels already resolved to indices into this list.
    pub instructions: Vec<Instruction>,
}

/// One instruction.
#[derive(Clone, Debug)]
pub struct Instruction {
    /// `@p` or `@!p`.
    pub guard: Option<Guard>,
    /// The opcode's dot-separated parts, `::` kept inside a part.
    pub opcode: Vec<String>,
    /// Operands in order.
    pub operands: Vec<Operand>,
    /// Line of the PTX text, 1-based.
    pub line: u32,
    /// Source position from the last `.loc` before it.
    pub source: Option<Source>,
    /// The instruction as written, on one line, for messages.
    pub text: String,
}

/// `@p` or `@!p` before an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Index of the predicate register.
    pub predicate: u16,
    /// `@!p`: execute where the predicate is false.
    pub negated: bool,
}

/// A position in CUDA source (`.loc`): the line as written and, for an inlined function, the outermost call in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// File number of [`Module::files`].
    pub file: u32,
    /// 1-based line.
    pub line: u32,
    /// For code inlined from another function: file and line of the outermost call.
    pub inlined_at: Option<(u32, u32)>,
}

/// Class of a register. 16-bit and 8-bit registers live in 32-bit ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// `.pred`.
    Predicate,
    /// 8 to 32 bits.
    Bits32,
    /// 64 bits.
    Bits64,
    /// 128 bits.
    Bits128,
}

/// A register: its class and its index within the class.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Register {
    /// Its class.
    pub class: Class,
    /// Index among the registers of the class.
    pub index: u16,
}

impl fmt::Debug for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = match self.class {
            Class::Predicate => "p",
            Class::Bits32 => "r",
            Class::Bits64 => "rd",
            Class::Bits128 => "rq",
        };
        write!(f, "%{class}{}", self.index)
    }
}

/// An operand of an instruction.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A register.
    Register(Register),
    /// `!%p`: a negated predicate.
    Not(Register),
    /// An integer (sign-extended to 64 bits), or the bits of a floating-point number: 64 of them where the opcode ends
    /// in `f64`, 32 where it ends in `f32`, else as written (`0f..` 32, `0d..` 64).
    Immediate(u64),
    /// A variable's name: its address, plus an offset.
    Symbol(String, i64),
    /// `%tid.x`, `%laneid`, ...: the name without `%`.
    Special(String),
    /// `{a, b, ...}`.
    Vector(Vec<Operand>),
    /// `[base+offset]`.
    Memory(Box<Operand>, i64),
    /// `[map, {c0, c1, ...}]` of TMA instructions.
    Tensor(Box<Operand>, Vec<Operand>),
    /// `a|b`: two destinations.
    Pair(Box<Operand>, Box<Operand>),
    /// `_`.
    Sink,
    /// A branch target: index into [`Entry::instructions`] (equal to its length: the end).
    Label(u32),
}

/// Why a text is no PTX that this crate reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PTX line {line}: {message}")]
pub struct ParseError {
    /// Line of the PTX text, 1-based.
    pub line: u32,
    /// What was expected or found.
    pub message: String,
}

impl Module {
    /// Parses a PTX translation unit.
    ///
    /// # Errors
    /// Names the line of anything that is not understood.
    pub fn parse(text: &str) -> Result<Module, ParseError> {
        parser::parse(text)
    }
}

#[cfg(test)]
mod tests;
