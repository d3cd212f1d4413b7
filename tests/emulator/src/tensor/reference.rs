//! For tests: number formats by their definition, and matrices of random elements.

use super::Element;
use crate::exec::Random;

/// The value of a small floating-point number by definition: sign, exponent with bias, mantissa; finite ones only.
pub(crate) fn by_definition(bits: u32, exponent_bits: u32, mantissa_bits: u32) -> f64 {
    let bias = (1 << (exponent_bits - 1)) - 1;
    let exponent = (bits >> mantissa_bits & ((1 << exponent_bits) - 1)) as i32;
    let mantissa = f64::from(bits & ((1 << mantissa_bits) - 1)) / f64::from(1 << mantissa_bits);
    let sign = if bits >> (exponent_bits + mantissa_bits) & 1 == 1 {
        -1.0
    } else {
        1.0
    };
    let magnitude = match exponent {
        0 => mantissa * f64::powi(2.0, 1 - bias),
        _ => (1.0 + mantissa) * f64::powi(2.0, exponent - bias),
    };
    sign * magnitude
}

/// The value of a finite element.
pub(crate) fn value(element: Element, bits: u32) -> f64 {
    match element {
        Element::F16 => by_definition(bits, 5, 10),
        Element::Bf16 => by_definition(bits, 8, 7),
        Element::Tf32 => by_definition(bits >> 13, 8, 10),
        Element::E4m3 => by_definition(bits, 4, 3),
        Element::E5m2 => by_definition(bits, 5, 2),
        Element::S8 => f64::from(bits as u8 as i8),
        Element::U8 => f64::from(bits as u8),
    }
}

/// Which elements a random matrix has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    /// Whole numbers from -4 (0 if unsigned) to 4: sums of their products are exact in any order.
    Small,
    /// All integers, or floats of about unit size with every mantissa.
    Any,
}

/// Row-major bits of elements.
#[derive(Clone, Debug)]
pub(crate) struct Matrix {
    pub(crate) element: Element,
    pub(crate) columns: usize,
    pub(crate) bits: Vec<u32>,
}

/// The bits of an element of about this value; exactly this one for small whole numbers.
fn encode(element: Element, value: f64) -> u32 {
    match element {
        Element::F16 => u32::from(half::f16::from_f64(value).to_bits()),
        Element::Bf16 => u32::from(half::bf16::from_f64(value).to_bits()),
        Element::Tf32 => (value as f32).to_bits(),
        Element::E5m2 => u32::from(half::f16::from_f64(value).to_bits() >> 8),
        // The 20 bits of an f32 below e4m3's last one are cut off, its exponent is 120 less.
        Element::E4m3 => {
            let bits = (value as f32 * f32::powi(2.0, -120)).to_bits();
            bits >> 20 & 0x7f | bits >> 24 & 0x80
        }
        Element::S8 | Element::U8 => u32::from(value as i32 as u8),
    }
}

impl Matrix {
    pub(crate) fn random(
        element: Element,
        rows: usize,
        columns: usize,
        values: Values,
        random: &mut Random,
    ) -> Self {
        let mut draw = || {
            let signed = element != Element::U8;
            let value = match values {
                Values::Small if signed => random.below(9) as f64 - 4.0,
                Values::Small => random.below(5) as f64,
                Values::Any if element.is_integer() => random.below(256) as f64,
                Values::Any => {
                    (0.05 + 3.9 * random.below(1 << 20) as f64 / f64::from(1 << 20))
                        * [1.0, -1.0][random.below(2)]
                }
            };
            // The low bits of a tf32 do not count, whatever they are.
            let ignored = if element == Element::Tf32 {
                random.below(1 << 13) as u32
            } else {
                0
            };
            encode(element, value) ^ ignored
        };
        Matrix {
            element,
            columns,
            bits: std::iter::repeat_with(&mut draw)
                .take(rows * columns)
                .collect(),
        }
    }

    pub(crate) fn bits(&self, row: usize, column: usize) -> u32 {
        self.bits[row * self.columns + column]
    }

    pub(crate) fn value(&self, row: usize, column: usize) -> f64 {
        value(self.element, self.bits(row, column))
    }
}
