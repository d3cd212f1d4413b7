//! `nvcuda::wmma` in every shape, type and layout against plain products of small integers.

use bytemuck::Pod;
use half::{bf16, f16};

use crate::harness::{Case, Inputs, equal};

const FILE: &str = "micro_wmma";

/// A number that can be an element of a tile.
trait Number: Pod + PartialEq + std::fmt::Debug {
    fn from_small(value: i32) -> Self;
}

impl Number for f16 {
    fn from_small(value: i32) -> Self {
        f16::from_f32(value as f32)
    }
}

impl Number for bf16 {
    fn from_small(value: i32) -> Self {
        bf16::from_f32(value as f32)
    }
}

impl Number for f32 {
    fn from_small(value: i32) -> Self {
        value as f32
    }
}

impl Number for i32 {
    fn from_small(value: i32) -> Self {
        value
    }
}

impl Number for i8 {
    fn from_small(value: i32) -> Self {
        value as i8
    }
}

impl Number for u8 {
    fn from_small(value: i32) -> Self {
        value as u8
    }
}

/// Rows, columns and depth of a product.
type Shape = [usize; 3];

/// Those of depth 16.
const SHAPES: [Shape; 3] = [[16, 16, 16], [32, 8, 16], [8, 32, 16]];

/// Bits of the kernels' last argument: matrices that lie column by column.
const COLUMNS_OF_A: i32 = 1;
const COLUMNS_OF_B: i32 = 2;
const COLUMNS_OF_C: i32 = 4;

/// A tile in memory, 16 bytes between its rows (or columns).
struct Tile {
    rows: usize,
    columns: usize,
    by_columns: bool,
    stride: usize,
}

impl Tile {
    fn of<T>(rows: usize, columns: usize, by_columns: bool) -> Self {
        let line = if by_columns { rows } else { columns };
        Tile {
            rows,
            columns,
            by_columns,
            stride: line + 16 / size_of::<T>(),
        }
    }

    fn place(&self, row: usize, column: usize) -> usize {
        match self.by_columns {
            true => column * self.stride + row,
            false => row * self.stride + column,
        }
    }

    fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        let columns = self.columns;
        (0..self.rows).flat_map(move |row| (0..columns).map(move |column| (row, column)))
    }

    /// Up to the last element: what is read or written behind it is out of bounds.
    fn len(&self) -> usize {
        self.place(self.rows - 1, self.columns - 1) + 1
    }

    fn filled<T: Number>(&self, value: impl Fn(usize, usize) -> i32) -> Vec<T> {
        let mut all = vec![T::from_small(99); self.len()];
        for (row, column) in self.places() {
            all[self.place(row, column)] = T::from_small(value(row, column));
        }
        all
    }
}

/// d = a * b + c in every layout, of numbers from `least` on.
fn check<E: Number, C: Number, D: Number>(kernel: &'static str, shape: Shape, least: i32) {
    let [rows, columns, depth] = shape;
    let mut inputs = Inputs::new(depth as u64);
    let mut numbers = |len: usize| -> Vec<i32> {
        inputs
            .below(len, 7)
            .into_iter()
            .map(|value| value as i32 + least)
            .collect()
    };
    let (a, b) = (numbers(rows * depth), numbers(depth * columns));
    let c = numbers(rows * columns);
    for layouts in 0..=COLUMNS_OF_A | COLUMNS_OF_B | COLUMNS_OF_C {
        let of_a = Tile::of::<E>(rows, depth, layouts & COLUMNS_OF_A != 0);
        let of_b = Tile::of::<E>(depth, columns, layouts & COLUMNS_OF_B != 0);
        let by_columns = layouts & COLUMNS_OF_C != 0;
        let of_c = Tile::of::<C>(rows, columns, by_columns);
        let of_d = Tile::of::<D>(rows, columns, by_columns);
        let mut case = Case::new(FILE, kernel);
        case.input(&of_a.filled::<E>(|row, k| a[row * depth + k]));
        case.input(&of_b.filled::<E>(|k, column| b[k * columns + column]));
        case.input(&of_c.filled::<C>(|row, column| c[row * columns + column]));
        let d = case.output::<D>(of_d.len());
        case.value(layouts);
        let run = case.run(0);
        assert!(run.report.faults.is_empty(), "{kernel}: {}", run.faults());
        let got = run.get(d);
        for (row, column) in of_d.places() {
            let products = (0..depth).map(|k| a[row * depth + k] * b[k * columns + column]);
            let expected = D::from_small(products.sum::<i32>() + c[row * columns + column]);
            assert_eq!(
                got[of_d.place(row, column)],
                expected,
                "{kernel}, layouts {layouts}, row {row}, column {column}"
            );
        }
        // A wmma of two tiles of 16x8 (or as many of its halves).
        assert_eq!(run.report.counters.mma, 2);
        assert_eq!(
            run.report.counters.tensor_multiply_adds,
            (rows * columns * depth) as u64
        );
    }
}

/// The smallest number of signed types.
const SIGNED: i32 = -3;

fn check_shapes<E: Number, C: Number, D: Number>(kernels: [&'static str; 3], least: i32) {
    for (kernel, shape) in kernels.into_iter().zip(SHAPES) {
        check::<E, C, D>(kernel, shape, least);
    }
}

#[test]
fn halves() {
    check_shapes::<f16, f32, f32>(["f16_m16n16k16", "f16_m32n8k16", "f16_m8n32k16"], SIGNED);
    check_shapes::<f16, f16, f16>(
        [
            "f16_into_f16_m16n16k16",
            "f16_into_f16_m32n8k16",
            "f16_into_f16_m8n32k16",
        ],
        SIGNED,
    );
    check::<f16, f16, f32>("f16_onto_f16_m16n16k16", SHAPES[0], SIGNED);
    check::<f16, f32, f16>("f32_into_f16_m16n16k16", SHAPES[0], SIGNED);
}

#[test]
fn wider_exponents() {
    check_shapes::<bf16, f32, f32>(["bf16_m16n16k16", "bf16_m32n8k16", "bf16_m8n32k16"], SIGNED);
    check::<f32, f32, f32>("tf32_m16n16k8", [16, 16, 8], SIGNED);
}

#[test]
fn bytes() {
    check_shapes::<i8, i32, i32>(["s8_m16n16k16", "s8_m32n8k16", "s8_m8n32k16"], SIGNED);
    // Beyond what a signed byte holds.
    check_shapes::<u8, i32, i32>(["u8_m16n16k16", "u8_m32n8k16", "u8_m8n32k16"], 200);
}

#[test]
fn sums_stop_at_the_largest_number() {
    let mut case = Case::new(FILE, "saturating");
    case.input(&[1_i8; 256]);
    case.input(&[1_i8; 256]);
    let c: Vec<i32> = (0..256).map(|i| i32::MAX - i).collect();
    case.input(&c);
    let d = case.output::<i32>(256);
    let expected: Vec<i32> = c.iter().map(|c| c.saturating_add(16)).collect();
    equal(&case.run(0).get(d), &expected).unwrap();
}

#[test]
fn elements_of_a_lane_are_the_same_in_all_accumulators() {
    let mut inputs = Inputs::new(5);
    let [a, b] = [(); 2].map(|()| inputs.small_halves(256));
    let mut case = Case::new(FILE, "element_by_element");
    case.input(&a);
    case.input(&b);
    let d = case.output::<f16>(256);
    let expected: Vec<f16> = (0..256)
        .map(|i| {
            let products =
                (0..16).map(|k| a[i / 16 * 16 + k].to_f32() * b[i % 16 * 16 + k].to_f32());
            f16::from_f32(2.0 * products.sum::<f32>() + 1.0)
        })
        .collect();
    equal(&case.check().get(d), &expected).unwrap();
}
