//! Basic blocks: runs of instructions entered at their first and left at their last.

use std::ops::Range;

use crate::ptx::{Entry, Instruction, Operand};

/// The basic blocks of a kernel, in program order.
#[derive(Debug)]
pub(super) struct Blocks {
    pub(super) ranges: Vec<Range<usize>>,
    /// Blocks that may follow each block.
    pub(super) successors: Vec<Vec<usize>>,
}

impl Blocks {
    pub(super) fn of(entry: &Entry) -> Self {
        let code = &entry.instructions;
        let mut first = vec![false; code.len() + 1];
        first[0] = true;
        for (at, instruction) in code.iter().enumerate() {
            let targets = targets(instruction);
            for &target in &targets {
                first[target.min(code.len())] = true;
            }
            if !targets.is_empty() || ends(instruction) {
                first[at + 1] = true;
            }
        }
        let starts: Vec<usize> = (0..code.len()).filter(|&at| first[at]).collect();
        let ends_at = starts.iter().copied().skip(1).chain([code.len()]);
        let ranges: Vec<Range<usize>> = starts
            .iter()
            .copied()
            .zip(ends_at)
            .map(|(start, end)| start..end)
            .collect();
        let block_at = |at: usize| starts.binary_search(&at).ok();
        let successors = ranges
            .iter()
            .map(|range| {
                let last = &code[range.end - 1];
                let mut next: Vec<usize> = targets(last).into_iter().filter_map(block_at).collect();
                let leaves = ends(last) || last.opcode[0] == "bra" || last.opcode[0] == "brx";
                if !leaves || last.guard.is_some() {
                    next.extend(block_at(range.end));
                }
                next
            })
            .collect();
        Blocks { ranges, successors }
    }
}

fn ends(instruction: &Instruction) -> bool {
    matches!(instruction.opcode[0].as_str(), "ret" | "exit" | "trap")
}

fn targets(instruction: &Instruction) -> Vec<usize> {
    fn labels(operand: &Operand, found: &mut Vec<usize>) {
        match operand {
            Operand::Label(target) => found.push(*target as usize),
            Operand::Vector(members) => members.iter().for_each(|member| labels(member, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    instruction
        .operands
        .iter()
        .for_each(|operand| labels(operand, &mut found));
    found
}
