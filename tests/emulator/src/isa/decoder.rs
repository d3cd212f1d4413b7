//! What the families need to decode operands: registers, constants, addresses, symbols.

use std::collections::HashMap;

use super::{Constant, Parameter, Special};
use crate::memory::PARAMETER_WINDOW;
use crate::ptx::{Class, Entry, Instruction, Module, Operand};

/// State spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// `.global` and `.const`.
    Global,
    /// `.shared`, also `.shared::cta`.
    Shared,
    /// `.shared::cluster`.
    Cluster,
    /// `.local`.
    Local,
    /// `.param` of a kernel.
    Parameter,
    /// No space named: the address decides.
    Generic,
}

/// An address operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// A 64-bit register plus an offset.
    Wide(u16, i64),
    /// A 32-bit register plus an offset.
    Narrow(u16, i64),
    /// A constant.
    Absolute(u64),
}

/// Why an instruction cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(String);

impl DecodeError {
    /// An opcode, modifier or type that the stand-in does not know.
    pub fn unsupported() -> Self {
        DecodeError("the stand-in does not know this instruction".into())
    }

    /// An operand of the wrong kind.
    pub fn operand(operand: &Operand, wanted: &str) -> Self {
        DecodeError(format!("operand {operand:?} where {wanted} is expected"))
    }

    /// Any other reason.
    pub fn because(reason: impl Into<String>) -> Self {
        DecodeError(reason.into())
    }

    /// With kernel, line and instruction.
    pub(super) fn at(self, kernel: &str, instruction: &Instruction) -> Self {
        DecodeError(format!(
            "unsupported PTX in kernel {kernel}, line {}: {}: {} ({})",
            instruction.line,
            instruction.opcode.join("."),
            self.0,
            instruction.text
        ))
    }
}

impl Instruction {
    /// Whether the opcode has this part.
    pub fn has(&self, part: &str) -> bool {
        self.opcode.iter().any(|one| one == part)
    }

    /// The last part of the opcode: usually the type.
    pub fn kind(&self) -> &str {
        self.opcode.last().map_or("", String::as_str)
    }

    /// The part of the opcode at `index`, or "".
    pub fn part(&self, index: usize) -> &str {
        self.opcode.get(index).map_or("", String::as_str)
    }

    /// Refuses modifiers that are not in `known`: silently ignored, they would make wrong results.
    ///
    /// # Errors
    /// Names the first unknown part of the opcode.
    pub fn expect_parts(&self, known: &[&str]) -> Result<(), DecodeError> {
        match self.opcode[1..]
            .iter()
            .find(|part| !known.contains(&part.as_str()))
        {
            Some(part) => Err(DecodeError::because(format!(
                "the stand-in does not know .{part} here"
            ))),
            None => Ok(()),
        }
    }

    /// The operand at `index`.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn operand(&self, index: usize) -> Result<&Operand, DecodeError> {
        self.operands
            .get(index)
            .ok_or_else(|| DecodeError::because(format!("operand {} is missing", index + 1)))
    }
}

/// Resolves the operands of one kernel.
#[derive(Debug)]
pub struct Decoder<'a> {
    symbols: HashMap<&'a str, (Space, u64)>,
    extents: HashMap<Space, u32>,
    next: [usize; 3],
    pub(super) constants32: Vec<(u16, Constant)>,
    pub(super) constants64: Vec<(u16, Constant)>,
    known32: HashMap<Constant, u16>,
    known64: HashMap<Constant, u16>,
}

/// The first bytes of shared memory belong to the system, as on sm_90, so that a null pointer is no valid address.
pub const RESERVED_SHARED: u32 = 1024;

impl<'a> Decoder<'a> {
    /// A decoder for one kernel: lays out its parameters, shared and local variables.
    ///
    /// # Errors
    /// When registers are declared that the stand-in does not have.
    pub(super) fn new(
        module: &'a Module,
        entry: &'a Entry,
        globals: &'a HashMap<String, u64>,
    ) -> Result<Self, DecodeError> {
        let [predicates, narrow, wide, quad] = entry.registers;
        if quad > 0 {
            return Err(DecodeError::because(format!(
                "kernel {}: 128-bit registers are not supported",
                entry.name
            )));
        }
        let mut symbols: HashMap<&str, _> = globals
            .iter()
            .map(|(name, &at)| (name.as_str(), (Space::Global, at)))
            .collect();
        let mut shared = u64::from(RESERVED_SHARED);
        for variable in module.shared.iter().chain(&entry.shared) {
            shared = shared.next_multiple_of(u64::from(variable.align.max(1)));
            symbols.insert(&variable.name, (Space::Shared, shared));
            shared += variable.size;
        }
        // All dynamic arrays begin at one address, aligned for the strictest of them.
        let align = module
            .dynamic_shared
            .iter()
            .map(|variable| variable.align)
            .max()
            .unwrap_or(1);
        shared = shared.next_multiple_of(u64::from(align.max(16)));
        for variable in &module.dynamic_shared {
            symbols.insert(&variable.name, (Space::Shared, shared));
        }
        let mut local = 0;
        for variable in &entry.local {
            local = u64::next_multiple_of(local, u64::from(variable.align.max(1)));
            symbols.insert(&variable.name, (Space::Local, local));
            local += variable.size;
        }
        for (variable, parameter) in entry.parameters.iter().zip(layout(entry)) {
            symbols.insert(
                &variable.name,
                (
                    Space::Parameter,
                    PARAMETER_WINDOW + u64::from(parameter.offset),
                ),
            );
        }
        Ok(Decoder {
            symbols,
            extents: HashMap::from([(Space::Shared, shared as u32), (Space::Local, local as u32)]),
            next: [predicates, narrow, wide],
            constants32: Vec::new(),
            constants64: Vec::new(),
            known32: HashMap::new(),
            known64: HashMap::new(),
        })
    }

    /// Bytes of a space that the kernel's variables take.
    pub(super) fn extent(&self, space: Space) -> u32 {
        self.extents.get(&space).copied().unwrap_or(0)
    }

    /// Registers a thread, constants included: predicates, 32-bit, 64-bit.
    pub(super) fn registers(&self) -> [usize; 3] {
        self.next
    }

    /// A new 32-bit register that nothing else names: for results nobody wants.
    pub fn scratch32(&mut self) -> u16 {
        self.next[1] += 1;
        (self.next[1] - 1) as u16
    }

    /// A new 64-bit register that nothing else names.
    pub fn scratch64(&mut self) -> u16 {
        self.next[2] += 1;
        (self.next[2] - 1) as u16
    }

    /// A new predicate register that nothing else names.
    pub fn scratch_predicate(&mut self) -> u16 {
        self.next[0] += 1;
        (self.next[0] - 1) as u16
    }

    /// A 32-bit register that holds a constant.
    pub fn constant32(&mut self, constant: Constant) -> u16 {
        if let Some(&register) = self.known32.get(&constant) {
            return register;
        }
        let register = self.scratch32();
        self.known32.insert(constant, register);
        self.constants32.push((register, constant));
        register
    }

    /// A 64-bit register that holds a constant.
    pub fn constant64(&mut self, constant: Constant) -> u16 {
        if let Some(&register) = self.known64.get(&constant) {
            return register;
        }
        let register = self.scratch64();
        self.known64.insert(constant, register);
        self.constants64.push((register, constant));
        register
    }

    /// A 32-bit source: register, immediate, special register or symbol (the address of a shared or local variable).
    ///
    /// # Errors
    /// For any other operand.
    pub fn source32(&mut self, operand: &Operand) -> Result<u16, DecodeError> {
        match operand {
            Operand::Register(register) if register.class == Class::Bits32 => Ok(register.index),
            Operand::Immediate(value) => Ok(self.constant32(Constant::Value(*value & 0xffff_ffff))),
            Operand::Special(name) => {
                let special = special(name).ok_or_else(|| {
                    DecodeError::because(format!("unknown special register %{name}"))
                })?;
                Ok(self.constant32(Constant::Special(special)))
            }
            Operand::Symbol(name, offset) => {
                let address = self.symbol(name)?.1.wrapping_add_signed(*offset);
                Ok(self.constant32(Constant::Value(address & 0xffff_ffff)))
            }
            other => Err(DecodeError::operand(other, "a 32-bit register or constant")),
        }
    }

    /// A 64-bit source: register, immediate, special register or symbol.
    ///
    /// # Errors
    /// For any other operand.
    pub fn source64(&mut self, operand: &Operand) -> Result<u16, DecodeError> {
        match operand {
            Operand::Register(register) if register.class == Class::Bits64 => Ok(register.index),
            Operand::Immediate(value) => Ok(self.constant64(Constant::Value(*value))),
            // One grid runs after the other: none is told from another.
            Operand::Special(name) if name == "gridid" => Ok(self.constant64(Constant::Value(0))),
            Operand::Symbol(name, offset) => {
                let address = self.symbol(name)?.1.wrapping_add_signed(*offset);
                Ok(self.constant64(Constant::Value(address)))
            }
            other => Err(DecodeError::operand(other, "a 64-bit register or constant")),
        }
    }

    /// A 32-bit destination; `_` gets a register of its own.
    ///
    /// # Errors
    /// For anything but a 32-bit register or `_`.
    pub fn destination32(&mut self, operand: &Operand) -> Result<u16, DecodeError> {
        match operand {
            Operand::Register(register) if register.class == Class::Bits32 => Ok(register.index),
            Operand::Sink => Ok(self.scratch32()),
            other => Err(DecodeError::operand(other, "a 32-bit register")),
        }
    }

    /// A 64-bit destination; `_` gets a register of its own.
    ///
    /// # Errors
    /// For anything but a 64-bit register or `_`.
    pub fn destination64(&mut self, operand: &Operand) -> Result<u16, DecodeError> {
        match operand {
            Operand::Register(register) if register.class == Class::Bits64 => Ok(register.index),
            Operand::Sink => Ok(self.scratch64()),
            other => Err(DecodeError::operand(other, "a 64-bit register")),
        }
    }

    /// A predicate register; `_` gets one of its own.
    ///
    /// # Errors
    /// For anything else.
    pub fn predicate(&mut self, operand: &Operand) -> Result<u16, DecodeError> {
        match operand {
            Operand::Register(register) if register.class == Class::Predicate => Ok(register.index),
            Operand::Sink => Ok(self.scratch_predicate()),
            other => Err(DecodeError::operand(other, "a predicate register")),
        }
    }

    /// `%p` or `!%p`: the register, and whether it is negated.
    ///
    /// # Errors
    /// For anything else.
    pub fn signed_predicate(&mut self, operand: &Operand) -> Result<(u16, bool), DecodeError> {
        match operand {
            Operand::Not(register) => Ok((register.index, true)),
            other => Ok((self.predicate(other)?, false)),
        }
    }

    /// `[register+offset]`, `[symbol+offset]` or `[constant]`.
    ///
    /// # Errors
    /// For anything else.
    pub fn address(&mut self, operand: &Operand) -> Result<Address, DecodeError> {
        let Operand::Memory(base, offset) = operand else {
            return Err(DecodeError::operand(operand, "an address"));
        };
        match &**base {
            Operand::Register(register) if register.class == Class::Bits64 => {
                Ok(Address::Wide(register.index, *offset))
            }
            Operand::Register(register) if register.class == Class::Bits32 => {
                Ok(Address::Narrow(register.index, *offset))
            }
            Operand::Symbol(name, inner) => Ok(Address::Absolute(
                self.symbol(name)?.1.wrapping_add_signed(offset + inner),
            )),
            Operand::Immediate(value) => Ok(Address::Absolute(value.wrapping_add_signed(*offset))),
            other => Err(DecodeError::operand(other, "the base of an address")),
        }
    }

    /// The members of `{a, b, ...}`, or the operand itself.
    pub fn members<'o>(&self, operand: &'o Operand) -> &'o [Operand] {
        match operand {
            Operand::Vector(members) => members,
            other => std::slice::from_ref(other),
        }
    }

    /// An immediate number.
    ///
    /// # Errors
    /// For anything else.
    pub fn immediate(&self, operand: &Operand) -> Result<u64, DecodeError> {
        match operand {
            Operand::Immediate(value) => Ok(*value),
            other => Err(DecodeError::operand(other, "an immediate")),
        }
    }

    /// Space and address of a variable.
    ///
    /// # Errors
    /// When there is no variable of the name.
    pub fn symbol(&self, name: &str) -> Result<(Space, u64), DecodeError> {
        self.symbols
            .get(name)
            .copied()
            .ok_or_else(|| DecodeError::because(format!("unknown symbol {name}")))
    }
}

/// Where a kernel's parameters lie.
pub(super) fn layout(entry: &Entry) -> Vec<Parameter> {
    let mut offset = 0;
    let place = |variable: &crate::ptx::Variable| {
        let size = variable.size as u32;
        let at = u32::next_multiple_of(offset, variable.align.max(1));
        offset = at + size;
        Parameter { offset: at, size }
    };
    entry.parameters.iter().map(place).collect()
}

/// The state space that an opcode names.
pub(super) fn space(instruction: &Instruction) -> Space {
    let named = |part: &String| match part.as_str() {
        "global" | "const" => Some(Space::Global),
        "shared" | "shared::cta" => Some(Space::Shared),
        "shared::cluster" => Some(Space::Cluster),
        // Arguments of functions that are not in registers lie in local memory.
        "local" | "param::func" => Some(Space::Local),
        "param" | "param::entry" => Some(Space::Parameter),
        _ => None,
    };
    instruction
        .opcode
        .iter()
        .find_map(named)
        .unwrap_or(Space::Generic)
}

fn special(name: &str) -> Option<Special> {
    let (base, dimension) = match name.split_once('.') {
        Some((base, "x")) => (base, 0),
        Some((base, "y")) => (base, 1),
        Some((base, "z")) => (base, 2),
        Some(_) => return None,
        None => (name, 0),
    };
    Some(match base {
        "tid" => Special::Thread(dimension),
        "ntid" => Special::Threads(dimension),
        "ctaid" => Special::Block(dimension),
        "nctaid" => Special::Blocks(dimension),
        "laneid" => Special::Lane,
        "warpid" => Special::Warp,
        "nwarpid" => Special::Warps,
        "smid" => Special::Multiprocessor,
        "nsmid" => Special::Multiprocessors,
        "lanemask_lt" => Special::LanesBelow,
        "lanemask_le" => Special::LanesUpTo,
        "lanemask_gt" => Special::LanesAbove,
        "lanemask_ge" => Special::LanesFrom,
        "lanemask_eq" => Special::LaneMask,
        "clusterid" => Special::Cluster(dimension),
        "nclusterid" => Special::Clusters(dimension),
        "cluster_ctaid" => Special::BlockInCluster(dimension),
        "cluster_nctaid" => Special::BlocksInCluster(dimension),
        "cluster_ctarank" => Special::RankInCluster,
        "cluster_nctarank" => Special::RanksInCluster,
        "dynamic_smem_size" => Special::DynamicShared,
        "total_smem_size" => Special::TotalShared,
        _ => return None,
    })
}
