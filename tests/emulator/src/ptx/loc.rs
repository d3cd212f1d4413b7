//! `.loc`: which CUDA line the instructions that follow come from.

use std::collections::HashMap;

use super::cursor::Cursor;
use super::lexer::Token;
use super::{ParseError, Source};

/// File, line and column.
type Place = (u32, u32, u32);

/// The source position at the current instruction of one body.
///
/// nvcc names the direct caller only (`inlined_at`) and writes the caller's own `.loc` once, before the first use. So the
/// outermost call of every place seen is remembered; where a place was inlined twice, the later one counts.
#[derive(Default)]
pub(super) struct Lines {
    outermost: HashMap<Place, (u32, u32)>,
    current: Option<Source>,
}

impl Lines {
    /// Position of an instruction that comes now.
    pub(super) fn current(&self) -> Option<Source> {
        self.current
    }

    /// Reads a `.loc` whose keyword was taken.
    pub(super) fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<(), ParseError> {
        let place = read_place(cursor)?;
        let mut call = None;
        while cursor.accept(',')? {
            match cursor.word("'function_name' or 'inlined_at'")? {
                "function_name" => {
                    cursor.word("the label of a name in .debug_str")?;
                    if cursor.accept('+')? {
                        cursor.unsigned("an offset in .debug_str")?;
                    }
                }
                "inlined_at" => call = Some(read_place(cursor)?),
                other => return Err(cursor.error(format!("'{other}' is unknown in .loc"))),
            }
        }
        self.step(place, call);
        Ok(())
    }

    fn step(&mut self, place: Place, call: Option<Place>) {
        let outermost = call.map(|call| {
            self.outermost
                .get(&call)
                .copied()
                .unwrap_or((call.0, call.1))
        });
        self.outermost
            .insert(place, outermost.unwrap_or((place.0, place.1)));
        // Line 0 marks code that the compiler made up: the line before it says more.
        if place.1 != 0 {
            self.current = Some(Source {
                file: place.0,
                line: place.1,
                inlined_at: outermost,
            });
        }
    }
}

fn read_place(cursor: &mut Cursor<'_>) -> Result<Place, ParseError> {
    let file = cursor.number("a file number")?;
    let line = cursor.number("a line number")?;
    let column = match cursor.peek() {
        Token::Number(_) => cursor.number("a column")?,
        _ => 0,
    };
    Ok((file, line, column))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(text: &str) -> Option<Source> {
        let mut lines = Lines::default();
        let mut cursor = Cursor::new(text).unwrap();
        while cursor.accept_dot("loc").unwrap() {
            lines.read(&mut cursor).unwrap();
        }
        assert_eq!(cursor.peek(), Token::End);
        lines.current()
    }

    fn source(line: u32, inlined_at: Option<(u32, u32)>) -> Option<Source> {
        Some(Source {
            file: 1,
            line,
            inlined_at,
        })
    }

    #[test]
    fn the_last_of_several_counts() {
        assert_eq!(after(".loc 1 35 0\n.loc 1 36 3"), source(36, None));
    }

    #[test]
    fn the_outermost_call_of_a_chain() {
        let chain = ".loc 1 54 3
            .loc 1 48 7, function_name $L__info_string0, inlined_at 1 54 3
            .loc 1 9 3, function_name $L__info_string1+4, inlined_at 1 48 7";
        assert_eq!(after(chain), source(9, Some((1, 54))));
    }

    #[test]
    fn a_caller_written_long_before_is_remembered() {
        let text = ".loc 1 48 7, function_name $s, inlined_at 1 54 3
            .loc 1 60 1
            .loc 1 9 3, function_name $s, inlined_at 1 48 7";
        assert_eq!(after(text), source(9, Some((1, 54))));
    }

    #[test]
    fn the_later_of_two_calls_counts() {
        let text = ".loc 1 48 7, function_name $s, inlined_at 1 54 3
            .loc 1 48 7, function_name $s, inlined_at 1 70 3
            .loc 1 9 3, function_name $s, inlined_at 1 48 7";
        assert_eq!(after(text), source(9, Some((1, 70))));
    }

    #[test]
    fn line_zero_keeps_the_line_before() {
        assert_eq!(after(".loc 1 35 2 .loc 1 0 0"), source(35, None));
        assert_eq!(after(".loc 1 0 0"), None);
    }
}
