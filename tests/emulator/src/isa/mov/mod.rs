//! Moves, address conversions, packing and unpacking.

mod address;
mod clock;
mod pack;

use super::lanewise::lanewise;
use super::predicate::Condition;
use super::{DecodeError, Decoder, Execute, Flow};
use crate::exec::Step;
use crate::fault::Stop;
use crate::ptx::{Instruction, Operand};

/// Decodes an instruction of this family.
///
/// # Errors
/// For forms that the stand-in does not know.
pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    match instruction.part(0) {
        "mov" => {}
        "cvta" => return address::decode_conversion(instruction, decoder),
        "isspacep" => return address::decode_test(instruction, decoder),
        "mapa" => return address::decode_map(instruction, decoder),
        _ => return address::decode_rank(instruction, decoder),
    }
    match (instruction.operand(0)?, instruction.operand(1)?) {
        (Operand::Vector(parts), whole) => {
            return pack::decode_unpack(instruction.kind(), parts, whole, decoder);
        }
        (whole, Operand::Vector(parts)) => {
            return pack::decode_pack(instruction.kind(), parts, whole, decoder);
        }
        (destination, Operand::Special(name)) => {
            if let Some(changing) = clock::decode(name, destination, decoder) {
                return changing;
            }
        }
        _ => {}
    }
    match instruction.kind() {
        "pred" => Ok(Box::new(MovePredicate {
            destination: decoder.predicate(instruction.operand(0)?)?,
            source: Condition::decode(decoder, instruction.operand(1)?)?,
        })),
        "b64" | "u64" | "s64" | "f64" => lanewise(instruction, decoder, |(a,): (u64,)| a),
        "b8" | "b16" | "u16" | "s16" | "b32" | "u32" | "s32" | "f32" => {
            lanewise(instruction, decoder, |(a,): (u32,)| a)
        }
        _ => Err(DecodeError::unsupported()),
    }
}

/// `mov.pred`.
#[derive(Debug)]
struct MovePredicate {
    destination: u16,
    source: Condition,
}

impl Execute for MovePredicate {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let lanes = self.source.lanes(step.warp);
        step.warp
            .set_predicate(self.destination, step.active, lanes);
        Ok(Flow::Next)
    }
}

#[cfg(test)]
mod tests {
    use crate::isa::testing::{Bench, check_unary};

    #[test]
    fn every_class() {
        check_unary("mov.b32 %r0, %r1;", |a: u32| a);
        check_unary("mov.f64 %rd0, %rd1;", |a: u64| a);
        let outcome = Bench::new(
            "mov.u32 %r0, %tid.x;\nmov.b64 %rd0, -2;\nmov.f32 %r1, 0f40490FDB;\nmov.b16 %r2, -1;",
        )
        .run();
        for lane in 0..32 {
            assert_eq!(outcome.narrow(0)[lane], lane as u32);
            assert_eq!(outcome.wide(0)[lane], u64::MAX - 1);
            assert_eq!(outcome.narrow(1)[lane], std::f32::consts::PI.to_bits());
            assert_eq!(outcome.narrow(2)[lane] & 0xffff, 0xffff);
        }
    }

    #[test]
    fn the_device_and_the_grid() {
        let outcome =
            Bench::new("mov.u32 %r0, %nsmid;\nmov.u64 %rd0, %gridid;\nmov.u32 %r1, %smid;").run();
        assert!(outcome.narrow(1)[0] < outcome.narrow(0)[0]);
        assert_eq!(outcome.wide(0)[0], 0);
    }
}
