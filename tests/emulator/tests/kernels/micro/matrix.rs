//! Moving 8x8 matrices between shared memory and registers, and asynchronous copies.

use crate::harness::{Case, Inputs, equal};

const FILE: &str = "micro_matrix";
const LANES: usize = 32;

/// Two values in one word, the first one low.
fn pair(low: u16, high: u16) -> u32 {
    u32::from(low) | u32::from(high) << 16
}

/// What a lane gets of a matrix given by its element at (row, column).
fn fragment(element: impl Fn(usize, usize) -> u16, lane: usize, transposed: bool) -> u32 {
    let (line, first) = (lane / 4, lane % 4 * 2);
    if transposed {
        pair(element(first, line), element(first + 1, line))
    } else {
        pair(element(line, first), element(line, first + 1))
    }
}

#[test]
fn ldmatrix() {
    let x: Vec<u16> = Inputs::new(1)
        .words(32 * 8)
        .into_iter()
        .map(|word| word as u16)
        .collect();
    let mut case = Case::new(FILE, "ldmatrix_forms");
    case.input(&x);
    let y = case.input(&[0_u32; 6 * 4 * LANES]);
    let run = case.check();
    let mut expected = vec![0; 6 * 4 * LANES];
    for (form, (count, transposed)) in [
        (1, false),
        (2, false),
        (4, false),
        (1, true),
        (2, true),
        (4, true),
    ]
    .into_iter()
    .enumerate()
    {
        for matrix in 0..count {
            for lane in 0..LANES {
                let element = |row: usize, column: usize| x[(matrix * 8 + row) * 8 + column];
                expected[(form * 4 + matrix) * LANES + lane] = fragment(element, lane, transposed);
            }
        }
    }
    equal(&run.get(y), &expected).unwrap();
    assert_eq!(run.report.counters.matrices_moved, 2 * (1 + 2 + 4));
}

/// The matrix whose fragments the lanes hold.
fn element_of(words: &[u32], row: usize, column: usize) -> u16 {
    (words[row * 4 + column / 2] >> (column % 2 * 16)) as u16
}

#[test]
fn movmatrix() {
    let x = Inputs::new(2).words(LANES);
    let mut case = Case::new(FILE, "movmatrix");
    case.input(&x);
    let y = case.output::<u32>(LANES);
    let expected: Vec<u32> = (0..LANES)
        .map(|lane| fragment(|row, column| element_of(&x, row, column), lane, true))
        .collect();
    equal(&case.check().get(y), &expected).unwrap();
}

#[test]
fn stmatrix() {
    let x = Inputs::new(3).words(4 * LANES);
    let mut case = Case::new("micro_cluster", "stmatrix_forms");
    case.input(&x);
    let y = case.output::<u32>(2 * 32 * 4);
    let run = case.check();
    let rows = |transposed: bool| {
        let x = &x;
        (0..32 * 4).map(move |word| {
            let (matrix, row, column) = (word / 32, word / 4 % 8, word % 4 * 2);
            let element = |column: usize| {
                let fragments = &x[matrix * LANES..(matrix + 1) * LANES];
                if transposed {
                    element_of(fragments, column, row)
                } else {
                    element_of(fragments, row, column)
                }
            };
            pair(element(column), element(column + 1))
        })
    };
    let expected: Vec<u32> = rows(false).chain(rows(true)).collect();
    equal(&run.get(y), &expected).unwrap();
    assert_eq!(run.report.counters.matrices_moved, 8);
}

#[test]
fn asynchronous_copies() {
    const ROW: usize = LANES * 4;
    const UNTOUCHED: u32 = 9;
    let x = Inputs::new(4).words(ROW);
    let mut case = Case::new(FILE, "copy_forms");
    case.input(&x);
    let y = case.input(&[UNTOUCHED; 4 * ROW]);
    let mut expected = vec![UNTOUCHED; 4 * ROW];
    expected[..LANES].copy_from_slice(&x[..LANES]);
    expected[ROW..ROW + 2 * LANES].copy_from_slice(&x[..2 * LANES]);
    expected[2 * ROW..3 * ROW].copy_from_slice(&x);
    // Of each 16 bytes only the first `lane % 5` words are read, the others are zero.
    for lane in 0..LANES {
        for word in 0..4 {
            expected[3 * ROW + lane * 4 + word] = if word < lane % 5 {
                x[lane * 4 + word]
            } else {
                0
            };
        }
    }
    equal(&case.check().get(y), &expected).unwrap();
}
