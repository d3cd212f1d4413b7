//! Every instruction family, as nvcc uses it, against plain Rust.

mod block;
mod calls;
mod cluster;
mod convert;
mod float;
mod integer;
mod library;
mod matrix;
mod mbarrier;
mod memory;
mod mma;
mod tma;
mod warp;
mod wgmma;
mod wmma;

use std::fmt::Debug;

use bytemuck::Pod;

use crate::harness::Case;

/// Threads of a block in element-wise cases.
const BLOCK: u32 = 64;

/// A row of results: the operation's name and the result of element `i`.
type Row<'a, T> = (&'a str, &'a dyn Fn(usize) -> T);

/// Compares the rows of results that an element-wise kernel writes: `y[row][i]`. The kernel takes the buffers that the
/// case has already, then `y`, then the number of elements.
#[track_caller]
fn check_rows<T: Pod + Debug>(
    mut case: Case,
    elements: usize,
    rows: &[Row<'_, T>],
    same: impl Fn(T, T) -> bool,
) {
    case = case
        .block(BLOCK)
        .grid(elements.div_ceil(BLOCK as usize) as u32, 1);
    let y = case.output::<T>(rows.len() * elements);
    case.value(elements as i32);
    let got = case.check().get(y);
    for (row, (name, expected)) in rows.iter().enumerate() {
        for i in 0..elements {
            let (got, expected) = (got[row * elements + i], expected(i));
            assert!(
                same(got, expected),
                "{name} of element {i}: {got:x?}, expected {expected:x?}"
            );
        }
    }
}
