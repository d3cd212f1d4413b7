use std::collections::HashMap;

use super::*;
use crate::exec::Random;
use crate::ptx::Module;
use crate::tensor::reference::{Matrix, Values};

const LANES: std::ops::Range<usize> = 0..32;

/// Shape and types of every form.
const FORMS: [&str; 27] = [
    "m16n8k16.row.col.f32.f16.f16.f32",
    "m16n8k16.row.col.f16.f16.f16.f16",
    "m16n8k8.row.col.f32.f16.f16.f32",
    "m16n8k8.row.col.f16.f16.f16.f16",
    "m16n8k16.row.col.f32.bf16.bf16.f32",
    "m16n8k8.row.col.f32.bf16.bf16.f32",
    "m16n8k8.row.col.f32.tf32.tf32.f32",
    "m16n8k4.row.col.f32.tf32.tf32.f32",
    "m16n8k32.row.col.f32.e4m3.e4m3.f32",
    "m16n8k32.row.col.f32.e5m2.e5m2.f32",
    "m16n8k32.row.col.f32.e4m3.e5m2.f32",
    "m16n8k32.row.col.f32.e5m2.e4m3.f32",
    "m16n8k32.row.col.f16.e4m3.e4m3.f16",
    "m16n8k16.row.col.f32.e4m3.e4m3.f32",
    "m16n8k16.row.col.f16.e5m2.e5m2.f16",
    "m16n8k32.row.col.s32.s8.s8.s32",
    "m16n8k32.row.col.s32.u8.u8.s32",
    "m16n8k32.row.col.s32.s8.u8.s32",
    "m16n8k32.row.col.s32.u8.s8.s32",
    "m16n8k16.row.col.s32.s8.s8.s32",
    "m16n8k16.row.col.s32.u8.s8.s32",
    "m16n8k32.row.col.satfinite.s32.s8.s8.s32",
    "m16n8k16.row.col.satfinite.s32.u8.u8.s32",
    "m8n8k16.row.col.s32.s8.s8.s32",
    "m8n8k16.row.col.s32.u8.s8.s32",
    "m8n8k16.row.col.satfinite.s32.s8.s8.s32",
    "m16n8k16.row.col.satfinite.s32.s8.u8.s32",
];

fn decoded(opcode: &str, operands: &str) -> Result<Mma, DecodeError> {
    let text = format!(
        ".version 8.4\n.target sm_90a\n.address_size 64\n.visible .entry k() {{\n.reg .b32 %r<40>;\nmma.sync.aligned.{opcode} {operands};\n}}\n"
    );
    let module = Module::parse(&text).unwrap();
    let globals = HashMap::new();
    let mut decoder = Decoder::new(&module, &module.entries[0], &globals)?;
    Mma::decode(&module.entries[0].instructions[0], &mut decoder)
}

/// Registers of D, A, B and C: from 0, 10, 20 and 30 on.
fn numbered(form: &Form) -> String {
    let list = |first: usize, count: usize| {
        let names: Vec<String> = (first..first + count)
            .map(|number| format!("%r{number}"))
            .collect();
        format!("{{{}}}", names.join(", "))
    };
    let accumulators = form.row_groups * form.d.registers();
    [
        list(0, accumulators),
        list(10, form.row_groups * form.steps),
        list(20, form.steps),
        list(30, accumulators),
    ]
    .join(", ")
}

fn form(opcode: &str) -> Form {
    let parts: Vec<&str> = opcode.split('.').collect();
    let types = parts[parts.len() - 4..].try_into().unwrap();
    Form::of(parts[0], types, parts.contains(&"satfinite")).unwrap_or_else(|| panic!("{opcode}"))
}

/// `(row, k)` of element `i` of A in lane `l`, from the tables of the PTX manual.
fn place_of_a(element: Element, l: usize, i: usize) -> (usize, usize) {
    let (g, t) = (l / 4, l % 4);
    match element.bytes() {
        1 => (g + 8 * (i / 4 % 2), 4 * t + i % 4 + 16 * (i / 8)),
        2 => (g + 8 * (i / 2 % 2), 2 * t + i % 2 + 8 * (i / 4)),
        _ => (g + 8 * (i % 2), t + 4 * (i / 2)),
    }
}

/// k of element `i` of B in lane `l`; its column is `l / 4`.
fn k_of_b(element: Element, l: usize, i: usize) -> usize {
    let t = l % 4;
    match element.bytes() {
        1 => 4 * t + i % 4 + 16 * (i / 4),
        2 => 2 * t + i % 2 + 8 * (i / 2),
        _ => t + 4 * i,
    }
}

/// Row and column of element `i` of C or D in lane `l`.
fn place_of_c(l: usize, i: usize) -> (usize, usize) {
    (l / 4 + 8 * (i / 2), 2 * (l % 4) + i % 2)
}

/// Runs one product; gives D and the C that went in, as numbers by row and column.
fn run(form: &Form, mma: &Mma, a: &Matrix, b: &Matrix, random: &mut Random) -> [Vec<[f64; 8]>; 2] {
    let mut registers = vec![[0xffff_ffff; 32]; 40];
    let (rows, k) = (8 * form.row_groups, form.k());
    let per_word = 4 / a.element.bytes();
    let mut c_values = vec![[0.0; 8]; rows];
    for l in LANES {
        let mut put = |register: usize, i: usize, bits: u32, size: usize| {
            let shift = i * 8 * size;
            let mask = u32::MAX >> (32 - 8 * size);
            let word = &mut registers[register][l];
            *word = *word & !(mask << shift) | bits << shift;
        };
        for i in 0..rows * k / 32 {
            let (row, at) = place_of_a(a.element, l, i);
            put(
                10 + i / per_word,
                i % per_word,
                a.bits(row, at),
                a.element.bytes(),
            );
        }
        for i in 0..8 * k / 32 {
            put(
                20 + i / per_word,
                i % per_word,
                b.bits(k_of_b(b.element, l, i), l / 4),
                b.element.bytes(),
            );
        }
        for i in 0..rows * 8 / 32 {
            let (row, column) = place_of_c(l, i);
            let value = random.below(101) as f64 - 50.0;
            c_values[row][column] = value;
            match form.d {
                Accumulator::F32 => put(30 + i, 0, (value as f32).to_bits(), 4),
                Accumulator::F16 => put(
                    30 + i / 2,
                    i % 2,
                    u32::from(half::f16::from_f64(value).to_bits()),
                    2,
                ),
                Accumulator::S32 | Accumulator::S32Saturating => {
                    put(30 + i, 0, value as i32 as u32, 4)
                }
            }
        }
    }
    vectorised(WarpProduct::<TILES> {
        mma,
        registers: &mut registers,
    });
    let mut d_values = vec![[f64::NAN; 8]; rows];
    for l in LANES {
        for i in 0..rows * 8 / 32 {
            let (row, column) = place_of_c(l, i);
            d_values[row][column] = match form.d {
                Accumulator::F32 => f64::from(f32::from_bits(registers[i][l])),
                Accumulator::F16 => {
                    half::f16::from_bits((registers[i / 2][l] >> (16 * (i % 2))) as u16).to_f64()
                }
                Accumulator::S32 | Accumulator::S32Saturating => f64::from(registers[i][l] as i32),
            };
        }
    }
    [d_values, c_values]
}

fn check(opcode: &str, values: Values) {
    let form = form(opcode);
    let mma = decoded(opcode, &numbered(&form)).unwrap();
    let mut random = Random::new(7, opcode.len() as u32);
    let (rows, k) = (8 * form.row_groups, form.k());
    let a = Matrix::random(form.a, rows, k, values, &mut random);
    let b = Matrix::random(form.b, k, 8, values, &mut random);
    let [d, c] = run(&form, &mma, &a, &b, &mut random);
    for row in 0..rows {
        for column in 0..8 {
            let products = || (0..k).map(|k| a.value(row, k) * b.value(k, column));
            let expected = c[row][column] + products().sum::<f64>();
            let size = c[row][column].abs() + products().map(f64::abs).sum::<f64>();
            let exact = values == Values::Small || form.a.is_integer();
            let tolerance = match form.d {
                _ if exact => 0.0,
                Accumulator::F16 => 1e-6 * size + expected.abs() / 2048.0,
                _ => 1e-6 * size,
            };
            let error = (d[row][column] - expected).abs();
            assert!(
                error <= tolerance,
                "{opcode} row {row} column {column}: {} and not {expected}",
                d[row][column]
            );
        }
    }
}

#[test]
fn every_form_is_exact_on_small_integers() {
    FORMS.iter().for_each(|opcode| check(opcode, Values::Small));
}

#[test]
fn every_form_is_close_on_any_numbers() {
    FORMS.iter().for_each(|opcode| check(opcode, Values::Any));
}

#[test]
fn integers_wrap_or_stop() {
    for (saturation, expected) in [("", i32::MIN + 126), (".satfinite", i32::MAX)] {
        let opcode = format!("m16n8k32.row.col{saturation}.s32.s8.s8.s32");
        let mma = decoded(&opcode, &numbered(&form(&opcode))).unwrap();
        let mut registers = vec![[0; 32]; 40];
        // Row 0, column 0: one product of 127 * 1 onto the largest number.
        registers[10][0] = 127;
        registers[20][0] = 1;
        registers[30][0] = i32::MAX as u32;
        vectorised(WarpProduct::<TILES> {
            mma: &mma,
            registers: &mut registers,
        });
        assert_eq!(registers[0][0] as i32, expected);
        assert_eq!(registers[1][0], 0);
    }
}

#[test]
fn every_processor_gives_the_same_bits() {
    for opcode in FORMS {
        let mma = decoded(opcode, &numbered(&form(opcode))).unwrap();
        let mut random = Random::new(3, 1);
        let mut registers: Vec<Lanes<u32>> = vec![[0; 32]; 40];
        // Exponents near the middle: no NaN, whose payload may differ.
        registers
            .iter_mut()
            .flatten()
            .for_each(|word| *word = random.below(1 << 31) as u32 & 0x3f3f_3f3f | 0x2020_2020);
        let mut plain = registers.clone();
        vectorised(WarpProduct::<TILES> {
            mma: &mma,
            registers: &mut registers,
        });
        WarpProduct::<TILES> {
            mma: &mma,
            registers: &mut plain,
        }
        .run::<[f32; 8]>();
        assert!(registers == plain, "{opcode}");
    }
}

#[test]
fn d_may_be_any_of_the_other_operands() {
    let opcode = "m16n8k16.row.col.f32.f16.f16.f32";
    let apart = decoded(
        opcode,
        "{%r0, %r1, %r2, %r3}, {%r10, %r11, %r12, %r13}, {%r20, %r21}, {%r30, %r31, %r32, %r33}",
    )
    .unwrap();
    let crossed = decoded(opcode, "{%r32, %r33, %r10, %r20}, {%r10, %r11, %r12, %r13}, {%r20, %r21}, {%r30, %r31, %r32, %r33}").unwrap();
    let mut random = Random::new(5, 1);
    let mut first: Vec<Lanes<u32>> = vec![[0; 32]; 40];
    first
        .iter_mut()
        .flatten()
        .for_each(|word| *word = random.below(1 << 31) as u32 & 0x3fff_3fff);
    let mut second = first.clone();
    vectorised(WarpProduct::<TILES> {
        mma: &apart,
        registers: &mut first,
    });
    vectorised(WarpProduct::<TILES> {
        mma: &crossed,
        registers: &mut second,
    });
    for (one, other) in [(0, 32), (1, 33), (2, 10), (3, 20)] {
        assert_eq!(first[one], second[other]);
    }
}

#[test]
fn unknown_forms_are_refused() {
    for opcode in [
        "m16n8k256.row.col.s32.b1.b1.s32.xor.popc",
        "m16n8k64.row.col.s32.s4.s4.s32",
        "m16n8k16.row.col.f16.bf16.bf16.f16",
        "m16n8k16.row.col.f32.f16.bf16.f32",
        "m16n8k32.row.col.f32.f16.f16.f32",
        "m8n8k16.row.col.f32.e4m3.e4m3.f32",
        "m8n8k4.row.col.f64.f64.f64.f64",
        "m16n8k32.row.col.satfinite.f32.e4m3.e4m3.f32",
    ] {
        assert_eq!(
            decoded(opcode, "{%r0}, {%r1}, {%r2}, {%r3}").err(),
            Some(DecodeError::unsupported()),
            "{opcode}"
        );
    }
    assert!(
        decoded(
            "m16n8k16.row.col.f32.f16.f16.f32",
            "{%r0}, {%r1}, {%r2}, {%r3}"
        )
        .is_err()
    );
}
