//! `mma.sync`: one warp multiplies a 16x8 (or 8x8) tile. `wmma.mma` is the same product of larger tiles.

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
pub(super) struct Form {
    pub(super) a: Element,
    pub(super) b: Element,
    pub(super) c: Accumulator,
    pub(super) d: Accumulator,
    /// Groups of eight rows.
    pub(super) row_groups: usize,
    /// Groups of eight columns.
    pub(super) column_groups: usize,
    /// Steps of 16 bytes along k.
    pub(super) steps: usize,
}

/// Tiles of 8x8 of the product of one `mma.sync`.
const TILES: usize = 2;

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
            c: accumulator,
            d: accumulator,
            row_groups,
            column_groups: 1,
            steps,
        })
    }

    fn k(&self) -> usize {
        self.steps * self.a.per_line()
    }

    /// Tiles of 8x8.
    pub(super) fn tiles(&self) -> usize {
        self.row_groups * self.column_groups
    }

    fn multiply_adds(&self) -> u64 {
        (self.tiles() * CORE_LINES * CORE_LINES * self.k()) as u64
    }
}

/// A product of a warp. Of each operand, the registers of the first group of eight lines come first, then those of the next group,
/// before the next step along k (of A and B) or the next columns (of C and D): the order of the PTX fragments.
#[derive(Debug)]
pub(super) struct Mma {
    pub(super) form: Form,
    pub(super) d: Box<[u16]>,
    pub(super) a: Box<[u16]>,
    pub(super) b: Box<[u16]>,
    pub(super) c: Box<[u16]>,
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
        let (rows, steps) = (form.row_groups, form.steps);
        Ok(Mma {
            d: registers(instruction, decoder, 0, rows * form.d.registers())?,
            a: registers(instruction, decoder, 1, rows * steps)?,
            b: registers(instruction, decoder, 2, steps)?,
            c: registers(instruction, decoder, 3, rows * form.c.registers())?,
            form,
        })
    }
}

/// The registers of an operand, of which there must be `count`. D, operand 0, is a destination.
pub(super) fn registers(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
    index: usize,
    count: usize,
) -> Result<Box<[u16]>, DecodeError> {
    let operand = instruction.operand(index)?;
    let members = decoder.members(operand);
    if members.len() != count {
        return Err(DecodeError::because(format!(
            "operand {operand:?} where {count} registers are expected"
        )));
    }
    members
        .iter()
        .map(|member| register(decoder, member, index))
        .collect()
}

/// Faults where lanes are missing.
pub(super) fn need_all_lanes(step: &Step<'_>, name: &str) -> Result<(), Stop> {
    if step.active == u32::MAX {
        return Ok(());
    }
    let missing = (!step.active).trailing_zeros() as usize;
    let message = format!(
        "{name} needs all 32 lanes, only {:08x} are here",
        step.active
    );
    Err(step.fault(FaultKind::Divergence, missing, message))
}

impl Execute for Mma {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        need_all_lanes(step, "mma")?;
        step.counters.mma += self.form.tiles().div_ceil(TILES) as u64;
        step.counters.tensor_multiply_adds += self.form.multiply_adds();
        let registers = &mut step.warp.narrow;
        match self.form.tiles() {
            ..=TILES => vectorised(WarpProduct::<TILES> {
                mma: self,
                registers,
            }),
            _ => vectorised(WarpProduct::<MOST_TILES> {
                mma: self,
                registers,
            }),
        }
        Ok(Flow::Next)
    }

    fn participants(&self, _warp: &Warp, _executing: u32) -> Option<u32> {
        Some(u32::MAX)
    }
}

/// The product of one warp, of at most `N` tiles, on its registers.
struct WarpProduct<'a, const N: usize> {
    mma: &'a Mma,
    registers: &'a mut [Lanes<u32>],
}

/// The longest k of any form.
const LONGEST: usize = 32;

/// The most tiles of any form: those of `wmma`.
const MOST_TILES: usize = 4;

impl<const N: usize> Work for WarpProduct<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run<V: Eight>(self) {
        let WarpProduct {
            mma: Mma { form, d, a, b, c },
            registers,
        } = self;
        let k = form.k();
        let of_c = form.c.registers();
        let mut tiles = [[[0; 32]; 2]; N];
        let columns_of_tiles = tiles.chunks_mut(form.row_groups).take(form.column_groups);
        for (column_group, tiles) in columns_of_tiles.enumerate() {
            let mut columns = [[0.0; CORE_LINES]; LONGEST];
            fill(
                form.b,
                Lines::Columns,
                b.iter()
                    .copied()
                    .skip(column_group)
                    .step_by(form.column_groups),
                registers,
                &mut columns,
            );
            for (row_group, tile) in tiles.iter_mut().enumerate() {
                let mut rows = [[0.0; CORE_LINES]; LONGEST];
                fill(
                    form.a,
                    Lines::Rows,
                    a.iter().copied().skip(row_group).step_by(form.row_groups),
                    registers,
                    &mut rows,
                );
                // Where a tile is one register the second is not looked at.
                let first = (column_group * form.row_groups + row_group) * of_c;
                let start = [
                    &registers[c[first] as usize],
                    &registers[c[first + of_c - 1] as usize],
                ];
                *tile = multiply::<V>(form.c, form.d, Some(start), &rows[..k], &columns[..k]);
            }
        }
        // D may name registers of C: only now that all of C was read.
        let of_d = form.d.registers();
        for (at, &register) in d.iter().enumerate() {
            registers[register as usize] = tiles[at / of_d][at % of_d];
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
