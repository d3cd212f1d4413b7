//! Names of one body: registers, variables and labels, each visible inside its `{}`.

use std::collections::HashMap;

use super::cursor::shortened;
use super::{Class, Instruction, Operand, ParseError, Register};

/// Deeper nesting than any compiler writes; bounds the search for a name.
const MOST_SCOPES: usize = 64;

/// Branch tables are copied into every branch that names one; bounds what a hostile text can ask for.
const MOST_TARGETS: usize = 1 << 20;

/// Registers of one class in one kernel: their indices have 16 bits.
pub(super) const MOST_REGISTERS: usize = 1 << 16;

/// Registers `%r0` to `%r<count-1>` of `.reg .b32 %r<count>`.
struct Range {
    first: Register,
    count: u32,
}

/// What a label stands for.
enum Label<'a> {
    /// The instruction behind `name:`.
    Place(u32),
    /// `name: .branchtargets a, b;`
    Table(Vec<&'a str>),
    /// `name: .callprototype ...;` or `.calltargets`: used by indirect calls, as a name.
    Calls,
}

/// An operand that names a label, which may come later.
struct Pending<'a> {
    instruction: u32,
    operand: u32,
    /// Place in the [`Operand::Vector`] that a branch table became.
    element: Option<u32>,
    name: &'a str,
}

#[derive(Default)]
struct Scope<'a> {
    registers: HashMap<&'a str, Register>,
    ranges: HashMap<&'a str, Range>,
    /// The name that each variable has outside its scope.
    variables: HashMap<&'a str, String>,
    labels: HashMap<&'a str, Label<'a>>,
    pending: Vec<Pending<'a>>,
}

/// The scopes that are open, and the registers counted over all of them.
#[derive(Default)]
pub(super) struct Scopes<'a> {
    open: Vec<Scope<'a>>,
    registers: [usize; 4],
    targets: usize,
}

impl<'a> Scopes<'a> {
    /// How many registers of each class were declared.
    pub(super) fn registers(&self) -> [usize; 4] {
        self.registers
    }

    /// Enters a `{`.
    pub(super) fn open(&mut self) -> Result<(), String> {
        if self.open.len() == MOST_SCOPES {
            return Err(format!("more than {MOST_SCOPES} scopes inside each other"));
        }
        self.open.push(Scope::default());
        Ok(())
    }

    /// How many scopes are open.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// Declares a register.
    pub(super) fn register(&mut self, name: &'a str, class: Class) -> Result<(), String> {
        let register = self.allocate(class, 1)?;
        self.unique(name, |scope| {
            scope.registers.insert(name, register).is_none()
        })
    }

    /// Declares `count` registers: the name with 0, 1, ... behind it.
    pub(super) fn range(&mut self, name: &'a str, count: u32, class: Class) -> Result<(), String> {
        let first = self.allocate(class, count)?;
        self.unique(name, |scope| {
            scope.ranges.insert(name, Range { first, count }).is_none()
        })
    }

    /// Declares a variable that is called `outside` where its scope does not matter.
    pub(super) fn variable(&mut self, name: &'a str, outside: String) -> Result<(), String> {
        self.unique(name, |scope| {
            scope.variables.insert(name, outside).is_none()
        })
    }

    /// Declares the label of the instruction that comes next.
    pub(super) fn label(&mut self, name: &'a str, instruction: u32) -> Result<(), String> {
        self.unique(name, |scope| {
            scope
                .labels
                .insert(name, Label::Place(instruction))
                .is_none()
        })
    }

    /// Declares a branch table.
    pub(super) fn table(&mut self, name: &'a str, targets: Vec<&'a str>) -> Result<(), String> {
        self.unique(name, |scope| {
            scope.labels.insert(name, Label::Table(targets)).is_none()
        })
    }

    /// Declares the prototype or the targets of indirect calls.
    pub(super) fn calls(&mut self, name: &'a str) -> Result<(), String> {
        self.unique(name, |scope| {
            scope.labels.insert(name, Label::Calls).is_none()
        })
    }

    fn allocate(&mut self, class: Class, count: u32) -> Result<Register, String> {
        let used = &mut self.registers[class as usize];
        let index = u16::try_from(*used)
            .ok()
            .filter(|_| *used + count as usize <= MOST_REGISTERS);
        let index = index.ok_or_else(|| {
            format!(
                "more than {MOST_REGISTERS} registers of one class in one kernel: {used} and {count} more"
            )
        })?;
        *used += count as usize;
        Ok(Register { class, index })
    }

    fn unique(
        &mut self,
        name: &str,
        insert: impl FnOnce(&mut Scope<'a>) -> bool,
    ) -> Result<(), String> {
        let Some(scope) = self.open.last_mut() else {
            return Err(format!("'{}' is declared outside a body", shortened(name)));
        };
        if insert(scope) {
            Ok(())
        } else {
            Err(format!(
                "'{}' is declared twice in one scope",
                shortened(name)
            ))
        }
    }

    /// The register of a name, from the innermost scope outwards.
    pub(super) fn find_register(&self, name: &str) -> Option<Register> {
        self.open
            .iter()
            .rev()
            .find_map(|scope| scope.find_register(name))
    }

    /// What a variable of the body is called outside its scope; `None` where no scope declares one of this name.
    pub(super) fn find_variable(&self, name: &str) -> Option<&String> {
        self.open
            .iter()
            .rev()
            .find_map(|scope| scope.variables.get(name))
    }

    /// Notes that an operand names what may turn out to be a label.
    pub(super) fn refer(&mut self, instruction: usize, operand: usize, name: &'a str) {
        if let Some(scope) = self.open.last_mut() {
            // Text is limited to u32::MAX bytes, hence so are instructions and operands.
            let (instruction, operand) = (instruction as u32, operand as u32);
            scope.pending.push(Pending {
                instruction,
                operand,
                element: None,
                name,
            });
        }
    }

    /// Leaves a `}`: labels of this scope are filled in, other names are left to the scope around it.
    ///
    /// `known` says whether the module declares a name; asked when no scope is left.
    pub(super) fn close(
        &mut self,
        instructions: &mut [Instruction],
        known: impl Fn(&str) -> bool,
    ) -> Result<(), ParseError> {
        let Some(mut scope) = self.open.pop() else {
            return Ok(());
        };
        while let Some(pending) = scope.pending.pop() {
            let instruction = &mut instructions[pending.instruction as usize];
            let failed = |message: String| ParseError {
                line: instruction.line,
                message,
            };
            let slot = &mut instruction.operands[pending.operand as usize];
            match scope.labels.get(pending.name) {
                Some(&Label::Place(place)) => {
                    *element(slot, pending.element) = Operand::Label(place)
                }
                Some(Label::Table(targets)) if pending.element.is_none() => {
                    self.targets += targets.len();
                    if self.targets > MOST_TARGETS {
                        return Err(failed(format!(
                            "more than {MOST_TARGETS} targets of branch tables in one kernel"
                        )));
                    }
                    *slot = Operand::Vector(vec![Operand::Sink; targets.len()]);
                    scope
                        .pending
                        .extend(targets.iter().zip(0..).map(|(&name, index)| Pending {
                            element: Some(index),
                            name,
                            ..pending
                        }));
                }
                Some(Label::Calls) if pending.element.is_none() => {}
                None => match self.open.last_mut() {
                    Some(outer) => outer.pending.push(pending),
                    None if pending.element.is_none() && known(pending.name) => {}
                    None => {
                        let name = shortened(pending.name);
                        return Err(failed(format!(
                            "'{name}' is no register, variable, function or label here"
                        )));
                    }
                },
                Some(_) => {
                    let name = shortened(pending.name);
                    return Err(failed(format!(
                        "'{name}' in a branch table is no label of an instruction"
                    )));
                }
            }
        }
        Ok(())
    }
}

impl Scope<'_> {
    fn find_register(&self, name: &str) -> Option<Register> {
        if let Some(register) = self.registers.get(name) {
            return Some(*register);
        }
        // The name of a range may itself end in digits: `%a1<4>` declares %a10 to %a13.
        let digits = name
            .bytes()
            .rev()
            .take(5)
            .take_while(u8::is_ascii_digit)
            .count();
        (1..=digits).rev().find_map(|count| {
            let (prefix, index) = name.split_at(name.len() - count);
            let range = self.ranges.get(prefix)?;
            let leading_zero = count > 1 && index.starts_with('0');
            let index: u32 = index
                .parse()
                .ok()
                .filter(|index| *index < range.count && !leading_zero)?;
            let index = range.first.index + index as u16;
            Some(Register {
                class: range.first.class,
                index,
            })
        })
    }
}

/// The operand itself or an element of the vector that it became.
fn element(slot: &mut Operand, index: Option<u32>) -> &mut Operand {
    match (slot, index) {
        (Operand::Vector(elements), Some(index)) => &mut elements[index as usize],
        (slot, _) => slot,
    }
}
