//! `wmma.mma`.

use super::fragment::{Fragment, Matrix, Shape};
use crate::isa::mma::{Form, Mma, registers};
use crate::isa::{DecodeError, Decoder};
use crate::ptx::Instruction;
use crate::tensor::{Accumulator, CORE_LINES, Element};

/// Decodes a product. The layouts that A and B had in memory are named once more and change nothing.
pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Mma, DecodeError> {
    let parts: Vec<&str> = instruction.opcode.iter().map(String::as_str).collect();
    let [
        "wmma",
        "mma",
        "sync",
        "aligned",
        "row" | "col",
        "row" | "col",
        shape,
        types @ ..,
    ] = &parts[..]
    else {
        return Err(DecodeError::unsupported());
    };
    // Without their type, A and B are f16.
    let (element, [d, c], saturating) = match *types {
        [d, c] => ("f16", [d, c], false),
        [d, a, b, c] if a == b => (a, [d, c], false),
        [d, a, b, c, "satfinite"] if a == b => (a, [d, c], true),
        _ => return Err(DecodeError::unsupported()),
    };
    let shape = Shape::named(shape).ok_or_else(DecodeError::unsupported)?;
    let fragment =
        |matrix, kind| Fragment::of(matrix, shape, kind).ok_or_else(DecodeError::unsupported);
    let (a, b) = (fragment(Matrix::A, element)?, fragment(Matrix::B, element)?);
    let element = Element::named(element).ok_or_else(DecodeError::unsupported)?;
    let form = Form {
        a: element,
        b: element,
        c: accumulator(element, c, saturating)?,
        d: accumulator(element, d, saturating)?,
        row_groups: shape.rows / CORE_LINES,
        column_groups: shape.columns / CORE_LINES,
        steps: shape.k / element.per_line(),
    };
    // What repeats other registers is not looked at.
    let mut operand = |index, registers_of: Fragment| {
        let all = registers(instruction, decoder, index, registers_of.registers)?;
        Ok(all[..registers_of.cores() * registers_of.core_registers()].into())
    };
    Ok(Mma {
        d: operand(0, fragment(Matrix::Accumulator, d)?)?,
        a: operand(1, a)?,
        b: operand(2, b)?,
        c: operand(3, fragment(Matrix::Accumulator, c)?)?,
        form,
    })
}

/// The type of C or D beside A and B of a type.
fn accumulator(element: Element, name: &str, saturating: bool) -> Result<Accumulator, DecodeError> {
    match name {
        "s32" if element.is_integer() && saturating => Ok(Accumulator::S32Saturating),
        "s32" if element.is_integer() => Ok(Accumulator::S32),
        "f32" if !element.is_integer() && !saturating => Ok(Accumulator::F32),
        "f16" if element == Element::F16 && !saturating => Ok(Accumulator::F16),
        _ => Err(DecodeError::unsupported()),
    }
}
