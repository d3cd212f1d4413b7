//! Conversions between single precision and the 16-bit formats, without branches: loops over lanes become vector code.

/// Half to single precision, exact.
#[inline(always)]
pub fn f16_to_f32(bits: u16) -> f32 {
    let bits = u32::from(bits);
    let magnitude = bits & 0x7fff;
    // The exponent's bias differs by 112; the product also normalises subnormals.
    let finite = f32::from_bits(magnitude << 13) * f32::from_bits((127 + 112) << 23);
    let special = magnitude << 13 | 0x7f80_0000;
    let value = if magnitude >= 0x7c00 {
        special
    } else {
        finite.to_bits()
    };
    f32::from_bits(value | (bits & 0x8000) << 16)
}

/// Single to half precision, to nearest with ties to even; every NaN becomes 0x7fff.
#[inline(always)]
pub fn f32_to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    // Just below the middle of two neighbours is added, one more where the lower one is odd.
    let normal = magnitude
        .wrapping_add(0xc800_0fff)
        .wrapping_add(magnitude >> 13 & 1)
        >> 13;
    // Adding 1/2 moves a subnormal's last place to the last place of an f32, where the addition rounds.
    let subnormal = (f32::from_bits(magnitude) + 0.5)
        .to_bits()
        .wrapping_sub(0.5f32.to_bits());
    let finite = if magnitude < 0x3880_0000 {
        subnormal
    } else {
        normal
    };
    let bounded = if magnitude >= 0x4780_0000 {
        0x7c00
    } else {
        finite
    };
    if magnitude > 0x7f80_0000 {
        0x7fff
    } else {
        (bounded | (bits & 0x8000_0000) >> 16) as u16
    }
}

/// Brain float to single precision, exact.
#[inline(always)]
pub fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// Single precision to brain float, to nearest with ties to even; every NaN becomes 0x7fff.
#[inline(always)]
pub fn f32_to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff).wrapping_add(bits >> 16 & 1) >> 16;
    if bits & 0x7fff_ffff > 0x7f80_0000 {
        0x7fff
    } else {
        rounded as u16
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::super::{BF16, F16, Rounding};
    use super::*;

    #[test]
    fn every_half_widens_exactly() {
        for bits in 0..=u16::MAX {
            let (expected, got) = (f16::from_bits(bits).to_f32(), f16_to_f32(bits));
            assert!(
                expected.to_bits() == got.to_bits() || expected.is_nan() && got.is_nan(),
                "{bits:#x}"
            );
            let (expected, got) = (bf16::from_bits(bits).to_f32(), bf16_to_f32(bits));
            assert!(
                expected.to_bits() == got.to_bits() || expected.is_nan() && got.is_nan(),
                "{bits:#x}"
            );
        }
    }

    #[test]
    fn narrowing_rounds_like_the_general_way() {
        // Every exponent with mantissas around all the ties.
        for upper in 0..=u16::MAX {
            for lower in [
                0u32, 1, 0x0fff, 0x1000, 0x1001, 0x3000, 0x7fff, 0x8000, 0x8001, 0xffff,
            ] {
                let value = f32::from_bits(u32::from(upper) << 16 | lower);
                let half = F16.encode(f64::from(value), Rounding::Nearest, false);
                let brain = BF16.encode(f64::from(value), Rounding::Nearest, false);
                assert_eq!(u32::from(f32_to_f16(value)), half, "{value:e}");
                assert_eq!(u32::from(f32_to_bf16(value)), brain, "{value:e}");
            }
        }
    }
}
