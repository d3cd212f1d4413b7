//! Extended precision: additions, subtractions and multiply-adds linked by the carry flag.

use std::fmt;
use std::marker::PhantomData;

use crate::exec::Step;
use crate::fault::Stop;
use crate::isa::element::{Integer, Register};
use crate::isa::{DecodeError, Decoder, Execute, Flow};
use crate::ptx::Instruction;

pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    match instruction.kind() {
        "u32" => Carried::<u32>::decode(instruction, decoder),
        "s32" => Carried::<i32>::decode(instruction, decoder),
        "u64" => Carried::<u64>::decode(instruction, decoder),
        "s64" => Carried::<i64>::decode(instruction, decoder),
        _ => Err(DecodeError::unsupported()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    /// a + b + carry.
    Add,
    /// a - b - borrow.
    Subtract,
    /// Low half of a * b, plus c and carry.
    MultiplyLow,
    /// High half of a * b, plus c and carry.
    MultiplyHigh,
}

struct Carried<T> {
    operation: Operation,
    reads_carry: bool,
    writes_carry: bool,
    destination: u16,
    /// The third is the second again where there are only two.
    sources: [u16; 3],
    of: PhantomData<T>,
}

impl<T> fmt::Debug for Carried<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Carried({:?} {} <- {:?})",
            self.operation, self.destination, self.sources
        )
    }
}

impl<T: Integer> Carried<T> {
    fn decode(
        instruction: &Instruction,
        decoder: &mut Decoder<'_>,
    ) -> Result<Box<dyn Execute>, DecodeError> {
        let operation = match instruction.part(0) {
            "add" | "addc" => Operation::Add,
            "sub" | "subc" => Operation::Subtract,
            "mad" | "madc" if instruction.has("lo") => Operation::MultiplyLow,
            "mad" | "madc" if instruction.has("hi") => Operation::MultiplyHigh,
            _ => return Err(DecodeError::unsupported()),
        };
        let mut source = |index| T::Register::source(decoder, instruction.operand(index)?);
        let (a, b) = (source(1)?, source(2)?);
        let two = matches!(operation, Operation::Add | Operation::Subtract);
        let c = if two { b } else { source(3)? };
        Ok(Box::new(Carried::<T> {
            operation,
            reads_carry: instruction.part(0).ends_with('c'),
            writes_carry: instruction.has("cc"),
            destination: T::Register::destination(decoder, instruction.operand(0)?)?,
            sources: [a, b, c],
            of: PhantomData,
        }))
    }

    /// Result and carry out.
    fn compute(&self, [a, b, c]: [T; 3], carry: bool) -> (T, bool) {
        let unsigned = |value: T| -> u128 { u128::from(value.to_register().into()) };
        let (first, second) = match self.operation {
            Operation::Add => (unsigned(a), unsigned(b)),
            Operation::Subtract => {
                let (a, b) = (unsigned(a), unsigned(b) + u128::from(carry));
                return (T::truncated(a.wrapping_sub(b) as u64), a < b);
            }
            Operation::MultiplyLow => (unsigned(a.mul(b)), unsigned(c)),
            Operation::MultiplyHigh => (unsigned(a.mul_high(b)), unsigned(c)),
        };
        let sum = first + second + u128::from(carry);
        (T::truncated(sum as u64), sum >> T::BITS != 0)
    }
}

impl<T: Integer> Execute for Carried<T> {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let sources = self
            .sources
            .map(|register| T::Register::read(step.warp, register));
        let mut values = [T::Register::default(); 32];
        let mut carries = 0;
        for (lane, value) in values.iter_mut().enumerate() {
            let carry = self.reads_carry && step.warp.carry >> lane & 1 == 1;
            let (result, out) =
                self.compute(sources.map(|source| T::from_register(source[lane])), carry);
            *value = result.to_register();
            carries |= u32::from(out) << lane;
        }
        T::Register::write(step.warp, self.destination, step.active, &values);
        if self.writes_carry {
            step.warp.carry = step.warp.carry & !step.active | carries & step.active;
        }
        Ok(Flow::Next)
    }
}

#[cfg(test)]
mod tests {
    use crate::isa::testing::{Bench, check_binary};

    #[test]
    fn sums_of_128_bits() {
        let text = "add.cc.u64 %rd4, %rd0, %rd2;\naddc.u64 %rd5, %rd1, %rd3;\n\
                    sub.cc.u64 %rd6, %rd0, %rd2;\nsubc.u64 %rd7, %rd1, %rd3;";
        let numbers = [
            0,
            1,
            u128::MAX,
            1 << 64,
            u64::MAX as u128,
            0x0123_4567_89ab_cdef_fedc_ba98_7654_3210,
        ];
        for a in numbers {
            for b in numbers {
                let halves = |value: u128| ([value as u64], [(value >> 64) as u64]);
                let ((a0, a1), (b0, b1)) = (halves(a), halves(b));
                let outcome = Bench::new(text)
                    .set(0, &a0)
                    .set(1, &a1)
                    .set(2, &b0)
                    .set(3, &b1)
                    .run();
                let whole = |low: u16| {
                    u128::from(outcome.wide(low)[9]) | u128::from(outcome.wide(low + 1)[9]) << 64
                };
                assert_eq!(whole(4), a.wrapping_add(b));
                assert_eq!(whole(6), a.wrapping_sub(b));
            }
        }
    }

    #[test]
    fn products_of_64_bits_from_32() {
        // (a1:a0) * b as 96 bits, all but the last step carrying on.
        let text =
            "mov.u32 %r3, 0;\nmad.lo.cc.u32 %r0, %r1, %r2, %r3;\nmadc.hi.u32 %r0, %r1, %r2, 0;";
        check_binary(text, |a: u32, b: u32| {
            ((u64::from(a) * u64::from(b)) >> 32) as u32
        });
        let text = "mad.lo.cc.u32 %r0, %r1, %r2, -1;\nmadc.hi.u32 %r0, %r1, %r2, 5;";
        check_binary(text, |a: u32, b: u32| {
            (((u64::from(a) * u64::from(b) + 0xffff_ffff) >> 32) as u32).wrapping_add(5)
        });
    }

    #[test]
    fn the_carry_is_one_bit_a_lane_and_survives_other_instructions() {
        let text = "add.cc.u32 %r0, %r1, %r2;\nadd.u32 %r3, %r2, %r2;\naddc.u32 %r4, 0, 0;";
        let a: Vec<u32> = (0..32)
            .map(|lane| if lane % 3 == 0 { u32::MAX } else { 0 })
            .collect();
        let outcome = Bench::new(text).set(1, &a).set(2, &[1u32]).run();
        for lane in 0..32 {
            assert_eq!(outcome.narrow(4)[lane], u32::from(lane % 3 == 0));
        }
    }
}
