//! Every form against a product of plain numbers, operands laid out by the canonical layouts.

use super::tiling::Tiling;
use super::{all_execute, all_wait};
use crate::exec::Random;
use crate::exec::machine::{BUFFER, Launched, Machine};
use crate::tensor::reference::{Matrix, Values};
use crate::tensor::{Element, Major, Swizzle};

const LANES: std::ops::Range<usize> = 0..32;

/// First register of A, where A is in registers.
const A_REGISTER: usize = 150;

/// One product to test.
#[derive(Clone, Copy, Debug)]
struct Case {
    n: usize,
    d: &'static str,
    a: &'static str,
    b: &'static str,
    saturating: bool,
    /// `None`: A in registers.
    a_tiling: Option<(Major, Swizzle)>,
    b_tiling: (Major, Swizzle),
    accumulate: bool,
    scales: [i32; 2],
    values: Values,
}

const PLAIN: Case = Case {
    n: 64,
    d: "f32",
    a: "f16",
    b: "f16",
    saturating: false,
    a_tiling: Some((Major::K, Swizzle::Bytes128)),
    b_tiling: (Major::K, Swizzle::Bytes128),
    accumulate: true,
    scales: [1, 1],
    values: Values::Small,
};

impl Case {
    fn elements(&self) -> [Element; 2] {
        [self.a, self.b].map(|name| Element::named(name).unwrap())
    }

    fn k(&self) -> usize {
        2 * self.elements()[0].per_line()
    }

    fn registers_of_d(&self) -> usize {
        if self.d == "f16" {
            self.n / 4
        } else {
            self.n / 2
        }
    }

    /// Fence, product, commit and wait.
    fn text(&self) -> String {
        let list = |first: usize, count: usize| {
            let names: Vec<String> = (first..first + count)
                .map(|number| format!("%r{number}"))
                .collect();
            format!("{{{}}}", names.join(", "))
        };
        let [element, _] = self.elements();
        let a = if self.a_tiling.is_some() {
            "%rd0".to_owned()
        } else {
            list(A_REGISTER, 4)
        };
        let transposed = |major: Major| i32::from(major == Major::Mn);
        let scales = if element.is_integer() {
            String::new()
        } else {
            format!(", {}, {}", self.scales[0], self.scales[1])
        };
        let transposes = match (element.bytes(), self.a_tiling) {
            (2, Some((major, _))) => {
                format!(", {}, {}", transposed(major), transposed(self.b_tiling.0))
            }
            (2, None) => format!(", {}", transposed(self.b_tiling.0)),
            _ => String::new(),
        };
        let saturation = if self.saturating { ".satfinite" } else { "" };
        format!(
            "wgmma.fence.sync.aligned;\nwgmma.mma_async.sync.aligned.m64n{}k{}{saturation}.{}.{}.{} {}, {a}, %rd1, %p0{scales}{transposes};\n\
            wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;",
            self.n,
            self.k(),
            self.d,
            self.a,
            self.b,
            list(0, self.registers_of_d()),
        )
    }

    fn check(&self) {
        let (machine, mut random) = (Machine::new(&self.text()), Random::new(11, self.n as u32));
        let mut run = machine.launch(1, 4);
        let [a_element, b_element] = self.elements();
        let a = Matrix::random(a_element, 64, self.k(), self.values, &mut random);
        let b = Matrix::random(b_element, self.k(), self.n, self.values, &mut random);
        let (a_start, b_start) = (BUFFER, BUFFER + (12 << 10));
        match self.a_tiling {
            Some((major, swizzle)) => {
                let tiling = Tiling::roomy(major, swizzle, 64);
                store(
                    &mut run,
                    a_element,
                    |line, k| (tiling.address(a_start, a_element, line, k), a.bits(line, k)),
                    [64, self.k()],
                );
                (0..4).for_each(|warp| run.set64((0, warp), 0, |_| tiling.descriptor(a_start)));
            }
            None => put_fragments(&mut run, &a),
        }
        let tiling = Tiling::roomy(self.b_tiling.0, self.b_tiling.1, self.n);
        store(
            &mut run,
            b_element,
            |line, k| (tiling.address(b_start, b_element, line, k), b.bits(k, line)),
            [self.n, self.k()],
        );
        let mut c = vec![vec![0.0; self.n]; 64];
        for warp in 0..4 {
            run.set64((0, warp), 1, |_| tiling.descriptor(b_start));
            run.warp(0, warp).predicates[0] = if self.accumulate { u32::MAX } else { 0 };
            for (row, column, lane, i) in places(warp, self.n) {
                c[row][column] = random.below(61) as f64 - 30.0;
                self.put(&mut run.warp(0, warp).narrow, lane, i, c[row][column]);
            }
        }
        all_execute(&mut run, 0..3);
        all_wait(&mut run, 3);
        assert_eq!(run.faults(), [], "{self:?}");
        assert_eq!(
            (run.counters.wgmma, run.counters.tensor_multiply_adds),
            (1, (64 * self.n * self.k()) as u64)
        );
        let sign = f64::from(self.scales[0] * self.scales[1]);
        for warp in 0..4 {
            for (row, column, lane, i) in places(warp, self.n) {
                let start = if self.accumulate { c[row][column] } else { 0.0 };
                let products = || (0..self.k()).map(|k| a.value(row, k) * b.value(k, column));
                let expected = start + sign * products().sum::<f64>();
                let size = start.abs() + products().map(f64::abs).sum::<f64>();
                let tolerance = match self.d {
                    _ if self.values == Values::Small || self.d == "s32" => 0.0,
                    "f16" => 1e-6 * size + expected.abs() / 2048.0,
                    _ => 1e-6 * size,
                };
                let found = self.get(&run.warp(0, warp).narrow, lane, i);
                assert!(
                    (found - expected).abs() <= tolerance,
                    "{self:?} row {row} column {column}: {found} and not {expected}"
                );
            }
        }
    }

    fn put(&self, registers: &mut [[u32; 32]], lane: usize, i: usize, value: f64) {
        match self.d {
            "f32" => registers[i][lane] = (value as f32).to_bits(),
            "s32" => registers[i][lane] = value as i32 as u32,
            _ => {
                let word = &mut registers[i / 2][lane];
                let shift = 16 * (i % 2);
                *word = *word & !(0xffff << shift)
                    | u32::from(half::f16::from_f64(value).to_bits()) << shift;
            }
        }
    }

    fn get(&self, registers: &[[u32; 32]], lane: usize, i: usize) -> f64 {
        match self.d {
            "f32" => f64::from(f32::from_bits(registers[i][lane])),
            "s32" => f64::from(registers[i][lane] as i32),
            _ => half::f16::from_bits((registers[i / 2][lane] >> (16 * (i % 2))) as u16).to_f64(),
        }
    }
}

/// Row and column of D, lane and element within the lane, from the table of the PTX manual.
fn places(warp: usize, n: usize) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    (0..32).flat_map(move |lane| {
        let (g, t) = (lane / 4, lane % 4);
        (0..n / 2).map(move |i| {
            (
                16 * warp + g + 8 * (i / 2 % 2),
                8 * (i / 4) + 2 * t + i % 2,
                lane,
                i,
            )
        })
    })
}

/// Puts elements into shared memory.
fn store(
    run: &mut Launched<'_>,
    element: Element,
    at: impl Fn(usize, usize) -> (u32, u32),
    [lines, k]: [usize; 2],
) {
    for line in 0..lines {
        for k in 0..k {
            let (address, bits) = at(line, k);
            run.block(0, 0)
                .shared
                .write(address as usize, &bits.to_le_bytes()[..element.bytes()]);
        }
    }
}

/// Puts A into registers, by the table of the PTX manual.
fn put_fragments(run: &mut Launched<'_>, a: &Matrix) {
    let size = a.element.bytes();
    for warp in 0..4 {
        let registers = &mut run.warp(0, warp).narrow[A_REGISTER..A_REGISTER + 4];
        registers.iter_mut().for_each(|register| register.fill(0));
        for lane in LANES {
            let (g, t) = (lane / 4, lane % 4);
            for i in 0..16 / size {
                let (row, k) = match size {
                    1 => (g + 8 * (i / 4 % 2), 4 * t + i % 4 + 16 * (i / 8)),
                    2 => (g + 8 * (i / 2 % 2), 2 * t + i % 2 + 8 * (i / 4)),
                    _ => (g + 8 * (i % 2), t + 4 * (i / 2)),
                };
                registers[i * size / 4][lane] |= a.bits(16 * warp + row, k) << (8 * (i * size % 4));
            }
        }
    }
}

const SWIZZLES: [Swizzle; 4] = [
    Swizzle::None,
    Swizzle::Bytes32,
    Swizzle::Bytes64,
    Swizzle::Bytes128,
];

#[test]
fn every_swizzle_in_every_direction() {
    for b_swizzle in SWIZZLES {
        for b_major in [Major::K, Major::Mn] {
            let b_tiling = (b_major, b_swizzle);
            for n in [8, 32, 72, 136] {
                Case {
                    b_tiling,
                    n,
                    a_tiling: None,
                    ..PLAIN
                }
                .check();
            }
            for a_swizzle in SWIZZLES {
                for a_major in [Major::K, Major::Mn] {
                    Case {
                        b_tiling,
                        a_tiling: Some((a_major, a_swizzle)),
                        ..PLAIN
                    }
                    .check();
                }
            }
        }
    }
}

#[test]
fn every_type_from_registers_and_from_shared_memory() {
    let types = [
        ("f32", "f16", "f16"),
        ("f16", "f16", "f16"),
        ("f32", "bf16", "bf16"),
        ("f32", "tf32", "tf32"),
        ("f32", "e4m3", "e4m3"),
        ("f32", "e4m3", "e5m2"),
        ("f32", "e5m2", "e4m3"),
        ("f16", "e5m2", "e5m2"),
        ("s32", "s8", "s8"),
        ("s32", "s8", "u8"),
        ("s32", "u8", "s8"),
        ("s32", "u8", "u8"),
    ];
    for (d, a, b) in types {
        for swizzle in SWIZZLES {
            for a_tiling in [None, Some((Major::K, swizzle))] {
                for values in [Values::Small, Values::Any] {
                    let saturating = d == "s32" && swizzle == Swizzle::Bytes32;
                    Case {
                        d,
                        a,
                        b,
                        a_tiling,
                        b_tiling: (Major::K, swizzle),
                        saturating,
                        values,
                        n: 16,
                        ..PLAIN
                    }
                    .check();
                }
            }
        }
    }
}

#[test]
fn signs_and_scale_d() {
    for scales in [[1, 1], [-1, 1], [1, -1], [-1, -1]] {
        for accumulate in [false, true] {
            for a_tiling in [None, PLAIN.a_tiling] {
                Case {
                    scales,
                    accumulate,
                    a_tiling,
                    n: 16,
                    ..PLAIN
                }
                .check();
                Case {
                    scales,
                    accumulate,
                    a_tiling,
                    n: 16,
                    d: "f16",
                    ..PLAIN
                }
                .check();
            }
        }
    }
}

#[test]
fn the_widest_products() {
    Case { n: 256, ..PLAIN }.check();
    Case {
        n: 256,
        b_tiling: (Major::Mn, Swizzle::Bytes128),
        ..PLAIN
    }
    .check();
    Case {
        n: 256,
        d: "s32",
        a: "s8",
        b: "s8",
        ..PLAIN
    }
    .check();
    for n in [16, 24, 40, 88, 120, 248] {
        Case {
            n,
            a_tiling: None,
            b_tiling: (Major::K, Swizzle::None),
            accumulate: false,
            ..PLAIN
        }
        .check();
    }
}

#[test]
fn forms_that_do_not_exist_are_refused() {
    let wrong = [
        Case { n: 264, ..PLAIN },
        Case { n: 12, ..PLAIN },
        Case {
            n: 40,
            d: "s32",
            a: "s8",
            b: "s8",
            ..PLAIN
        },
        Case {
            d: "f16",
            a: "bf16",
            b: "bf16",
            ..PLAIN
        },
        Case {
            a: "f16",
            b: "bf16",
            ..PLAIN
        },
        Case {
            d: "f32",
            a: "s8",
            b: "s8",
            ..PLAIN
        },
        Case {
            scales: [2, 1],
            ..PLAIN
        },
        Case {
            saturating: true,
            ..PLAIN
        },
    ];
    for case in wrong {
        let text = case.text();
        let line = text.lines().nth(1).unwrap();
        assert!(Machine::error(line).contains("unsupported PTX"), "{line}");
    }
    let sparse = PLAIN
        .text()
        .lines()
        .nth(1)
        .unwrap()
        .replace("mma_async.", "mma_async.sp.");
    assert!(
        Machine::error(&sparse).contains("does not know"),
        "{sparse}"
    );
}
