//! Logic on predicates, and `lop3` with its predicate result.

use crate::exec::Step;
use crate::fault::Stop;
use crate::isa::lanewise::{Sources, lanewise};
use crate::isa::predicate::{Condition, lanes_where};
use crate::isa::{DecodeError, Decoder, Execute, Flow};
use crate::ptx::{Instruction, Operand};

/// `and.pred` and its like.
#[derive(Debug)]
struct PredicateLogic {
    operation: fn(u32, u32) -> u32,
    destination: u16,
    first: Condition,
    /// The first again for `not`.
    second: Condition,
}

impl Execute for PredicateLogic {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let lanes = (self.operation)(self.first.lanes(step.warp), self.second.lanes(step.warp));
        step.warp
            .set_predicate(self.destination, step.active, lanes);
        Ok(Flow::Next)
    }
}

pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let operation: fn(u32, u32) -> u32 = match instruction.part(0) {
        "and" => |a, b| a & b,
        "or" => |a, b| a | b,
        "xor" => |a, b| a ^ b,
        "not" => |a, _| !a,
        _ => return Err(DecodeError::unsupported()),
    };
    let destination = decoder.predicate(instruction.operand(0)?)?;
    let first = Condition::decode(decoder, instruction.operand(1)?)?;
    let second = instruction
        .operands
        .get(2)
        .map_or(Ok(first), |operand| Condition::decode(decoder, operand))?;
    Ok(Box::new(PredicateLogic {
        operation,
        destination,
        first,
        second,
    }))
}

/// Any function of three bits, given by its table: bit `4a + 2b + c` is the result for a, b, c.
#[inline(always)]
fn table(table: u32, a: u32, b: u32, c: u32) -> u32 {
    let mut result = 0;
    for index in 0..8 {
        let chosen = |value: u32, bit: u32| if index >> bit & 1 == 1 { value } else { !value };
        let term = chosen(a, 2) & chosen(b, 1) & chosen(c, 0);
        result |= if table >> index & 1 == 1 { term } else { 0 };
    }
    result
}

pub(super) fn decode_lop3(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let lut = decoder.immediate(instruction.operand(4)?)? as u32;
    let Operand::Pair(result, predicate) = instruction.operand(0)? else {
        return lanewise(instruction, decoder, move |(a, b, c): (u32, u32, u32)| {
            table(lut, a, b, c)
        });
    };
    let both = match instruction.part(1) {
        "and" => true,
        "or" => false,
        _ => return Err(DecodeError::unsupported()),
    };
    Ok(Box::new(TableWithPredicate {
        lut,
        both,
        destination: decoder.destination32(result)?,
        predicate: decoder.predicate(predicate)?,
        sources: <(u32, u32, u32)>::decode(instruction, 1, decoder)?,
        condition: Condition::decode(decoder, instruction.operand(5)?)?,
    }))
}

/// `lop3.and` and `lop3.or`: also whether the result is not zero, joined with a predicate.
#[derive(Debug)]
struct TableWithPredicate {
    lut: u32,
    /// Joined by `and`, else by `or`.
    both: bool,
    destination: u16,
    predicate: u16,
    sources: [u16; 3],
    condition: Condition,
}

impl Execute for TableWithPredicate {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let [a, b, c] = self
            .sources
            .map(|register| step.warp.narrow[register as usize]);
        let values = std::array::from_fn(|lane| table(self.lut, a[lane], b[lane], c[lane]));
        let condition = self.condition.lanes(step.warp);
        step.warp.set_narrow(self.destination, step.active, &values);
        let nonzero = lanes_where(step.warp, self.sources, |(a, b, c): (u32, u32, u32)| {
            table(self.lut, a, b, c) != 0
        });
        let lanes = if self.both {
            nonzero & condition
        } else {
            nonzero | condition
        };
        step.warp.set_predicate(self.predicate, step.active, lanes);
        Ok(Flow::Next)
    }
}

#[cfg(test)]
mod tests {
    use crate::isa::testing::{Bench, check_ternary};

    #[test]
    fn predicates_are_joined_and_negated() {
        let text = "and.pred %p4, %p1, %p2;\nor.pred %p5, %p1, %p2;\nxor.pred %p6, %p1, %p2;\nnot.pred %p7, %p1;\n\
                    and.pred %p8, %p1, !%p2;\n@%p3 mov.pred %p9, %p1;\nmov.pred %p10, 1;\nmov.pred %p11, !%p2;";
        let (a, b, guard) = (0x0ff0_f0f0u32, 0x1234_5678u32, 0x0000_ffffu32);
        let outcome = Bench::new(text)
            .predicate(1, a)
            .predicate(2, b)
            .predicate(3, guard)
            .predicate(9, 0)
            .run();
        let expected = [a & b, a | b, a ^ b, !a, a & !b, a & guard, u32::MAX, !b];
        for (register, expected) in (4..).zip(expected) {
            assert_eq!(outcome.predicate(register), expected, "%p{register}");
        }
    }

    #[test]
    fn tables_of_three_bits() {
        check_ternary(
            "lop3.b32 %r0, %r1, %r2, %r3, 0x96;",
            |a: u32, b: u32, c: u32| a ^ b ^ c,
        );
        check_ternary(
            "lop3.b32 %r0, %r1, %r2, %r3, 0xe8;",
            |a: u32, b: u32, c: u32| a & b | b & c | a & c,
        );
        check_ternary(
            "lop3.b32 %r0, %r1, %r2, %r3, 0xca;",
            |a: u32, b: u32, c: u32| a & b | !a & c,
        );
        check_ternary(
            "lop3.b32 %r0, %r1, %r2, %r3, 0x0f;",
            |a: u32, _: u32, _: u32| !a,
        );
    }

    #[test]
    fn a_table_that_also_gives_a_predicate() {
        let a: Vec<u32> = (0..32).collect();
        let outcome = Bench::new("lop3.or.b32 %r1|%p1, %r1, %r2, 0, 0xc0, %p2;")
            .set(1, &a)
            .set(2, &[12u32])
            .predicate(2, 1)
            .run();
        for lane in 0..32 {
            assert_eq!(outcome.narrow(1)[lane], lane as u32 & 12);
            assert_eq!(
                outcome.predicate(1) >> lane & 1 == 1,
                lane & 12 != 0 || lane == 0
            );
        }
    }
}
