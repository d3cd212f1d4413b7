//! The wire format of protocol buffers, as far as it takes to walk through a message.

#![forbid(unsafe_code)]

/// The fields of one message in the order of the file, each with its number.
pub(super) struct Message<'a> {
    rest: &'a [u8],
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field<'a> {
    /// A whole number, a truth value or an enum.
    Number(u64),
    Fixed32(u32),
    Fixed64,
    /// A string, bytes or a message.
    Bytes(&'a [u8]),
}

impl<'a> Message<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn field(&mut self) -> Option<(u64, Field<'a>)> {
        let key = self.varint()?;
        let field = match key & 7 {
            0 => Field::Number(self.varint()?),
            1 => {
                self.take(8)?;
                Field::Fixed64
            }
            2 => {
                let length = self.varint()?;
                Field::Bytes(self.take(usize::try_from(length).ok()?)?)
            }
            5 => Field::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((key >> 3, field))
    }

    /// Seven bits a byte, the lowest first; the top bit says that more follow.
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }
}

impl<'a> Iterator for Message<'a> {
    type Item = Result<(u64, Field<'a>), String>;

    /// The first error is the last item.
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.rest = &[];
        }
        Some(field.ok_or_else(|| "it is no whole sentencepiece model".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_of_fields() {
        let bytes = [
            0x08, 0xac, 0x02, 0x12, 2, b'h', b'i', 0x1d, 0, 0, 0x80, 0x3f, 0x21, 1, 2, 3, 4, 5, 6,
            7, 8,
        ];
        let fields: Vec<_> = Message::new(&bytes).map(Result::unwrap).collect();
        let expected = [
            (1, Field::Number(300)),
            (2, Field::Bytes(b"hi")),
            (3, Field::Fixed32(1f32.to_bits())),
            (4, Field::Fixed64),
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn a_message_cut_anywhere_inside_a_field_ends_in_an_error() {
        for bytes in [
            &[0x08][..],
            &[0x08, 0x80],
            &[0x12, 5, 1],
            &[0x1d, 1],
            &[0x0b],
            &[0xff; 11],
        ] {
            let items: Vec<_> = Message::new(bytes).collect();
            assert!(
                items.len() == 1 && items[0].is_err(),
                "{bytes:?}: {items:?}"
            );
        }
    }
}
