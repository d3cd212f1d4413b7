//! `prmt`: bytes of two words in any order.

use crate::isa::lanewise::lanewise;
use crate::isa::{DecodeError, Decoder, Execute};
use crate::ptx::{Instruction, Operand};

/// Selectors of the special modes by the low two bits of the third operand, one digit a byte.
fn selectors(mode: &str) -> Option<[u32; 4]> {
    Some(match mode {
        "f4e" => [0x3210, 0x4321, 0x5432, 0x6543],
        "b4e" => [0x5670, 0x6701, 0x7012, 0x0123],
        "rc8" => [0x0000, 0x1111, 0x2222, 0x3333],
        "ecl" => [0x3210, 0x3211, 0x3222, 0x3333],
        "ecr" => [0x0000, 0x1110, 0x2210, 0x3210],
        "rc16" => [0x1010, 0x3232, 0x1010, 0x3232],
        _ => return None,
    })
}

/// Each digit of the selector picks a byte of b:a; its top bit asks for the byte's sign, eight times, instead.
#[inline(always)]
fn permute(a: u32, b: u32, selector: u32) -> u32 {
    let bytes = u64::from(a) | u64::from(b) << 32;
    let mut result = 0;
    for place in 0..4 {
        let digit = selector >> (4 * place);
        let byte = (bytes >> (8 * (digit & 7))) as u8;
        let sign = if byte & 0x80 != 0 { 0xff } else { 0 };
        result |= u32::from(if digit & 8 != 0 { sign } else { byte }) << (8 * place);
    }
    result
}

pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    if let Some(selectors) = selectors(instruction.kind()) {
        return lanewise(instruction, decoder, move |(a, b, c): (u32, u32, u32)| {
            permute(a, b, selectors[(c & 3) as usize])
        });
    }
    if instruction.kind() != "b32" {
        return Err(DecodeError::unsupported());
    }
    if let Operand::Immediate(selector) = instruction.operand(3)?
        && selector & 0x8888 == 0
    {
        return constant(instruction, decoder, *selector as u32);
    }
    lanewise(instruction, decoder, |(a, b, c): (u32, u32, u32)| {
        permute(a, b, c)
    })
}

/// A selector known beforehand, without signs: the same shifts in all lanes.
fn constant(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
    selector: u32,
) -> Result<Box<dyn Execute>, DecodeError> {
    let digits = [0, 4, 8, 12].map(|place| selector >> place & 7);
    lanewise(instruction, decoder, move |(a, b): (u32, u32)| {
        let byte = |place: usize| {
            let source = if digits[place] < 4 { a } else { b };
            (source >> (8 * (digits[place] & 3)) & 0xff) << (8 * place)
        };
        byte(0) | byte(1) | byte(2) | byte(3)
    })
}

#[cfg(test)]
mod tests {
    use crate::isa::testing::Bench;

    fn run(mode: &str, selector: u32) -> u32 {
        let bench = Bench::new(&format!("prmt.b32{mode} %r0, %r1, %r2, %r3;"));
        bench
            .set(1, &[0x3322_1100u32])
            .set(2, &[0x7766_f544u32])
            .set(3, &[selector])
            .run()
            .narrow(0)[30]
    }

    #[test]
    fn any_byte_goes_anywhere() {
        assert_eq!(run("", 0x3210), 0x3322_1100);
        assert_eq!(run("", 0x7654), 0x7766_f544);
        assert_eq!(run("", 0x5410), 0xf544_1100);
        assert_eq!(run("", 0x9dd8), 0x00ff_ff00);
    }

    #[test]
    fn constant_selectors() {
        for selector in [0x3210, 0x7654, 0x5410, 0x7632, 0x0246, 0x9dd8] {
            let bench = Bench::new(&format!("prmt.b32 %r0, %r1, %r2, {selector:#x};"));
            let constant = bench
                .set(1, &[0x3322_1100u32])
                .set(2, &[0x7766_f544u32])
                .run()
                .narrow(0)[0];
            assert_eq!(constant, run("", selector), "{selector:#x}");
        }
    }

    #[test]
    fn modes() {
        assert_eq!(run(".f4e", 1), 0x4433_2211);
        assert_eq!(run(".b4e", 0), 0xf566_7700);
        assert_eq!(run(".b4e", 3), 0x0011_2233);
        assert_eq!(run(".rc8", 2), 0x2222_2222);
        assert_eq!(run(".ecl", 2), 0x3322_2222);
        assert_eq!(run(".ecr", 1), 0x1111_1100);
        assert_eq!(run(".rc16", 3), 0x3322_3322);
    }
}
