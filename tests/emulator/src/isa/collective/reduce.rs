//! `redux`.

use super::members::{Members, lanes_of};
use crate::exec::{Step, Warp};
use crate::fault::Stop;
use crate::isa::element::{Element, Integer};
use crate::isa::{DecodeError, Decoder, Execute, Flow};
use crate::ptx::Instruction;

#[derive(Debug)]
struct Reduce<T> {
    operation: fn(T, T) -> T,
    destination: u16,
    value: u16,
    members: Members,
}

pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    match instruction.kind() {
        "s32" => arithmetic::<i32>(instruction, decoder),
        "u32" => arithmetic::<u32>(instruction, decoder),
        "b32" => {
            let operation: fn(u32, u32) -> u32 = match instruction.part(2) {
                "and" => |a, b| a & b,
                "or" => |a, b| a | b,
                "xor" => |a, b| a ^ b,
                _ => return Err(DecodeError::unsupported()),
            };
            build(instruction, decoder, operation)
        }
        _ => Err(DecodeError::unsupported()),
    }
}

fn arithmetic<T: Integer<Register = u32> + std::fmt::Debug>(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let operation: fn(T, T) -> T = match instruction.part(2) {
        "add" => T::add,
        "min" => T::min,
        "max" => T::max,
        _ => return Err(DecodeError::unsupported()),
    };
    build(instruction, decoder, operation)
}

fn build<T: Element<Register = u32> + std::fmt::Debug>(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
    operation: fn(T, T) -> T,
) -> Result<Box<dyn Execute>, DecodeError> {
    Ok(Box::new(Reduce {
        operation,
        destination: decoder.destination32(instruction.operand(0)?)?,
        value: decoder.source32(instruction.operand(1)?)?,
        members: Members(decoder.source32(instruction.operand(2)?)?),
    }))
}

impl<T: Element<Register = u32> + std::fmt::Debug> Execute for Reduce<T> {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let values = step.warp.narrow[self.value as usize].map(T::from_register);
        let mut results = [0; 32];
        for members in self.members.groups(step)?.iter() {
            let whole = lanes_of(members)
                .map(|lane| values[lane])
                .reduce(self.operation);
            let bits = whole.map_or(0, T::to_register);
            lanes_of(members).for_each(|lane| results[lane] = bits);
        }
        step.warp
            .set_narrow(self.destination, step.active, &results);
        Ok(Flow::Next)
    }

    fn participants(&self, warp: &Warp, executing: u32) -> Option<u32> {
        Some(self.members.all(warp, executing))
    }
}

#[cfg(test)]
mod tests {
    use crate::isa::testing::Bench;

    #[test]
    fn every_operation_over_the_members() {
        let values: Vec<u32> = (0..32u32)
            .map(|lane| lane.wrapping_mul(0x9e37_79b9))
            .collect();
        type Operation = fn(u32, u32) -> u32;
        let operations: [(&str, Operation); 8] = [
            ("add.u32", u32::wrapping_add),
            ("min.u32", u32::min),
            ("max.u32", u32::max),
            ("min.s32", |a, b| (a as i32).min(b as i32) as u32),
            ("max.s32", |a, b| (a as i32).max(b as i32) as u32),
            ("and.b32", |a, b| a & b),
            ("or.b32", |a, b| a | b),
            ("xor.b32", |a, b| a ^ b),
        ];
        for (name, operation) in operations {
            let text = format!("@!%p0 bra DONE;\nredux.sync.{name} %r2, %r1, %r3;\nDONE:");
            let bench = Bench::new(&text)
                .set(1, &values)
                .set(2, &[7u32])
                .set(3, &[0x00ff_ff00u32]);
            let outcome = bench.predicate(0, 0x00ff_ff00).run();
            let expected = values[8..24].iter().copied().reduce(operation).unwrap();
            for (lane, got) in outcome.narrow(2).into_iter().enumerate() {
                let inside = (8..24).contains(&lane);
                assert_eq!(got, if inside { expected } else { 7 }, "{name} lane {lane}");
            }
        }
    }
}
