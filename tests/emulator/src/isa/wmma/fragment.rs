//! Which element of a tile each register of each lane holds.

use crate::tensor::{CORE_LINES, Element};

/// An operand of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Matrix {
    A,
    B,
    /// C or D.
    Accumulator,
}

/// The size of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) k: usize,
}

impl Shape {
    pub(super) fn named(name: &str) -> Option<Self> {
        let (rows, columns, k) = match name {
            "m16n16k16" => (16, 16, 16),
            "m32n8k16" => (32, 8, 16),
            "m8n32k16" => (8, 32, 16),
            "m16n16k8" => (16, 16, 8),
            _ => return None,
        };
        Some(Shape { rows, columns, k })
    }
}

/// A tile in registers.
///
/// It is a grid of cores: eight lines (rows; of B columns) by four runs along the depth (k; of C and D the columns). Lane
/// `4 g + t` holds run `t` of line `g`, its first element lowest. Cores are numbered line groups first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fragment {
    /// Size of an element.
    pub(super) bytes: usize,
    /// Elements of a run.
    pub(super) run: usize,
    /// Registers, which may be more than the cores need: the last ones then repeat the first.
    pub(super) registers: usize,
    lines: usize,
    depth: usize,
}

/// Lanes of a line of a core.
const RUNS: usize = 4;

/// Registers of A and B of f16, whatever the shape: a rule from hardware on which two lanes held each element.
const F16_REGISTERS: usize = 8;

impl Fragment {
    /// The tile that a shape and a type name; `None` for those that do not exist.
    pub(super) fn of(matrix: Matrix, shape: Shape, kind: &str) -> Option<Self> {
        let Shape { rows, columns, k } = shape;
        let (lines, depth) = match matrix {
            Matrix::A => (rows, k),
            Matrix::B => (columns, k),
            Matrix::Accumulator => (rows, columns),
        };
        let bytes = match (matrix, kind) {
            (Matrix::Accumulator, "f16") => 2,
            (Matrix::Accumulator, "f32" | "s32") => 4,
            (Matrix::A | Matrix::B, "f16" | "bf16" | "s8" | "u8" | "tf32") => {
                Element::named(kind)?.bytes()
            }
            _ => return None,
        };
        let exists = match kind {
            "f32" => true,
            "tf32" => k == 8,
            _ => k == 16,
        };
        let run = match matrix {
            Matrix::Accumulator => 2,
            Matrix::A | Matrix::B => 4 / bytes,
        };
        let registers = match (matrix, kind) {
            (Matrix::A | Matrix::B, "f16") => F16_REGISTERS,
            _ => lines * depth * bytes / (4 * 32),
        };
        exists.then_some(Fragment {
            bytes,
            run,
            registers,
            lines,
            depth,
        })
    }

    /// Cores of the grid.
    pub(super) fn cores(&self) -> usize {
        self.lines / CORE_LINES * self.depth / (RUNS * self.run)
    }

    /// Registers of a core.
    pub(super) fn core_registers(&self) -> usize {
        self.run * self.bytes / 4
    }

    /// Lines, in the direction in which they follow each other, and their length.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.lines, self.depth)
    }

    /// Line and depth of an element of a lane's run in a core.
    pub(super) fn place(&self, core: usize, lane: usize, element: usize) -> (usize, usize) {
        let groups = self.lines / CORE_LINES;
        let line = core % groups * CORE_LINES + lane / RUNS;
        let run = core / groups * RUNS + lane % RUNS;
        (line, run * self.run + element)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPES: [&str; 4] = ["m16n16k16", "m32n8k16", "m8n32k16", "m16n16k8"];

    fn fragments() -> impl Iterator<Item = (&'static str, Matrix, &'static str, Fragment)> {
        let matrices = [Matrix::A, Matrix::B, Matrix::Accumulator];
        let kinds = ["f16", "bf16", "s8", "u8", "tf32", "f32", "s32"];
        SHAPES.into_iter().flat_map(move |shape| {
            matrices.into_iter().flat_map(move |matrix| {
                kinds.into_iter().filter_map(move |kind| {
                    let fragment = Fragment::of(matrix, Shape::named(shape)?, kind)?;
                    Some((shape, matrix, kind, fragment))
                })
            })
        })
    }

    #[test]
    fn every_element_has_one_place() {
        for (shape, matrix, kind, fragment) in fragments() {
            let (lines, depth) = fragment.size();
            let mut seen = vec![0; lines * depth];
            for core in 0..fragment.cores() {
                for (lane, element) in
                    (0..32).flat_map(|lane| (0..fragment.run).map(move |at| (lane, at)))
                {
                    let (line, at) = fragment.place(core, lane, element);
                    seen[line * depth + at] += 1;
                }
            }
            assert!(
                seen.iter().all(|&count| count == 1),
                "{shape} {matrix:?} {kind}"
            );
        }
    }

    #[test]
    fn there_are_as_many_registers_as_nvcc_passes() {
        let registers = |shape, matrix, kind| {
            Fragment::of(matrix, Shape::named(shape).unwrap(), kind).map(|it| it.registers)
        };
        for shape in &SHAPES[..3] {
            assert_eq!(registers(shape, Matrix::A, "f16"), Some(8));
            assert_eq!(registers(shape, Matrix::B, "f16"), Some(8));
            assert_eq!(registers(shape, Matrix::Accumulator, "f16"), Some(4));
            assert_eq!(registers(shape, Matrix::Accumulator, "f32"), Some(8));
            assert_eq!(registers(shape, Matrix::Accumulator, "s32"), Some(8));
            assert_eq!(registers(shape, Matrix::A, "tf32"), None);
        }
        for (shape, a, b) in [("m16n16k16", 4, 4), ("m32n8k16", 8, 2), ("m8n32k16", 2, 8)] {
            assert_eq!(registers(shape, Matrix::A, "bf16"), Some(a));
            assert_eq!(registers(shape, Matrix::B, "bf16"), Some(b));
            assert_eq!(registers(shape, Matrix::A, "s8"), Some(a / 2));
            assert_eq!(registers(shape, Matrix::B, "u8"), Some(b / 2));
        }
        assert_eq!(registers("m16n16k8", Matrix::A, "tf32"), Some(4));
        assert_eq!(registers("m16n16k8", Matrix::B, "tf32"), Some(4));
        assert_eq!(registers("m16n16k8", Matrix::Accumulator, "f32"), Some(8));
        assert_eq!(registers("m16n16k8", Matrix::A, "f16"), None);
        assert_eq!(registers("m16n16k16", Matrix::A, "e4m3"), None);
        assert_eq!(Shape::named("m8n8k32"), None);
    }
}
