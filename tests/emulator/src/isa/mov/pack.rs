//! Packing several registers into one, and unpacking.

use std::marker::PhantomData;

use crate::exec::Step;
use crate::fault::Stop;
use crate::isa::element::{Integer, Register};
use crate::isa::lanewise::{lanewise_of, vectorised};
use crate::isa::{DecodeError, Decoder, Execute, Flow};
use crate::ptx::Operand;

/// Bits of the whole.
fn width(kind: &str) -> Result<u32, DecodeError> {
    match kind {
        "b16" | "u16" | "s16" => Ok(16),
        "b32" | "u32" | "s32" | "f32" => Ok(32),
        "b64" | "u64" | "s64" | "f64" => Ok(64),
        _ => Err(DecodeError::unsupported()),
    }
}

/// Bits of one of the parts.
fn part_width(kind: &str, parts: &[Operand]) -> Result<u32, DecodeError> {
    match width(kind)? / parts.len().max(1) as u32 {
        bits @ (8 | 16 | 32) => Ok(bits),
        _ => Err(DecodeError::unsupported()),
    }
}

fn low_bits(bits: u32) -> u64 {
    (1 << bits) - 1
}

/// `mov {a, b, ...}, whole`: the lowest bits go to the first.
pub(super) fn decode_unpack(
    kind: &str,
    parts: &[Operand],
    whole: &Operand,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let bits = part_width(kind, parts)?;
    let registers = parts
        .iter()
        .map(|part| decoder.destination32(part))
        .collect::<Result<_, _>>()?;
    Ok(match width(kind)? {
        64 => Box::new(Unpack::<u64> {
            bits,
            whole: decoder.source64(whole)?,
            parts: registers,
            class: PhantomData,
        }),
        _ => Box::new(Unpack::<u32> {
            bits,
            whole: decoder.source32(whole)?,
            parts: registers,
            class: PhantomData,
        }),
    })
}

#[derive(Debug)]
struct Unpack<R> {
    bits: u32,
    whole: u16,
    parts: Vec<u16>,
    class: PhantomData<R>,
}

impl<R: Register + std::fmt::Debug> Execute for Unpack<R> {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        // A copy: the whole's register may be one of the parts.
        let whole = *R::read(step.warp, self.whole);
        let mask = low_bits(self.bits);
        for (place, &part) in (0..).zip(&self.parts) {
            let values = vectorised(|| {
                let mut values = [0; 32];
                for (value, whole) in values.iter_mut().zip(&whole) {
                    *value = ((*whole).into() >> (place * self.bits) & mask) as u32;
                }
                values
            });
            step.warp.set_narrow(part, step.active, &values);
        }
        Ok(Flow::Next)
    }
}

/// `mov whole, {a, b, ...}`.
pub(super) fn decode_pack(
    kind: &str,
    parts: &[Operand],
    whole: &Operand,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let bits = part_width(kind, parts)?;
    let sources = parts
        .iter()
        .map(|part| decoder.source32(part))
        .collect::<Result<Vec<_>, _>>()?;
    match width(kind)? {
        64 => pack::<u64>(bits, &sources, decoder.destination64(whole)?),
        _ => pack::<u32>(bits, &sources, decoder.destination32(whole)?),
    }
}

fn pack<R: Integer>(
    bits: u32,
    sources: &[u16],
    whole: u16,
) -> Result<Box<dyn Execute>, DecodeError> {
    let mask = low_bits(bits);
    let part = move |value: u32, place: u32| (u64::from(value) & mask) << (place * bits);
    Ok(match *sources {
        [a, b] => lanewise_of(whole, [a, b], move |(a, b): (u32, u32)| {
            R::truncated(part(a, 0) | part(b, 1))
        }),
        [a, b, c, d] => lanewise_of(
            whole,
            [a, b, c, d],
            move |(a, b, c, d): (u32, u32, u32, u32)| {
                R::truncated(part(a, 0) | part(b, 1) | part(c, 2) | part(d, 3))
            },
        ),
        _ => return Err(DecodeError::unsupported()),
    })
}

#[cfg(test)]
mod tests {
    use crate::isa::testing::Bench;

    #[test]
    fn parts_of_every_width() {
        let text = "mov.b64 {%r1, %r2}, %rd1;\nmov.b64 {%r3, %r4, %r5, %r6}, %rd1;\nmov.b32 {%r7, _}, %r1;\n\
                    mov.b32 {%r8, %r9, %r10, %r11}, %r2;\nmov.b64 %rd2, {%r2, %r1};\nmov.b32 %r12, {%r6, %r3};\n\
                    mov.b64 %rd3, {%r6, %r5, %r4, %r3};\nmov.b32 %r13, {%r8, %r8, %r9, %r14};";
        let outcome = Bench::new(text)
            .wide(1, [0x8877_6655_4433_2211; 32])
            .set(14, &[0xffff_ff01u32])
            .run();
        let narrow = |register: u16| outcome.narrow(register)[31];
        assert_eq!((narrow(1), narrow(2)), (0x4433_2211, 0x8877_6655));
        assert_eq!([3, 4, 5, 6].map(narrow), [0x2211, 0x4433, 0x6655, 0x8877]);
        assert_eq!(narrow(7), 0x2211);
        assert_eq!([8, 9, 10, 11].map(narrow), [0x55, 0x66, 0x77, 0x88]);
        assert_eq!(outcome.wide(2)[0], 0x4433_2211_8877_6655);
        assert_eq!(narrow(12), 0x2211_8877);
        assert_eq!(outcome.wide(3)[0], 0x2211_4433_6655_8877);
        // Bits above the width of a part are ignored.
        assert_eq!(narrow(13), 0x0166_5555);
    }

    #[test]
    fn a_register_may_be_whole_and_part() {
        let outcome = Bench::new("mov.b32 {%r1, %r2}, %r1;\nmov.b32 %r2, {%r2, %r1};")
            .set(1, &[0x1234_5678u32])
            .run();
        assert_eq!(outcome.narrow(1)[0], 0x5678);
        assert_eq!(outcome.narrow(2)[0], 0x5678_1234);
    }
}
