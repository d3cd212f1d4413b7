//! Binary floating-point formats of at most 32 bits.

use super::Rounding;

/// A format: one sign bit, `exponent` bits, `mantissa` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    exponent: u32,
    mantissa: u32,
    /// The largest finite magnitude.
    largest: u32,
    /// What a magnitude beyond it becomes.
    infinity: u32,
    /// The NaN that conversions give.
    nan: u32,
}

/// Single precision.
pub const F32: Format = Format {
    exponent: 8,
    mantissa: 23,
    largest: 0x7f7f_ffff,
    infinity: 0x7f80_0000,
    nan: 0x7fff_ffff,
};
/// Half precision.
pub const F16: Format = Format {
    exponent: 5,
    mantissa: 10,
    largest: 0x7bff,
    infinity: 0x7c00,
    nan: 0x7fff,
};
/// Brain float.
pub const BF16: Format = Format {
    exponent: 8,
    mantissa: 7,
    largest: 0x7f7f,
    infinity: 0x7f80,
    nan: 0x7fff,
};
/// The 19 upper bits of single precision.
pub const TF32: Format = Format {
    exponent: 8,
    mantissa: 10,
    largest: 0x3_fbff,
    infinity: 0x3_fc00,
    nan: 0x3_ffff,
};
/// 8 bits without infinities.
pub const E4M3: Format = Format {
    exponent: 4,
    mantissa: 3,
    largest: 0x7e,
    infinity: 0x7f,
    nan: 0x7f,
};
/// The upper half of half precision.
pub const E5M2: Format = Format {
    exponent: 5,
    mantissa: 2,
    largest: 0x7b,
    infinity: 0x7c,
    nan: 0x7f,
};

impl Format {
    /// Exponent of the smallest normal number.
    fn smallest_exponent(self) -> i32 {
        2 - (1 << (self.exponent - 1))
    }

    /// The bits of the value rounded to this format. `finite`: magnitudes beyond the largest become the largest.
    pub fn encode(self, value: f64, rounding: Rounding, finite: bool) -> u32 {
        if value.is_nan() {
            return self.nan;
        }
        let negative = value.is_sign_negative();
        let sign = u32::from(negative) << (self.exponent + self.mantissa);
        let magnitude = value.abs();
        if magnitude.is_infinite() {
            return sign | if finite { self.largest } else { self.infinity };
        }
        // Subnormals of f64 are below half of everything here but zero: their true exponent does not matter.
        let exponent = ((magnitude.to_bits() >> 52) as i32 - 1023).max(self.smallest_exponent());
        let quanta = magnitude * power_of_two(self.mantissa as i32 - exponent);
        let whole = match rounding {
            Rounding::Nearest | Rounding::Away | Rounding::Zero => rounding.integral(quanta),
            directed if directed.grows(negative) => quanta.ceil(),
            _ => quanta.floor(),
        };
        // The implicit bit of a normal number, and a carry out of the mantissa, count the exponent up.
        let place = (exponent - self.smallest_exponent()) as u64;
        let code = (place << self.mantissa) + whole as u64;
        if code <= u64::from(self.largest) {
            return sign | code as u32;
        }
        let stays = finite
            || match rounding {
                Rounding::Nearest | Rounding::Away => false,
                directed => !directed.grows(negative),
            };
        sign | if stays { self.largest } else { self.infinity }
    }

    /// The value of the bits.
    pub fn decode(self, bits: u32) -> f64 {
        let width = self.exponent + self.mantissa;
        let negative = bits >> width & 1 == 1;
        let code = bits & ((1 << width) - 1);
        let magnitude = if code > self.infinity || code == self.nan {
            f64::NAN
        } else if code == self.infinity {
            f64::INFINITY
        } else {
            let field = (code >> self.mantissa) as i32;
            let fraction = code & ((1 << self.mantissa) - 1);
            let whole = if field == 0 {
                fraction
            } else {
                fraction | 1 << self.mantissa
            };
            f64::from(whole)
                * power_of_two(field.max(1) - 1 + self.smallest_exponent() - self.mantissa as i32)
        };
        if negative { -magnitude } else { magnitude }
    }
}

/// 2^exponent for exponents of normal f64 numbers.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_small_value_survives() {
        for (format, bits) in [(F16, 16), (BF16, 16), (E4M3, 8), (E5M2, 8), (TF32, 19)] {
            for code in 0..1u32 << bits {
                let value = format.decode(code);
                if value.is_nan() {
                    assert_eq!(format.encode(value, Rounding::Nearest, true), format.nan);
                    continue;
                }
                for rounding in [
                    Rounding::Nearest,
                    Rounding::Away,
                    Rounding::Zero,
                    Rounding::Down,
                    Rounding::Up,
                ] {
                    assert_eq!(
                        format.encode(value, rounding, false),
                        code,
                        "{format:?} {value} {rounding:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn values_between_two_go_where_they_are_told() {
        // Neighbours in e4m3: 16 and 18; 17 is the middle, and 16 has the even mantissa.
        let to = |value: f64, rounding| E4M3.decode(E4M3.encode(value, rounding, true));
        assert_eq!(to(17.0, Rounding::Nearest), 16.0);
        assert_eq!(to(17.0, Rounding::Away), 18.0);
        assert_eq!(to(-17.0, Rounding::Zero), -16.0);
        assert_eq!(to(-16.1, Rounding::Down), -18.0);
        assert_eq!(to(-17.9, Rounding::Up), -16.0);
        assert_eq!(to(1e9, Rounding::Nearest), 448.0);
        assert_eq!(E4M3.encode(1e9, Rounding::Nearest, false), 0x7f);
        assert_eq!(
            E5M2.encode(f64::NEG_INFINITY, Rounding::Nearest, false),
            0xfc
        );
        // Beyond the largest: only the directions towards zero stay there.
        assert_eq!(F16.encode(65520.0, Rounding::Nearest, false), 0x7c00);
        assert_eq!(F16.encode(65519.0, Rounding::Nearest, false), 0x7bff);
        assert_eq!(F16.encode(1e9, Rounding::Down, false), 0x7bff);
        assert_eq!(F16.encode(-1e9, Rounding::Down, false), 0xfc00);
        // Below the smallest: half of it goes to the even zero.
        let smallest = F16.decode(1);
        assert_eq!(F16.encode(smallest / 2.0, Rounding::Nearest, false), 0);
        assert_eq!(F16.encode(smallest / 2.0, Rounding::Up, false), 1);
        assert_eq!(
            F16.encode(-smallest * 0.75, Rounding::Nearest, false),
            0x8001
        );
        assert_eq!(F16.encode(f64::from_bits(1), Rounding::Up, false), 1);
    }

    #[test]
    fn single_precision_agrees_with_rust() {
        let mut state = 1u64;
        for _ in 0..100_000 {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            // Exponents around all of f32's range.
            let exponent = 1023 - 160 + (state >> 40) % 300;
            let value = f64::from_bits(state << 63 | exponent << 52 | state >> 12);
            assert_eq!(
                F32.encode(value, Rounding::Nearest, false),
                (value as f32).to_bits(),
                "{value:e}"
            );
        }
    }
}
