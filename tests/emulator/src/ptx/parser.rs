//! Module scope: version and target, files, variables, functions and kernels.

use std::collections::HashSet;

use super::cursor::{Cursor, shortened};
use super::entry::Head;
use super::lexer::Token;
use super::{Entry, Function, Module, ParseError, body, entry, variable};

/// Reads a translation unit.
pub(super) fn parse(text: &str) -> Result<Module, ParseError> {
    // Byte offsets, instructions and operands are counted in 32 bits.
    if u32::try_from(text.len()).is_err() {
        return Err(ParseError {
            line: 1,
            message: "a text of 4 GiB or more is not read".to_owned(),
        });
    }
    // Some writers end the text with the NUL that the driver's interface asks for.
    let text = text.trim_end_matches('\0');
    let (names, defined) = (HashSet::new(), HashSet::new());
    let mut parser = Parser {
        cursor: Cursor::new(text)?,
        module: Module::default(),
        names,
        defined,
    };
    while parser.cursor.peek() != Token::End {
        parser.statement()?;
    }
    if parser.module.version == (0, 0) || parser.module.target.is_empty() {
        return Err(parser
            .cursor
            .error("this is no PTX: '.version' or '.target' is missing"));
    }
    Ok(parser.module)
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    module: Module,
    /// Every name declared so far: variables, functions, kernels.
    names: HashSet<&'a str>,
    /// Variables and kernels that have a definition.
    defined: HashSet<&'a str>,
}

impl<'a> Parser<'a> {
    fn statement(&mut self) -> Result<(), ParseError> {
        let mut external = false;
        loop {
            let name = self.cursor.dot("a directive")?;
            match name {
                "extern" => external = true,
                "visible" | "weak" | "common" => {}
                "entry" => return self.entry(),
                "func" => return self.function(),
                "global" | "const" | "shared" => return self.variables(name, external),
                _ => return self.directive(name),
            }
        }
    }

    fn directive(&mut self, name: &str) -> Result<(), ParseError> {
        match name {
            "version" => self.version(),
            "target" => self.target(),
            "address_size" => match self.cursor.number("an address size")? {
                64 => Ok(()),
                size => Err(self
                    .cursor
                    .error(format!("addresses of {size} bits: compile for 64 bits"))),
            },
            "file" => self.file(),
            "section" => {
                self.cursor.dot("the name of a section")?;
                self.cursor.skip_block('{', '}')
            }
            "alias" => {
                let alias = self.cursor.word("the name of a function")?;
                self.cursor.expect(',')?;
                let function = self.cursor.word("the name of a function")?;
                self.names.insert(alias);
                self.module
                    .aliases
                    .insert(alias.to_owned(), function.to_owned());
                self.cursor.expect(';')
            }
            "pragma" => self.cursor.skip_statement(),
            _ => Err(self.cursor.error(format!(
                "the directive '.{}' is not supported here",
                shortened(name)
            ))),
        }
    }

    fn version(&mut self) -> Result<(), ParseError> {
        let Token::Number(text) = self.cursor.peek() else {
            return Err(self.cursor.expected("a version"));
        };
        let version = text
            .split_once('.')
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        self.module.version =
            version.ok_or_else(|| self.cursor.expected("a version such as 9.0"))?;
        self.cursor.take().map(|_| ())
    }

    fn target(&mut self) -> Result<(), ParseError> {
        self.module.target = self.cursor.word("a target such as sm_80")?.to_owned();
        // `debug`, `texmode_independent`: nothing here depends on them.
        while self.cursor.accept(',')? {
            self.cursor.word("a property of the target")?;
        }
        Ok(())
    }

    fn file(&mut self) -> Result<(), ParseError> {
        let number = self.cursor.number("a file number")?;
        let path = self.cursor.quoted("a path")?.to_owned();
        // Time stamp and size.
        while self.cursor.accept(',')? {
            self.cursor.unsigned("a time stamp or size")?;
        }
        self.module.files.push((number, path));
        Ok(())
    }

    fn variables(&mut self, space: &str, external: bool) -> Result<(), ParseError> {
        let variables = variable::read_all(&mut self.cursor)?;
        self.cursor.expect(';')?;
        for (name, variable) in variables {
            if !external && !self.defined.insert(name) {
                return Err(self
                    .cursor
                    .error(format!("'{}' is defined twice", shortened(name))));
            }
            self.names.insert(name);
            match (space, external) {
                ("shared", true) => self.module.dynamic_shared.push(variable),
                // Declared here and defined by a later line or by another module: there is nothing to allocate.
                (_, true) => {}
                ("shared", false) => self.module.shared.push(variable),
                _ => self.module.globals.push(variable),
            }
        }
        Ok(())
    }

    /// A function. One that cannot be read is no obstacle unless a kernel calls it.
    fn function(&mut self) -> Result<(), ParseError> {
        let start = self.cursor.clone();
        let (name, function) = match self.read_function() {
            Ok(read) => read,
            Err(error) => {
                self.cursor = start;
                (self.skip_function()?, Err(error.to_string()))
            }
        };
        self.names.insert(name);
        let functions = &mut self.module.functions;
        // A declaration may follow the definition.
        if function.is_ok() || !matches!(functions.get(name), Some(Ok(_))) {
            functions.insert(name.to_owned(), function);
        }
        Ok(())
    }

    fn read_function(&mut self) -> Result<(&'a str, Result<Function, String>), ParseError> {
        if self.cursor.accept_dot("attribute")? {
            self.cursor.skip_block('(', ')')?;
        }
        let results = entry::read_parameters(&mut self.cursor)?;
        let name = self.cursor.word("the name of a function")?;
        let parameters = entry::read_parameters(&mut self.cursor)?;
        while self.cursor.peek() != Token::Sign('{') {
            match self.cursor.peek() {
                Token::Sign(';') => {
                    self.cursor.take()?;
                    return Ok((name, Err("it is only declared".to_owned())));
                }
                Token::Dot("pragma") => self.cursor.skip_statement()?,
                Token::End => return Err(self.cursor.expected("the body of a function or ';'")),
                // `.noreturn` and its like.
                _ => self.cursor.take().map(drop)?,
            }
        }
        // Known inside as well: that it calls itself matters only where it is called.
        self.names.insert(name);
        let formal: Vec<&str> = results.iter().chain(&parameters).map(|one| one.0).collect();
        let body = Entry {
            name: name.to_owned(),
            parameters: parameters.into_iter().map(|one| one.1).collect(),
            ..Entry::default()
        };
        let (body, globals) = body::read(&mut self.cursor, &self.names, &formal, body)?;
        if !globals.is_empty() {
            return Err(self
                .cursor
                .error("global variables declared in a function are not supported"));
        }
        let results = results.into_iter().map(|one| one.1).collect();
        Ok((name, Ok(Function { results, body })))
    }

    /// Skips a function and gives its name.
    fn skip_function(&mut self) -> Result<&'a str, ParseError> {
        if self.cursor.accept_dot("attribute")? {
            self.cursor.skip_block('(', ')')?;
        }
        if self.cursor.peek() == Token::Sign('(') {
            self.cursor.skip_block('(', ')')?;
        }
        let name = self.cursor.word("the name of a function")?;
        loop {
            match self.cursor.peek() {
                Token::Sign('{') => {
                    self.cursor.skip_block('{', '}')?;
                    return Ok(name);
                }
                Token::Sign(';') => {
                    self.cursor.take()?;
                    return Ok(name);
                }
                Token::Sign('(') => self.cursor.skip_block('(', ')')?,
                Token::Dot("pragma") => self.cursor.skip_statement()?,
                Token::End => return Err(self.cursor.expected("the body of a function or ';'")),
                _ => {
                    self.cursor.take()?;
                }
            }
        }
    }

    fn entry(&mut self) -> Result<(), ParseError> {
        let Head {
            entry,
            name,
            parameters,
        } = entry::read_head(&mut self.cursor)?;
        self.names.insert(name);
        if self.cursor.accept(';')? {
            return Ok(());
        }
        if !self.defined.insert(name) {
            return Err(self
                .cursor
                .error(format!("'{}' is defined twice", shortened(name))));
        }
        let (entry, globals) = body::read(&mut self.cursor, &self.names, &parameters, entry)?;
        self.module.globals.extend(globals);
        self.module.entries.push(entry);
        Ok(())
    }
}
