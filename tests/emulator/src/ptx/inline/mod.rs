//! Device functions: every call becomes a copy of what it calls.
//!
//! Behind this pass a function that nvcc did not inline looks as if it had: one body, in which registers, labels and local
//! variables of each copy are its own. So divergence, undefined registers and source lines need no rules of their own. `ret`
//! becomes a branch to the end of the copy, where lanes that returned early meet the others again.

mod arguments;
mod call;
mod frame;

use std::borrow::Cow;
use std::collections::HashSet;

use super::scope::MOST_REGISTERS;
use super::{Class, Entry, Function, Guard, Instruction, Module, Operand, Register, Variable};
use call::Call;
use frame::{Frame, Named};

/// Functions inside each other: bounds the recursion of this pass.
const MOST_DEPTH: usize = 64;

/// Instructions of all copies together; functions that call others twice each grow without end otherwise.
const MOST_INSTRUCTIONS: usize = 1 << 18;

/// Instructions times registers, which is what following registers along the control flow costs at most, in bits.
const MOST_FOLLOWED: usize = 1 << 31;

/// Local memory of a thread in bytes, as on a GPU.
const MOST_LOCAL: u64 = 512 << 10;

/// A call that cannot be expanded.
#[derive(Debug)]
pub struct Refusal<'m> {
    /// The call.
    pub instruction: &'m Instruction,
    /// Why.
    pub reason: String,
}

/// The kernel with its calls replaced by what they call.
///
/// # Errors
/// For recursion, indirect calls, functions without a body, and for more than can be expanded.
pub fn expand<'m>(module: &'m Module, entry: &'m Entry) -> Result<Cow<'m, Entry>, Refusal<'m>> {
    if !entry.instructions.iter().any(call::is_call) {
        return Ok(Cow::Borrowed(entry));
    }
    let mut expansion = Expansion {
        module,
        entry: Entry {
            instructions: Vec::new(),
            ..entry.clone()
        },
        path: Vec::new(),
        seen: HashSet::new(),
        copies: 0,
        work: 0,
    };
    expansion.body(entry, &Frame::of_kernel(entry))?;
    arguments::place(&mut expansion.entry);
    Ok(Cow::Owned(expansion.entry))
}

struct Expansion<'m> {
    module: &'m Module,
    /// The kernel as far as it is expanded.
    entry: Entry,
    /// The functions that are being copied, each called by the one before it.
    path: Vec<&'m str>,
    /// Functions that were copied.
    seen: HashSet<&'m str>,
    /// Copies so far: gives the variables of each copy names of their own.
    copies: usize,
    /// Instructions of all copies so far; long ones count as several.
    work: usize,
}

impl<'m> Expansion<'m> {
    /// Appends a body.
    fn body(&mut self, body: &'m Entry, frame: &Frame<'m>) -> Result<(), Refusal<'m>> {
        let count = body.instructions.len();
        let mut moved = Vec::with_capacity(count + 1);
        let mut own = Vec::new();
        for (at, instruction) in body.instructions.iter().enumerate() {
            let refuse = |reason| Refusal {
                instruction,
                reason,
            };
            moved.push(self.entry.instructions.len() as u32);
            if !self.path.is_empty() {
                self.charge(size(instruction)).map_err(refuse)?;
            }
            let mut append = |instruction: Instruction| {
                own.push(self.entry.instructions.len());
                self.entry.instructions.push(frame.adopt(instruction));
            };
            match instruction.part(0) {
                "call" => {
                    if let Some(guard) = instruction.guard {
                        let others = Guard {
                            negated: !guard.negated,
                            ..guard
                        };
                        append(branch(instruction, Some(others), at + 1));
                    }
                    self.call(instruction, frame)?;
                }
                "ret" if !self.path.is_empty() => {
                    if at + 1 < count || instruction.guard.is_some() {
                        append(branch(instruction, instruction.guard, count));
                    }
                }
                _ => append(instruction.clone()),
            }
        }
        moved.push(self.entry.instructions.len() as u32);
        for at in own {
            relabel(&mut self.entry.instructions[at], &moved);
        }
        Ok(())
    }

    fn call(&mut self, instruction: &'m Instruction, frame: &Frame<'m>) -> Result<(), Refusal<'m>> {
        let refuse = |reason| Refusal {
            instruction,
            reason,
        };
        let call = Call::of(instruction, frame).map_err(refuse)?;
        let aliases = &self.module.aliases;
        let name = aliases.get(call.name).map_or(call.name, String::as_str);
        match self.module.functions.get_key_value(name) {
            Some((name, Ok(function))) => {
                let inner = self
                    .enter(name, function, &call, instruction, frame)
                    .map_err(refuse)?;
                self.path.push(name);
                self.body(&function.body, &inner)?;
                self.path.pop();
                Ok(())
            }
            Some((name, Err(reason))) => {
                let done = match system_function(name) {
                    Some(sizes) => self.system_call(name, sizes, &call, instruction, frame),
                    None => Err(format!("function {name}: {reason}")),
                };
                done.map_err(refuse)
            }
            None => Err(refuse(format!("there is no function {name}"))),
        }
    }

    /// Makes room for a copy of a function: registers and variables.
    fn enter(
        &mut self,
        name: &'m str,
        function: &'m Function,
        call: &Call<'m>,
        instruction: &Instruction,
        frame: &Frame<'m>,
    ) -> Result<Frame<'m>, String> {
        let Function { results, body } = function;
        if self.path.contains(&name) {
            return Err(format!("{name} calls itself: recursion is not supported"));
        }
        if self.path.len() == MOST_DEPTH {
            return Err(format!("more than {MOST_DEPTH} calls inside each other"));
        }
        self.charge(1 + body.arguments.len() + body.local.len())?;
        let mut names = call.bind(&body.parameters, results)?;
        let registers = self.entry.registers;
        for (all, own) in self.entry.registers.iter_mut().zip(body.registers) {
            *all += own;
            if *all > MOST_REGISTERS {
                return Err(format!(
                    "with its calls the kernel has more than {MOST_REGISTERS} registers of one class"
                ));
            }
        }
        if self.work * self.entry.registers.iter().sum::<usize>() > MOST_FOLLOWED {
            return Err("the calls of this kernel expand to too many registers".to_owned());
        }
        self.copies += 1;
        let mut rename = |variable: &'m Variable, whose: &str| {
            let renamed = Variable {
                name: format!("{}@{whose}", variable.name),
                ..variable.clone()
            };
            names.insert(&variable.name, Named::of(&renamed));
            renamed
        };
        let copy = self.copies.to_string();
        for variable in &body.arguments {
            self.entry.arguments.push(rename(variable, &copy));
        }
        for variable in &body.local {
            self.entry.local.push(rename(variable, &copy));
        }
        // Unlike these, shared memory is the same for all copies.
        let first = self.seen.insert(name);
        for variable in &body.shared {
            let renamed = rename(variable, name);
            if first {
                self.entry.shared.push(renamed);
            }
        }
        let variables = self.entry.local.iter().chain(&self.entry.arguments);
        if variables.fold(0, |sum: u64, one| sum.saturating_add(one.size)) > MOST_LOCAL {
            return Err(format!(
                "with its calls the kernel has more than {MOST_LOCAL} bytes of local memory a thread"
            ));
        }
        Ok(frame.inner(registers, names, instruction))
    }

    /// A function that CUDA brings along: becomes one instruction, whose operands are results and arguments.
    fn system_call(
        &mut self,
        name: &str,
        (parameters, results): Sizes,
        call: &Call<'m>,
        instruction: &Instruction,
        frame: &Frame<'m>,
    ) -> Result<(), String> {
        call.check(parameters, results)?;
        let registers = (results.iter().chain(parameters))
            .map(|&bytes| self.register(bytes))
            .collect::<Result<Vec<_>, _>>()?;
        let (given, taken) = registers.split_at(results.len());
        let mut append = |opcode: &[&str], operands: Vec<Operand>| {
            self.entry.instructions.push(Instruction {
                guard: None,
                opcode: opcode.iter().map(|&part| part.to_owned()).collect(),
                operands,
                source: frame.locate(instruction.source),
                ..instruction.clone()
            });
        };
        for (register, from) in taken.iter().zip(&call.arguments) {
            append(
                &["ld", "param", kind(*register)],
                vec![Operand::Register(*register), from.memory()],
            );
        }
        let operands = registers.iter().map(|&one| Operand::Register(one));
        append(&["call", name], operands.collect());
        for (register, to) in given.iter().zip(&call.results) {
            append(
                &["st", "param", kind(*register)],
                vec![to.memory(), Operand::Register(*register)],
            );
        }
        Ok(())
    }

    /// A new register for a value of 4 or 8 bytes.
    fn register(&mut self, bytes: u64) -> Result<Register, String> {
        fresh(&mut self.entry, bytes)
            .ok_or_else(|| format!("more than {MOST_REGISTERS} registers of one class"))
    }

    fn charge(&mut self, work: usize) -> Result<(), String> {
        self.work += work;
        if self.work > MOST_INSTRUCTIONS {
            return Err(format!(
                "the calls of this kernel expand to more than {MOST_INSTRUCTIONS} instructions"
            ));
        }
        Ok(())
    }
}

/// Bytes of parameters and of results.
type Sizes = (&'static [u64], &'static [u64]);

/// What a function that CUDA brings along takes and gives; `None` for any other.
fn system_function(name: &str) -> Option<Sizes> {
    match name {
        // Message, file, line, function, bytes of a character.
        "__assertfail" => Some((&[8, 8, 4, 8, 8], &[])),
        // Format, where the arguments are; how many were found.
        "vprintf" => Some((&[8, 8], &[4])),
        _ => None,
    }
}

/// A new register for a value of so many bytes; `None` when all are taken.
fn fresh(entry: &mut Entry, bytes: u64) -> Option<Register> {
    let class = if bytes == 8 {
        Class::Bits64
    } else {
        Class::Bits32
    };
    let used = &mut entry.registers[class as usize];
    let index = u16::try_from(*used).ok()?;
    *used += 1;
    Some(Register { class, index })
}

/// The type without meaning of what a register holds.
fn kind(register: Register) -> &'static str {
    if register.class == Class::Bits64 {
        "b64"
    } else {
        "b32"
    }
}

/// What an instruction counts: as many as its text and its operands stand for, so that long ones are no way around the limit.
fn size(instruction: &Instruction) -> usize {
    let mut leaves = 0;
    for operand in &instruction.operands {
        operand.leaves(&mut |_| leaves += 1);
    }
    1 + instruction.text.len() / 128 + leaves / 32
}

/// A branch in place of an instruction of a body.
fn branch(instead: &Instruction, guard: Option<Guard>, target: usize) -> Instruction {
    Instruction {
        guard,
        opcode: vec!["bra".to_owned()],
        operands: vec![Operand::Label(target as u32)],
        ..instead.clone()
    }
}

/// Points labels to where the instructions are now.
fn relabel(instruction: &mut Instruction, moved: &[u32]) {
    for operand in &mut instruction.operands {
        operand.leaves_mut(&mut |leaf| {
            if let Operand::Label(target) = leaf {
                *target = moved[*target as usize];
            }
        });
    }
}

#[cfg(test)]
mod tests;
