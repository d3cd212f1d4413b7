//! `match`: lanes with the same value.

use std::marker::PhantomData;

use super::members::{Members, lanes_of};
use crate::exec::{Step, Warp};
use crate::fault::Stop;
use crate::isa::element::Register;
use crate::isa::{DecodeError, Decoder, Execute, Flow};
use crate::ptx::{Instruction, Operand};

pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    match instruction.kind() {
        "b32" => Match::<u32>::decode(instruction, decoder),
        "b64" => Match::<u64>::decode(instruction, decoder),
        _ => Err(DecodeError::unsupported()),
    }
}

#[derive(Debug)]
struct Match<R> {
    /// `match.all`: every lane's value must be the same.
    all: bool,
    destination: u16,
    /// Whether it is.
    same: Option<u16>,
    value: u16,
    members: Members,
    class: PhantomData<R>,
}

impl<R: Register + PartialEq + std::fmt::Debug> Match<R> {
    fn decode(
        instruction: &Instruction,
        decoder: &mut Decoder<'_>,
    ) -> Result<Box<dyn Execute>, DecodeError> {
        let all = match instruction.part(1) {
            "all" => true,
            "any" => false,
            _ => return Err(DecodeError::unsupported()),
        };
        let (destination, same) = match instruction.operand(0)? {
            Operand::Pair(destination, same) => (&**destination, Some(decoder.predicate(same)?)),
            destination => (destination, None),
        };
        Ok(Box::new(Match::<R> {
            all,
            destination: decoder.destination32(destination)?,
            same,
            value: R::source(decoder, instruction.operand(1)?)?,
            members: Members(decoder.source32(instruction.operand(2)?)?),
            class: PhantomData,
        }))
    }
}

impl<R: Register + PartialEq + std::fmt::Debug> Execute for Match<R> {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let values = R::read(step.warp, self.value);
        let mut results = [0; 32];
        let mut same = 0;
        for members in self.members.groups(step)?.iter() {
            for lane in lanes_of(members) {
                let equal = lanes_of(members).filter(|&other| values[other] == values[lane]);
                let equal = equal.fold(0u32, |mask, other| mask | 1 << other);
                same |= u32::from(equal == members) << lane;
                results[lane] = if self.all && equal != members {
                    0
                } else {
                    equal
                };
            }
        }
        step.warp
            .set_narrow(self.destination, step.active, &results);
        if let Some(predicate) = self.same {
            step.warp.set_predicate(predicate, step.active, same);
        }
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
    fn lanes_with_equal_values_find_each_other() {
        let values: Vec<u32> = (0..32).map(|lane| lane % 4).collect();
        let text = "match.any.sync.b32 %r2, %r1, -1;\nmatch.all.sync.b32 %r3|%p3, %r1, -1;\nmatch.all.sync.b64 %r4|%p4, %rd1, -1;";
        let outcome = Bench::new(text)
            .set(1, &values)
            .wide(1, [1 << 40; 32])
            .run();
        for lane in 0..32 {
            assert_eq!(outcome.narrow(2)[lane], 0x1111_1111 << (lane % 4));
            assert_eq!(outcome.narrow(3)[lane], 0);
            assert_eq!(outcome.narrow(4)[lane], u32::MAX);
        }
        assert_eq!((outcome.predicate(3), outcome.predicate(4)), (0, u32::MAX));
    }
}
