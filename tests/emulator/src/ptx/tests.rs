use proptest::prelude::*;

use super::*;

/// A module with this text at module scope.
fn module(text: &str) -> Result<Module, ParseError> {
    Module::parse(&format!(
        ".version 9.0\n.target sm_90a\n.address_size 64\n{text}"
    ))
}

/// The one kernel of this body; the body begins on line 5.
fn kernel(body: &str) -> Result<Entry, ParseError> {
    let mut module = module(&format!(".visible .entry k(.param .u64 p0)\n{{{body}\n}}"))?;
    assert_eq!(module.entries.len(), 1);
    Ok(module.entries.remove(0))
}

/// The one instruction of a body that declares some registers.
fn instruction(text: &str) -> Instruction {
    let mut entry = kernel(&format!("{DECLARATIONS} {text}")).unwrap();
    assert_eq!(entry.instructions.len(), 1, "{text}");
    entry.instructions.remove(0)
}

fn operands(text: &str) -> Vec<Operand> {
    instruction(text).operands
}

fn refused(body: &str) -> String {
    kernel(&format!("{DECLARATIONS} {body}"))
        .unwrap_err()
        .message
}

const DECLARATIONS: &str = ".reg .pred %p<4>; .reg .b16 %rs<4>; .reg .f32 %f<4>; .reg .b32 %r<8>; .reg .b64 %rd<8>; \
    .reg .f64 %fd<2>; .reg .b128 %rq<2>; .shared .align 16 .b8 tile[64];";

fn predicate(index: u16) -> Register {
    Register {
        class: Class::Predicate,
        index,
    }
}

/// `%r<index>` of the declarations: behind four 16-bit and four f32 registers of the same class.
fn r(index: u16) -> Operand {
    Operand::Register(Register {
        class: Class::Bits32,
        index: 8 + index,
    })
}

fn rd(index: u16) -> Operand {
    Operand::Register(Register {
        class: Class::Bits64,
        index,
    })
}

fn symbol(name: &str, offset: i64) -> Operand {
    Operand::Symbol(name.to_owned(), offset)
}

fn memory(base: Operand, offset: i64) -> Operand {
    Operand::Memory(Box::new(base), offset)
}

mod body;
mod declarations;
mod hostile;
mod instructions;
