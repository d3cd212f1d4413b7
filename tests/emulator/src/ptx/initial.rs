//! Initialisers: numbers, floats and addresses of other variables, in nested braces for arrays.

use super::ParseError;
use super::cursor::Cursor;
use super::lexer::Token;
use super::literal::{Float, Literal};

/// Bytes of an address.
const POINTER: usize = 8;

/// What an initialiser says.
pub(super) struct Initialiser {
    /// The bytes so far; addresses are zero here.
    pub(super) bytes: Vec<u8>,
    /// Byte offset, name and addend of every address.
    pub(super) pointers: Vec<(u64, String, i64)>,
    element: usize,
    float: Option<Float>,
    /// How many bytes of the last address were written one by one (`0xFF(name), 0xFF00(name), ...`).
    masked: Option<usize>,
}

impl Initialiser {
    /// For elements of so many bytes; of this type of floating point.
    pub(super) fn new(element: u32, float: Option<Float>) -> Self {
        Initialiser {
            bytes: Vec::new(),
            pointers: Vec::new(),
            element: element as usize,
            float,
            masked: None,
        }
    }

    /// Reads the initialiser of an array of these dimensions (`None`: as many as there are); none of them for a scalar.
    pub(super) fn read(
        &mut self,
        cursor: &mut Cursor<'_>,
        dimensions: &[Option<u64>],
    ) -> Result<(), ParseError> {
        self.level(cursor, dimensions, 0)?;
        if self.masked.is_some() {
            return Err(cursor.error("the address above is not complete"));
        }
        Ok(())
    }

    fn level(
        &mut self,
        cursor: &mut Cursor<'_>,
        dimensions: &[Option<u64>],
        offset: u64,
    ) -> Result<(), ParseError> {
        let Some((&count, inner)) = dimensions.split_first() else {
            // Padding in the middle could ask for any amount of memory with a few characters; nvcc writes rows in full.
            if offset != self.bytes.len() as u64 {
                return Err(cursor
                    .error("only the last row of an initialiser may be shorter than its array"));
            }
            return self.element(cursor);
        };
        cursor.expect('{')?;
        if cursor.accept('}')? {
            return Ok(());
        }
        // The variable's size was checked to fit 63 bits, and so do these products.
        let stride = inner
            .iter()
            .fold(self.element as u64, |size, inner| size * inner.unwrap_or(0));
        let mut index = 0u64;
        loop {
            if count.is_some_and(|count| index >= count) {
                return Err(cursor.error("the initialiser has more elements than the array"));
            }
            self.level(cursor, inner, offset + index * stride)?;
            index += 1;
            if !cursor.accept(',')? {
                return cursor.expect('}');
            }
        }
    }

    fn element(&mut self, cursor: &mut Cursor<'_>) -> Result<(), ParseError> {
        if let Token::Word(_) = cursor.peek() {
            return self.pointer(cursor);
        }
        let literal = cursor.literal("a number or the name of a variable")?;
        if cursor.peek() == Token::Sign('(') {
            return self.masked_pointer(cursor, literal);
        }
        self.no_open_pointer(cursor)?;
        let bits = u128::from(literal.bits(self.float)).to_le_bytes();
        self.bytes.extend_from_slice(&bits[..self.element]);
        Ok(())
    }

    fn pointer(&mut self, cursor: &mut Cursor<'_>) -> Result<(), ParseError> {
        self.no_open_pointer(cursor)?;
        if self.element != POINTER {
            return Err(cursor.error("an address takes an element of 64 bits"));
        }
        let (name, addend) = address(cursor)?;
        self.pointers
            .push((self.bytes.len() as u64, name.to_owned(), addend));
        self.bytes.extend_from_slice(&[0; POINTER]);
        Ok(())
    }

    /// One byte of an address: `0xFF00(name)`. All eight must follow in order.
    fn masked_pointer(&mut self, cursor: &mut Cursor<'_>, mask: Literal) -> Result<(), ParseError> {
        cursor.expect('(')?;
        let (name, addend) = address(cursor)?;
        cursor.expect(')')?;
        let byte = self.masked.unwrap_or(0);
        if self.element != 1 || mask != Literal::Integer(0xff << (8 * byte)) {
            return Err(cursor.error(
                "the bytes of an address must follow each other from the lowest to the highest",
            ));
        }
        if byte == 0 {
            self.pointers
                .push((self.bytes.len() as u64, name.to_owned(), addend));
        } else if self
            .pointers
            .last()
            .is_none_or(|(_, first, at)| first != name || *at != addend)
        {
            return Err(cursor.error(format!(
                "this byte of an address belongs to another variable, '{name}'"
            )));
        }
        self.bytes.push(0);
        self.masked = if byte + 1 < POINTER {
            Some(byte + 1)
        } else {
            None
        };
        Ok(())
    }

    fn no_open_pointer(&self, cursor: &Cursor<'_>) -> Result<(), ParseError> {
        if self.masked.is_some() {
            return Err(cursor.error("the address before this element is not complete"));
        }
        Ok(())
    }
}

/// `name`, `name+4`, `generic(name)`, `generic(name)+4`: generic and global addresses are the same numbers here.
fn address<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a str, i64), ParseError> {
    let mut name = cursor.word("the name of a variable")?;
    let mut addend = 0i64;
    if name == "generic" && cursor.accept('(')? {
        name = cursor.word("the name of a variable")?;
        addend = offset(cursor)?;
        cursor.expect(')')?;
    }
    Ok((name, addend.wrapping_add(offset(cursor)?)))
}

/// `+4`, `-4`, `+-4`, `+4+2*8`; 0 where there is none.
pub(super) fn offset(cursor: &mut Cursor<'_>) -> Result<i64, ParseError> {
    let mut sum = 0i64;
    while matches!(cursor.peek(), Token::Sign('+' | '-')) {
        let negative = cursor.peek() == Token::Sign('-');
        cursor.take()?;
        let mut value = integer(cursor)?;
        while cursor.accept('*')? {
            value = value.wrapping_mul(integer(cursor)?);
        }
        let value = if negative {
            value.wrapping_neg()
        } else {
            value
        };
        sum = sum.wrapping_add(value.cast_signed());
    }
    Ok(sum)
}

fn integer(cursor: &mut Cursor<'_>) -> Result<u64, ParseError> {
    match cursor.literal("an offset")? {
        Literal::Integer(value) => Ok(value),
        _ => Err(cursor.error("an offset is an integer")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        element: u32,
        dimensions: &[Option<u64>],
        text: &str,
    ) -> Result<Initialiser, ParseError> {
        let mut initial = Initialiser::new(element, None);
        initial.read(&mut Cursor::new(text).unwrap(), dimensions)?;
        Ok(initial)
    }

    fn bytes(element: u32, dimensions: &[Option<u64>], text: &str) -> Vec<u8> {
        read(element, dimensions, text).unwrap().bytes
    }

    #[test]
    fn numbers_of_every_width() {
        assert_eq!(bytes(1, &[Some(4)], "{1, -1, 0xFF}"), [1, 255, 255]);
        assert_eq!(bytes(2, &[None], "{1, 0x3C00}"), [1, 0, 0, 0x3C]);
        assert_eq!(bytes(4, &[], "-2"), [254, 255, 255, 255]);
        assert_eq!(
            bytes(4, &[Some(2)], "{0f3F800000, 1.0}"),
            [0, 0, 128, 63, 0, 0, 128, 63]
        );
        assert_eq!(bytes(16, &[], "1").len(), 16);
        let mut doubles = Initialiser::new(8, Some(Float::Double));
        doubles
            .read(
                &mut Cursor::new("{0d3FF0000000000000, -2.5}").unwrap(),
                &[Some(2)],
            )
            .unwrap();
        assert_eq!(doubles.bytes[..8], 1.0f64.to_le_bytes());
        assert_eq!(doubles.bytes[8..], (-2.5f64).to_le_bytes());
    }

    #[test]
    fn rows() {
        assert_eq!(
            bytes(1, &[Some(2), Some(3)], "{{1, 2, 3}, {4}}"),
            [1, 2, 3, 4]
        );
        assert!(
            read(1, &[Some(2), Some(3)], "{{1}, {4}}").is_err(),
            "a short row that is not the last"
        );
        assert!(read(1, &[Some(2)], "{1, 2, 3}").is_err(), "too many");
        assert!(read(1, &[Some(2)], "7").is_err(), "an array without braces");
        assert_eq!(bytes(1, &[Some(2)], "{}"), []);
    }

    #[test]
    fn addresses() {
        let initial = read(
            8,
            &[None],
            "{a, b+16, generic(c), generic(d)+4, generic(e-4), 5}",
        )
        .unwrap();
        let expected = [("a", 0), ("b", 16), ("c", 0), ("d", 4), ("e", -4)];
        for (index, (name, addend)) in expected.into_iter().enumerate() {
            assert_eq!(
                initial.pointers[index],
                (8 * index as u64, name.to_owned(), addend)
            );
        }
        assert_eq!(initial.bytes.len(), 48);
        assert_eq!(initial.bytes[40], 5);
        assert!(read(4, &[], "a").is_err(), "an address in 32 bits");
    }

    #[test]
    fn an_address_byte_by_byte() {
        let masks: Vec<String> = (0..8)
            .map(|byte| format!("{:#X}(a+4)", 0xffu64 << (8 * byte)))
            .collect();
        let text = format!("{{7, {}, 9}}", masks.join(", "));
        let initial = read(1, &[Some(10)], &text).unwrap();
        assert_eq!(initial.pointers, [(1, "a".to_owned(), 4)]);
        assert_eq!(initial.bytes, [7, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        for broken in [
            "{0xFF(a), 1}".to_owned(),
            "{0xFF(a)}".to_owned(),
            "{0xFF00(a)}".to_owned(),
            text.replacen("0xFF00(a+4)", "0xFF00(b+4)", 1),
        ] {
            assert!(read(1, &[Some(10)], &broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn offsets() {
        let sum = |text| offset(&mut Cursor::new(text).unwrap()).unwrap();
        assert_eq!(sum("]"), 0);
        assert_eq!(sum("+4]"), 4);
        assert_eq!(sum("-4]"), -4);
        assert_eq!(sum("+-4]"), -4);
        assert_eq!(sum("+4+0x10]"), 20);
        assert_eq!(sum("+2*8-2*3*-1]"), 22);
    }
}
