//! What is left of an instruction that is deleted.

use standin::ptx::{Instruction, Operand};

/// The instruction to put in place of a barrier, wait, arrival, commit or fence; `None` for anything else.
pub fn without(instruction: &Instruction) -> Option<Instruction> {
    let opcode: Vec<&str> = instruction.opcode.iter().map(String::as_str).collect();
    let has = |part: &str| opcode.contains(&part);
    match opcode[0] {
        // A barrier that votes has a result.
        "bar" | "barrier" if has("red") => None,
        "bar" | "barrier" | "membar" | "fence" => Some(nothing(instruction)),
        "cp" if has("commit_group") || has("wait_group") || has("wait_all") || has("arrive") => {
            Some(nothing(instruction))
        }
        "wgmma" if has("fence") || has("commit_group") || has("wait_group") => {
            Some(nothing(instruction))
        }
        "mbarrier" if has("try_wait") || has("test_wait") => Some(success(instruction)),
        "mbarrier" if has("arrive") || has("arrive_drop") || has("expect_tx") => {
            Some(nothing(instruction))
        }
        _ => None,
    }
}

/// An event for a profiler: without any effect.
fn nothing(instruction: &Instruction) -> Instruction {
    Instruction {
        opcode: vec!["pmevent".into()],
        operands: vec![Operand::Immediate(0)],
        ..instruction.clone()
    }
}

/// A wait that is always over.
fn success(instruction: &Instruction) -> Instruction {
    let zero = Operand::Immediate(0);
    Instruction {
        opcode: ["setp", "eq", "u32"].map(String::from).to_vec(),
        operands: vec![instruction.operands[0].clone(), zero.clone(), zero],
        ..instruction.clone()
    }
}
