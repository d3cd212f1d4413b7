//! `shfl`.

use super::members::{Members, lanes_of};
use crate::exec::{Step, Warp};
use crate::fault::{FaultKind, Stop};
use crate::isa::lanewise::vectorised;
use crate::isa::{DecodeError, Decoder, Execute, Flow, Lanes};
use crate::ptx::{Instruction, Operand};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Up,
    Down,
    Butterfly,
    Index,
}

#[derive(Debug)]
struct Shuffle {
    mode: Mode,
    destination: u16,
    /// Whether the source lane was in range.
    in_range: Option<u16>,
    value: u16,
    /// Distance, or index.
    by: u16,
    /// Clamp in the low five bits, segment mask from bit 8 on.
    bounds: u16,
    members: Members,
}

pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let mode = match instruction.part(2) {
        "up" => Mode::Up,
        "down" => Mode::Down,
        "bfly" => Mode::Butterfly,
        "idx" => Mode::Index,
        _ => return Err(DecodeError::unsupported()),
    };
    let (destination, in_range) = match instruction.operand(0)? {
        Operand::Pair(destination, in_range) => {
            (&**destination, Some(decoder.predicate(in_range)?))
        }
        destination => (destination, None),
    };
    Ok(Box::new(Shuffle {
        mode,
        destination: decoder.destination32(destination)?,
        in_range,
        value: decoder.source32(instruction.operand(1)?)?,
        by: decoder.source32(instruction.operand(2)?)?,
        bounds: decoder.source32(instruction.operand(3)?)?,
        members: Members(decoder.source32(instruction.operand(4)?)?),
    }))
}

impl Mode {
    /// The lane to read, and whether it is in range; out of range a lane reads itself.
    #[inline(always)]
    fn source(self, lane: u32, by: u32, bounds: u32) -> (u32, bool) {
        let (by, clamp, segment) = (by & 31, bounds & 31, bounds >> 8 & 31);
        let first = lane & segment;
        let last = first | clamp & !segment;
        let (wanted, in_range) = match self {
            Mode::Up => (
                lane.wrapping_sub(by),
                lane as i32 - by as i32 >= last as i32,
            ),
            Mode::Down => (lane + by, lane + by <= last),
            Mode::Butterfly => (lane ^ by, lane ^ by <= last),
            Mode::Index => (first | by & !segment, first | by & !segment <= last),
        };
        (if in_range { wanted & 31 } else { lane }, in_range)
    }

    /// The sources of all lanes, and the lanes for which they are in range.
    fn sources(self, by: &Lanes<u32>, bounds: &Lanes<u32>) -> (Lanes<u32>, u32) {
        // One loop a mode, for the compiler to turn into vector code.
        vectorised(|| match self {
            Mode::Up => each(by, bounds, |lane, by, bounds| {
                Mode::Up.source(lane, by, bounds)
            }),
            Mode::Down => each(by, bounds, |lane, by, bounds| {
                Mode::Down.source(lane, by, bounds)
            }),
            Mode::Butterfly => each(by, bounds, |lane, by, bounds| {
                Mode::Butterfly.source(lane, by, bounds)
            }),
            Mode::Index => each(by, bounds, |lane, by, bounds| {
                Mode::Index.source(lane, by, bounds)
            }),
        })
    }
}

#[inline(always)]
fn each(
    by: &Lanes<u32>,
    bounds: &Lanes<u32>,
    source: impl Fn(u32, u32, u32) -> (u32, bool),
) -> (Lanes<u32>, u32) {
    let mut sources = [0; 32];
    let mut in_range = 0;
    for lane in 0..32 {
        let (from, inside) = source(lane as u32, by[lane], bounds[lane]);
        sources[lane] = from;
        in_range |= u32::from(inside) << lane;
    }
    (sources, in_range)
}

/// The lanes whose source is not among the lanes that they name.
#[inline(always)]
fn without(sources: &Lanes<u32>, masks: &Lanes<u32>, live: u32) -> u32 {
    vectorised(|| {
        (0..32).fold(0, |absent, lane| {
            absent | (!(masks[lane] & live) >> sources[lane] & 1) << lane
        })
    })
}

impl Execute for Shuffle {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        self.members.groups(step)?;
        let [values, by, bounds] =
            [self.value, self.by, self.bounds].map(|register| &step.warp.narrow[register as usize]);
        let (sources, in_range) = self.mode.sources(by, bounds);
        let results = std::array::from_fn(|lane| values[sources[lane] as usize & 31]);
        let absent = without(
            &sources,
            &step.warp.narrow[self.members.0 as usize],
            step.warp.live,
        ) & step.active;
        for lane in lanes_of(absent) {
            let (source, members) = (
                sources[lane],
                step.warp.narrow[self.members.0 as usize][lane],
            );
            let message = format!(
                "lane {lane} reads lane {source}, which does not take part (members {members:08x})"
            );
            step.report(FaultKind::Divergence, lane, message);
        }
        if let Some(undefined) = &mut step.warp.undefined {
            let others = [self.by, self.bounds, self.members.0];
            undefined.shuffle(self.destination, self.value, &sources, others, step.active);
        }
        step.warp
            .set_narrow(self.destination, step.active, &results);
        if let Some(predicate) = self.in_range {
            step.warp.set_predicate(predicate, step.active, in_range);
        }
        Ok(Flow::Next)
    }

    fn participants(&self, warp: &Warp, executing: u32) -> Option<u32> {
        Some(self.members.all(warp, executing))
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::FaultKind;
    use crate::isa::testing::Bench;

    fn lanes() -> Vec<u32> {
        (0..32).map(|lane| 100 + lane).collect()
    }

    #[test]
    fn all_modes_over_the_whole_warp() {
        let text = "shfl.sync.up.b32 %r2|%p2, %r1, 3, 0, -1;\nshfl.sync.down.b32 %r3|%p3, %r1, 3, 31, -1;\n\
                    shfl.sync.bfly.b32 %r4|%p4, %r1, 5, 31, -1;\nshfl.sync.idx.b32 %r5, %r1, 7, 31, 0xffffffff;";
        let outcome = Bench::new(text).set(1, &lanes()).run();
        for lane in 0..32u32 {
            let get = |register: u16| outcome.narrow(register)[lane as usize] - 100;
            assert_eq!(get(2), if lane >= 3 { lane - 3 } else { lane });
            assert_eq!(get(3), if lane + 3 < 32 { lane + 3 } else { lane });
            assert_eq!(get(4), lane ^ 5);
            assert_eq!(get(5), 7);
        }
        assert_eq!(outcome.predicate(2), !7);
        assert_eq!(outcome.predicate(3), u32::MAX >> 3);
        assert_eq!(outcome.predicate(4), u32::MAX);
    }

    #[test]
    fn segments_of_eight_lanes() {
        // Width 8: segment mask 24, clamp 31 (0 for up), as __shfl_*_sync compiles it.
        let text = "shfl.sync.up.b32 %r2, %r1, 2, 0x1800, -1;\nshfl.sync.down.b32 %r3|%p3, %r1, 2, 0x181f, -1;\n\
                    shfl.sync.idx.b32 %r4, %r1, 11, 0x181f, -1;";
        let outcome = Bench::new(text).set(1, &lanes()).run();
        for lane in 0..32u32 {
            let get = |register: u16| outcome.narrow(register)[lane as usize] - 100;
            assert_eq!(get(2), if lane % 8 >= 2 { lane - 2 } else { lane });
            assert_eq!(get(3), if lane % 8 < 6 { lane + 2 } else { lane });
            assert_eq!(get(4), lane / 8 * 8 + 3);
        }
        assert_eq!(outcome.predicate(3), 0x3f3f_3f3f);
    }

    #[test]
    fn halves_of_a_warp_with_masks_of_their_own() {
        let masks: Vec<u32> = (0..32)
            .map(|lane| if lane < 16 { 0xffff } else { 0xffff_0000 })
            .collect();
        let text = "@%p0 bra LOW;\nshfl.sync.bfly.b32 %r2, %r1, 1, 31, %r3;\nbra DONE;\nLOW:\n\
                    shfl.sync.bfly.b32 %r2, %r1, 2, 31, %r3;\nDONE:\nshfl.sync.bfly.b32 %r4, %r1, 4, 31, %r3;";
        let outcome = Bench::new(text)
            .set(1, &lanes())
            .set(3, &masks)
            .predicate(0, 0xffff)
            .run();
        for lane in 0..32u32 {
            let distance = if lane < 16 { 2 } else { 1 };
            assert_eq!(outcome.narrow(2)[lane as usize], 100 + (lane ^ distance));
            assert_eq!(outcome.narrow(4)[lane as usize], 100 + (lane ^ 4));
        }
    }

    #[test]
    fn reading_a_lane_that_does_not_take_part_is_reported() {
        let text = "@!%p0 bra DONE;\nshfl.sync.down.b32 %r2, %r1, 1, 31, 0xffff;\nDONE:";
        assert_eq!(
            Bench::new(text)
                .set(1, &lanes())
                .predicate(0, 0xffff)
                .fault(),
            FaultKind::Divergence
        );
    }

    #[test]
    fn a_lane_outside_its_own_mask_is_a_fault() {
        let text = "shfl.sync.idx.b32 %r2, %r1, 0, 31, 0xffff;";
        assert_eq!(
            Bench::new(text).set(1, &lanes()).fault(),
            FaultKind::Divergence
        );
    }

    #[test]
    fn lanes_that_disagree_about_the_mask_are_a_fault() {
        let masks: Vec<u32> = (0..32)
            .map(|lane| if lane == 5 { 0xffff } else { u32::MAX })
            .collect();
        let text = "shfl.sync.idx.b32 %r2, %r1, 0, 31, %r3;";
        assert_eq!(
            Bench::new(text).set(1, &lanes()).set(3, &masks).fault(),
            FaultKind::Divergence
        );
    }

    #[test]
    fn lanes_that_wait_at_different_shuffles_are_a_fault() {
        let text = "@%p0 bra OTHER;\nshfl.sync.idx.b32 %r2, %r1, 0, 31, -1;\nbra DONE;\nOTHER:\n\
                    shfl.sync.idx.b32 %r2, %r1, 1, 31, -1;\nDONE:";
        assert_eq!(
            Bench::new(text).set(1, &lanes()).predicate(0, 1).fault(),
            FaultKind::Divergence
        );
    }

    #[test]
    fn a_partial_warp_takes_part_with_the_lanes_it_has() {
        let outcome = Bench::new("shfl.sync.idx.b32 %r2, %r1, 7, 31, -1;")
            .set(1, &lanes())
            .try_run(8)
            .unwrap();
        assert!(outcome.faults.is_empty());
        assert_eq!(outcome.narrow(2)[..8], [107; 8]);
    }
}
