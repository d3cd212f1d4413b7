//! Floating-point arithmetic of all widths.

use half::{bf16, f16};

use super::{Row, check_rows};
use crate::harness::{Case, Inputs};

const ELEMENTS: usize = 160;

/// Ordinary numbers, with zeros, subnormals, infinities and NaN in front.
fn awkward(seed: u64) -> Vec<f32> {
    let special = [
        0.0,
        -0.0,
        1.0,
        -1.5,
        f32::MIN_POSITIVE,
        1e-40,
        -3e-42,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::MAX,
        0.1,
    ];
    let mut all = ordinary(seed);
    for (i, slot) in all.iter_mut().take(90).enumerate() {
        *slot = special[(i * (seed as usize + 2) + i / 12) % special.len()];
    }
    all
}

fn ordinary(seed: u64) -> Vec<f32> {
    let mut inputs = Inputs::new(seed);
    inputs
        .floats(ELEMENTS)
        .into_iter()
        .map(|value| value * 4.0)
        .collect()
}

/// Equal to the bit, except that one NaN is as good as another.
fn same_bits(got: f32, expected: f32) -> bool {
    got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan()
}

/// The number that is not NaN, and of two zeros the one that PTX orders first.
fn smaller(a: f32, b: f32) -> f32 {
    match (a.is_nan(), b.is_nan()) {
        (true, _) => b,
        (_, true) => a,
        _ if a == b => {
            if a.is_sign_negative() {
                a
            } else {
                b
            }
        }
        _ => a.min(b),
    }
}

fn larger(a: f32, b: f32) -> f32 {
    -smaller(-a, -b)
}

#[test]
fn what_ieee_754_defines() {
    let (a, b, c) = (awkward(1), awkward(2), awkward(3));
    let (u, v, w) = (|i: usize| a[i], |i: usize| b[i], |i: usize| c[i]);
    let rows: &[Row<'_, f32>] = &[
        ("add", &|i| u(i) + v(i)),
        ("sub", &|i| u(i) - v(i)),
        ("mul", &|i| u(i) * v(i)),
        ("fma", &|i| u(i).mul_add(v(i), w(i))),
        ("div", &|i| u(i) / v(i)),
        ("sqrt", &|i| u(i).abs().sqrt()),
        ("min", &|i| smaller(u(i), v(i))),
        ("max", &|i| larger(u(i), v(i))),
        ("neg", &|i| -u(i)),
        ("copysign", &|i| u(i).copysign(v(i))),
        ("floor", &|i| (u(i) * 100.0).floor()),
        ("ceil", &|i| (u(i) * 100.0).ceil()),
        ("trunc", &|i| (u(i) * 100.0).trunc()),
        ("rint", &|i| (u(i) * 100.0).round_ties_even()),
        ("choice", &|i| if u(i) < v(i) { w(i) } else { v(i) }),
        ("isnan", &|i| {
            if (u(i) / (v(i) - v(i))).is_nan() {
                1.0
            } else {
                2.0
            }
        }),
        ("saturate", &|i| {
            let double = u(i) * 2.0;
            if double.is_nan() || double <= 0.0 {
                0.0
            } else {
                double.min(1.0)
            }
        }),
    ];
    let mut case = Case::new("micro_float", "float_exact");
    for operand in [&a, &b, &c] {
        case.input(operand);
    }
    check_rows(case, ELEMENTS, rows, same_bits);
}

/// Sums and products of f32 are exact in f64 up to a rounding that the neighbours in f32 do not see, except where terms
/// differ by more than 2^28 in size; these inputs do not.
fn rounded(exact: f64, direction: Direction) -> f32 {
    let nearest = exact as f32;
    match direction {
        Direction::Down if f64::from(nearest) > exact => nearest.next_down(),
        Direction::Up if f64::from(nearest) < exact => nearest.next_up(),
        Direction::Zero if f64::from(nearest).abs() > exact.abs() => {
            if exact > 0.0 {
                nearest.next_down()
            } else {
                nearest.next_up()
            }
        }
        _ => nearest,
    }
}

#[derive(Clone, Copy)]
enum Direction {
    Down,
    Up,
    Zero,
}

#[test]
fn directed_rounding() {
    let (a, b, c) = (ordinary(4), ordinary(5), ordinary(6));
    let sum = |i: usize| f64::from(a[i]) + f64::from(b[i]);
    let product = |i: usize| f64::from(a[i]) * f64::from(b[i]);
    let fused = |i: usize| f64::from(a[i]).mul_add(f64::from(b[i]), f64::from(c[i]));
    use Direction::{Down, Up, Zero};
    let rows: &[Row<'_, f32>] = &[
        ("add.rm", &|i| rounded(sum(i), Down)),
        ("add.rp", &|i| rounded(sum(i), Up)),
        ("add.rz", &|i| rounded(sum(i), Zero)),
        ("mul.rm", &|i| rounded(product(i), Down)),
        ("mul.rp", &|i| rounded(product(i), Up)),
        ("mul.rz", &|i| rounded(product(i), Zero)),
        ("fma.rm", &|i| rounded(fused(i), Down)),
        ("fma.rp", &|i| rounded(fused(i), Up)),
        ("fma.rz", &|i| rounded(fused(i), Zero)),
    ];
    let mut case = Case::new("micro_float", "float_directed");
    for operand in [&a, &b, &c] {
        case.input(operand);
    }
    check_rows(case, ELEMENTS, rows, same_bits);
}

#[test]
fn functions() {
    /// Absolute, and relative to the result: what CUDA promises for the approximate forms among them, and more than
    /// the others need.
    const TOLERANCE: f64 = 4e-6;
    /// Of `tanh.approx`.
    const TANH_TOLERANCE: f64 = 6e-4;
    let (a, b) = (ordinary(7), ordinary(8));
    let (u, v) = (|i: usize| f64::from(a[i]), |i: usize| f64::from(b[i]));
    let positive = |i: usize| f64::from(a[i].abs() + 0.001);
    let rows: &[Row<'_, f64>] = &[
        ("expf", &|i| u(i).exp()),
        ("logf", &|i| positive(i).ln()),
        ("log1pf", &|i| positive(i).ln_1p()),
        ("expm1f", &|i| u(i).exp_m1()),
        ("tanhf", &|i| u(i).tanh()),
        ("erff", &|i| erf(u(i))),
        ("sinf", &|i| u(i).sin()),
        ("cosf", &|i| f64::from(a[i] * 10.0).cos()),
        ("powf", &|i| positive(i).powf(v(i))),
        ("rsqrtf", &|i| 1.0 / positive(i).sqrt()),
        ("reciprocal", &|i| 1.0 / positive(i)),
        ("exp2f", &|i| u(i).exp2()),
        ("log2f", &|i| positive(i).log2()),
        ("cbrtf", &|i| u(i).cbrt()),
        ("atan2f", &|i| u(i).atan2(v(i))),
        ("__expf", &|i| u(i).exp()),
        ("__logf", &|i| positive(i).ln()),
        ("__sinf", &|i| u(i).sin()),
        ("__fdividef", &|i| u(i) / positive(i)),
        ("ex2.approx", &|i| u(i).exp2()),
        ("tanh.approx", &|i| u(i).tanh()),
    ];
    let mut case = Case::new("micro_float", "float_functions")
        .block(64)
        .grid(3, 1);
    case.input(&a);
    case.input(&b);
    let y = case.output::<f32>(rows.len() * ELEMENTS);
    case.value(ELEMENTS as i32);
    let got = case.check().get(y);
    for (row, (name, expected)) in rows.iter().enumerate() {
        let tolerance = if *name == "tanh.approx" {
            TANH_TOLERANCE
        } else {
            TOLERANCE
        };
        for i in 0..ELEMENTS {
            let (got, expected) = (f64::from(got[row * ELEMENTS + i]), expected(i));
            let error = (got - expected).abs() / expected.abs().max(1.0);
            assert!(
                error <= tolerance,
                "{name} of element {i} ({}): {got}, expected {expected}",
                a[i]
            );
        }
    }
}

/// By its Taylor series, which converges for the inputs here.
fn erf(x: f64) -> f64 {
    let mut term = x;
    let mut sum = x;
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * std::f64::consts::FRAC_2_SQRT_PI
}

#[test]
fn doubles() {
    let widen = |values: Vec<f32>| -> Vec<f64> {
        values
            .into_iter()
            .map(|value| f64::from(value) / 3.0)
            .collect()
    };
    let (a, b) = (widen(awkward(9)), widen(awkward(10)));
    let (u, v) = (|i: usize| a[i], |i: usize| b[i]);
    let rows: &[Row<'_, f64>] = &[
        ("add", &|i| u(i) + v(i)),
        ("mul", &|i| u(i) * v(i)),
        ("fma", &|i| u(i).mul_add(v(i), u(i))),
        ("div", &|i| u(i) / v(i)),
        ("sqrt", &|i| u(i).abs().sqrt()),
        ("min", &|i| {
            if u(i) == v(i) {
                if u(i).is_sign_negative() { u(i) } else { v(i) }
            } else {
                u(i).min(v(i))
            }
        }),
        ("rint", &|i| (u(i) * 100.0).round_ties_even()),
    ];
    let mut case = Case::new("micro_float", "double_exact");
    case.input(&a);
    case.input(&b);
    check_rows(case, ELEMENTS, rows, |got, expected| {
        got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan()
    });
}

/// One lane of a pair: its arithmetic in f64 is exact, and then rounded once.
trait Narrow: bytemuck::Pod + PartialOrd + std::fmt::Debug {
    fn round(value: f64) -> Self;
    fn widen(self) -> f64;
}

impl Narrow for f16 {
    fn round(value: f64) -> Self {
        f16::from_f64(value)
    }
    fn widen(self) -> f64 {
        self.to_f64()
    }
}

impl Narrow for bf16 {
    fn round(value: f64) -> Self {
        bf16::from_f64(value)
    }
    fn widen(self) -> f64 {
        self.to_f64()
    }
}

fn check_pairs<T: Narrow>(kernel: &'static str)
where
    [T; 2]: bytemuck::Pod,
{
    let pairs = |seed| -> Vec<[T; 2]> {
        let values = Inputs::new(seed).floats(2 * ELEMENTS);
        values
            .chunks(2)
            .map(|pair| [T::round(pair[0].into()), T::round((pair[1] * 8.0).into())])
            .collect()
    };
    let (a, b, c) = (pairs(11), pairs(12), pairs(13));
    let (u, v, w) = (|i: usize| a[i], |i: usize| b[i], |i: usize| c[i]);
    let each = |i: usize, of: &dyn Fn(f64, f64, f64) -> f64| -> [T; 2] {
        std::array::from_fn(|lane| {
            T::round(of(
                u(i)[lane].widen(),
                v(i)[lane].widen(),
                w(i)[lane].widen(),
            ))
        })
    };
    let rows: &[Row<'_, [T; 2]>] = &[
        ("hadd2", &|i| each(i, &|x, y, _| x + y)),
        ("hsub2", &|i| each(i, &|x, y, _| x - y)),
        ("hmul2", &|i| each(i, &|x, y, _| x * y)),
        ("hfma2", &|i| each(i, &|x, y, z| x * y + z)),
        ("hmin2", &|i| each(i, &|x, y, _| x.min(y))),
        ("hmax2", &|i| each(i, &|x, y, _| x.max(y))),
        ("hneg2", &|i| each(i, &|x, _, _| -x)),
        ("habs2", &|i| each(i, &|x, _, _| x.abs())),
        ("one by one", &|i| {
            let [low, high] = u(i).map(T::widen);
            [
                T::round(low + v(i)[1].widen()),
                T::round(high * v(i)[0].widen() + w(i)[0].widen()),
            ]
        }),
        ("choice", &|i| if u(i)[0] < v(i)[0] { v(i) } else { u(i) }),
    ];
    let mut case = Case::new("micro_half", kernel);
    for operand in [&a, &b, &c] {
        case.input(operand);
    }
    check_rows(case, ELEMENTS, rows, |got, expected| got == expected);
}

#[test]
fn pairs_of_halves() {
    check_pairs::<f16>("half_pairs");
}

#[test]
fn pairs_of_bf16() {
    check_pairs::<bf16>("bf16_pairs");
}

#[test]
fn functions_of_halves() {
    /// Two units in the last place.
    const TOLERANCE: f64 = 2e-3;
    let a = Inputs::new(14).halves(2 * ELEMENTS);
    let mut case = Case::new("micro_half", "half_functions")
        .block(64)
        .grid(3, 1);
    case.input(&a);
    let y = case.output::<f16>(3 * 2 * ELEMENTS);
    case.value(ELEMENTS as i32);
    let got = case.check().get(y);
    let functions: [&dyn Fn(f64) -> f64; 3] =
        [&f64::exp2, &|x| 1.0 / (x.abs() + 0.25), &|x| x.abs().sqrt()];
    for (row, function) in functions.into_iter().enumerate() {
        for (i, x) in a.iter().enumerate() {
            let (got, expected) = (got[row * 2 * ELEMENTS + i].to_f64(), function(x.to_f64()));
            let error = (got - expected).abs() / expected.abs().max(1e-2);
            assert!(
                error <= TOLERANCE,
                "function {row} of {x}: {got}, expected {expected}"
            );
        }
    }
}
