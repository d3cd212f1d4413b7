//! Text to tokens. Comments and white space disappear here; line numbers are kept for messages.

use super::ParseError;

/// The smallest piece of PTX.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// A name or a mnemonic: letters, digits, `_` and `$`, perhaps with `%` in front.
    Word(&'a str),
    /// `.name`, without the dot: a directive, a type, a modifier. `shared::cta` and `2d` are one token.
    Dot(&'a str),
    /// A literal as written, without its sign.
    Number(&'a str),
    /// The inside of `"..."`.
    Text(&'a str),
    /// Any other character.
    Sign(char),
    /// Behind the last token.
    End,
}

/// A token and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spanned<'a> {
    /// The token.
    pub(super) token: Token<'a>,
    /// Line of its first character, 1-based.
    pub(super) line: u32,
    /// Byte offset of its first character.
    pub(super) start: usize,
    /// Byte offset behind its last character.
    pub(super) end: usize,
}

/// Walks over the text.
#[derive(Clone)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    position: usize,
    line: u32,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Lexer {
            text,
            position: 0,
            line: 1,
        }
    }

    /// The text between two offsets that tokens reported.
    pub(super) fn slice(&self, start: usize, end: usize) -> &'a str {
        &self.text[start..end]
    }

    /// The next token; [`Token::End`] for ever at the end of the text.
    pub(super) fn token(&mut self) -> Result<Spanned<'a>, ParseError> {
        self.skip_blank()?;
        let (start, line) = (self.position, self.line);
        let token = match self.byte(0) {
            None => Token::End,
            Some(b'.') if is_word(self.byte(1)) => Token::Dot(self.dotted()),
            Some(b'0'..=b'9') => Token::Number(self.number()),
            Some(b'"') => Token::Text(self.quoted()?),
            Some(b'%') if is_word(self.byte(1)) => {
                self.position += 1;
                self.skip_word();
                Token::Word(self.slice(start, self.position))
            }
            byte if is_word(byte) => {
                self.skip_word();
                Token::Word(self.slice(start, self.position))
            }
            Some(_) => Token::Sign(self.sign()?),
        };
        Ok(Spanned {
            token,
            line,
            start,
            end: self.position,
        })
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.position + ahead).copied()
    }

    fn error(&self, message: impl Into<String>) -> ParseError {
        ParseError {
            line: self.line,
            message: message.into(),
        }
    }

    fn skip_blank(&mut self) -> Result<(), ParseError> {
        loop {
            match (self.byte(0), self.byte(1)) {
                (Some(b'\n'), _) => {
                    self.line = self.line.saturating_add(1);
                    self.position += 1;
                }
                (Some(byte), _) if byte.is_ascii_whitespace() => self.position += 1,
                (Some(b'/'), Some(b'/')) => {
                    let rest = &self.text.as_bytes()[self.position..];
                    self.position += rest
                        .iter()
                        .position(|&byte| byte == b'\n')
                        .unwrap_or(rest.len());
                }
                (Some(b'/'), Some(b'*')) => {
                    let Some(length) = self.text[self.position + 2..].find("*/") else {
                        return Err(self.error("this comment is not closed"));
                    };
                    let end = self.position + 2 + length + 2;
                    let lines = self.text.as_bytes()[self.position..end]
                        .iter()
                        .filter(|&&byte| byte == b'\n')
                        .count();
                    self.line = self
                        .line
                        .saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
                    self.position = end;
                }
                _ => return Ok(()),
            }
        }
    }

    fn skip_word(&mut self) {
        while is_word(self.byte(0)) {
            self.position += 1;
        }
    }

    /// `.name::name`, from the dot on.
    fn dotted(&mut self) -> &'a str {
        self.position += 1;
        let start = self.position;
        self.skip_word();
        while self.byte(0) == Some(b':') && self.byte(1) == Some(b':') && is_word(self.byte(2)) {
            self.position += 2;
            self.skip_word();
        }
        self.slice(start, self.position)
    }

    /// Digits with prefix and suffix, `1.5e-3` included; [`super::literal`] says what they mean.
    fn number(&mut self) -> &'a str {
        let start = self.position;
        self.skip_word();
        let decimal = self
            .slice(start, self.position)
            .bytes()
            .all(|byte| byte.is_ascii_digit());
        // `4.x` would be a number and a modifier; `4.` and `4.5` are numbers.
        if decimal
            && self.byte(0) == Some(b'.')
            && !self.byte(1).is_some_and(|byte| byte.is_ascii_alphabetic())
        {
            self.position += 1;
            self.skip_word();
        }
        let digits = self.slice(start, self.position);
        let exponent =
            digits.ends_with(['e', 'E']) && !digits.starts_with("0x") && !digits.starts_with("0X");
        // `0f` and `0d` literals are hexadecimal: an `e` at their end is a digit.
        let bits = digits.len() > 1 && matches!(digits.as_bytes()[1], b'f' | b'F' | b'd' | b'D');
        if exponent && !bits && matches!(self.byte(0), Some(b'+' | b'-')) {
            self.position += 1;
            self.skip_word();
        }
        self.slice(start, self.position)
    }

    /// The inside of a string. No escapes: paths are written as they are.
    fn quoted(&mut self) -> Result<&'a str, ParseError> {
        let start = self.position + 1;
        let rest = &self.text.as_bytes()[start..];
        match rest.iter().position(|&byte| byte == b'"' || byte == b'\n') {
            Some(length) if rest[length] == b'"' => {
                self.position = start + length + 1;
                Ok(self.slice(start, start + length))
            }
            _ => Err(self.error("this string is not closed on its line")),
        }
    }

    fn sign(&mut self) -> Result<char, ParseError> {
        let Some(character) = self.text[self.position..].chars().next() else {
            return Err(self.error("the text ends here"));
        };
        if !character.is_ascii_graphic() {
            return Err(self.error(format!(
                "{character:?} does not occur in PTX outside comments and strings"
            )));
        }
        self.position += character.len_utf8();
        Ok(character)
    }
}

fn is_word(byte: Option<u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<Token<'_>> {
        let mut lexer = Lexer::new(text);
        let mut all = Vec::new();
        loop {
            match lexer.token().unwrap().token {
                Token::End => return all,
                token => all.push(token),
            }
        }
    }

    #[test]
    fn an_opcode_with_double_colons_and_leading_digits() {
        assert_eq!(
            tokens("cp.bulk.2d.shared::cluster.a::b::c [%r1+-4];"),
            [
                Token::Word("cp"),
                Token::Dot("bulk"),
                Token::Dot("2d"),
                Token::Dot("shared::cluster"),
                Token::Dot("a::b::c"),
                Token::Sign('['),
                Token::Word("%r1"),
                Token::Sign('+'),
                Token::Sign('-'),
                Token::Number("4"),
                Token::Sign(']'),
                Token::Sign(';'),
            ]
        );
    }

    #[test]
    fn numbers_end_where_they_should() {
        assert_eq!(tokens("1.5e-3"), [Token::Number("1.5e-3")]);
        assert_eq!(tokens("1e+3"), [Token::Number("1e+3")]);
        assert_eq!(
            tokens("0x1e-3"),
            [Token::Number("0x1e"), Token::Sign('-'), Token::Number("3")]
        );
        assert_eq!(
            tokens("0f3F80000e-3"),
            [
                Token::Number("0f3F80000e"),
                Token::Sign('-'),
                Token::Number("3")
            ]
        );
        assert_eq!(tokens("9.0"), [Token::Number("9.0")]);
        assert_eq!(tokens("4.x"), [Token::Number("4"), Token::Dot("x")]);
        assert_eq!(tokens("2."), [Token::Number("2.")]);
    }

    #[test]
    fn a_special_register_and_a_label_with_a_dollar() {
        assert_eq!(tokens("%tid.x"), [Token::Word("%tid"), Token::Dot("x")]);
        assert_eq!(
            tokens("$L__BB0_1:"),
            [Token::Word("$L__BB0_1"), Token::Sign(':')]
        );
    }

    #[test]
    fn lines_are_counted_through_comments() {
        let mut lexer = Lexer::new("// one\n/* two\n three */ ret\n;");
        let first = lexer.token().unwrap();
        assert_eq!((first.token, first.line), (Token::Word("ret"), 3));
        let second = lexer.token().unwrap();
        assert_eq!((second.token, second.line), (Token::Sign(';'), 4));
    }

    #[test]
    fn what_is_left_open_is_an_error() {
        assert!(Lexer::new("/* never closed").token().is_err());
        assert!(Lexer::new("\"never closed\n\"").token().is_err());
        assert!(Lexer::new("é").token().is_err());
        assert!(Lexer::new("\0").token().is_err());
    }
}
