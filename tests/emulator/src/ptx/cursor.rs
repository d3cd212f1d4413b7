//! One token of lookahead over the lexer, and the questions every part of the parser asks of it.

use super::ParseError;
use super::lexer::{Lexer, Spanned, Token};
use super::literal::Literal;

/// Where the parser stands in the text.
#[derive(Clone)]
pub(super) struct Cursor<'a> {
    lexer: Lexer<'a>,
    next: Spanned<'a>,
    /// Byte offset behind the token that was taken last.
    end: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Result<Self, ParseError> {
        let mut lexer = Lexer::new(text);
        let next = lexer.token()?;
        Ok(Cursor {
            lexer,
            next,
            end: 0,
        })
    }

    /// The next token, not taken.
    pub(super) fn peek(&self) -> Token<'a> {
        self.next.token
    }

    /// Line of the next token.
    pub(super) fn line(&self) -> u32 {
        self.next.line
    }

    /// Byte offset of the next token, for [`Cursor::text_since`].
    pub(super) fn start(&self) -> usize {
        self.next.start
    }

    /// Takes the next token.
    pub(super) fn take(&mut self) -> Result<Token<'a>, ParseError> {
        let token = self.next.token;
        self.end = self.next.end;
        self.next = self.lexer.token()?;
        Ok(token)
    }

    /// Takes the next token if it is this character.
    pub(super) fn accept(&mut self, sign: char) -> Result<bool, ParseError> {
        let found = self.peek() == Token::Sign(sign);
        if found {
            self.take()?;
        }
        Ok(found)
    }

    /// Takes the next token if it is `.name`.
    pub(super) fn accept_dot(&mut self, name: &str) -> Result<bool, ParseError> {
        let found = self.peek() == Token::Dot(name);
        if found {
            self.take()?;
        }
        Ok(found)
    }

    /// Takes this character, which must be next.
    pub(super) fn expect(&mut self, sign: char) -> Result<(), ParseError> {
        if self.accept(sign)? {
            Ok(())
        } else {
            Err(self.expected(&format!("'{sign}'")))
        }
    }

    /// Takes a name.
    pub(super) fn word(&mut self, what: &str) -> Result<&'a str, ParseError> {
        match self.peek() {
            Token::Word(word) => {
                self.take()?;
                Ok(word)
            }
            _ => Err(self.expected(what)),
        }
    }

    /// Takes `.name` and gives `name`.
    pub(super) fn dot(&mut self, what: &str) -> Result<&'a str, ParseError> {
        match self.peek() {
            Token::Dot(name) => {
                self.take()?;
                Ok(name)
            }
            _ => Err(self.expected(what)),
        }
    }

    /// Takes a string.
    pub(super) fn quoted(&mut self, what: &str) -> Result<&'a str, ParseError> {
        match self.peek() {
            Token::Text(text) => {
                self.take()?;
                Ok(text)
            }
            _ => Err(self.expected(what)),
        }
    }

    /// Takes a literal with its sign, `-` or `+`.
    pub(super) fn literal(&mut self, what: &str) -> Result<Literal, ParseError> {
        let negative = self.accept('-')?;
        if !negative {
            self.accept('+')?;
        }
        let Token::Number(text) = self.peek() else {
            return Err(self.expected(what));
        };
        let literal = Literal::read(text)
            .ok_or_else(|| self.error(format!("'{text}' is no number of at most 64 bits")))?;
        self.take()?;
        Ok(if negative { literal.negated() } else { literal })
    }

    /// Takes an integer that is not negative.
    pub(super) fn unsigned(&mut self, what: &str) -> Result<u64, ParseError> {
        let line = self.line();
        if let Token::Number(_) = self.peek()
            && let Literal::Integer(value) = self.literal(what)?
        {
            return Ok(value);
        }
        Err(ParseError {
            line,
            message: format!("{what} is expected here"),
        })
    }

    /// Takes an integer of 32 bits that is not negative.
    pub(super) fn number(&mut self, what: &str) -> Result<u32, ParseError> {
        let line = self.line();
        let value = self.unsigned(what)?;
        u32::try_from(value).map_err(|_| ParseError {
            line,
            message: format!("{what}: {value} does not fit 32 bits"),
        })
    }

    /// Skips a block whose opening bracket is next, nested ones included.
    pub(super) fn skip_block(&mut self, open: char, close: char) -> Result<(), ParseError> {
        let line = self.line();
        self.expect(open)?;
        let mut depth = 1usize;
        while depth > 0 {
            match self.take()? {
                Token::Sign(sign) if sign == open => depth += 1,
                Token::Sign(sign) if sign == close => depth -= 1,
                Token::End => {
                    return Err(ParseError {
                        line,
                        message: format!("this '{open}' is not closed"),
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Skips a statement and its `;`.
    pub(super) fn skip_statement(&mut self) -> Result<(), ParseError> {
        loop {
            match self.peek() {
                Token::End => return Err(self.expected("';'")),
                Token::Sign(';') => return self.take().map(|_| ()),
                _ => self.take()?,
            };
        }
    }

    /// What was written from a byte offset to the end of the last taken token: on one line, without comments.
    pub(super) fn text_since(&self, start: usize) -> String {
        one_line(self.lexer.slice(start, self.end.max(start)))
    }

    /// An error at the next token.
    pub(super) fn error(&self, message: impl Into<String>) -> ParseError {
        ParseError {
            line: self.line(),
            message: message.into(),
        }
    }

    /// The error that something else is expected here.
    pub(super) fn expected(&self, what: &str) -> ParseError {
        let found = match self.peek() {
            Token::Word(word) | Token::Number(word) => format!("'{}'", shortened(word)),
            Token::Dot(name) => format!("'.{}'", shortened(name)),
            Token::Text(text) => format!("\"{}\"", shortened(text)),
            Token::Sign(sign) => format!("'{sign}'"),
            Token::End => "the end of the text".to_owned(),
        };
        self.error(format!("{what} is expected here, not {found}"))
    }
}

/// A name as it fits a message: hostile ones may be megabytes long.
pub(super) fn shortened(name: &str) -> &str {
    match name.char_indices().nth(200) {
        Some((end, _)) => &name[..end],
        None => name,
    }
}

fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) =
        rest.find(|character: char| character.is_ascii_whitespace() || character == '/')
    {
        line.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if rest.starts_with("/*") {
            rest = rest.find("*/").map_or("", |end| &rest[end + 2..]);
        } else if let Some(slash) = rest.strip_prefix('/') {
            line.push('/');
            rest = slash;
        } else {
            rest = rest.trim_ascii_start();
            if !line.ends_with(' ') {
                line.push(' ');
            }
        }
    }
    line.push_str(rest);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_on_one_line() {
        assert_eq!(one_line("add.s32 \t%r1,\n\t%r2, 1"), "add.s32 %r1, %r2, 1");
        assert_eq!(one_line("a // b\n c /* d\n */ e"), "a c e");
    }

    #[test]
    fn a_block_is_skipped_with_what_is_nested_in_it() {
        let mut cursor = Cursor::new("{ a { \"}\" } // }\n } b").unwrap();
        cursor.skip_block('{', '}').unwrap();
        assert_eq!(cursor.peek(), Token::Word("b"));
        let error = Cursor::new("\n{ {}")
            .unwrap()
            .skip_block('{', '}')
            .unwrap_err();
        assert_eq!(error.line, 2);
    }

    #[test]
    fn a_number_must_fit() {
        assert_eq!(
            Cursor::new("4294967295").unwrap().number("a size"),
            Ok(u32::MAX)
        );
        let error = Cursor::new("4294967296")
            .unwrap()
            .number("a size")
            .unwrap_err();
        assert!(error.message.contains("4294967296"), "{error}");
        assert!(Cursor::new("-1").unwrap().number("a size").is_err());
    }
}
