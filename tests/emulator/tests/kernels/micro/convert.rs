//! Conversions between numbers.

use half::{bf16, f16};

use super::{Row, check_rows};
use crate::harness::{Case, Inputs};

const ELEMENTS: usize = 160;

/// The values of a format of `exponent` and `mantissa` bits by their bits without sign; `finite` of them are numbers.
fn narrow_values(exponent: u32, mantissa: u32, finite: u32) -> Vec<f64> {
    let bias = (1 << (exponent - 1)) - 1;
    let value = |bits: u32| {
        let (power, fraction) = (
            (bits >> mantissa) as i32,
            f64::from(bits & ((1 << mantissa) - 1)),
        );
        let unit = f64::from(1 - bias - mantissa as i32).exp2();
        if power == 0 {
            fraction * unit
        } else {
            (f64::from(1 << mantissa) + fraction) * unit * f64::from(power - 1).exp2()
        }
    };
    (0..finite).map(value).collect()
}

/// To the nearest of `values`, of two to the one with an even number, and never past the last; the sign is bit 7.
fn to_fp8(x: f32, values: &[f64], nan: u8) -> u8 {
    if x.is_nan() {
        return nan;
    }
    let magnitude = f64::from(x.abs());
    let distance = |i: usize| (values[i] - magnitude).abs();
    let mut best = 0;
    for i in 1..values.len() {
        if distance(i) < distance(best) || distance(i) == distance(best) && i % 2 == 0 {
            best = i;
        }
    }
    best as u8 | if x.is_sign_negative() { 0x80 } else { 0 }
}

fn e4m3(x: f32) -> u8 {
    to_fp8(x, &narrow_values(4, 3, 0x7f), 0x7f)
}

fn e5m2(x: f32) -> u8 {
    to_fp8(x, &narrow_values(5, 2, 0x7c), 0x7f)
}

fn floats() -> Vec<f32> {
    let mut inputs = Inputs::new(1);
    let mut all = inputs.floats(ELEMENTS);
    let special = [
        0.0, -0.0, 0.5, 1.5, 2.5, -0.5, -1.5, 126.5, 127.5, 128.5, -128.5, 300.0, -300.0, 448.0,
        480.0, 1e5, 7e4, -7e4, 65519.0, 65520.0, 3e9, -3e9, 1e-8, 3e-8, 6e-5, 0.017, 1.0625,
        1.1875,
    ];
    for (i, value) in all.iter_mut().enumerate() {
        *value = if i < special.len() {
            special[i]
        } else {
            *value * (i as f32).exp2().min(3e4)
        };
    }
    all
}

#[test]
fn from_floats() {
    let x = floats();
    let u = |i: usize| x[i];
    let half_toward_zero = |x: f32| {
        let nearest = f16::from_f32(x);
        let past = nearest.to_f32().abs() > x.abs();
        f16::from_bits(nearest.to_bits() - u16::from(past))
    };
    let rows: &[Row<'_, u32>] = &[
        ("to int, nearest", &|i| u(i).round_ties_even() as i32 as u32),
        ("to int, zero", &|i| u(i) as i32 as u32),
        ("to int, down", &|i| u(i).floor() as i32 as u32),
        ("to int, up", &|i| u(i).ceil() as i32 as u32),
        ("to unsigned", &|i| u(i).round_ties_even() as u32),
        ("to half", &|i| f16::from_f32(u(i)).to_bits().into()),
        ("to half, zero", &|i| {
            half_toward_zero(u(i)).to_bits().into()
        }),
        ("to bf16", &|i| bf16::from_f32(u(i)).to_bits().into()),
        ("to half pair", &|i| {
            u32::from(f16::from_f32(u(i)).to_bits())
                | u32::from(f16::from_f32(-u(i)).to_bits()) << 16
        }),
        ("to e4m3", &|i| e4m3(u(i)).into()),
        ("to e5m2", &|i| e5m2(u(i)).into()),
        ("to s8, saturated", &|i| {
            u(i).round_ties_even().clamp(-128.0, 127.0) as i32 as u32
        }),
        ("to tf32", &|i| (u(i).to_bits() + 0x1000) & !0x1fff),
        ("to long", &|i| (u(i) as i64 >> 3) as u32),
        ("through double", &|i| {
            ((f64::from(u(i)) * 1.5) as f32).to_bits()
        }),
    ];
    let mut case = Case::new("micro_convert", "from_float");
    case.input(&x);
    check_rows(case, ELEMENTS, rows, |got, expected| got == expected);
}

#[test]
fn to_floats() {
    let x = Inputs::new(2).words(ELEMENTS);
    let u = |i: usize| x[i];
    let rows: &[Row<'_, f32>] = &[
        ("from int", &|i| u(i) as i32 as f32),
        ("from unsigned", &|i| u(i) as f32),
        ("from s8", &|i| f32::from(u(i) as i8)),
        ("from u16", &|i| f32::from(u(i) as u16)),
        ("from half", &|i| {
            f16::from_bits((u(i) & 0x7bff) as u16).to_f32()
        }),
        ("from bf16", &|i| {
            bf16::from_bits((u(i) & 0x7eff) as u16).to_f32()
        }),
        ("from e4m3", &|i| {
            narrow_values(4, 3, 0x7f)[(u(i) & 0x7e) as usize] as f32
        }),
        ("from e5m2", &|i| {
            narrow_values(5, 2, 0x7c)[(u(i) & 0x7b) as usize] as f32
        }),
        ("from long", &|i| (i64::from(u(i)) * 1_000_003) as f32),
        ("from double", &|i| (f64::from(u(i) as i32) / 3.0) as f32),
    ];
    let mut case = Case::new("micro_convert", "to_float");
    case.input(&x);
    check_rows(case, ELEMENTS, rows, |got, expected| got == expected);
}

#[test]
fn fp8_by_hardware() {
    let x = floats();
    let mut case = Case::new("micro_cluster", "fp8_conversions").block(ELEMENTS as u32);
    case.input(&x);
    let outputs = [case.output::<u8>(ELEMENTS), case.output::<u8>(ELEMENTS)];
    let back = case.output::<f32>(2 * ELEMENTS);
    let run = case.check();
    let [narrow, wide] = outputs.map(|buffer| run.get(buffer));
    let back = run.get(back);
    let sign = |bits: u8| if bits & 0x80 == 0 { 1.0 } else { -1.0 };
    for i in 0..ELEMENTS {
        assert_eq!((narrow[i], wide[i]), (e4m3(x[i]), e5m2(x[i])), "{}", x[i]);
        let value =
            |values: &[f64], bits: u8| (values[usize::from(bits & 0x7f)] * sign(bits)) as f32;
        assert_eq!(back[i], value(&narrow_values(4, 3, 0x7f), narrow[i]));
        assert_eq!(
            back[ELEMENTS + i],
            value(&narrow_values(5, 2, 0x7c), wide[i])
        );
    }
}
