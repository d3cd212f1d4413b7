//! `mma.sync` of every type against plain products.

use bytemuck::Pod;
use half::{bf16, f16};

use crate::harness::{Case, Inputs, close, equal};

const ROWS: usize = 16;
const COLUMNS: usize = 8;

/// d = a * b + c for a `[16, depth]`, b `[8, depth]` (transposed) and c `[16, 8]`.
fn product(depth: usize, a: &[f64], b: &[f64], c: &[f64]) -> Vec<f64> {
    (0..ROWS * COLUMNS)
        .map(|i| {
            let (m, n) = (i / COLUMNS, i % COLUMNS);
            c[i] + (0..depth)
                .map(|k| a[m * depth + k] * b[n * depth + k])
                .sum::<f64>()
        })
        .collect()
}

/// Operands of a type, from a seed, with their values.
type Operand<T> = fn(&mut Inputs, usize) -> Vec<(T, f64)>;

/// Runs a kernel of f32 accumulators on random operands.
fn check_float<A: Pod, B: Pod>(
    file: &'static str,
    kernel: &'static str,
    depth: usize,
    a: Operand<A>,
    b: Operand<B>,
) {
    /// An f32 sum of up to 33 terms.
    const TOLERANCE: f64 = 2e-6;
    let mut inputs = Inputs::new(depth as u64);
    let (a, a_values): (Vec<A>, Vec<f64>) = a(&mut inputs, ROWS * depth).into_iter().unzip();
    let (b, b_values): (Vec<B>, Vec<f64>) = b(&mut inputs, COLUMNS * depth).into_iter().unzip();
    let c = inputs.floats(ROWS * COLUMNS);
    let c_values: Vec<f64> = c.iter().map(|&value| value.into()).collect();
    let mut case = Case::new(file, kernel);
    case.input(&a);
    case.input(&b);
    case.input(&c);
    let d = case.output::<f32>(ROWS * COLUMNS);
    let run = case.check();
    close(
        &run.get(d),
        &product(depth, &a_values, &b_values, &c_values),
        TOLERANCE,
    )
    .unwrap();
    assert_eq!(run.report.counters.mma, 1);
    assert_eq!(
        run.report.counters.tensor_multiply_adds,
        (ROWS * COLUMNS * depth) as u64
    );
}

fn halves(inputs: &mut Inputs, len: usize) -> Vec<(f16, f64)> {
    inputs
        .halves(len)
        .into_iter()
        .map(|value| (value, value.to_f64()))
        .collect()
}

fn bf16s(inputs: &mut Inputs, len: usize) -> Vec<(bf16, f64)> {
    inputs
        .floats(len)
        .into_iter()
        .map(bf16::from_f32)
        .map(|value| (value, value.to_f64()))
        .collect()
}

/// The low 13 bits are not looked at.
fn tf32s(inputs: &mut Inputs, len: usize) -> Vec<(f32, f64)> {
    let rounded = |value: f32| f32::from_bits(value.to_bits() & !0x1fff);
    inputs
        .floats(len)
        .into_iter()
        .map(|value| (value, rounded(value).into()))
        .collect()
}

/// Numbers of 3 (or 2) mantissa bits and moderate exponents.
fn fp8s(inputs: &mut Inputs, len: usize, mantissa: u32) -> Vec<(u8, f64)> {
    let bias = if mantissa == 3 { 7 } else { 15 };
    let mut all = Vec::with_capacity(len);
    for bits in inputs.below(len, 256) {
        let exponent = bias - 3 + (bits >> 3 & 3);
        let fraction = bits & ((1 << mantissa) - 1);
        let sign = bits >> 7;
        let value = (1.0 + f64::from(fraction) / f64::from(1 << mantissa))
            * f64::from(exponent as i32 - bias as i32).exp2();
        all.push((
            (sign << 7 | exponent << mantissa | fraction) as u8,
            if sign == 1 { -value } else { value },
        ));
    }
    all
}

fn e4m3s(inputs: &mut Inputs, len: usize) -> Vec<(u8, f64)> {
    fp8s(inputs, len, 3)
}

fn e5m2s(inputs: &mut Inputs, len: usize) -> Vec<(u8, f64)> {
    fp8s(inputs, len, 2)
}

#[test]
fn floats_of_all_widths() {
    check_float("micro_mma", "mma_f16", 16, halves, halves);
    check_float("micro_mma", "mma_f16_k8", 8, halves, halves);
    check_float("micro_mma", "mma_bf16", 16, bf16s, bf16s);
    check_float("micro_mma", "mma_tf32", 8, tf32s, tf32s);
    check_float("micro_cluster", "mma_e4m3_e5m2", 32, e4m3s, e5m2s);
}

fn check_integer<A: Pod + Into<f64>>(kernel: &'static str, depth: usize, narrow: fn(u32) -> A) {
    let mut inputs = Inputs::new(depth as u64);
    let a: Vec<A> = inputs.words(ROWS * depth).into_iter().map(narrow).collect();
    let b: Vec<i8> = inputs
        .words(COLUMNS * depth)
        .into_iter()
        .map(|word| word as i8)
        .collect();
    let c: Vec<i32> = inputs
        .words(ROWS * COLUMNS)
        .into_iter()
        .map(|word| word as i32 >> 4)
        .collect();
    let mut case = Case::new("micro_mma", kernel);
    case.input(&a);
    case.input(&b);
    case.input(&c);
    let d = case.output::<i32>(ROWS * COLUMNS);
    let [a, b] = [
        a.into_iter().map(Into::into).collect::<Vec<f64>>(),
        b.into_iter().map(f64::from).collect(),
    ];
    let c: Vec<f64> = c.into_iter().map(f64::from).collect();
    let expected: Vec<i32> = product(depth, &a, &b, &c)
        .into_iter()
        .map(|value| value as i32)
        .collect();
    equal(&case.check().get(d), &expected).unwrap();
}

#[test]
fn integers() {
    check_integer("mma_s8", 32, |word| word as i8);
    check_integer("mma_u8_s8", 16, |word| word as u8);
}

#[test]
fn halves_into_halves() {
    let mut inputs = Inputs::new(9);
    let [a, b, c] = [ROWS * 16, COLUMNS * 16, ROWS * COLUMNS].map(|len| inputs.small_halves(len));
    let mut case = Case::new("micro_mma", "mma_f16_into_f16");
    case.input(&a);
    case.input(&b);
    case.input(&c);
    let d = case.output::<f16>(ROWS * COLUMNS);
    let [a, b, c] = [a, b, c].map(|operand| operand.into_iter().map(f64::from).collect::<Vec<_>>());
    let expected: Vec<f16> = product(16, &a, &b, &c)
        .into_iter()
        .map(f16::from_f64)
        .collect();
    equal(&case.check().get(d), &expected).unwrap();
}
