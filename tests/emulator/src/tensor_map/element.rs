//! Element types of tensors.

/// Type of a tensor's elements, numbered as `CUtensorMapDataType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Element {
    /// 8-bit unsigned.
    U8 = 0,
    /// 16-bit unsigned.
    U16 = 1,
    /// 32-bit unsigned.
    U32 = 2,
    /// 32-bit signed.
    S32 = 3,
    /// 64-bit unsigned.
    U64 = 4,
    /// 64-bit signed.
    S64 = 5,
    /// IEEE half precision.
    F16 = 6,
    /// IEEE single precision.
    F32 = 7,
    /// IEEE double precision.
    F64 = 8,
    /// bfloat16.
    Bf16 = 9,
    /// Single precision; loads flush subnormal numbers to zero.
    F32Flushed = 10,
    /// Single precision; loads round to tf32.
    Tf32 = 11,
    /// Single precision; loads round to tf32 and flush subnormal numbers to zero.
    Tf32Flushed = 12,
}

const ALL: [Element; 13] = [
    Element::U8,
    Element::U16,
    Element::U32,
    Element::S32,
    Element::U64,
    Element::S64,
    Element::F16,
    Element::F32,
    Element::F64,
    Element::Bf16,
    Element::F32Flushed,
    Element::Tf32,
    Element::Tf32Flushed,
];

impl Element {
    /// The type of a `CUtensorMapDataType`; `None` for the packed 4- and 6-bit types, which begin with sm_100.
    pub fn from_number(number: u32) -> Option<Self> {
        ALL.get(number as usize).copied()
    }

    /// Size in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Element::U8 => 1,
            Element::U16 | Element::F16 | Element::Bf16 => 2,
            Element::U64 | Element::S64 | Element::F64 => 8,
            Element::U32
            | Element::S32
            | Element::F32
            | Element::F32Flushed
            | Element::Tf32
            | Element::Tf32Flushed => 4,
        }
    }

    /// Whether it has a not-a-number.
    pub fn is_float(self) -> bool {
        self.nan().is_some()
    }

    /// The not-a-number that NaN fill writes. The GPU's bit pattern is not documented: this is the one that arithmetic gives.
    pub fn nan(self) -> Option<&'static [u8]> {
        match self {
            Element::F16 | Element::Bf16 => Some(&[0xff, 0x7f]),
            Element::F32 | Element::F32Flushed | Element::Tf32 | Element::Tf32Flushed => {
                Some(&[0xff, 0xff, 0xff, 0x7f])
            }
            Element::F64 => Some(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            Element::U8
            | Element::U16
            | Element::U32
            | Element::S32
            | Element::U64
            | Element::S64 => None,
        }
    }

    /// What a load makes of elements on their way: rounding and flushing of the types that have them.
    pub fn convert_loaded(self, row: &mut [u8]) {
        let (round, flush) = match self {
            Element::F32Flushed => (false, true),
            Element::Tf32 => (true, false),
            Element::Tf32Flushed => (true, true),
            _ => return,
        };
        for word in row.chunks_exact_mut(4) {
            let mut bits = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            let exponent = bits & 0x7f80_0000;
            if flush && exponent == 0 {
                bits &= 0x8000_0000;
            }
            if round && exponent != 0x7f80_0000 {
                // To the nearest of 10 fraction bits, ties away from zero.
                bits = (bits + 0x1000) & !0x1fff;
            }
            word.copy_from_slice(&bits.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_cuda() {
        for (number, element) in ALL.into_iter().enumerate() {
            assert_eq!(element as usize, number);
            assert_eq!(Element::from_number(number as u32), Some(element));
            assert!(element.nan().is_none_or(|nan| nan.len() == element.bytes()));
        }
        assert_eq!(Element::from_number(13), None);
    }

    #[test]
    fn loads_round_and_flush() {
        let converted = |element: Element, value: f32| {
            let mut row = value.to_le_bytes();
            element.convert_loaded(&mut row);
            f32::from_le_bytes(row)
        };
        let subnormal = f32::from_bits(0x8000_0123);
        assert_eq!(converted(Element::F32, subnormal).to_bits(), 0x8000_0123);
        assert_eq!(
            converted(Element::F32Flushed, subnormal).to_bits(),
            0x8000_0000
        );
        assert_eq!(converted(Element::F32Flushed, 1.000_000_1), 1.000_000_1);
        let tie = f32::from_bits(0x3f80_1000);
        assert_eq!(converted(Element::Tf32, tie).to_bits(), 0x3f80_2000);
        assert_eq!(converted(Element::Tf32, -tie).to_bits(), 0xbf80_2000);
        assert_eq!(converted(Element::Tf32, f32::from_bits(0x3f80_0fff)), 1.0);
        assert_eq!(
            converted(Element::Tf32Flushed, subnormal).to_bits(),
            0x8000_0000
        );
        assert_eq!(converted(Element::Tf32, f32::INFINITY), f32::INFINITY);
        assert!(converted(Element::Tf32, f32::NAN).is_nan());
    }
}
