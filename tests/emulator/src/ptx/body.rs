//! Body of a kernel or function: scopes, declarations, labels and instructions.

use std::collections::HashSet;

use super::cursor::Cursor;
use super::lexer::Token;
use super::literal::Float;
use super::loc::Lines;
use super::scope::Scopes;
use super::{Class, Entry, Guard, Instruction, ParseError, Variable, variable};

/// A kernel or function whose body is being read.
pub(super) struct Body<'p, 'a> {
    pub(super) cursor: &'p mut Cursor<'a>,
    pub(super) scopes: Scopes<'a>,
    /// Names that the module declared so far.
    pub(super) module: &'p HashSet<&'a str>,
    /// `.global` and `.const` variables that were declared inside.
    globals: Vec<Variable>,
    lines: Lines,
    entry: Entry,
}

/// Reads a body from its `{` to its `}` into `entry`; gives the module variables that were declared inside.
///
/// `parameters`: the names of its parameters and results.
pub(super) fn read<'a>(
    cursor: &mut Cursor<'a>,
    module: &HashSet<&'a str>,
    parameters: &[&'a str],
    entry: Entry,
) -> Result<(Entry, Vec<Variable>), ParseError> {
    let (scopes, lines, globals) = (Scopes::default(), Lines::default(), Vec::new());
    let mut body = Body {
        cursor,
        scopes,
        module,
        globals,
        lines,
        entry,
    };
    body.cursor.expect('{')?;
    body.declare(|scopes| scopes.open())?;
    for &name in parameters {
        body.declare(|scopes| scopes.variable(name, name.to_owned()))?;
    }
    while body.scopes.depth() > 0 {
        body.statement()?;
    }
    body.entry.registers = body.scopes.registers();
    Ok((body.entry, body.globals))
}

impl<'a> Body<'_, 'a> {
    fn statement(&mut self) -> Result<(), ParseError> {
        match self.cursor.peek() {
            Token::Sign('{') => {
                self.declare(|scopes| scopes.open())?;
                self.cursor.take()?;
            }
            Token::Sign('}') => {
                self.cursor.take()?;
                self.scopes.close(&mut self.entry.instructions, |name| {
                    self.module.contains(name)
                })?;
            }
            // Inline assembly may write one `;` too many.
            Token::Sign(';') => {
                self.cursor.take()?;
            }
            Token::Dot(name) => self.directive(name)?,
            Token::Sign('@') => self.guarded()?,
            Token::Word(word) => {
                let (start, line) = (self.cursor.start(), self.cursor.line());
                self.cursor.take()?;
                if self.cursor.accept(':')? {
                    self.label(word)?
                } else {
                    self.instruction(None, word, start, line)?
                }
            }
            _ => return Err(self.cursor.expected("an instruction, a declaration or '}'")),
        }
        Ok(())
    }

    /// Turns what a scope refuses into an error at this line.
    fn declare(
        &mut self,
        change: impl FnOnce(&mut Scopes<'a>) -> Result<(), String>,
    ) -> Result<(), ParseError> {
        change(&mut self.scopes).map_err(|message| self.cursor.error(message))
    }

    fn directive(&mut self, name: &str) -> Result<(), ParseError> {
        match name {
            "pragma" => return self.cursor.skip_statement(),
            "section" => {
                self.cursor.take()?;
                self.cursor.dot("the name of a section")?;
                return self.cursor.skip_block('{', '}');
            }
            "loc" => {
                self.cursor.take()?;
                return self.lines.read(self.cursor);
            }
            "reg" => {
                self.cursor.take()?;
                self.registers()?;
            }
            "shared" | "local" | "param" | "global" | "const" => {
                self.cursor.take()?;
                let variables = variable::read_all(self.cursor)?;
                for (declared, mut variable) in variables {
                    if name == "param" {
                        // Every call has a `param0` in a scope of its own.
                        variable.name = format!("{declared}#{}", self.entry.arguments.len());
                    }
                    self.declare(|scopes| scopes.variable(declared, variable.name.clone()))?;
                    match name {
                        "shared" => self.entry.shared.push(variable),
                        "local" => self.entry.local.push(variable),
                        "param" => self.entry.arguments.push(variable),
                        _ => self.globals.push(variable),
                    }
                }
            }
            _ => return Err(self.cursor.expected("a directive of a kernel's body")),
        }
        self.cursor.expect(';')
    }

    /// `.b32 %r<9>, a, b`, behind `.reg`.
    fn registers(&mut self) -> Result<(), ParseError> {
        let kind = self.cursor.dot("the type of a register")?;
        let class = variable::type_class(kind).ok_or_else(|| {
            self.cursor
                .error(format!("registers of type '.{kind}' are not supported"))
        })?;
        loop {
            let name = self.cursor.word("the name of a register")?;
            if self.cursor.accept('<')? {
                let count = self.cursor.number("how many registers")?;
                self.cursor.expect('>')?;
                self.declare(|scopes| scopes.range(name, count, class))?;
            } else {
                self.declare(|scopes| scopes.register(name, class))?;
            }
            if !self.cursor.accept(',')? {
                return Ok(());
            }
        }
    }

    /// What stands behind `name:`.
    fn label(&mut self, name: &'a str) -> Result<(), ParseError> {
        match self.cursor.peek() {
            Token::Dot("branchtargets") => {
                self.cursor.take()?;
                let mut targets = vec![self.cursor.word("a label")?];
                while self.cursor.accept(',')? {
                    targets.push(self.cursor.word("a label")?);
                }
                self.cursor.expect(';')?;
                self.declare(|scopes| scopes.table(name, targets))
            }
            Token::Dot("callprototype" | "calltargets") => {
                self.cursor.skip_statement()?;
                self.declare(|scopes| scopes.calls(name))
            }
            _ => {
                // Text is limited to u32::MAX bytes, hence so are instructions.
                let next = self.entry.instructions.len() as u32;
                self.declare(|scopes| scopes.label(name, next))
            }
        }
    }

    /// `@p` or `@!p`, then an instruction.
    fn guarded(&mut self) -> Result<(), ParseError> {
        let (start, line) = (self.cursor.start(), self.cursor.line());
        self.cursor.expect('@')?;
        let negated = self.cursor.accept('!')?;
        let register = self.register("the predicate behind '@'")?;
        if register.class != Class::Predicate {
            return Err(self.cursor.error("the register behind '@' is no predicate"));
        }
        let opcode = self.cursor.word("the instruction behind a guard")?;
        self.instruction(
            Some(Guard {
                predicate: register.index,
                negated,
            }),
            opcode,
            start,
            line,
        )
    }

    /// The rest of an instruction whose guard and first word were taken.
    fn instruction(
        &mut self,
        guard: Option<Guard>,
        word: &str,
        start: usize,
        line: u32,
    ) -> Result<(), ParseError> {
        let mut opcode = vec![word.to_owned()];
        let mut float = None;
        while let Token::Dot(part) = self.cursor.peek() {
            self.cursor.take()?;
            // The last part is the type of the source operands: cvt.f64.f32.
            float = Float::of(part);
            opcode.push(part.to_owned());
        }
        let index = self.entry.instructions.len();
        let mut operands = Vec::new();
        if self.cursor.peek() != Token::Sign(';') {
            operands.push(self.operand(index, 0, float)?);
            while self.cursor.accept(',')? {
                operands.push(self.operand(index, operands.len(), float)?);
            }
        }
        let text = self.cursor.text_since(start);
        self.cursor.expect(';')?;
        let source = self.lines.current();
        self.entry.instructions.push(Instruction {
            guard,
            opcode,
            operands,
            line,
            source,
            text,
        });
        Ok(())
    }
}
