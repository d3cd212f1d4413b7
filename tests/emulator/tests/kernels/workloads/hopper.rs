//! Matrix products on sm_90a.

use half::f16;
use standin::tensor_map::Element;

use super::Workload;
use crate::harness::{Case, Inputs, Swizzle, Tensor, equal};

/// A tile of `rows` by 64 halves.
const fn tile(rows: u32) -> (u32, u32) {
    (rows, 64)
}

fn halves(size: (usize, usize), tile: (u32, u32)) -> Tensor {
    Tensor::matrix(Element::F16, size, tile, Swizzle::Bytes128)
}

/// a `[rows, depth]` times b `[columns, depth]` transposed; sums of small integers are exact.
fn product(a: &[f16], b: &[f16], depth: usize) -> Vec<f32> {
    let rows = a.chunks(depth);
    rows.flat_map(|row| {
        b.chunks(depth).map(|column| {
            row.iter()
                .zip(column)
                .map(|(a, b)| a.to_f32() * b.to_f32())
                .sum()
        })
    })
    .collect()
}

/// TMA, a ring of mbarriers, wgmma, stmatrix and TMA stores, by `blocks` blocks that make several tiles each.
pub fn gemm_wgmma(rows: usize, columns: usize, depth: usize, blocks: u32) -> Workload {
    const SHARED: u32 = 3 * (128 + 64) * 64 * 2 + 128 * 64 * 2 + 6 * 8;
    /// Alignment of the tiles.
    const SHARED_ROUNDED: u32 = SHARED.next_multiple_of(1024);
    let mut inputs = Inputs::new(11);
    let (a, b) = (
        inputs.small_halves(rows * depth),
        inputs.small_halves(columns * depth),
    );
    let (tiles_m, tiles_n) = (rows.div_ceil(128), columns.div_ceil(64));
    let mut case = Case::new("gemm_wgmma", "gemm_wgmma")
        .block(384)
        .grid(blocks, 1)
        .shared(SHARED_ROUNDED);
    let a_buffer = case.buffer(&a);
    let b_buffer = case.buffer(&b);
    let c_buffer = case.unwritten::<f16>(rows * columns);
    case.pass_map(a_buffer, halves((rows, depth), tile(64)));
    case.pass_map(b_buffer, halves((columns, depth), tile(64)));
    case.pass_map(c_buffer, halves((rows, columns), tile(64)));
    for number in [tiles_m * tiles_n, tiles_n, depth.div_ceil(64)] {
        case.value(number as i32);
    }
    let expected: Vec<f16> = product(&a, &b, depth)
        .into_iter()
        .map(f16::from_f32)
        .collect();
    Workload::new(case, move |run| equal(&run.get(c_buffer), &expected))
}

/// Clusters of two blocks that load half of B each, for both.
pub fn gemm_multicast(rows: usize, depth: usize) -> Workload {
    const COLUMNS: usize = 64;
    const SHARED: u32 = (2 * (64 + 64) * 64 * 2 + 4 * 8_u32).next_multiple_of(1024);
    let mut inputs = Inputs::new(12);
    let (a, b) = (
        inputs.small_halves(rows * depth),
        inputs.small_halves(COLUMNS * depth),
    );
    let mut case = Case::new("gemm_multicast", "gemm_multicast")
        .block(160)
        .grid(rows as u32 / 64, 1)
        .shared(SHARED);
    let a_buffer = case.buffer(&a);
    let b_buffer = case.buffer(&b);
    case.pass_map(a_buffer, halves((rows, depth), tile(64)));
    case.pass_map(b_buffer, halves((COLUMNS, depth), tile(32)));
    let c = case.output::<f32>(rows * COLUMNS);
    case.value(depth as i32 / 64);
    let expected = product(&a, &b, depth);
    Workload::new(case, move |run| equal(&run.get(c), &expected))
}
