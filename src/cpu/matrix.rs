//! Matrix products, by the `gemm` crate.

use gemm::{Parallelism, gemm};

/// A matrix inside a slice, read by rows or by columns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

/// A row-major matrix inside a slice, to be written; rows may lie further apart than they are wide.
#[derive(Debug)]
pub(super) struct MatrixMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
}

/// What happens to the numbers that the product is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    Overwrite,
    Add,
}

/// Which threads compute a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Threads {
    /// The calling one.
    One,
    /// All of the pool that the caller runs in.
    All,
}

impl<'a> Matrix<'a> {
    /// `rows` x `columns`, rows starting `row_stride` elements apart.
    pub(super) fn new(data: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        check_extent(data.len(), rows, columns, row_stride);
        Self {
            data,
            rows,
            columns,
            row_stride,
            column_stride: 1,
        }
    }

    /// The same numbers with rows and columns exchanged; nothing is copied.
    pub(super) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

impl<'a> MatrixMut<'a> {
    /// `rows` x `columns`, rows starting `row_stride` elements apart.
    pub(super) fn new(data: &'a mut [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        check_extent(data.len(), rows, columns, row_stride);
        Self {
            data,
            rows,
            columns,
            row_stride,
        }
    }
}

fn check_extent(length: usize, rows: usize, columns: usize, row_stride: usize) {
    let needed = if rows == 0 {
        0
    } else {
        (rows - 1) * row_stride + columns
    };
    assert!(
        needed <= length && columns <= row_stride,
        "a {rows} x {columns} matrix with rows {row_stride} apart does not fit {length} elements. This is a bug"
    );
}

/// `out (+)= scale * left · right`
pub(super) fn multiply(
    out: MatrixMut<'_>,
    write: Write,
    scale: f32,
    left: Matrix<'_>,
    right: Matrix<'_>,
    threads: Threads,
) {
    assert!(
        left.columns == right.rows && out.rows == left.rows && out.columns == right.columns,
        "shapes of a matrix product do not fit: {} x {} = {} x {} times {} x {}. This is a bug",
        out.rows,
        out.columns,
        left.rows,
        left.columns,
        right.rows,
        right.columns
    );
    // SAFETY: every index that gemm forms stays inside the slices: the constructors checked the
    // extent of each matrix, and exchanging rows and columns leaves it as it is. `out` is borrowed
    // exclusively, so it does not alias the operands.
    unsafe {
        gemm(
            out.rows,
            out.columns,
            left.columns,
            out.data.as_mut_ptr(),
            1,
            out.row_stride as isize,
            write == Write::Add,
            left.data.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.data.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            match threads {
                Threads::One => Parallelism::None,
                Threads::All => Parallelism::Rayon(0),
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small integers: every product and sum is exact, so one wrong index shows.
    fn integers(length: usize, seed: usize) -> Vec<f32> {
        (0..length)
            .map(|i| ((i * 7 + seed * 3) % 11) as f32 - 5.0)
            .collect()
    }

    #[test]
    fn products_are_exact_on_small_integers_with_strides_and_transposes() {
        for (rows, columns, inner) in [
            (1, 1, 1),
            (3, 5, 7),
            (65, 33, 64),
            (128, 130, 20),
            (1, 512, 128),
        ] {
            let (left_stride, right_stride, out_stride) = (inner + 3, inner + 1, columns + 2);
            let left = integers(rows * left_stride, 1);
            let right = integers(columns * right_stride, 2);
            for write in [Write::Overwrite, Write::Add] {
                for threads in [Threads::One, Threads::All] {
                    let before = integers(rows * out_stride, 3);
                    let mut out = before.clone();
                    multiply(
                        MatrixMut::new(&mut out, rows, columns, out_stride),
                        write,
                        2.0,
                        Matrix::new(&left, rows, inner, left_stride),
                        Matrix::new(&right, columns, inner, right_stride).transposed(),
                        threads,
                    );
                    for (at, &actual) in out.iter().enumerate() {
                        let (row, column) = (at / out_stride, at % out_stride);
                        let mut expected = before[at];
                        if column < columns {
                            let dot: f32 = (0..inner)
                                .map(|k| {
                                    left[row * left_stride + k] * right[column * right_stride + k]
                                })
                                .sum();
                            expected =
                                2.0 * dot + if write == Write::Add { before[at] } else { 0.0 };
                        }
                        assert_eq!(
                            actual, expected,
                            "{rows}x{columns}x{inner} {write:?} at {row},{column}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "does not fit")]
    fn a_matrix_larger_than_its_slice_is_refused() {
        Matrix::new(&[0.0; 10], 3, 4, 4);
    }
}
