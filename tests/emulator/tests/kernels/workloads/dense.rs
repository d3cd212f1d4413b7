//! Matrix products, attention and LayerNorm on sm_80.

use half::f16;

use super::Workload;
use crate::harness::{Case, Inputs, close, equal};

/// Products of small integers: exact.
pub fn gemm_f16(rows: usize, columns: usize, depth: usize) -> Workload {
    let mut inputs = Inputs::new(1);
    let (a, b) = (
        inputs.small_halves(rows * depth),
        inputs.small_halves(depth * columns),
    );
    let bias = inputs.small_halves(columns);
    let mut case = Case::new("gemm_f16", "gemm_f16").block(256);
    case = case.grid(columns.div_ceil(128) as u32, rows.div_ceil(128) as u32);
    case.input(&a);
    case.input(&b);
    case.input(&bias);
    let c = case.output::<f16>(rows * columns);
    for size in [rows, columns, depth] {
        case.value(size as i32);
    }
    let expected: Vec<f16> = (0..rows * columns)
        .map(|i| {
            let (m, n) = (i / columns, i % columns);
            let products =
                (0..depth).map(|k| a[m * depth + k].to_f32() * b[k * columns + n].to_f32());
            f16::from_f32(products.sum::<f32>() + bias[n].to_f32())
        })
        .collect();
    Workload::new(case, move |run| equal(&run.get(c), &expected))
}

/// Products of small integers: exact. Rows and columns are multiples of 32, the depth is one of 16.
pub fn gemm_wmma(rows: usize, columns: usize, depth: usize) -> Workload {
    let mut inputs = Inputs::new(4);
    let (a, b) = (
        inputs.small_halves(rows * depth),
        inputs.small_halves(depth * columns),
    );
    let mut case = Case::new("gemm_wmma", "gemm_wmma").block(128);
    case = case.grid(columns as u32 / 32, rows as u32 / 32);
    case.input(&a);
    case.input(&b);
    let c = case.output::<f32>(rows * columns);
    for size in [columns, depth] {
        case.value(size as i32);
    }
    let expected: Vec<f32> = (0..rows * columns)
        .map(|i| {
            let (m, n) = (i / columns, i % columns);
            (0..depth)
                .map(|k| a[m * depth + k].to_f32() * b[k * columns + n].to_f32())
                .sum()
        })
        .collect();
    Workload::new(case, move |run| equal(&run.get(c), &expected))
}

/// Attention over `length` tokens, a head of 64 dimensions each.
pub fn attention(heads: usize, length: usize) -> Workload {
    const DIMENSIONS: usize = 64;
    /// Probabilities and results are rounded to halves.
    const TOLERANCE: f64 = 2e-3;
    let mut inputs = Inputs::new(2);
    let [q, k, v] = [(); 3].map(|()| inputs.halves(heads * length * DIMENSIONS));
    let scale = 1.0 / (DIMENSIONS as f64).sqrt();
    let mut case = Case::new("attention", "attention")
        .block(128)
        .grid(length.div_ceil(64) as u32, heads as u32);
    for operand in [&q, &k, &v] {
        case.input(operand);
    }
    let out = case.output::<f16>(q.len());
    case.value(length as i32);
    case.value((scale * std::f64::consts::LOG2_E) as f32);
    let mut expected = Vec::with_capacity(q.len());
    for row in 0..heads * length {
        let first = row / length * length;
        let at = |tensor: &[f16], row: usize, d: usize| tensor[row * DIMENSIONS + d].to_f64();
        let weights: Vec<f64> = (first..first + length)
            .map(|key| {
                ((0..DIMENSIONS)
                    .map(|d| at(&q, row, d) * at(&k, key, d))
                    .sum::<f64>()
                    * scale)
                    .exp()
            })
            .collect();
        let total: f64 = weights.iter().sum();
        for d in 0..DIMENSIONS {
            let weighted = weights
                .iter()
                .enumerate()
                .map(|(i, weight)| weight * at(&v, first + i, d));
            expected.push(weighted.sum::<f64>() / total);
        }
    }
    Workload::new(case, move |run| {
        close(&widened(&run.get(out)), &expected, TOLERANCE)
    })
}

/// LayerNorm of `rows` rows by blocks of 128 threads.
pub fn layer_norm(rows: usize, hidden: usize) -> Workload {
    const EPS: f32 = 1e-5;
    const TOLERANCE: f64 = 1e-3;
    let mut inputs = Inputs::new(3);
    let (x, scale, shift) = (
        inputs.halves(rows * hidden),
        inputs.halves(hidden),
        inputs.halves(hidden),
    );
    let mut case = Case::new("layer_norm", "layer_norm")
        .block(128)
        .grid(rows as u32, 1);
    for operand in [&x, &scale, &shift] {
        case.input(operand);
    }
    let y = case.output::<f16>(x.len());
    case.value(hidden as i32 / 2);
    case.value(EPS);
    let expected: Vec<f64> = x
        .chunks(hidden)
        .flat_map(|row| {
            let row: Vec<f64> = row.iter().map(|value| value.to_f64()).collect();
            let mean = row.iter().sum::<f64>() / hidden as f64;
            let variance =
                row.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / hidden as f64;
            let inverse = 1.0 / (variance + f64::from(EPS)).sqrt();
            let scaled = row.iter().zip(scale.iter().zip(&shift));
            scaled
                .map(|(value, (by, to))| (value - mean) * inverse * by.to_f64() + to.to_f64())
                .collect::<Vec<_>>()
        })
        .collect();
    Workload::new(case, move |run| {
        close(&widened(&run.get(y)), &expected, TOLERANCE)
    })
}

fn widened(halves: &[f16]) -> Vec<f32> {
    halves.iter().map(|half| half.to_f32()).collect()
}
