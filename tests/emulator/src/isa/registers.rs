//! Which registers an instruction reads and writes, from its operands.

use crate::ptx::{Instruction, Operand, Register};

/// Registers that the instruction writes.
pub fn writes(instruction: &Instruction) -> Vec<Register> {
    let mut found = Vec::new();
    if let Some(destination) = destination(instruction) {
        visit(destination, &mut found);
    }
    found
}

/// Registers that the instruction reads, its guard not included.
pub fn reads(instruction: &Instruction) -> Vec<Register> {
    let mut found = Vec::new();
    let skip = usize::from(destination(instruction).is_some());
    for operand in &instruction.operands[skip..] {
        visit(operand, &mut found);
    }
    if accumulates(instruction) {
        visit(&instruction.operands[0], &mut found);
    }
    found
}

/// Whether the first operand is both read and written: D of `wgmma`, unless scale-d is the constant 0.
pub fn accumulates(instruction: &Instruction) -> bool {
    multiplies_asynchronously(instruction)
        && instruction.operands.get(3) != Some(&Operand::Immediate(0))
}

/// Whether it is `wgmma.mma_async`.
pub fn multiplies_asynchronously(instruction: &Instruction) -> bool {
    instruction.part(0) == "wgmma" && instruction.part(1) == "mma_async"
}

/// The first operand, where it is a destination. An address or a label never is.
fn destination(instruction: &Instruction) -> Option<&Operand> {
    let first = instruction.operands.first()?;
    let writes = match instruction.part(0) {
        "st" | "red" | "bra" | "brx" | "membar" | "fence" | "cp" | "prefetch" | "prefetchu"
        | "applypriority" | "nanosleep" | "stmatrix" | "setmaxnreg" | "griddepcontrol"
        | "pmevent" | "trap" | "brkpt" | "ret" | "exit" | "discard" => false,
        "call" => instruction.has("vprintf"),
        "bar" | "barrier" => instruction.has("red"),
        "wgmma" => multiplies_asynchronously(instruction),
        _ => true,
    };
    (writes
        && !matches!(
            first,
            Operand::Memory(..) | Operand::Tensor(..) | Operand::Label(_)
        ))
    .then_some(first)
}

fn visit(operand: &Operand, found: &mut Vec<Register>) {
    operand.leaves(&mut |leaf| {
        if let Operand::Register(register) | Operand::Not(register) = leaf {
            found.push(*register);
        }
    });
}

/// Applies `rename` to every register of the instruction, its guard included.
pub(super) fn rename(instruction: &mut Instruction, mut rename: impl FnMut(Register) -> Register) {
    if let Some(guard) = &mut instruction.guard {
        let predicate = Register {
            class: crate::ptx::Class::Predicate,
            index: guard.predicate,
        };
        guard.predicate = rename(predicate).index;
    }
    for operand in &mut instruction.operands {
        operand.leaves_mut(&mut |leaf| {
            if let Operand::Register(register) | Operand::Not(register) = leaf {
                *register = rename(*register);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ptx::Module;

    /// Reads and writes of one instruction, as text: predicates `p`, 32-bit `r`, 64-bit `rd`.
    fn of(text: &str) -> (String, String) {
        let source = format!(
            ".version 8.0\n.target sm_90a\n.address_size 64\n.visible .entry k() {{\n.reg .pred %p<8>;\n.reg .b32 %r<64>;\n.reg .b64 %rd<8>;\n{text}\n}}\n"
        );
        let module = Module::parse(&source).unwrap();
        let instruction = &module.entries[0].instructions[0];
        let show = |registers: Vec<Register>| {
            registers
                .iter()
                .map(|r| format!("{r:?}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        (show(reads(instruction)), show(writes(instruction)))
    }

    #[test]
    fn operands_are_told_apart() {
        let cases = [
            ("add.s32 %r1, %r2, %r3;", "%r2 %r3", "%r1"),
            ("st.global.v2.u32 [%rd1+4], {%r1, %r2};", "%rd1 %r1 %r2", ""),
            ("ld.global.v2.u32 {%r1, %r2}, [%rd1];", "%rd1", "%r1 %r2"),
            (
                "setp.lt.and.s32 %p1|%p2, %r1, 4, !%p3;",
                "%r1 %p3",
                "%p1 %p2",
            ),
            (
                "shfl.sync.idx.b32 %r1|%p1, %r2, %r3, 31, -1;",
                "%r2 %r3",
                "%r1 %p1",
            ),
            ("atom.global.add.u32 %r1, [%rd1], %r2;", "%rd1 %r2", "%r1"),
            ("red.global.add.u32 [%rd1], %r2;", "%rd1 %r2", ""),
            ("bar.sync %r1, 64;", "%r1", ""),
            ("barrier.red.popc.u32 %r1, %r2, %p1;", "%r2 %p1", "%r1"),
            ("mbarrier.arrive.shared.b64 _, [%r1];", "%r1", ""),
            ("mbarrier.arrive.shared.b64 %rd1, [%r1];", "%r1", "%rd1"),
            ("mbarrier.init.shared.b64 [%r1], %r2;", "%r1 %r2", ""),
            (
                "cp.async.cg.shared.global [%r1], [%rd1], 16, %r2;",
                "%r1 %rd1 %r2",
                "",
            ),
            ("nanosleep.u32 %r1;", "%r1", ""),
            ("mov.b64 {%r1, %r2}, %rd1;", "%rd1", "%r1 %r2"),
            (
                "wmma.load.a.sync.aligned.row.m16n16k16.global.s8 {%r1, %r2}, [%rd1], %r3;",
                "%rd1 %r3",
                "%r1 %r2",
            ),
            (
                "wmma.store.d.sync.aligned.row.m16n16k16.shared.f16 [%r9], {%r1, %r2, %r3, %r4}, %r5;",
                "%r9 %r1 %r2 %r3 %r4 %r5",
                "",
            ),
        ];
        for (text, reads, writes) in cases {
            assert_eq!(of(text), (reads.to_owned(), writes.to_owned()), "{text}");
        }
    }

    #[test]
    fn accumulators_of_wgmma_are_read_and_written() {
        let (reads, writes) = of(
            "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%r1, %r2, %r3, %r4}, %rd1, %rd2, %p1, 1, 1, 0, 0;",
        );
        assert_eq!(reads, "%rd1 %rd2 %p1 %r1 %r2 %r3 %r4");
        assert_eq!(writes, "%r1 %r2 %r3 %r4");
        let (reads, writes) = of(
            "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%r1, %r2, %r3, %r4}, %rd1, %rd2, 0, 1, 1, 0, 0;",
        );
        assert_eq!(reads, "%rd1 %rd2");
        assert_eq!(writes, "%r1 %r2 %r3 %r4");
    }
}
