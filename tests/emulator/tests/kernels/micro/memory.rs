//! Loads, stores and atomics.

use half::f16;

use crate::harness::{Case, Inputs, equal};

const FILE: &str = "micro_memory";

#[test]
fn widths() {
    const THREADS: usize = 32;
    let mut inputs = Inputs::new(1);
    let bytes: Vec<u8> = inputs
        .words(THREADS * 4)
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    let mut case = Case::new(FILE, "widths");
    case.input(&bytes);
    let y = case.output::<i64>(11 * THREADS);
    let got = case.check().get(y);
    let at = |i: usize, size: usize| -> u64 {
        let mut word = [0; 8];
        word[..size].copy_from_slice(&bytes[i * size..(i + 1) * size]);
        u64::from_le_bytes(word)
    };
    for i in 0..THREADS {
        let words = |count: usize| (0..count).map(move |part| at(i * count + part, 4) as u32);
        let shorts: Vec<i64> = (0..4).map(|part| at(4 * i + part, 2) as i64).collect();
        let chars: Vec<i64> = (0..4).map(|part| at(4 * i + part, 1) as i64).collect();
        let two: Vec<u32> = words(2).collect();
        let four: Vec<u32> = words(4).collect();
        let expected = [
            at(i, 1) as i64,
            i64::from(at(i, 1) as i8),
            at(i, 2) as i64,
            i64::from(at(i, 2) as i16),
            i64::from(at(i, 4) as i32),
            at(i, 8) as i64,
            i64::from(two[0]).wrapping_mul(i64::from(two[1])),
            i64::from(four[0] ^ four[2]) - i64::from(four[1] ^ four[3]),
            i64::from((shorts[0] + shorts[1] * shorts[2] - shorts[3]) as i32),
            chars[0] + chars[1] * chars[2] - chars[3],
            (at(2 * i, 8) ^ at(2 * i + 1, 8)) as i64,
        ];
        for (row, expected) in expected.into_iter().enumerate() {
            assert_eq!(got[row * THREADS + i], expected, "load {row} of thread {i}");
        }
    }
}

#[test]
fn narrow_stores() {
    let x = Inputs::new(2).words(32);
    let mut case = Case::new(FILE, "narrow_stores");
    case.input(&x);
    let (bytes, shorts, vectors) = (
        case.output::<u8>(32),
        case.output::<u16>(32),
        case.output::<[u32; 4]>(32),
    );
    let run = case.check();
    equal(
        &run.get(bytes),
        &x.iter().map(|&x| x as u8).collect::<Vec<_>>(),
    )
    .unwrap();
    equal(
        &run.get(shorts),
        &x.iter().map(|&x| (x >> 8) as u16).collect::<Vec<_>>(),
    )
    .unwrap();
    let expected: Vec<[u32; 4]> = x.iter().zip(0..).map(|(&x, i)| [x, i, !x, 0]).collect();
    equal(&run.get(vectors), &expected).unwrap();
}

#[test]
fn variables_of_the_module() {
    let mut case = Case::new(FILE, "variables");
    let y = case.output::<i32>(34);
    let table = [3, 1, 4, 1, 5, 9, 2, 6];
    let mut expected: Vec<i32> = (0..32)
        .map(|i| table[i % 8] + 5 + [20, 30][i % 2])
        .collect();
    expected.extend([7, 40]);
    equal(&case.check().get(y), &expected).unwrap();
}

#[test]
fn local_arrays() {
    let places = Inputs::new(3).below(8 * 32, 16);
    let mut case = Case::new(FILE, "local_array");
    case.input(&places);
    let y = case.output::<i32>(32);
    let run = case.check();
    let expected: Vec<i32> = (0..32)
        .map(|thread| {
            let mut counts = [0_i32; 16];
            (0..8).for_each(|i| counts[places[i * 32 + thread] as usize] += i as i32 + 1);
            counts
                .iter()
                .fold(0_i32, |sum, count| sum.wrapping_mul(3).wrapping_add(*count))
        })
        .collect();
    equal(&run.get(y), &expected).unwrap();
    assert!(run.report.counters.local_bytes > 0);
}

#[test]
fn generic_pointers() {
    let x: Vec<i32> = (100..132).collect();
    let mut case = Case::new(FILE, "generic_pointers");
    case.input(&x);
    let y = case.output::<i32>(32);
    let expected: Vec<i32> = (0..32)
        .map(|i| if i % 3 == 0 { x[i ^ 1] * 2 } else { x[i ^ 2] })
        .collect();
    equal(&case.check().get(y), &expected).unwrap();
}

#[test]
fn integer_atomics() {
    let x = Inputs::new(4).below(700, 1000);
    let mut case = Case::new(FILE, "integer_atomics").block(128).grid(6, 1);
    case.input(&x);
    case.value(x.len() as i32);
    let words = case.input(&[0, 0, 500, 3, u32::MAX, 0, 0, 0, 0, 0, 0]);
    let wide = case.input(&[0_u64, 0]);
    let run = case.check();
    let sum: u32 = x.iter().sum();
    let expected = [
        sum,
        0_u32.wrapping_sub(sum),
        *x.iter().min().unwrap(),
        *x.iter().max().unwrap(),
        x.iter().fold(u32::MAX, |all, x| all & (x | 0xff)),
        x.iter().fold(0, |all, x| all | x & 0xf0f0),
        x.iter().fold(0, |all, x| all ^ x),
        // Up to 9 and then 0 again.
        x.len() as u32 % 10,
        (10 - x.len() as u32 % 10) % 10,
        *x.iter().max().unwrap(),
        if x.contains(&77) { 78 } else { 0 },
    ];
    equal(&run.get(words), &expected).unwrap();
    let most = u64::from(expected[3]);
    equal(&run.get(wide), &[u64::from(sum) << 8, most * most]).unwrap();
}

#[test]
fn float_atomics() {
    // Small integers: their sums do not depend on the order.
    let x: Vec<f32> = Inputs::new(5)
        .below(120, 2)
        .into_iter()
        .map(|value| value as f32)
        .collect();
    let sum: f32 = x.iter().sum();
    let mut case = Case::new(FILE, "float_atomics").block(64);
    case.input(&x);
    case.value(x.len() as i32);
    let (single, double) = (case.input(&[0.5_f32]), case.input(&[0.25_f64]));
    let half = case.input(&[f16::ZERO; 2]);
    let run = case.check();
    equal(&run.get(single), &[0.5 + sum]).unwrap();
    equal(&run.get(double), &[0.25 + f64::from(sum)]).unwrap();
    equal(&run.get(half), &[f16::from_f32(sum), f16::from_f32(120.0)]).unwrap();
}

#[test]
fn shared_atomics() {
    let x = Inputs::new(6).words(1000);
    let mut case = Case::new(FILE, "shared_atomics").block(128);
    case.input(&x);
    case.value(x.len() as i32);
    let histogram = case.output::<u32>(64);
    let mut expected = [0_u32; 64];
    x.iter().for_each(|x| expected[(x % 64) as usize] += 1);
    let run = case.check();
    equal(&run.get(histogram), &expected).unwrap();
    assert_eq!(run.report.counters.shared_atomics, 1000);
}
