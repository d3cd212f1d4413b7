//! `mma.sync`: one warp multiplies a 16x8 (or 8x8) tile.

use super::{DecodeError, Decoder, Execute, Flow, Lanes};
use crate::exec::{Step, Warp};
use crate::fault::{FaultKind, Stop};
use crate::ptx::{Instruction, Operand};
use crate::tensor::{
    Accumulator, CORE_LINES, Eight, Element, Lines, PanelRow, Work, multiply, unpack, vectorised,
};

/// Decodes an instruction of this family.
///
/// # Errors
/// For forms that the stand-in does not know.
pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    Ok(Box::new(Mma::decode(instruction, decoder)?))
}

/// D is a destination, the others may be constants.
fn register(
    decoder: &mut Decoder<'_>,
    operand: &Operand,
    index: usize,
) -> Result<u16, DecodeError> {
    if index == 0 {
        decoder.destination32(operand)
    } else {
        decoder.source32(operand)
    }
}

/// What distinguishes one `mma` from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    a: Element,
    b: Element,
    accumulator: Accumulator,
    /// Groups of eight rows.
    row_groups: usize,
    /// Steps of 16 bytes along k.
    steps: usize,
}

impl Form {
    /// The form that shape and the types of D, A, B and C name; `None` for those that the stand-in does not know.
    fn of(shape: &str, [d, a, b, c]: [&str; 4], saturating: bool) -> Option<Self> {
        let (a, b) = (Element::named(a)?, Element::named(b)?);
        let accumulator = match d {
            "f32" if !saturating => Accumulator::F32,
            "f16" if !saturating => Accumulator::F16,
            "s32" if saturating => Accumulator::S32Saturating,
            "s32" => Accumulator::S32,
            _ => return None,
        };
        let (row_groups, k) = match shape {
            "m8n8k16" => (1, 16),
            "m16n8k4" => (2, 4),
            "m16n8k8" => (2, 8),
            "m16n8k16" => (2, 16),
            "m16n8k32" => (2, 32),
            _ => return None,
        };
        let integer = matches!(accumulator, Accumulator::S32 | Accumulator::S32Saturating);
        let types_agree = d == c
            && integer == a.is_integer()
            && (a == b || a.is_integer() && b.is_integer() || a.is_f8() && b.is_f8())
            && (accumulator != Accumulator::F16 || a == Element::F16 || a.is_f8());
        // One or two steps of 16 bytes along k; 8 rows only for integers.
        let steps = k / a.per_line();
        let exists =
            k % a.per_line() == 0 && (1..=2).contains(&steps) && (row_groups == 2 || integer);
        (types_agree && exists).then_some(Form {
            a,
            b,
            accumulator,
            row_groups,
            steps,
        })
    }

    fn k(&self) -> usize {
        self.steps * self.a.per_line()
    }

    fn multiply_adds(&self) -> u64 {
        (self.row_groups * CORE_LINES * CORE_LINES * self.k()) as u64
    }
}

/// `mma.sync`, its registers in the order of the PTX fragments.
#[derive(Debug)]
struct Mma {
    form: Form,
    d: Box<[u16]>,
    a: Box<[u16]>,
    b: Box<[u16]>,
    c: Box<[u16]>,
}

impl Mma {
    fn decode(instruction: &Instruction, decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let parts: Vec<&str> = instruction.opcode.iter().map(String::as_str).collect();
        let (shape, types, saturating) = match parts[..] {
            ["mma", "sync", "aligned", shape, "row", "col", d, a, b, c] => {
                (shape, [d, a, b, c], false)
            }
            [
                "mma",
                "sync",
                "aligned",
                shape,
                "row",
                "col",
                "satfinite",
                d,
                a,
                b,
                c,
            ] => (shape, [d, a, b, c], true),
            _ => return Err(DecodeError::unsupported()),
        };
        let Some(form) = Form::of(shape, types, saturating) else {
            return Err(DecodeError::unsupported());
        };
        let mut registers = |index: usize, count: usize| {
            let operand = instruction.operand(index)?;
            let members = decoder.members(operand);
            if members.len() != count {
                return Err(DecodeError::because(format!(
                    "operand {operand:?} of {shape} where {count} registers are expected"
                )));
            }
            members
                .iter()
                .map(|member| register(decoder, member, index))
                .collect::<Result<Box<[u16]>, _>>()
        };
        let (rows, steps) = (form.row_groups, form.steps);
        let accumulators = rows * form.accumulator.registers();
        Ok(Mma {
            d: registers(0, accumulators)?,
            a: registers(1, rows * steps)?,
            b: registers(2, steps)?,
            c: registers(3, accumulators)?,
            form,
        })
    }
}

impl Execute for Mma {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        if step.active != u32::MAX {
            let missing = (!step.active).trailing_zeros() as usize;
            let message = format!("mma needs all 32 lanes, only {:08x} are here", step.active);
            return Err(step.fault(FaultKind::Divergence, missing, message));
        }
        step.counters.mma += 1;
        step.counters.tensor_multiply_adds += self.form.multiply_adds();
        vectorised(WarpProduct {
            mma: self,
            registers: &mut step.warp.narrow,
        });
        Ok(Flow::Next)
    }

    fn participants(&self, _warp: &Warp, _executing: u32) -> Option<u32> {
        Some(u32::MAX)
    }
}

/// The product of one warp, on its registers.
struct WarpProduct<'a> {
    mma: &'a Mma,
    registers: &'a mut [Lanes<u32>],
}

/// The longest k of any form.
const LONGEST: usize = 32;

impl Work for WarpProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Eight>(self) {
        let WarpProduct {
            mma: Mma { form, d, a, b, c },
            registers,
        } = self;
        let k = form.k();
        let mut columns = [[0.0; CORE_LINES]; LONGEST];
        fill(
            form.b,
            Lines::Columns,
            b.iter().copied(),
            registers,
            &mut columns,
        );
        let per_tile = form.accumulator.registers();
        let mut tiles = [[[0; 32]; 2]; 2];
        for (group, tile) in tiles.iter_mut().enumerate().take(form.row_groups) {
            let mut rows = [[0.0; CORE_LINES]; LONGEST];
            fill(
                form.a,
                Lines::Rows,
                a.iter().copied().skip(group).step_by(form.row_groups),
                registers,
                &mut rows,
            );
            // Where a tile is one register the second is not looked at.
            let start = [
                &registers[c[group * per_tile] as usize],
                &registers[c[group * per_tile + per_tile - 1] as usize],
            ];
            *tile = multiply::<V>(form.accumulator, Some(start), &rows[..k], &columns[..k]);
        }
        // D may name registers of C: only now that all of C was read.
        for (at, &register) in d.iter().enumerate() {
            registers[register as usize] = tiles[at / per_tile][at % per_tile];
        }
    }
}

/// Unpacks registers that follow each other along k.
#[inline(always)]
fn fill(
    element: Element,
    lines: Lines,
    fragment: impl Iterator<Item = u16>,
    registers: &[Lanes<u32>],
    panel: &mut [PanelRow],
) {
    for (register, rows) in fragment.zip(panel.chunks_exact_mut(element.per_line())) {
        unpack(element, lines, &registers[register as usize], rows);
    }
}

#[cfg(test)]
mod tests;
