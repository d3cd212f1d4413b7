//! What the names of one copy of a body stand for in the kernel.

use std::collections::HashMap;

use super::super::{Class, Entry, Instruction, Operand, Register, Source, Variable};

/// A variable as the kernel knows it.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) size: u64,
}

impl Named {
    pub(super) fn of(variable: &Variable) -> Self {
        Named {
            name: variable.name.clone(),
            size: variable.size,
        }
    }

    /// `[name]`.
    pub(super) fn memory(&self) -> Operand {
        Operand::Memory(Box::new(Operand::Symbol(self.name.clone(), 0)), 0)
    }
}

/// One copy of a body.
#[derive(Debug)]
pub(super) struct Frame<'m> {
    /// Registers of the kernel in front of the body's own, by class.
    registers: [usize; 4],
    /// Variables and parameters.
    pub(super) names: HashMap<&'m str, Named>,
    /// Where the kernel made the call that led here.
    call: Option<Source>,
}

impl<'m> Frame<'m> {
    /// The kernel itself.
    pub(super) fn of_kernel(entry: &'m Entry) -> Self {
        let variables = entry.parameters.iter().chain(&entry.arguments);
        Frame {
            registers: [0; 4],
            names: variables
                .map(|one| (one.name.as_str(), Named::of(one)))
                .collect(),
            call: None,
        }
    }

    /// A function called from here.
    pub(super) fn inner(
        &self,
        registers: [usize; 4],
        names: HashMap<&'m str, Named>,
        call: &Instruction,
    ) -> Self {
        Frame {
            registers,
            names,
            call: self.call.or(call.source),
        }
    }

    /// An instruction of the body as an instruction of the kernel; its labels stay.
    pub(super) fn adopt(&self, mut instruction: Instruction) -> Instruction {
        // Registers of all copies together were counted: their indices fit.
        let shift = |class: Class, index: u16| index + self.registers[class as usize] as u16;
        if let Some(guard) = &mut instruction.guard {
            guard.predicate = shift(Class::Predicate, guard.predicate);
        }
        for operand in &mut instruction.operands {
            operand.leaves_mut(&mut |leaf| match leaf {
                Operand::Register(Register { class, index })
                | Operand::Not(Register { class, index }) => *index = shift(*class, *index),
                Operand::Symbol(symbol, _) => {
                    if let Some(named) = self.names.get(symbol.as_str()) {
                        symbol.clone_from(&named.name);
                    }
                }
                _ => {}
            });
        }
        instruction.source = self.locate(instruction.source);
        instruction
    }

    /// The source position of an instruction of the body, told as that of inlined code.
    pub(super) fn locate(&self, own: Option<Source>) -> Option<Source> {
        let Some(call) = self.call else { return own };
        let outermost = call.inlined_at.unwrap_or((call.file, call.line));
        Some(own.map_or(call, |own| Source {
            inlined_at: Some(outermost),
            ..own
        }))
    }
}
