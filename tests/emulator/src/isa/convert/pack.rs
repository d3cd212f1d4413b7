//! Conversions of two values at a time.

use half::{bf16, f16};

use super::types::{Float, Modifiers};
use crate::isa::element::{Element, Pair};
use crate::isa::lanewise::lanewise;
use crate::isa::numeric::{E4M3, E5M2, Format, Rounding, f32_to_bf16, f32_to_f16};
use crate::isa::{DecodeError, Decoder, Execute};
use crate::ptx::Instruction;

/// `cvt` to or from a pair. Of two sources the first goes to the upper half.
pub(super) fn decode_pair(
    i: &Instruction,
    d: &mut Decoder<'_>,
    to: &str,
    from: &str,
) -> Result<Box<dyn Execute>, DecodeError> {
    type Two = (f32, f32);
    let modifiers = Modifiers::of(i);
    match (to, from) {
        ("f16x2", "f32") if modifiers.is_plain() => lanewise(i, d, |(a, b): Two| {
            Pair([b, a].map(|value| f16::from_bits(f32_to_f16(value))))
        }),
        ("bf16x2", "f32") if modifiers.is_plain() => lanewise(i, d, |(a, b): Two| {
            Pair([b, a].map(|value| bf16::from_bits(f32_to_bf16(value))))
        }),
        ("f16x2", "f32") => wide::<f16>(i, d, modifiers),
        ("bf16x2", "f32") => wide::<bf16>(i, d, modifiers),
        ("e4m3x2", "f32") => bytes(i, d, E4M3, modifiers),
        ("e5m2x2", "f32") => bytes(i, d, E5M2, modifiers),
        ("e4m3x2", "f16x2") => narrowed(i, d, E4M3, modifiers),
        ("e5m2x2", "f16x2") => narrowed(i, d, E5M2, modifiers),
        ("f16x2", "e4m3x2") => widened(i, d, E4M3, modifiers),
        ("f16x2", "e5m2x2") => widened(i, d, E5M2, modifiers),
        _ => Err(DecodeError::unsupported()),
    }
}

fn wide<T: Float + Element<Register = u32>>(
    i: &Instruction,
    d: &mut Decoder<'_>,
    modifiers: Modifiers,
) -> Result<Box<dyn Execute>, DecodeError> {
    lanewise(i, d, move |(a, b): (f32, f32)| {
        Pair([b, a].map(|value| modifiers.apply::<T>(value.wide())))
    })
}

/// One value as a byte; magnitudes beyond the largest always become it.
fn byte(value: f64, format: Format, modifiers: Modifiers) -> u32 {
    let value = if modifiers.relu && value <= 0.0 {
        0.0
    } else {
        value
    };
    format.encode(value, modifiers.rounding.unwrap_or(Rounding::Nearest), true)
}

fn bytes(
    i: &Instruction,
    d: &mut Decoder<'_>,
    format: Format,
    modifiers: Modifiers,
) -> Result<Box<dyn Execute>, DecodeError> {
    lanewise(i, d, move |(a, b): (f32, f32)| {
        byte(b.wide(), format, modifiers) | byte(a.wide(), format, modifiers) << 8
    })
}

fn narrowed(
    i: &Instruction,
    d: &mut Decoder<'_>,
    format: Format,
    modifiers: Modifiers,
) -> Result<Box<dyn Execute>, DecodeError> {
    lanewise(i, d, move |(Pair([low, high]),): (Pair<f16>,)| {
        byte(low.wide(), format, modifiers) | byte(high.wide(), format, modifiers) << 8
    })
}

fn widened(
    i: &Instruction,
    d: &mut Decoder<'_>,
    format: Format,
    modifiers: Modifiers,
) -> Result<Box<dyn Execute>, DecodeError> {
    lanewise(i, d, move |(bits,): (u32,)| {
        Pair(
            [bits & 0xff, bits >> 8 & 0xff].map(|byte| modifiers.apply::<f16>(format.decode(byte))),
        )
    })
}

/// `cvt.pack.sat`: two integers, clamped, side by side; with a third source its low bits above them.
pub(super) fn decode_saturated(
    i: &Instruction,
    d: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let (lowest, highest, bits): (i64, i64, u32) = match i.part(3) {
        "s16" => (-0x8000, 0x7fff, 16),
        "u16" => (0, 0xffff, 16),
        "s8" => (-0x80, 0x7f, 8),
        "u8" => (0, 0xff, 8),
        "s4" => (-8, 7, 4),
        "u4" => (0, 15, 4),
        _ => return Err(DecodeError::unsupported()),
    };
    let clamped =
        move |value: i32| i64::from(value).clamp(lowest, highest) as u32 & ((1 << bits) - 1);
    let pair = move |a: i32, b: i32| clamped(a) << bits | clamped(b);
    if i.operands.len() == 3 {
        return lanewise(i, d, move |(a, b): (i32, i32)| pair(a, b));
    }
    lanewise(i, d, move |(a, b, c): (i32, i32, u32)| {
        c << (2 * bits) | pair(a, b)
    })
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use crate::isa::testing::{Bench, check_binary};

    #[test]
    fn pairs_of_halves() {
        let f16_bits = |value: f32| {
            if value.is_nan() {
                0x7fff
            } else {
                u32::from(f16::from_f32(value).to_bits())
            }
        };
        let bf16_bits = |value: f32| {
            if value.is_nan() {
                0x7fff
            } else {
                u32::from(bf16::from_f32(value).to_bits())
            }
        };
        check_binary("cvt.rn.f16x2.f32 %r0, %r1, %r2;", |a: f32, b: f32| {
            f16_bits(b) | f16_bits(a) << 16
        });
        check_binary("cvt.rn.bf16x2.f32 %r0, %r1, %r2;", |a: f32, b: f32| {
            bf16_bits(b) | bf16_bits(a) << 16
        });
        let relu = |value: f32| if value <= 0.0 { 0.0 } else { value };
        check_binary("cvt.rn.relu.f16x2.f32 %r0, %r1, %r2;", |a: f32, b: f32| {
            f16_bits(relu(b)) | f16_bits(relu(a)) << 16
        });
        check_binary("cvt.rz.bf16x2.f32 %r0, %r1, %r2;", |a: f32, b: f32| {
            let cut = |value: f32| {
                if value.is_nan() {
                    0x7fff
                } else {
                    value.to_bits() >> 16
                }
            };
            cut(b) | cut(a) << 16
        });
    }

    #[test]
    fn bytes_and_back() {
        let text = "cvt.rn.satfinite.e4m3x2.f32 %r3, %r1, %r2;\ncvt.rn.f16x2.e4m3x2 %r4, %r3;\n\
                    cvt.rn.satfinite.e5m2x2.f16x2 %r5, %r4;\ncvt.rn.f16x2.e5m2x2 %r6, %r5;\n\
                    cvt.rn.satfinite.relu.e4m3x2.f32 %r7, %r1, %r2;";
        let outcome = Bench::new(text).set(1, &[1e9f32]).set(2, &[-0.3f32]).run();
        // 0.3125 is the nearest e4m3 value, 448 the largest.
        assert_eq!(outcome.narrow(3)[0], 0x7eaa);
        let halves = |bits: u32| {
            [
                f16::from_bits(bits as u16).to_f32(),
                f16::from_bits((bits >> 16) as u16).to_f32(),
            ]
        };
        assert_eq!(halves(outcome.narrow(4)[0]), [-0.3125, 448.0]);
        assert_eq!(halves(outcome.narrow(6)[0]), [-0.3125, 448.0]);
        assert_eq!(outcome.narrow(7)[0], 0x7e00);
    }

    #[test]
    fn integers_are_clamped_side_by_side() {
        let text = "cvt.pack.sat.u8.s32.b32 %r3, %r1, %r2, 0;\ncvt.pack.sat.s8.s32.b32 %r4, %r2, %r1, %r3;\n\
                    cvt.pack.sat.s16.s32 %r5, %r1, %r2;";
        let outcome = Bench::new(text).set(1, &[300i32]).set(2, &[-5i32]).run();
        assert_eq!(outcome.narrow(3)[0], 0xff00);
        assert_eq!(outcome.narrow(4)[0], 0xff00_fb7f);
        assert_eq!(outcome.narrow(5)[0], 0x012c_fffb);
    }
}
