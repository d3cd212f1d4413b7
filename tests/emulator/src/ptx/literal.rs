//! What a literal means: `12`, `0x1F`, `017`, `0b101`, `7U`, `0f3F800000`, `0d3FF0000000000000`, `1.5e-3`.

/// The value of a literal without its sign.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Literal {
    /// An integer.
    Integer(u64),
    /// `0f...`: the bits of an f32.
    Bits32(u32),
    /// `0d...`: the bits of an f64.
    Bits64(u64),
    /// A decimal number: it takes the type of the instruction or variable that uses it.
    Decimal(f64),
}

/// A type of floating point that literals are converted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Float {
    Single,
    Double,
}

impl Float {
    /// Of a type's name.
    pub(super) fn of(name: &str) -> Option<Float> {
        match name {
            "f32" => Some(Float::Single),
            "f64" => Some(Float::Double),
            _ => None,
        }
    }
}

impl Literal {
    /// Reads a literal as the lexer cut it out of the text; `None` where it is malformed or does not fit 64 bits.
    pub(super) fn read(text: &str) -> Option<Literal> {
        let bytes = text.as_bytes();
        if bytes.first() == Some(&b'0') && bytes.len() > 1 {
            let digits = &text[2..];
            match bytes[1] {
                b'f' | b'F' => {
                    return radix(digits, 16, 8)
                        .and_then(|bits| u32::try_from(bits).ok())
                        .map(Literal::Bits32);
                }
                b'd' | b'D' => return radix(digits, 16, 16).map(Literal::Bits64),
                b'x' | b'X' => return radix(unsuffixed(digits), 16, 0).map(Literal::Integer),
                b'b' | b'B' => return radix(unsuffixed(digits), 2, 0).map(Literal::Integer),
                b'0'..=b'9' if !text.contains(['.', 'e', 'E']) => {
                    return radix(unsuffixed(&text[1..]), 8, 0).map(Literal::Integer);
                }
                _ => {}
            }
        }
        if text.contains(['.', 'e', 'E']) {
            return text.parse().ok().map(Literal::Decimal);
        }
        radix(unsuffixed(text), 10, 0).map(Literal::Integer)
    }

    /// The literal with a minus sign in front.
    pub(super) fn negated(self) -> Literal {
        match self {
            Literal::Integer(value) => Literal::Integer(value.wrapping_neg()),
            Literal::Bits32(bits) => Literal::Bits32(bits ^ 1 << 31),
            Literal::Bits64(bits) => Literal::Bits64(bits ^ 1 << 63),
            Literal::Decimal(value) => Literal::Decimal(-value),
        }
    }

    /// The bits of the literal as an operand or an element of this type; `None`: no type of floating point.
    ///
    /// Where the type is none, `0f...` and `0d...` stay as they are and a decimal number becomes an f32: only cache
    /// policies take one there.
    pub(super) fn bits(self, float: Option<Float>) -> u64 {
        let single = |value: f32| u64::from(value.to_bits());
        match (self, float) {
            (Literal::Integer(value), _) => value,
            (Literal::Bits32(bits), Some(Float::Double)) => {
                f64::from(f32::from_bits(bits)).to_bits()
            }
            (Literal::Bits32(bits), _) => u64::from(bits),
            (Literal::Bits64(bits), Some(Float::Single)) => single(f64::from_bits(bits) as f32),
            (Literal::Bits64(bits), _) => bits,
            (Literal::Decimal(value), Some(Float::Double)) => value.to_bits(),
            (Literal::Decimal(value), _) => single(value as f32),
        }
    }
}

fn unsuffixed(digits: &str) -> &str {
    digits.strip_suffix('U').unwrap_or(digits)
}

/// Digits of a base; `exactly` that many of them unless it is 0.
fn radix(digits: &str, base: u32, exactly: usize) -> Option<u64> {
    let signed = digits.starts_with(['+', '-']);
    if signed || (exactly != 0 && digits.len() != exactly) {
        return None;
    }
    u64::from_str_radix(digits, base).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_base() {
        for (text, value) in [
            ("0", 0),
            ("12", 12),
            ("12U", 12),
            ("0x1F", 31),
            ("0XffU", 255),
            ("017", 15),
            ("0b101", 5),
            ("0xFFFFFFFFFFFFFFFF", u64::MAX),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(Literal::read(text), Some(Literal::Integer(value)), "{text}");
        }
    }

    #[test]
    fn floats_by_bits_and_in_decimal() {
        assert_eq!(
            Literal::read("0f3F800000"),
            Some(Literal::Bits32(1.0f32.to_bits()))
        );
        assert_eq!(
            Literal::read("0dBFF8000000000000"),
            Some(Literal::Bits64((-1.5f64).to_bits()))
        );
        assert_eq!(Literal::read("1.5e-3"), Some(Literal::Decimal(1.5e-3)));
        assert_eq!(Literal::read("0.5"), Some(Literal::Decimal(0.5)));
    }

    #[test]
    fn the_type_decides_the_width() {
        let single = u64::from(0.5f32.to_bits());
        let double = 0.5f64.to_bits();
        for literal in [
            Literal::Bits32(0.5f32.to_bits()),
            Literal::Bits64(double),
            Literal::Decimal(0.5),
        ] {
            assert_eq!(literal.bits(Some(Float::Single)), single, "{literal:?}");
            assert_eq!(literal.bits(Some(Float::Double)), double, "{literal:?}");
        }
        assert_eq!(Literal::Bits32(0.5f32.to_bits()).bits(None), single);
        assert_eq!(Literal::Bits64(double).bits(None), double);
        assert_eq!(Literal::Decimal(0.5).bits(None), single);
        assert_eq!(Literal::Integer(7).bits(Some(Float::Double)), 7);
    }

    #[test]
    fn a_sign() {
        assert_eq!(Literal::Integer(4).negated().bits(None), -4i64 as u64);
        assert_eq!(
            Literal::Bits32(1.0f32.to_bits()).negated(),
            Literal::Bits32((-1.0f32).to_bits())
        );
        assert_eq!(
            Literal::Bits64(1.0f64.to_bits()).negated(),
            Literal::Bits64((-1.0f64).to_bits())
        );
        assert_eq!(Literal::Decimal(2.0).negated(), Literal::Decimal(-2.0));
    }

    #[test]
    fn malformed_literals() {
        for text in [
            "0f3F80",
            "0d3FF0",
            "0x",
            "0b2",
            "08",
            "12ab",
            "18446744073709551616",
            "0fGG800000",
            "1.2.3",
            "0f+F800000",
        ] {
            assert_eq!(Literal::read(text), None, "{text}");
        }
    }
}
