//! What distinguishes one `wgmma.mma_async` from another, from its opcode and operands.

use super::super::{DecodeError, Decoder};
use crate::ptx::{Class, Instruction, Operand};
use crate::tensor::{Accumulator, CORE_LINES, Element, Major};

/// Rows of the product.
pub(super) const ROWS: usize = 64;

/// Types, shape and registers.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) a: Element,
    pub(super) b: Element,
    pub(super) accumulator: Accumulator,
    /// Columns of the product.
    pub(super) n: usize,
    pub(super) a_source: Source,
    pub(super) b_major: Major,
    /// Whether the product is subtracted (one of imm-scale-a and imm-scale-b is -1).
    pub(super) negated: bool,
    pub(super) d: Box<[u16]>,
}

/// Where A comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// Four registers of each warp.
    Registers([u16; 4]),
    /// Shared memory.
    Shared(Major),
}

impl Form {
    /// Decodes opcode and operands; descriptors and scale-d are left to the caller.
    ///
    /// # Errors
    /// For types, shapes and operands that do not exist.
    pub(super) fn decode(
        opcode: &[&str],
        instruction: &Instruction,
        decoder: &mut Decoder<'_>,
    ) -> Result<Self, DecodeError> {
        let (shape, saturating, types) = match *opcode {
            [shape, d, a, b] => (shape, false, [d, a, b]),
            [shape, "satfinite", d, a, b] => (shape, true, [d, a, b]),
            _ => return Err(DecodeError::unsupported()),
        };
        let (a, b, accumulator) =
            element_types(types, saturating).ok_or_else(DecodeError::unsupported)?;
        let n = columns(shape, a)
            .ok_or_else(|| DecodeError::because(format!("there is no shape {shape} for {a:?}")))?;
        let operands = &instruction.operands;
        let in_registers = matches!(operands.get(1), Some(Operand::Vector(_)));
        let transposes = match (a.bytes(), in_registers) {
            (2, false) => 2,
            (2, true) => 1,
            _ => 0,
        };
        let expected = 4 + if a.is_integer() { 0 } else { 2 } + transposes;
        if operands.len() != expected {
            return Err(DecodeError::because(format!(
                "{} operands where {expected} are expected",
                operands.len()
            )));
        }
        let mut negated = false;
        if !a.is_integer() {
            for operand in &operands[4..6] {
                negated ^= match decoder.immediate(operand)? as i64 {
                    1 => false,
                    -1 => true,
                    other => {
                        return Err(DecodeError::because(format!(
                            "imm-scale {other}: only 1 and -1"
                        )));
                    }
                };
            }
        }
        let major = |index: usize| match decoder.immediate(&operands[index])? {
            0 => Ok(Major::K),
            1 => Ok(Major::Mn),
            other => Err(DecodeError::because(format!(
                "imm-trans {other}: only 0 and 1"
            ))),
        };
        let a_major = if transposes == 2 { major(6)? } else { Major::K };
        let b_major = if transposes > 0 {
            major(expected - 1)?
        } else {
            Major::K
        };
        let a_source = if in_registers {
            let registers = registers(decoder, &operands[1])?;
            let four = <[u16; 4]>::try_from(&*registers).map_err(|_| {
                DecodeError::because(format!("A in {} registers, not 4", registers.len()))
            })?;
            Source::Registers(four)
        } else {
            Source::Shared(a_major)
        };
        let d = registers(decoder, &operands[0])?;
        let tiles = n / CORE_LINES * 2;
        if d.len() != tiles * accumulator.registers() {
            let expected = tiles * accumulator.registers();
            return Err(DecodeError::because(format!(
                "{} registers of D where {expected} are expected",
                d.len()
            )));
        }
        Ok(Form {
            a,
            b,
            accumulator,
            n,
            a_source,
            b_major,
            negated,
            d,
        })
    }

    /// Length of the sums.
    pub(super) fn k(&self) -> usize {
        2 * self.a.per_line()
    }

    /// Registers of the tile of eight rows and eight columns at `columns`, rows 0 to 7 or 8 to 15 of the warp.
    pub(super) fn tile(&self, columns: usize, upper: usize) -> &[u16] {
        let count = self.accumulator.registers();
        &self.d[(2 * columns + upper) * count..][..count]
    }
}

/// Registers: those of D must be distinct from constants, and so must those of A, because they are used after the issue.
fn registers(decoder: &Decoder<'_>, operand: &Operand) -> Result<Box<[u16]>, DecodeError> {
    let register = |member: &Operand| match member {
        Operand::Register(register) if register.class == Class::Bits32 => Ok(register.index),
        other => Err(DecodeError::operand(other, "a 32-bit register")),
    };
    decoder.members(operand).iter().map(register).collect()
}

fn element_types(
    [d, a, b]: [&str; 3],
    saturating: bool,
) -> Option<(Element, Element, Accumulator)> {
    let (a, b) = (Element::named(a)?, Element::named(b)?);
    let alike = a == b || a.is_integer() && b.is_integer() || a.is_f8() && b.is_f8();
    let accumulator = match d {
        "f32" if !a.is_integer() && !saturating => Accumulator::F32,
        "f16" if (a == Element::F16 || a.is_f8()) && !saturating => Accumulator::F16,
        "s32" if a.is_integer() && saturating => Accumulator::S32Saturating,
        "s32" if a.is_integer() => Accumulator::S32,
        _ => return None,
    };
    alike.then_some((a, b, accumulator))
}

/// n of `m64n..k..`, if there is such a shape.
fn columns(shape: &str, element: Element) -> Option<usize> {
    let (n, k) = shape.strip_prefix("m64n")?.split_once('k')?;
    let (n, k): (usize, usize) = (n.parse().ok()?, k.parse().ok()?);
    // Integers have no odd multiples of eight above 32, but 24.
    let exists =
        (8..=256).contains(&n) && n % 8 == 0 && (!element.is_integer() || n <= 32 || n % 16 == 0);
    (exists && k == 2 * element.per_line()).then_some(n)
}
