//! `vote`, `activemask` and `elect`.

use super::members::{Members, lanes_of};
use crate::exec::{Step, Warp};
use crate::fault::Stop;
use crate::isa::predicate::Condition;
use crate::isa::{DecodeError, Decoder, Execute, Flow};
use crate::ptx::{Instruction, Operand};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    All,
    Any,
    /// All the same.
    Uniform,
}

pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let question = match instruction.part(2) {
        "all" => Some(Question::All),
        "any" => Some(Question::Any),
        "uni" => Some(Question::Uniform),
        "ballot" => None,
        _ => return Err(DecodeError::unsupported()),
    };
    let vote = Condition::decode(decoder, instruction.operand(1)?)?;
    let members = Members(decoder.source32(instruction.operand(2)?)?);
    let destination = instruction.operand(0)?;
    Ok(match question {
        Some(question) => Box::new(Vote {
            question,
            destination: decoder.predicate(destination)?,
            vote,
            members,
        }),
        None => Box::new(Ballot {
            destination: decoder.destination32(destination)?,
            vote,
            members,
        }),
    })
}

#[derive(Debug)]
struct Vote {
    question: Question,
    destination: u16,
    vote: Condition,
    members: Members,
}

impl Execute for Vote {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let votes = self.vote.lanes(step.warp);
        let mut answer = 0;
        for members in self.members.groups(step)?.iter() {
            let yes = votes & members;
            let holds = match self.question {
                Question::All => yes == members,
                Question::Any => yes != 0,
                Question::Uniform => yes == 0 || yes == members,
            };
            answer |= if holds { members } else { 0 };
        }
        step.warp
            .set_predicate(self.destination, step.active, answer);
        Ok(Flow::Next)
    }

    fn participants(&self, warp: &Warp, executing: u32) -> Option<u32> {
        Some(self.members.all(warp, executing))
    }
}

#[derive(Debug)]
struct Ballot {
    destination: u16,
    vote: Condition,
    members: Members,
}

impl Execute for Ballot {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let votes = self.vote.lanes(step.warp);
        let mut values = [0; 32];
        for members in self.members.groups(step)?.iter() {
            lanes_of(members).for_each(|lane| values[lane] = votes & members);
        }
        step.warp.set_narrow(self.destination, step.active, &values);
        Ok(Flow::Next)
    }

    fn participants(&self, warp: &Warp, executing: u32) -> Option<u32> {
        Some(self.members.all(warp, executing))
    }
}

pub(super) fn decode_active(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    Ok(Box::new(ActiveMask {
        destination: decoder.destination32(instruction.operand(0)?)?,
    }))
}

/// `activemask`: the lanes that happen to be here.
#[derive(Debug)]
struct ActiveMask {
    destination: u16,
}

impl Execute for ActiveMask {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        step.warp
            .set_narrow(self.destination, step.active, &[step.active; 32]);
        Ok(Flow::Next)
    }
}

pub(super) fn decode_elect(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let Operand::Pair(leader, elected) = instruction.operand(0)? else {
        return Err(DecodeError::operand(
            instruction.operand(0)?,
            "a register and a predicate (d|p)",
        ));
    };
    Ok(Box::new(Elect {
        leader: decoder.destination32(leader)?,
        elected: decoder.predicate(elected)?,
        members: Members(decoder.source32(instruction.operand(1)?)?),
    }))
}

/// `elect.sync`: the lowest lane leads.
#[derive(Debug)]
struct Elect {
    leader: u16,
    elected: u16,
    members: Members,
}

impl Execute for Elect {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let mut leaders = [0; 32];
        let mut elected = 0;
        for members in self.members.groups(step)?.iter() {
            let leader = members.trailing_zeros();
            elected |= 1 << leader;
            lanes_of(members).for_each(|lane| leaders[lane] = leader);
        }
        step.warp.set_narrow(self.leader, step.active, &leaders);
        step.warp.set_predicate(self.elected, step.active, elected);
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
    fn questions_to_two_groups() {
        let masks: Vec<u32> = (0..32)
            .map(|lane| if lane < 8 { 0xff } else { 0xffff_ff00 })
            .collect();
        let votes = 0x0000_00ff | 1 << 20;
        let text = "vote.sync.all.pred %p1, %p0, %r3;\nvote.sync.any.pred %p2, !%p0, %r3;\nvote.sync.uni.pred %p3, %p0, %r3;\n\
                    vote.sync.ballot.b32 %r1, %p0, %r3;\nvote.sync.ballot.b32 %r2, 1, -1;";
        let outcome = Bench::new(text).set(3, &masks).predicate(0, votes).run();
        assert_eq!(outcome.predicate(1), 0xff);
        assert_eq!(outcome.predicate(2), 0xffff_ff00);
        assert_eq!(outcome.predicate(3), 0xff);
        assert_eq!(
            (outcome.narrow(1)[0], outcome.narrow(1)[31]),
            (0xff, 1 << 20)
        );
        assert_eq!(outcome.narrow(2)[13], u32::MAX);
    }

    #[test]
    fn lanes_that_have_ended_are_not_waited_for() {
        let text = "@%p0 exit;\nvote.sync.ballot.b32 %r1, 1, -1;\nactivemask.b32 %r2;";
        let outcome = Bench::new(text).predicate(0, 0xf).run();
        assert_eq!(outcome.narrow(1)[4], !0xf);
        assert_eq!(outcome.narrow(2)[4], !0xf);
    }

    #[test]
    fn the_lowest_lane_is_elected() {
        let text = "@!%p0 bra DONE;\nelect.sync %r1|%p1, 0xff0;\nDONE:\nelect.sync _|%p2, -1;";
        let outcome = Bench::new(text)
            .predicate(0, 0xff0)
            .predicate(1, 0)
            .predicate(2, 0)
            .run();
        assert_eq!(outcome.predicate(1), 0x10);
        assert_eq!(outcome.narrow(1)[8], 4);
        assert_eq!(outcome.predicate(2), 1);
    }

    #[test]
    fn votes_without_sync_are_refused() {
        let error = Bench::new("vote.ballot.b32 %r1, %p0;")
            .try_run(32)
            .unwrap_err();
        assert!(error.contains("without .sync"), "{error}");
    }
}
