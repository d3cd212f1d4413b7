//! From core matrices to panel rows.
//!
//! Lane `l` of a warp has `g = l / 4`, `t = l % 4`. In every fragment of A and B a register holds one core matrix: lane `l`
//! the word `t` of line `g`, so the 32 lanes in order are its bytes in order. Of A (16 rows) register 0 is rows 0 to 7 of the
//! first 16 bytes along k, register 1 rows 8 to 15, registers 2 and 3 the same for the next 16 bytes; of B (8 columns)
//! register 0 and 1 follow each other along k.

use super::formats::{Bf16, E4m3, E5m2, Element, F16, Format, S8, Tf32, U8};
use crate::isa::Lanes;

/// Lines of a core matrix.
pub const CORE_LINES: usize = 8;

/// The eight lines of a core matrix at one k.
pub type PanelRow = [f32; CORE_LINES];

/// What the lines of a panel are, which decides their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// Rows of A, in order.
    Rows,
    /// Columns of B: the even ones, then the odd ones. An accumulator register holds either the even or the odd columns of
    /// eight rows, so with this order its words go to the accumulator tile in groups of four.
    Columns,
}

impl Lines {
    /// The line at each place of a panel row.
    const fn order(self) -> [usize; CORE_LINES] {
        match self {
            Lines::Rows => [0, 1, 2, 3, 4, 5, 6, 7],
            Lines::Columns => [0, 2, 4, 6, 1, 3, 5, 7],
        }
    }
}

/// Unpacks a core matrix into the panel rows of its [`Element::per_line`] values of k.
#[inline(always)]
pub fn unpack(element: Element, lines: Lines, core: &Lanes<u32>, panel: &mut [PanelRow]) {
    match element {
        Element::F16 => unpack_as::<F16>(lines, core, panel),
        Element::Bf16 => unpack_as::<Bf16>(lines, core, panel),
        Element::Tf32 => unpack_as::<Tf32>(lines, core, panel),
        Element::E4m3 => unpack_as::<E4m3>(lines, core, panel),
        Element::E5m2 => unpack_as::<E5m2>(lines, core, panel),
        Element::S8 => unpack_as::<S8>(lines, core, panel),
        Element::U8 => unpack_as::<U8>(lines, core, panel),
    }
}

#[inline(always)]
fn unpack_as<F: Format>(lines: Lines, core: &Lanes<u32>, panel: &mut [PanelRow]) {
    let order = lines.order();
    let per_word = (32 / F::BITS) as usize;
    for (word, rows) in panel.chunks_exact_mut(per_word).take(4).enumerate() {
        let mut words = [0; CORE_LINES];
        for (place, line) in words.iter_mut().zip(order) {
            *place = core[4 * line + word];
        }
        for (part, row) in rows.iter_mut().enumerate() {
            for (value, word) in row.iter_mut().zip(words) {
                *value = F::decode(word >> (F::BITS * part as u32) & (u32::MAX >> (32 - F::BITS)));
            }
        }
    }
}

/// Unpacks 16 bytes that hold the eight lines at one k (an MN-major tile; 16-bit types only) into a panel row.
///
/// # Panics
/// For types of another size: they have no such tiles.
#[inline(always)]
pub fn unpack_column(element: Element, lines: Lines, column: [u32; 4]) -> PanelRow {
    match element {
        Element::F16 => unpack_column_as::<F16>(lines, column),
        Element::Bf16 => unpack_column_as::<Bf16>(lines, column),
        _ => unreachable!("only 16-bit operands are transposed"),
    }
}

#[inline(always)]
fn unpack_column_as<F: Format>(lines: Lines, column: [u32; 4]) -> PanelRow {
    let order = lines.order();
    let mut row = [0.0; CORE_LINES];
    for (value, line) in row.iter_mut().zip(order) {
        *value = F::decode(column[line / 2] >> (16 * (line % 2)) & 0xffff);
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(line, k)` of element `i` of lane `l`, as the tables of the PTX manual give them for one register of A or B.
    fn table(element: Element, l: usize, i: usize) -> (usize, usize) {
        let (g, t) = (l / 4, l % 4);
        match element.bytes() {
            1 => (g, 4 * t + i),
            2 => (g, 2 * t + i),
            _ => (g, t),
        }
    }

    #[test]
    fn panels_hold_what_the_fragment_tables_say() {
        for element in [Element::U8, Element::F16, Element::Tf32] {
            let per_word = 4 / element.bytes();
            for lines in [Lines::Rows, Lines::Columns] {
                let number = |line: usize, k: usize| (line * element.per_line() + k) as f32;
                let encode = |value: f32| match element {
                    Element::U8 => value as u32,
                    Element::F16 => u32::from(half::f16::from_f32(value).to_bits()),
                    _ => value.to_bits(),
                };
                let mut core = [0; 32];
                for (l, word) in core.iter_mut().enumerate() {
                    for i in 0..per_word {
                        let (line, k) = table(element, l, i);
                        *word |= encode(number(line, k)) << (8 * element.bytes() * i);
                    }
                }
                let mut panel = vec![[f32::NAN; 8]; element.per_line()];
                unpack(element, lines, &core, &mut panel);
                for (k, row) in panel.iter().enumerate() {
                    for (place, line) in lines.order().into_iter().enumerate() {
                        assert_eq!(row[place], number(line, k), "{element:?} {lines:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_transposed_column_holds_one_line_after_the_other() {
        let halves: [u32; 8] =
            std::array::from_fn(|line| u32::from(half::bf16::from_f32(line as f32).to_bits()));
        let column = std::array::from_fn(|word| halves[2 * word] | halves[2 * word + 1] << 16);
        assert_eq!(
            unpack_column(Element::Bf16, Lines::Rows, column),
            [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
        );
        assert_eq!(
            unpack_column(Element::Bf16, Lines::Columns, column),
            [0.0, 2.0, 4.0, 6.0, 1.0, 3.0, 5.0, 7.0]
        );
    }
}
