//! Dot products of bytes: `dp4a` and `dp2a`.

use crate::isa::lanewise::lanewise;
use crate::isa::{DecodeError, Decoder, Execute};
use crate::ptx::Instruction;

/// The byte of a word as a number.
fn byte(word: u32, index: u32, signed: bool) -> i32 {
    let byte = (word >> (8 * index)) as u8;
    if signed {
        i32::from(byte as i8)
    } else {
        i32::from(byte)
    }
}

/// The 16-bit half of a word as a number.
fn half(word: u32, index: u32, signed: bool) -> i32 {
    let half = (word >> (16 * index)) as u16;
    if signed {
        i32::from(half as i16)
    } else {
        i32::from(half)
    }
}

pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let types = instruction.opcode.len().saturating_sub(2);
    let signed = |index: usize| match instruction.part(index) {
        "s32" => Ok(true),
        "u32" => Ok(false),
        _ => Err(DecodeError::unsupported()),
    };
    let (a_signed, b_signed) = (signed(types)?, signed(types + 1)?);
    if instruction.part(0) == "dp4a" {
        return lanewise(instruction, decoder, move |(a, b, c): (u32, u32, u32)| {
            let products = (0..4).map(|index| byte(a, index, a_signed) * byte(b, index, b_signed));
            c.wrapping_add(products.sum::<i32>() as u32)
        });
    }
    // Two halves of a, times two bytes of b from its low or high half.
    let first = if instruction.has("hi") { 2 } else { 0 };
    lanewise(instruction, decoder, move |(a, b, c): (u32, u32, u32)| {
        let product =
            |index| half(a, index, a_signed).wrapping_mul(byte(b, first + index, b_signed));
        c.wrapping_add(product(0).wrapping_add(product(1)) as u32)
    })
}

#[cfg(test)]
mod tests {
    use crate::isa::testing::{Bench, check_ternary};

    #[test]
    fn four_bytes() {
        check_ternary(
            "dp4a.s32.u32 %r0, %r1, %r2, %r3;",
            |a: u32, b: u32, c: u32| {
                let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
                (0..4).fold(c as i32, |sum, at| {
                    sum.wrapping_add(i32::from(a[at] as i8) * i32::from(b[at]))
                })
            },
        );
        let outcome = Bench::new("dp4a.u32.u32 %r0, %r1, %r1, %r2;")
            .set(1, &[u32::MAX])
            .set(2, &[1u32])
            .run();
        assert_eq!(outcome.narrow(0)[0], 4 * 255 * 255 + 1);
    }

    #[test]
    fn two_halves() {
        check_ternary(
            "dp2a.hi.s32.s32 %r0, %r1, %r2, %r3;",
            |a: u32, b: u32, c: u32| {
                let b = b.to_le_bytes();
                let low = i32::from(a as i16) * i32::from(b[2] as i8);
                let high = i32::from((a >> 16) as i16) * i32::from(b[3] as i8);
                (c as i32).wrapping_add(low).wrapping_add(high)
            },
        );
    }
}
