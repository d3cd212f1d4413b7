//! Lets registers share a place whose values are never alive together: linear scan over live intervals.

use std::collections::BTreeSet;

use super::undefined::maybe_undefined;
use super::{Blocks, Numbering, Set};
use crate::isa::registers::{reads, rename, writes};
use crate::ptx::{Class, Entry, Register};

/// The kernel with its registers renamed to as few as a linear scan needs.
///
/// Lanes of a warp may be at different places; each has its own copy of every register, so what holds for one thread holds
/// for all. Three kinds of register keep a place of their own: those of `wgmma`, which the hardware touches after the
/// instruction; those that may be read before they are written, so that the check sees them untouched; and those of no class here.
pub(in crate::isa) fn compact(entry: &Entry) -> Entry {
    let numbering = Numbering::new(entry);
    let mut alone = maybe_undefined(entry);
    for instruction in entry
        .instructions
        .iter()
        .filter(|instruction| instruction.part(0) == "wgmma")
    {
        for number in reads(instruction)
            .into_iter()
            .chain(writes(instruction))
            .filter_map(|register| numbering.number(register))
        {
            alone.insert(number);
        }
    }
    let places = assign(&intervals(entry, numbering), &alone, numbering);
    let mut compacted = entry.clone();
    for instruction in &mut compacted.instructions {
        rename(instruction, |register| {
            let place = numbering.number(register).and_then(|number| places[number]);
            place.map_or(register, |index| Register {
                class: register.class,
                index,
            })
        });
    }
    let count = |class: Class| {
        let used = (0..numbering.len()).filter(|&number| numbering.register(number).class == class);
        used.filter_map(|number| places[number])
            .max()
            .map_or(0, |highest| highest as usize + 1)
    };
    compacted.registers = [
        count(Class::Predicate),
        count(Class::Bits32),
        count(Class::Bits64),
        entry.registers[3],
    ];
    compacted
}

/// First and last instruction at which each register is alive or named; `None` for those never named.
fn intervals(entry: &Entry, numbering: Numbering) -> Vec<Option<(usize, usize)>> {
    let blocks = Blocks::of(entry);
    let alive_after = alive_at_ends(entry, &blocks, numbering);
    let mut intervals: Vec<Option<(usize, usize)>> = vec![None; numbering.len()];
    let mut extend = |number: usize, at: usize| {
        let interval = intervals[number].get_or_insert((at, at));
        *interval = (interval.0.min(at), interval.1.max(at));
    };
    for (range, after) in blocks.ranges.iter().zip(&alive_after) {
        let mut alive = after.clone();
        for number in after.members() {
            extend(number, range.end - 1);
        }
        for at in range.clone().rev() {
            step_back(entry, at, numbering, &mut alive);
            let instruction = &entry.instructions[at];
            let guard = instruction.guard.map(|guard| Register {
                class: Class::Predicate,
                index: guard.predicate,
            });
            let named = reads(instruction)
                .into_iter()
                .chain(writes(instruction))
                .chain(guard);
            for number in named.filter_map(|register| numbering.number(register)) {
                extend(number, at);
            }
        }
        for number in alive.members() {
            extend(number, range.start);
        }
    }
    intervals
}

/// Registers alive behind the last instruction of each block.
fn alive_at_ends(entry: &Entry, blocks: &Blocks, numbering: Numbering) -> Vec<Set> {
    let mut before = vec![Set::empty(numbering.len()); blocks.ranges.len()];
    let mut after = before.clone();
    let mut changed = true;
    while changed {
        changed = false;
        for block in (0..blocks.ranges.len()).rev() {
            for &next in &blocks.successors[block] {
                after[block].unite(&before[next]);
            }
            let mut alive = after[block].clone();
            for at in blocks.ranges[block].clone().rev() {
                step_back(entry, at, numbering, &mut alive);
            }
            changed |= before[block].unite(&alive);
        }
    }
    after
}

/// From the registers alive behind an instruction to those alive before it. A guarded write may leave the old value.
fn step_back(entry: &Entry, at: usize, numbering: Numbering, alive: &mut Set) {
    let instruction = &entry.instructions[at];
    if instruction.guard.is_none() {
        for number in writes(instruction)
            .into_iter()
            .filter_map(|register| numbering.number(register))
        {
            alive.remove(number);
        }
    }
    let guard = instruction.guard.map(|guard| Register {
        class: Class::Predicate,
        index: guard.predicate,
    });
    for number in reads(instruction)
        .into_iter()
        .chain(guard)
        .filter_map(|register| numbering.number(register))
    {
        alive.insert(number);
    }
}

/// A place for each named register: intervals that share one never touch, not even at one instruction.
fn assign(
    intervals: &[Option<(usize, usize)>],
    alone: &Set,
    numbering: Numbering,
) -> Vec<Option<u16>> {
    let mut places = vec![None; intervals.len()];
    for class in [Class::Predicate, Class::Bits32, Class::Bits64] {
        let mut order: Vec<(usize, usize, usize)> = (intervals.iter().enumerate())
            .filter(|&(number, _)| numbering.register(number).class == class)
            .filter_map(|(number, interval)| interval.map(|(start, end)| (start, end, number)))
            .collect();
        order.sort_unstable();
        let mut free: BTreeSet<u16> = BTreeSet::new();
        let mut busy: BTreeSet<(usize, u16)> = BTreeSet::new();
        let mut used = 0;
        for (start, end, number) in order {
            while let Some(&(until, place)) = busy.first().filter(|&&(until, _)| until < start) {
                busy.remove(&(until, place));
                free.insert(place);
            }
            let kept = alone.contains(number);
            let place = if kept { None } else { free.pop_first() };
            let place = place.unwrap_or_else(|| {
                used += 1;
                used - 1
            });
            if !kept {
                busy.insert((end, place));
            }
            places[number] = Some(place);
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ptx::Module;

    fn entry(body: &str) -> Entry {
        let text = format!(
            ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k() {{\n.reg .pred %p<9>;\n.reg .b32 %r<99>;\n.reg .b64 %rd<9>;\n{body}\n}}\n"
        );
        Module::parse(&text).unwrap().entries.remove(0)
    }

    #[test]
    fn a_chain_of_values_needs_two_places() {
        let chain: String = (1..50)
            .map(|n| format!("add.s32 %r{}, %r{}, 1;\n", n + 1, n))
            .collect();
        let compacted = compact(&entry(&format!("mov.u32 %r1, %tid.x;\n{chain}ret;\n")));
        assert_eq!(compacted.registers[1], 2);
    }

    #[test]
    fn a_value_that_a_loop_needs_again_keeps_its_place() {
        let compacted = compact(&entry(
            "mov.u32 %r1, 7;\nmov.u32 %r2, 0;\nloop:\nadd.s32 %r3, %r1, 1;\nadd.s32 %r4, %r3, 1;\nadd.s32 %r2, %r2, %r4;\nsetp.lt.s32 %p1, %r2, 9;\n@%p1 bra loop;\nret;\n",
        ));
        // r1 and r2 live through the loop, r3 and r4 follow each other.
        let written: Vec<u16> = compacted
            .instructions
            .iter()
            .flat_map(writes)
            .filter(|r| r.class == Class::Bits32)
            .map(|r| r.index)
            .collect();
        let [one, two, three, four, sum] = written[..] else {
            panic!("five writes: {written:?}")
        };
        assert_eq!(two, sum);
        assert!(
            ![three, four].contains(&one)
                && ![three, four].contains(&two)
                && one != two
                && three != four
        );
    }

    #[test]
    fn a_guarded_write_keeps_what_was_there() {
        let compacted = compact(&entry(
            "mov.u32 %r1, 7;\nsetp.lt.s32 %p1, %r1, 9;\nmov.u32 %r2, 3;\n@%p1 mov.u32 %r2, 4;\nadd.s32 %r3, %r2, %r1;\nst.global.u32 [%rd1], %r3;\nret;\n",
        ));
        let written: Vec<u16> = compacted
            .instructions
            .iter()
            .flat_map(writes)
            .filter(|r| r.class == Class::Bits32)
            .map(|r| r.index)
            .collect();
        assert_eq!(written[1], written[2]);
        assert_ne!(written[0], written[1]);
    }
}
