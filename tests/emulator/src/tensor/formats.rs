//! The number formats of matrix operands. Decoding is free of branches, so that loops over it use vectors.

use crate::isa::numeric::{bf16_to_f32, f16_to_f32};

/// Type of the elements of A or B.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// IEEE half precision.
    F16,
    /// The upper half of an `f32`.
    Bf16,
    /// An `f32` whose 13 low bits do not count.
    Tf32,
    /// 4 exponent and 3 mantissa bits, no infinity.
    E4m3,
    /// 5 exponent and 2 mantissa bits.
    E5m2,
    /// Signed byte.
    S8,
    /// Unsigned byte.
    U8,
}

impl Element {
    /// The type that an opcode names.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "f16" => Element::F16,
            "bf16" => Element::Bf16,
            "tf32" => Element::Tf32,
            "e4m3" => Element::E4m3,
            "e5m2" => Element::E5m2,
            "s8" => Element::S8,
            "u8" => Element::U8,
            _ => return None,
        })
    }

    /// Size in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Element::F16 | Element::Bf16 => 2,
            Element::Tf32 => 4,
            Element::E4m3 | Element::E5m2 | Element::S8 | Element::U8 => 1,
        }
    }

    /// Elements of one line of a core matrix.
    pub fn per_line(self) -> usize {
        16 / self.bytes()
    }

    /// Whether it is an integer.
    pub fn is_integer(self) -> bool {
        matches!(self, Element::S8 | Element::U8)
    }

    /// Whether it is one of the 8-bit floating-point types.
    pub fn is_f8(self) -> bool {
        matches!(self, Element::E4m3 | Element::E5m2)
    }
}

/// How the bits of an element become a number.
pub(super) trait Format {
    /// Size of an element.
    const BITS: u32;

    /// The value of an element. Bits above its size are zero.
    fn decode(bits: u32) -> f32;
}

pub(super) struct F16;
pub(super) struct Bf16;
pub(super) struct Tf32;
pub(super) struct E4m3;
pub(super) struct E5m2;
pub(super) struct S8;
pub(super) struct U8;

/// 2^120: from the exponent of an e4m3, read as that of an f32, to its value. Right for subnormal numbers too.
const FROM_E4M3: f32 = f32::from_bits((127 + 120) << 23);

impl Format for F16 {
    const BITS: u32 = 16;

    #[inline(always)]
    fn decode(bits: u32) -> f32 {
        f16_to_f32(bits as u16)
    }
}

impl Format for Bf16 {
    const BITS: u32 = 16;

    #[inline(always)]
    fn decode(bits: u32) -> f32 {
        bf16_to_f32(bits as u16)
    }
}

impl Format for Tf32 {
    const BITS: u32 = 32;

    #[inline(always)]
    fn decode(bits: u32) -> f32 {
        f32::from_bits(bits & 0xffff_e000)
    }
}

impl Format for E4m3 {
    const BITS: u32 = 8;

    #[inline(always)]
    fn decode(bits: u32) -> f32 {
        let finite = (f32::from_bits((bits & 0x7f) << 20) * FROM_E4M3).to_bits();
        let magnitude = if bits & 0x7f == 0x7f {
            0x7fc0_0000
        } else {
            finite
        };
        f32::from_bits(magnitude | (bits & 0x80) << 24)
    }
}

impl Format for E5m2 {
    const BITS: u32 = 8;

    #[inline(always)]
    fn decode(bits: u32) -> f32 {
        F16::decode(bits << 8)
    }
}

impl Format for S8 {
    const BITS: u32 = 8;

    #[inline(always)]
    fn decode(bits: u32) -> f32 {
        ((bits << 24) as i32 >> 24) as f32
    }
}

impl Format for U8 {
    const BITS: u32 = 8;

    #[inline(always)]
    fn decode(bits: u32) -> f32 {
        // Through i32: vector units have no conversion from unsigned numbers.
        bits as i32 as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::reference::by_definition;

    #[test]
    fn every_small_float_decodes_to_its_definition() {
        for bits in 0..0x1_0000u32 {
            let value = F16::decode(bits);
            if bits & 0x7c00 != 0x7c00 {
                assert_eq!(
                    f64::from(value),
                    by_definition(bits, 5, 10),
                    "f16 {bits:#06x}"
                );
                assert_eq!(value.is_sign_negative(), bits & 0x8000 != 0);
            } else {
                let infinite = bits & 0x3ff == 0;
                assert_eq!(
                    (value.is_infinite(), value.is_nan()),
                    (infinite, !infinite),
                    "f16 {bits:#06x}"
                );
            }
        }
        for bits in 0..0x100u32 {
            let e4m3 = E4m3::decode(bits);
            match bits & 0x7f {
                0x7f => assert!(e4m3.is_nan()),
                _ => assert_eq!(
                    f64::from(e4m3),
                    by_definition(bits, 4, 3),
                    "e4m3 {bits:#04x}"
                ),
            }
            let e5m2 = E5m2::decode(bits);
            match bits & 0x7f {
                0x7d.. => assert!(e5m2.is_nan()),
                0x7c => assert!(e5m2.is_infinite()),
                _ => assert_eq!(
                    f64::from(e5m2),
                    by_definition(bits, 5, 2),
                    "e5m2 {bits:#04x}"
                ),
            }
            assert_eq!(S8::decode(bits), f32::from(bits as u8 as i8));
            assert_eq!(U8::decode(bits), f32::from(bits as u8));
        }
        assert_eq!(E4m3::decode(0x7e), 448.0);
        assert_eq!(E5m2::decode(0x7b), 57344.0);
    }

    #[test]
    fn the_wide_formats_keep_their_upper_bits() {
        assert_eq!(Bf16::decode(0x3fc0), 1.5);
        assert_eq!(Tf32::decode(1.5f32.to_bits() | 0x1fff), 1.5);
        assert_eq!(
            Tf32::decode((-1.0f32).to_bits() - 1),
            -f32::from_bits(0x3f7f_e000)
        );
    }
}
