//! `setp` and `set`.

use std::fmt;

use super::relation::Relation;
use crate::exec::{Step, Warp};
use crate::fault::Stop;
use crate::isa::element::{Element, Pair};
use crate::isa::lanewise::Sources;
use crate::isa::predicate::{Condition, lanes_where};
use crate::isa::{DecodeError, Decoder, Execute, Flow};
use crate::ptx::{Instruction, Operand};

/// How the comparison is joined with a predicate.
#[derive(Clone, Copy, Debug)]
enum Join {
    And,
    Or,
    Xor,
}

/// Where the outcome goes.
#[derive(Clone, Copy, Debug)]
enum Output {
    /// `setp`: the comparison, and for one value a lane its opposite, for two the second.
    Predicates(u16, Option<u16>),
    /// `set`: one word where the comparison holds, one where the second does; else zeros.
    Word { destination: u16, words: [u32; 2] },
}

/// A comparison: `compare` gives the lanes where it holds, and the lanes of the second outcome.
struct Comparison<F> {
    compare: F,
    join: Option<(Join, Condition)>,
    output: Output,
}

impl<F> fmt::Debug for Comparison<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Comparison({:?}, {:?})", self.join, self.output)
    }
}

impl<F: Fn(&Warp) -> [u32; 2] + Send + Sync> Execute for Comparison<F> {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let mut outcome = (self.compare)(step.warp);
        if let Some((join, condition)) = self.join {
            let condition = condition.lanes(step.warp);
            outcome = outcome.map(|lanes| match join {
                Join::And => lanes & condition,
                Join::Or => lanes | condition,
                Join::Xor => lanes ^ condition,
            });
        }
        match self.output {
            Output::Predicates(first, second) => {
                step.warp.set_predicate(first, step.active, outcome[0]);
                if let Some(second) = second {
                    step.warp.set_predicate(second, step.active, outcome[1]);
                }
            }
            Output::Word { destination, words } => {
                let word = |lane: usize, which: usize| {
                    if outcome[which] >> lane & 1 == 1 {
                        words[which]
                    } else {
                        0
                    }
                };
                let values = std::array::from_fn(|lane| word(lane, 0) | word(lane, 1));
                step.warp.set_narrow(destination, step.active, &values);
            }
        }
        Ok(Flow::Next)
    }
}

/// One value a lane, compared by what `key` makes of it.
pub(super) fn decode<T: Element, K: PartialOrd>(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
    key: impl Fn(T) -> K + Copy + Send + Sync + 'static,
) -> Result<Box<dyn Execute>, DecodeError> {
    let (relation, sources) = operands::<(T, T)>(instruction, decoder)?;
    // The common ones as code of their own: a loop with one comparison.
    match instruction.part(1) {
        "lt" => build(instruction, decoder, sources, move |(a, b): (T, T)| {
            key(a) < key(b)
        }),
        "le" => build(instruction, decoder, sources, move |(a, b): (T, T)| {
            key(a) <= key(b)
        }),
        "gt" => build(instruction, decoder, sources, move |(a, b): (T, T)| {
            key(a) > key(b)
        }),
        "ge" => build(instruction, decoder, sources, move |(a, b): (T, T)| {
            key(a) >= key(b)
        }),
        "eq" => build(instruction, decoder, sources, move |(a, b): (T, T)| {
            key(a) == key(b)
        }),
        _ => build(instruction, decoder, sources, move |(a, b): (T, T)| {
            relation.holds(&key(a), &key(b))
        }),
    }
}

fn build<S: Sources>(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
    sources: S::Registers,
    test: impl Fn(S) -> bool + Copy + Send + Sync + 'static,
) -> Result<Box<dyn Execute>, DecodeError> {
    let compare = move |warp: &Warp| {
        let lanes = lanes_where(warp, sources, test);
        [lanes, !lanes]
    };
    finish(instruction, decoder, false, compare)
}

/// Two values a register.
pub(super) fn decode_pair<T: Element<Register = u32>>(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
    key: impl Fn(T) -> f32 + Copy + Send + Sync + 'static,
) -> Result<Box<dyn Execute>, DecodeError> {
    let (relation, sources) = operands::<(Pair<T>, Pair<T>)>(instruction, decoder)?;
    let compare = move |warp: &Warp| {
        [0, 1].map(|half: usize| {
            let test =
                |(a, b): (Pair<T>, Pair<T>)| relation.holds(&key(a.0[half]), &key(b.0[half]));
            lanes_where(warp, sources, test)
        })
    };
    finish(instruction, decoder, true, compare)
}

fn operands<S: Sources>(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<(Relation, S::Registers), DecodeError> {
    let relation = Relation::named(instruction.part(1)).ok_or_else(DecodeError::unsupported)?;
    let types = if instruction.part(0) == "set" { 2 } else { 1 };
    let modifiers = instruction
        .opcode
        .get(2..instruction.opcode.len() - types)
        .unwrap_or_default();
    if modifiers
        .iter()
        .any(|part| !matches!(part.as_str(), "and" | "or" | "xor" | "ftz"))
    {
        return Err(DecodeError::unsupported());
    }
    Ok((relation, S::decode(instruction, 1, decoder)?))
}

fn finish(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
    pair: bool,
    compare: impl Fn(&Warp) -> [u32; 2] + Send + Sync + 'static,
) -> Result<Box<dyn Execute>, DecodeError> {
    let join = match instruction.part(2) {
        "and" => Some(Join::And),
        "or" => Some(Join::Or),
        "xor" => Some(Join::Xor),
        _ => None,
    };
    let join = match join {
        Some(join) => Some((join, Condition::decode(decoder, instruction.operand(3)?)?)),
        None => None,
    };
    let output = match (instruction.part(0), instruction.operand(0)?) {
        ("setp", Operand::Pair(first, second)) => {
            Output::Predicates(decoder.predicate(first)?, Some(decoder.predicate(second)?))
        }
        ("setp", first) => Output::Predicates(decoder.predicate(first)?, None),
        (_, destination) => {
            let word = truth(instruction.part(instruction.opcode.len() - 2), pair)?;
            let words = if pair { [word, word << 16] } else { [word, 0] };
            Output::Word {
                destination: decoder.destination32(destination)?,
                words,
            }
        }
    };
    Ok(Box::new(Comparison {
        compare,
        join,
        output,
    }))
}

/// What `set` writes for true.
fn truth(kind: &str, pair: bool) -> Result<u32, DecodeError> {
    Ok(match kind {
        "u32" | "s32" if pair => 0xffff,
        "u32" | "s32" => u32::MAX,
        "u16" | "s16" => 0xffff,
        "f32" => 1f32.to_bits(),
        "f16" | "f16x2" => 0x3c00,
        "bf16" | "bf16x2" => 0x3f80,
        _ => return Err(DecodeError::unsupported()),
    })
}

#[cfg(test)]
mod tests {
    use crate::isa::testing::{Bench, Samples, SetRegister};

    /// Compares all pairs of samples through a predicate.
    fn check<T: Samples>(ptx: &str, expected: impl Fn(T, T) -> bool)
    where
        Bench: SetRegister<T::Register>,
    {
        let samples = T::samples();
        for &a in &samples {
            for chunk in samples.chunks(32) {
                let outcome = Bench::new(ptx).set(1, &[a]).set(2, chunk).run();
                for (lane, &b) in chunk.iter().enumerate() {
                    let (a_bits, b_bits): (u64, u64) =
                        (a.to_register().into(), b.to_register().into());
                    let got = outcome.predicate(1) >> lane & 1 == 1;
                    assert_eq!(got, expected(a, b), "{ptx} {a_bits:#x} {b_bits:#x}");
                }
            }
        }
    }

    #[test]
    fn integers() {
        check("setp.lt.s32 %p1, %r1, %r2;", |a: i32, b: i32| a < b);
        check("setp.lt.u32 %p1, %r1, %r2;", |a: u32, b: u32| a < b);
        check("setp.hs.u32 %p1, %r1, %r2;", |a: u32, b: u32| a >= b);
        check("setp.ne.b32 %p1, %r1, %r2;", |a: u32, b: u32| a != b);
        check("setp.le.s16 %p1, %r1, %r2;", |a: i16, b: i16| a <= b);
        check("setp.eq.b16 %p1, %r1, %r2;", |a: u16, b: u16| a == b);
        check("setp.gt.s64 %p1, %rd1, %rd2;", |a: i64, b: i64| a > b);
        check("setp.ge.u64 %p1, %rd1, %rd2;", |a: u64, b: u64| a >= b);
    }

    #[test]
    fn numbers_and_what_is_none() {
        check("setp.lt.f32 %p1, %r1, %r2;", |a: f32, b: f32| a < b);
        check("setp.ne.f32 %p1, %r1, %r2;", |a: f32, b: f32| {
            a != b && !a.is_nan() && !b.is_nan()
        });
        check("setp.neu.f32 %p1, %r1, %r2;", |a: f32, b: f32| a != b);
        check("setp.geu.f32 %p1, %r1, %r2;", |a: f32, b: f32| {
            a >= b || a.is_nan() || b.is_nan()
        });
        check("setp.equ.f64 %p1, %rd1, %rd2;", |a: f64, b: f64| {
            a == b || a.is_nan() || b.is_nan()
        });
        check("setp.num.f64 %p1, %rd1, %rd2;", |a: f64, b: f64| {
            !a.is_nan() && !b.is_nan()
        });
        check("setp.nan.f32 %p1, %r1, %r2;", |a: f32, b: f32| {
            a.is_nan() || b.is_nan()
        });
        let flushed = |a: f32| if a.is_subnormal() { 0.0 } else { a };
        check("setp.eq.ftz.f32 %p1, %r1, %r2;", move |a: f32, b: f32| {
            flushed(a) == flushed(b)
        });
        check(
            "setp.le.f16 %p1, %r1, %r2;",
            |a: half::f16, b: half::f16| a <= b,
        );
        check(
            "setp.gtu.bf16 %p1, %r1, %r2;",
            |a: half::bf16, b: half::bf16| a > b || a.is_nan() || b.is_nan(),
        );
    }

    #[test]
    fn two_predicates_joined_with_a_third() {
        let a: Vec<u32> = (0..32).collect();
        let third = 0x0f0f_3333;
        let text = "setp.lt.and.u32 %p1|%p2, %r1, 9, %p0;\nsetp.lt.or.u32 %p3|%p4, %r1, 9, !%p0;\n\
                    setp.lt.xor.u32 %p5, %r1, 9, %p0;\nsetp.lt.u32 %p6|_, %r1, 9;";
        let outcome = Bench::new(text).set(1, &a).predicate(0, third).run();
        let below = 0x1ff;
        let expected = [
            below & third,
            !below & third,
            below | !third,
            !below | !third,
            below ^ third,
            below,
        ];
        for (register, expected) in (1..).zip(expected) {
            assert_eq!(outcome.predicate(register), expected, "%p{register}");
        }
    }

    #[test]
    fn pairs_have_a_predicate_for_each_half() {
        let outcome = Bench::new("setp.lt.f16x2 %p1|%p2, %r1, %r2;\nset.lt.f16x2.f16x2 %r3, %r1, %r2;\nset.ge.u32.f16x2 %r4, %r1, %r2;")
            .set(1, &[0x3c00_4000u32])
            .set(2, &[0x4000_3c00u32])
            .run();
        assert_eq!((outcome.predicate(1), outcome.predicate(2)), (0, u32::MAX));
        assert_eq!(outcome.narrow(3)[5], 0x3c00_0000);
        assert_eq!(outcome.narrow(4)[5], 0x0000_ffff);
    }

    #[test]
    fn values_for_true() {
        let text = "set.gt.u32.s32 %r3, %r1, 0;\nset.gt.f32.s32 %r4, %r1, 0;\nset.gt.and.u32.s32 %r5, %r1, 0, %p0;";
        let outcome = Bench::new(text)
            .set(1, &[-1i32, 1])
            .predicate(0, 0xffff)
            .run();
        for lane in 0..32 {
            let holds = lane % 2 == 1;
            assert_eq!(outcome.narrow(3)[lane], if holds { u32::MAX } else { 0 });
            assert_eq!(
                f32::from_bits(outcome.narrow(4)[lane]),
                if holds { 1.0 } else { 0.0 }
            );
            assert_eq!(outcome.narrow(5)[lane] == u32::MAX, holds && lane < 16);
        }
    }
}
