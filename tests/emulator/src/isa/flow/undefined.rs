//! Registers that may be read before they are written, and what becomes of their values.
//!
//! Almost no kernel has such registers; only where the control flow shows one is every instruction followed at run time.
//! An undefined value may be moved and computed with; it is a fault when it reaches an address, a branch or a store.

use super::{Blocks, Numbering, Set};
use crate::exec::{Step, Warp};
use crate::fault::FaultKind;
use crate::isa::Lanes;
use crate::isa::registers::{accumulates, reads, writes};
use crate::ptx::{Class, Entry, Instruction, Operand, Register};

/// How each instruction of a kernel passes undefined values on.
#[derive(Debug)]
pub struct Tracking {
    steps: Vec<Passing>,
    counts: [usize; 3],
}

#[derive(Debug)]
struct Passing {
    reads: Vec<Register>,
    writes: Vec<Register>,
    guard: Option<Register>,
    role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Results are undefined where a source is.
    Computes,
    /// Gives the second or the third operand, as the fourth says.
    Selects,
    /// `wgmma`: its results are added to where the predicate holds, else overwritten. The other sources count as used.
    Accumulates {
        /// scale-d.
        predicate: Register,
        /// It is `!predicate`.
        negated: bool,
    },
    /// `shfl`: what it moves is followed when it is executed, by [`Undefined::shuffle`].
    Shuffles,
    /// Sources are addresses, values to store, or otherwise seen from outside; results are defined.
    Uses,
}

/// Lanes in which each register of a warp is undefined.
#[derive(Clone, Debug, Default)]
pub struct Undefined {
    predicates: Vec<u32>,
    narrow: Vec<u32>,
    wide: Vec<u32>,
}

/// Registers that some path reads before it writes them.
pub(super) fn maybe_undefined(entry: &Entry) -> Set {
    let numbering = Numbering::new(entry);
    let blocks = Blocks::of(entry);
    let mut found = Set::empty(numbering.len());
    if blocks.ranges.is_empty() {
        return found;
    }
    // Forward: registers written on every path to a block.
    let mut before = vec![Set::full(numbering.len()); blocks.ranges.len()];
    before[0] = Set::empty(numbering.len());
    let mut waiting = vec![0];
    let mut visited = vec![false; blocks.ranges.len()];
    while let Some(block) = waiting.pop() {
        visited[block] = true;
        let mut written = before[block].clone();
        for at in blocks.ranges[block].clone() {
            write(&entry.instructions[at], numbering, &mut written);
        }
        for &next in &blocks.successors[block] {
            if before[next].intersect(&written) || !visited[next] {
                waiting.push(next);
            }
        }
    }
    for (block, range) in blocks
        .ranges
        .iter()
        .enumerate()
        .filter(|&(block, _)| visited[block])
    {
        let mut written = before[block].clone();
        for at in range.clone() {
            let instruction = &entry.instructions[at];
            for number in sources(instruction).filter_map(|register| numbering.number(register)) {
                if !written.contains(number) {
                    found.insert(number);
                }
            }
            write(instruction, numbering, &mut written);
        }
    }
    found
}

fn write(instruction: &Instruction, numbering: Numbering, written: &mut Set) {
    // A guarded write leaves some lanes without.
    if instruction.guard.is_none() {
        for number in writes(instruction)
            .into_iter()
            .filter_map(|register| numbering.number(register))
        {
            written.insert(number);
        }
    }
}

fn sources(instruction: &Instruction) -> impl Iterator<Item = Register> {
    reads(instruction).into_iter().chain(guard(instruction))
}

fn guard(instruction: &Instruction) -> Option<Register> {
    instruction.guard.map(|guard| Register {
        class: Class::Predicate,
        index: guard.predicate,
    })
}

impl Tracking {
    /// Tracking for a kernel that may read a register before it writes it; `None` for all others.
    pub(in crate::isa) fn of(entry: &Entry) -> Option<Self> {
        let undefined = maybe_undefined(entry);
        undefined.members().next()?;
        let steps = entry.instructions.iter().map(|instruction| {
            let (mut reads, mut writes) = (reads(instruction), writes(instruction));
            if !accumulators_count(instruction) {
                reads.retain(|register| !writes.contains(register));
            }
            let role = role(instruction);
            if role == Role::Shuffles {
                writes.retain(|register| register.class == Class::Predicate);
            }
            Passing {
                reads,
                writes,
                guard: guard(instruction),
                role,
            }
        });
        let [predicates, narrow, wide, _] = entry.registers;
        Some(Tracking {
            steps: steps.collect(),
            counts: [predicates, narrow, wide],
        })
    }

    /// The state of a warp that has not written anything.
    pub(crate) fn start(&self) -> Undefined {
        let [predicates, narrow, wide] = self.counts;
        Undefined {
            predicates: vec![u32::MAX; predicates],
            narrow: vec![u32::MAX; narrow],
            wide: vec![u32::MAX; wide],
        }
    }
}

/// Whether what the instruction reads of its own results counts in any case: not for a `wgmma` that may overwrite its accumulators.
fn accumulators_count(instruction: &Instruction) -> bool {
    !accumulates(instruction)
        || matches!(instruction.operands.get(SCALE), Some(Operand::Immediate(scale)) if *scale != 0)
}

/// Operand of `wgmma` that says whether it adds to its accumulators.
const SCALE: usize = 3;

fn role(instruction: &Instruction) -> Role {
    let vector_of_memory = instruction
        .operands
        .iter()
        .any(|operand| matches!(operand, Operand::Memory(..) | Operand::Tensor(..)));
    match instruction.part(0) {
        "selp" | "slct" => Role::Selects,
        "shfl" => Role::Shuffles,
        "wgmma" if accumulates(instruction) => match instruction.operands.get(SCALE) {
            Some(&Operand::Register(predicate)) => Role::Accumulates {
                predicate,
                negated: false,
            },
            Some(&Operand::Not(predicate)) => Role::Accumulates {
                predicate,
                negated: true,
            },
            _ => Role::Uses,
        },
        "bra" | "brx" | "call" | "bar" | "barrier" | "wgmma" | "mma" | "wmma" | "setmaxnreg"
        | "nanosleep" => Role::Uses,
        _ if vector_of_memory => Role::Uses,
        _ => Role::Computes,
    }
}

impl Undefined {
    /// Follows 32-bit values from lane to lane: into `destination` from the lanes `sources` of `value`. Where one of `others`,
    /// which say from where, is undefined, so is the result.
    pub(in crate::isa) fn shuffle(
        &mut self,
        destination: u16,
        value: u16,
        sources: &Lanes<u32>,
        others: [u16; 3],
        active: u32,
    ) {
        // Registers beyond those of the kernel hold constants.
        let lanes = |register: u16| self.narrow.get(register as usize).copied().unwrap_or(0);
        let (value, others) = (lanes(value), others.map(lanes));
        let moved = (0..32).fold(0, |all, lane| all | (value >> sources[lane] & 1) << lane);
        let undefined = others.iter().fold(moved, |all, other| all | other);
        if let Some(cell) = self.narrow.get_mut(destination as usize) {
            *cell = *cell & !active | undefined & active;
        }
    }

    fn lanes(&self, register: Register) -> u32 {
        let index = register.index as usize;
        match register.class {
            Class::Predicate => self.predicates[index],
            Class::Bits32 => self.narrow[index],
            Class::Bits64 => self.wide[index],
            Class::Bits128 => 0,
        }
    }

    fn set(&mut self, register: Register, active: u32, undefined: u32) {
        let index = register.index as usize;
        let cell = match register.class {
            Class::Predicate => &mut self.predicates[index],
            Class::Bits32 => &mut self.narrow[index],
            Class::Bits64 => &mut self.wide[index],
            Class::Bits128 => return,
        };
        *cell = *cell & !active | undefined & active;
    }
}

impl Step<'_> {
    /// Follows undefined values through the instruction at `pc` that the lanes `here` reached and `active` will execute.
    pub(crate) fn track(&mut self, tracking: &Tracking, pc: u32, here: u32, active: u32) {
        let Some(passing) = tracking.steps.get(pc as usize) else {
            return;
        };
        let Some(undefined) = &self.warp.undefined else {
            return;
        };
        let mut bad = passing
            .guard
            .map_or(0, |guard| undefined.lanes(guard) & here);
        let all = |undefined: &Undefined| {
            passing
                .reads
                .iter()
                .fold(0, |lanes, &register| lanes | undefined.lanes(register))
        };
        let result = match passing.role {
            Role::Computes => all(undefined),
            Role::Shuffles => 0,
            Role::Uses => {
                bad |= all(undefined) & active;
                0
            }
            Role::Selects => selected(&passing.reads, undefined, self.warp),
            Role::Accumulates { predicate, .. } => {
                let others = passing
                    .reads
                    .iter()
                    .filter(|register| !passing.writes.contains(register));
                bad |= others.fold(undefined.lanes(predicate), |lanes, &register| {
                    lanes | undefined.lanes(register)
                }) & active;
                0
            }
        };
        let kept = match passing.role {
            Role::Accumulates { predicate, negated } => {
                self.warp.predicates[predicate.index as usize] ^ if negated { u32::MAX } else { 0 }
            }
            _ => 0,
        };
        let undefined = self
            .warp
            .undefined
            .as_mut()
            .expect("it was there a moment ago");
        for &register in &passing.writes {
            let old = undefined.lanes(register) & kept;
            undefined.set(register, active, result | old);
        }
        if bad != 0 {
            self.pc = pc;
            self.report(
                FaultKind::Uninitialised,
                bad.trailing_zeros() as usize,
                "a register that was never written decides an address, a branch or a stored value"
                    .into(),
            );
        }
    }
}

/// For `selp d, a, b, p` with registers for all of them: the lanes whose chosen operand is undefined. Constant operands are
/// not among `reads`, so with fewer than three registers any undefined one counts only through the predicate.
fn selected(reads: &[Register], undefined: &Undefined, warp: &Warp) -> u32 {
    let Some((&chooser, operands)) = reads.split_last() else {
        return 0;
    };
    let unknown = undefined.lanes(chooser);
    match (chooser.class, operands) {
        (Class::Predicate, &[first, second]) => {
            let chosen = warp.predicates[chooser.index as usize];
            unknown | undefined.lanes(first) & chosen | undefined.lanes(second) & !chosen
        }
        _ => unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ptx::Module;

    fn undefined_in(body: &str) -> Vec<String> {
        let text = format!(
            ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k() {{\n.reg .pred %p<9>;\n.reg .b32 %r<99>;\n.reg .b64 %rd<9>;\n{body}\n}}\n"
        );
        let entry = Module::parse(&text).unwrap().entries.remove(0);
        let numbering = Numbering::new(&entry);
        maybe_undefined(&entry)
            .members()
            .map(|number| format!("{:?}", numbering.register(number)))
            .collect()
    }

    #[test]
    fn a_read_before_any_write_is_seen() {
        assert_eq!(
            undefined_in("mov.u32 %r1, 3;\nadd.s32 %r2, %r1, %r3;\nret;"),
            ["%r3"]
        );
    }

    #[test]
    fn a_write_on_one_path_only_is_not_enough() {
        let one_path = "mov.u32 %r1, %tid.x;\nsetp.lt.s32 %p1, %r1, 4;\n@%p1 bra skip;\nmov.u32 %r2, 1;\nskip:\nadd.s32 %r3, %r2, 1;\nret;";
        assert_eq!(undefined_in(one_path), ["%r2"]);
        let both = one_path.replace("@%p1 bra", "mov.u32 %r2, 0;\n@%p1 bra");
        assert!(undefined_in(&both).is_empty());
        assert_eq!(
            undefined_in(&one_path.replace("@%p1 bra skip;\n", "@%p1 ")),
            ["%r2"]
        );
    }

    #[test]
    fn a_loop_that_writes_before_it_reads_is_fine() {
        let body = "mov.u32 %r1, 0;\nloop:\nmov.u32 %r2, %r1;\nadd.s32 %r1, %r2, 1;\nsetp.lt.s32 %p1, %r1, 9;\n@%p1 bra loop;\nret;";
        assert!(undefined_in(body).is_empty());
        let late = "mov.u32 %r1, 0;\nloop:\nadd.s32 %r1, %r2, 1;\nmov.u32 %r2, %r1;\nsetp.lt.s32 %p1, %r1, 9;\n@%p1 bra loop;\nret;";
        assert_eq!(undefined_in(late), ["%r2"]);
    }
}
