//! Operands of an instruction.

use super::body::Body;
use super::cursor::shortened;
use super::initial::offset;
use super::lexer::Token;
use super::literal::Float;
use super::{Operand, ParseError, Register};

/// `WARP_SZ`, the one constant that PTX names.
const WARP_SIZE: u64 = 32;

impl<'a> Body<'_, 'a> {
    /// Reads operand number `index` of instruction number `instruction`; `float`: what literals are converted to.
    pub(super) fn operand(
        &mut self,
        instruction: usize,
        index: usize,
        float: Option<Float>,
    ) -> Result<Operand, ParseError> {
        match self.cursor.peek() {
            Token::Sign('{') => self.list('{', '}', float).map(Operand::Vector),
            Token::Sign('(') => self.list('(', ')', float).map(Operand::Vector),
            Token::Sign('[') => self.memory(float),
            // `_` and `WARP_SZ` have a meaning of their own; other free names may be labels that come later.
            Token::Word(name) if !name.starts_with('%') && name != "_" && name != "WARP_SZ" => {
                match self.scopes.find_register(name) {
                    Some(_) => self.pair(float),
                    None => {
                        self.cursor.take()?;
                        let variable = self.scopes.find_variable(name).cloned();
                        let symbol = variable.unwrap_or_else(|| {
                            self.scopes.refer(instruction, index, name);
                            name.to_owned()
                        });
                        Ok(Operand::Symbol(symbol, offset(self.cursor)?))
                    }
                }
            }
            _ => self.pair(float),
        }
    }

    /// `a` or `a|b`.
    fn pair(&mut self, float: Option<Float>) -> Result<Operand, ParseError> {
        let first = self.single(float)?;
        if self.cursor.accept('|')? {
            let second = self.single(float)?;
            return Ok(Operand::Pair(Box::new(first), Box::new(second)));
        }
        Ok(first)
    }

    /// `{a, b}` or `(a, b)`.
    fn list(
        &mut self,
        open: char,
        close: char,
        float: Option<Float>,
    ) -> Result<Vec<Operand>, ParseError> {
        self.cursor.expect(open)?;
        let mut elements = Vec::new();
        if self.cursor.accept(close)? {
            return Ok(elements);
        }
        loop {
            elements.push(self.single(float)?);
            if !self.cursor.accept(',')? {
                self.cursor.expect(close)?;
                return Ok(elements);
            }
        }
    }

    /// `[base+offset]` or `[map, {c0, c1}]`.
    fn memory(&mut self, float: Option<Float>) -> Result<Operand, ParseError> {
        self.cursor.expect('[')?;
        let (base, offset) = match self.single(float)? {
            Operand::Symbol(name, offset) => (Operand::Symbol(name, 0), offset),
            base @ (Operand::Register(_) | Operand::Immediate(_)) => (base, offset(self.cursor)?),
            _ => {
                return Err(self
                    .cursor
                    .error("an address begins with a register, a variable or a number"));
            }
        };
        let operand = if self.cursor.accept(',')? {
            if self.cursor.peek() != Token::Sign('{') {
                return Err(self.cursor.expected("the coordinates '{...}' of a tensor"));
            }
            if offset != 0 {
                return Err(self
                    .cursor
                    .error("the address of a tensor map takes no offset"));
            }
            Operand::Tensor(Box::new(base), self.list('{', '}', float)?)
        } else {
            Operand::Memory(Box::new(base), offset)
        };
        self.cursor.expect(']')?;
        Ok(operand)
    }

    /// What may stand inside brackets too: a register, a number, a variable, `!p`, `_`.
    fn single(&mut self, float: Option<Float>) -> Result<Operand, ParseError> {
        match self.cursor.peek() {
            Token::Sign('!') => {
                self.cursor.take()?;
                self.register("the predicate behind '!'").map(Operand::Not)
            }
            Token::Word("_") => self.cursor.take().map(|_| Operand::Sink),
            Token::Word("WARP_SZ") => self.cursor.take().map(|_| Operand::Immediate(WARP_SIZE)),
            Token::Word(name) => {
                self.cursor.take()?;
                if let Some(register) = self.scopes.find_register(name) {
                    return Ok(Operand::Register(register));
                }
                if let Some(special) = name.strip_prefix('%') {
                    return self.special(special);
                }
                let symbol = match self.scopes.find_variable(name) {
                    Some(variable) => variable.clone(),
                    None if self.module.contains(name) => name.to_owned(),
                    None => return Err(self.undeclared(name)),
                };
                Ok(Operand::Symbol(symbol, offset(self.cursor)?))
            }
            _ => self
                .cursor
                .literal("an operand")
                .map(|literal| Operand::Immediate(literal.bits(float))),
        }
    }

    /// A register that must be declared.
    pub(super) fn register(&mut self, what: &str) -> Result<Register, ParseError> {
        let name = self.cursor.word(what)?;
        self.scopes
            .find_register(name)
            .ok_or_else(|| self.undeclared(name))
    }

    /// `%tid.x` and its like; `name` is without `%`, and a component may follow.
    fn special(&mut self, name: &'a str) -> Result<Operand, ParseError> {
        if !is_special(name) {
            return Err(self.cursor.error(format!(
                "'%{}' is neither declared nor a special register",
                shortened(name)
            )));
        }
        match self.cursor.peek() {
            Token::Dot(component @ ("x" | "y" | "z" | "w")) => {
                self.cursor.take()?;
                Ok(Operand::Special(format!("{name}.{component}")))
            }
            _ => Ok(Operand::Special(name.to_owned())),
        }
    }

    fn undeclared(&self, name: &str) -> ParseError {
        self.cursor
            .error(format!("'{}' is not declared", shortened(name)))
    }
}

fn is_special(name: &str) -> bool {
    let numbered = |prefix: &str| {
        name.strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    matches!(
        name,
        "tid"
            | "ntid"
            | "laneid"
            | "warpid"
            | "nwarpid"
            | "ctaid"
            | "nctaid"
            | "smid"
            | "nsmid"
            | "gridid"
            | "is_explicit_cluster"
            | "clusterid"
            | "nclusterid"
            | "cluster_ctaid"
            | "cluster_nctaid"
            | "cluster_ctarank"
            | "cluster_nctarank"
            | "lanemask_eq"
            | "lanemask_le"
            | "lanemask_lt"
            | "lanemask_ge"
            | "lanemask_gt"
            | "clock"
            | "clock_hi"
            | "clock64"
            | "globaltimer"
            | "globaltimer_lo"
            | "globaltimer_hi"
            | "total_smem_size"
            | "aggr_smem_size"
            | "dynamic_smem_size"
            | "current_graph_exec"
    ) || name.starts_with("reserved_smem_offset_")
        || name.starts_with("pm")
        || numbered("envreg")
}
