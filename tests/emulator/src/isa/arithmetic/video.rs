//! Absolute differences of the bytes (`vabsdiff4`) or halves (`vabsdiff2`) of words: of the video instructions those that CUDA's SIMD
//! intrinsics emit.

use crate::isa::lanewise::lanewise;
use crate::isa::{DecodeError, Decoder, Execute};
use crate::ptx::Instruction;

pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let bits = match instruction.part(0) {
        "vabsdiff4" => 8,
        _ => 16,
    };
    let parts: Vec<&str> = instruction.opcode[1..].iter().map(String::as_str).collect();
    match parts[..] {
        // Without a mask the differences fill the word, and nothing of `c` is left.
        ["u32", "u32", "u32"] => {
            lanewise(instruction, decoder, move |(a, b, _): (u32, u32, u32)| {
                differences(a, b, bits).fold(0, |word, (up, difference)| word | difference << up)
            })
        }
        ["u32", "u32", "u32", "add"] => {
            lanewise(instruction, decoder, move |(a, b, c): (u32, u32, u32)| {
                differences(a, b, bits).fold(c, |sum, (_, difference)| sum.wrapping_add(difference))
            })
        }
        _ => Err(DecodeError::unsupported()),
    }
}

/// The places of fields of `bits` bits in a word, and how far these of `a` and `b` are apart.
fn differences(a: u32, b: u32, bits: u32) -> impl Iterator<Item = (u32, u32)> {
    let field = move |word: u32, up: u32| word >> up & (u32::MAX >> (32 - bits));
    (0..32)
        .step_by(bits as usize)
        .map(move |up| (up, field(a, up).abs_diff(field(b, up))))
}

#[cfg(test)]
mod tests {
    use crate::isa::testing::{Bench, check_ternary};

    fn bytes(a: u32, b: u32) -> [u8; 4] {
        let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
        std::array::from_fn(|at| a[at].abs_diff(b[at]))
    }

    #[test]
    fn bytes_and_halves() {
        check_ternary(
            "vabsdiff4.u32.u32.u32 %r0, %r1, %r2, %r3;",
            |a: u32, b: u32, _: u32| u32::from_le_bytes(bytes(a, b)),
        );
        check_ternary(
            "vabsdiff4.u32.u32.u32.add %r0, %r1, %r2, %r3;",
            |a: u32, b: u32, c: u32| c.wrapping_add(bytes(a, b).map(u32::from).iter().sum()),
        );
        check_ternary(
            "vabsdiff2.u32.u32.u32.add %r0, %r1, %r2, %r3;",
            |a: u32, b: u32, c: u32| {
                let high = (a >> 16).abs_diff(b >> 16);
                c.wrapping_add(high + u32::from((a as u16).abs_diff(b as u16)))
            },
        );
    }

    #[test]
    fn other_forms_are_refused() {
        for instruction in [
            "vabsdiff4.s32.s32.s32 %r0, %r1, %r2, %r3;",
            "vabsdiff4.u32.u32.u32.sat %r0, %r1, %r2, %r3;",
            "vadd4.u32.u32.u32 %r0, %r1, %r2, %r3;",
        ] {
            let error = Bench::new(instruction).try_run(32).unwrap_err();
            assert!(error.contains("does not know"), "{error}");
        }
    }
}
