//! Choosing one of two values, and the classes of floating-point numbers.

use std::marker::PhantomData;

use crate::exec::Step;
use crate::fault::Stop;
use crate::isa::element::{Element, Register};
use crate::isa::lanewise::{Sources, lanewise, vectorised};
use crate::isa::numeric::flush;
use crate::isa::predicate::{Condition, lanes_where};
use crate::isa::{DecodeError, Decoder, Execute, Flow};
use crate::ptx::Instruction;

/// `selp`.
#[derive(Debug)]
struct Select<R> {
    destination: u16,
    sources: [u16; 2],
    condition: Condition,
    class: PhantomData<R>,
}

impl<R: Element<Register = R> + Register + std::fmt::Debug> Select<R> {
    fn decode(
        instruction: &Instruction,
        decoder: &mut Decoder<'_>,
    ) -> Result<Box<dyn Execute>, DecodeError> {
        Ok(Box::new(Select::<R> {
            destination: R::destination(decoder, instruction.operand(0)?)?,
            sources: <(R, R)>::decode(instruction, 1, decoder)?,
            condition: Condition::decode(decoder, instruction.operand(3)?)?,
            class: PhantomData,
        }))
    }
}

impl<R: Register + std::fmt::Debug> Execute for Select<R> {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let condition = self.condition.lanes(step.warp);
        let [first, second] = self.sources.map(|register| R::read(step.warp, register));
        let values = vectorised(|| {
            let mut values = *second;
            for lane in 0..32 {
                if condition >> lane & 1 == 1 {
                    values[lane] = first[lane];
                }
            }
            values
        });
        R::write(step.warp, self.destination, step.active, &values);
        Ok(Flow::Next)
    }
}

pub(super) fn decode_by_predicate(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    match instruction.kind() {
        "b16" | "u16" | "s16" | "b32" | "u32" | "s32" | "f32" => {
            Select::<u32>::decode(instruction, decoder)
        }
        "b64" | "u64" | "s64" | "f64" => Select::<u64>::decode(instruction, decoder),
        _ => Err(DecodeError::unsupported()),
    }
}

/// `slct`: by the sign of the third operand.
pub(super) fn decode_by_sign(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    match instruction.part(instruction.opcode.len() - 2) {
        "b16" | "u16" | "s16" | "b32" | "u32" | "s32" | "f32" => {
            by_sign::<u32>(instruction, decoder)
        }
        "b64" | "u64" | "s64" | "f64" => by_sign::<u64>(instruction, decoder),
        _ => Err(DecodeError::unsupported()),
    }
}

fn by_sign<R: Element>(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let flushes = instruction.has("ftz");
    match instruction.kind() {
        "s32" => lanewise(
            instruction,
            decoder,
            |(a, b, c): (R, R, i32)| if c >= 0 { a } else { b },
        ),
        "f32" => lanewise(instruction, decoder, move |(a, b, c): (R, R, f32)| {
            let c = if flushes { flush(c) } else { c };
            if c >= 0.0 { a } else { b }
        }),
        _ => Err(DecodeError::unsupported()),
    }
}

/// `testp`: a property of the bits of a floating-point number.
#[derive(Debug)]
struct Class<R: Element> {
    destination: u16,
    source: u16,
    test: fn(R) -> bool,
}

impl<R: Element + std::fmt::Debug> Execute for Class<R> {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let lanes = lanes_where(step.warp, [self.source], |(value,): (R,)| {
            (self.test)(value)
        });
        step.warp
            .set_predicate(self.destination, step.active, lanes);
        Ok(Flow::Next)
    }
}

pub(super) fn decode_class(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let destination = decoder.predicate(instruction.operand(0)?)?;
    let operand = instruction.operand(1)?;
    match instruction.kind() {
        "f32" => {
            let test: fn(f32) -> bool = match instruction.part(1) {
                "finite" => f32::is_finite,
                "infinite" => f32::is_infinite,
                "number" => |value| !value.is_nan(),
                "notanumber" => f32::is_nan,
                // Zero counts as normal.
                "normal" => |value| value.is_normal() || value == 0.0,
                "subnormal" => f32::is_subnormal,
                _ => return Err(DecodeError::unsupported()),
            };
            Ok(Box::new(Class {
                destination,
                source: decoder.source32(operand)?,
                test,
            }))
        }
        "f64" => {
            let test: fn(f64) -> bool = match instruction.part(1) {
                "finite" => f64::is_finite,
                "infinite" => f64::is_infinite,
                "number" => |value| !value.is_nan(),
                "notanumber" => f64::is_nan,
                "normal" => |value| value.is_normal() || value == 0.0,
                "subnormal" => f64::is_subnormal,
                _ => return Err(DecodeError::unsupported()),
            };
            Ok(Box::new(Class {
                destination,
                source: decoder.source64(operand)?,
                test,
            }))
        }
        _ => Err(DecodeError::unsupported()),
    }
}

#[cfg(test)]
mod tests {
    use crate::isa::testing::Bench;

    #[test]
    fn selection_by_predicate_sign_and_number() {
        let text = "selp.b32 %r4, %r1, %r2, %p0;\nselp.f64 %rd4, %rd1, %rd2, %p0;\n\
                    slct.s32.s32 %r5, %r1, %r2, %r3;\nslct.ftz.u64.f32 %rd5, %rd1, %rd2, %r6;";
        let outcome = Bench::new(text)
            .set(1, &[1u32])
            .set(2, &[2u32])
            .set(3, &[-5i32, 0, 5])
            .set(6, &[-1e-40f32, f32::NAN, 1.0, -0.0])
            .wide(1, [u64::MAX; 32])
            .wide(2, [7; 32])
            .predicate(0, 0xffff_0000)
            .run();
        for lane in 0..32 {
            assert_eq!(outcome.narrow(4)[lane], if lane < 16 { 2 } else { 1 });
            assert_eq!(outcome.wide(4)[lane], if lane < 16 { 7 } else { u64::MAX });
            assert_eq!(outcome.narrow(5)[lane], if lane % 3 == 0 { 2 } else { 1 });
            assert_eq!(
                outcome.wide(5)[lane],
                if lane % 4 == 1 { 7 } else { u64::MAX }
            );
        }
    }

    #[test]
    fn classes() {
        let values = [0.0f32, -1.0, 1e-40, f32::INFINITY, f32::NAN];
        let of = |name: &str| {
            let outcome = Bench::new(&format!("testp.{name}.f32 %p1, %r1;"))
                .set(1, &values)
                .run();
            outcome.predicate(1) & 0x1f
        };
        assert_eq!(of("finite"), 0b00111);
        assert_eq!(of("infinite"), 0b01000);
        assert_eq!(of("number"), 0b01111);
        assert_eq!(of("notanumber"), 0b10000);
        assert_eq!(of("normal"), 0b00011);
        assert_eq!(of("subnormal"), 0b00100);
        let outcome = Bench::new("testp.subnormal.f64 %p1, %rd1;")
            .set(1, &[1e-310f64, 1.0])
            .run();
        assert_eq!(outcome.predicate(1), 0x5555_5555);
    }
}
