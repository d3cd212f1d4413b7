//! Variable declarations: `.align 4 .b8 name[24] = {65, 144, ...}`, what follows the state space.

use super::cursor::{Cursor, shortened};
use super::initial::Initialiser;
use super::lexer::Token;
use super::literal::Float;
use super::{Class, ParseError, Variable};

/// More dimensions than anyone writes: bounds the depth of nested initialisers.
const MOST_DIMENSIONS: usize = 16;

/// Bytes of a type; `None` for a name that is no type of variables and registers.
pub(super) fn type_size(name: &str) -> Option<u32> {
    Some(match name {
        "b8" | "u8" | "s8" | "e4m3" | "e5m2" => 1,
        "b16" | "u16" | "s16" | "f16" | "bf16" | "e4m3x2" | "e5m2x2" => 2,
        "b32" | "u32" | "s32" | "f32" | "f16x2" | "bf16x2" | "tf32" => 4,
        "b64" | "u64" | "s64" | "f64" | "f32x2" => 8,
        "b128" => 16,
        _ => return None,
    })
}

/// The class of registers that holds a type.
pub(super) fn type_class(name: &str) -> Option<Class> {
    if name == "pred" {
        return Some(Class::Predicate);
    }
    Some(match type_size(name)? {
        8 => Class::Bits64,
        16 => Class::Bits128,
        _ => Class::Bits32,
    })
}

/// Attributes and type in front of the names.
struct Head {
    align: Option<u32>,
    /// Elements of a `.v2` or `.v4` variable.
    lanes: u64,
    element: u32,
    float: Option<Float>,
}

/// Reads one or several variables, up to but not including `;`, `,` of a parameter list or `)`.
pub(super) fn read_all<'a>(
    cursor: &mut Cursor<'a>,
) -> Result<Vec<(&'a str, Variable)>, ParseError> {
    let head = head(cursor)?;
    let mut variables = vec![one(cursor, &head)?];
    while cursor.accept(',')? {
        variables.push(one(cursor, &head)?);
    }
    Ok(variables)
}

/// Reads one variable: in a parameter list `,` separates whole declarations.
pub(super) fn read_one<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a str, Variable), ParseError> {
    let head = head(cursor)?;
    one(cursor, &head)
}

fn head(cursor: &mut Cursor<'_>) -> Result<Head, ParseError> {
    let mut head = Head {
        align: None,
        lanes: 1,
        element: 0,
        float: None,
    };
    let mut pointer = false;
    while let Token::Dot(name) = cursor.peek() {
        cursor.take()?;
        match name {
            "align" => {
                let align = cursor.number("an alignment")?;
                if !align.is_power_of_two() {
                    return Err(cursor.error(format!("alignment {align} is no power of two")));
                }
                // Behind `.ptr` it is the alignment of what the parameter points to.
                if !pointer {
                    head.align = Some(align);
                }
            }
            "attribute" => cursor.skip_block('(', ')')?,
            "ptr" => pointer = true,
            "global" | "const" | "shared" | "local" | "param" if pointer => {}
            "v2" => head.lanes = 2,
            "v4" => head.lanes = 4,
            "v8" => head.lanes = 8,
            _ => match type_size(name) {
                Some(size) => (head.element, head.float) = (size, Float::of(name)),
                None => {
                    return Err(
                        cursor.error(format!("'.{}' is no type of a variable", shortened(name)))
                    );
                }
            },
        }
    }
    if head.element == 0 {
        Err(cursor.expected("the type of a variable"))
    } else {
        Ok(head)
    }
}

fn one<'a>(cursor: &mut Cursor<'a>, head: &Head) -> Result<(&'a str, Variable), ParseError> {
    let name = cursor.word("the name of a variable")?;
    let mut dimensions = Vec::new();
    while cursor.accept('[')? {
        let unsized_first = dimensions.is_empty() && cursor.peek() == Token::Sign(']');
        dimensions.push(if unsized_first {
            None
        } else {
            Some(cursor.unsigned("an array size")?)
        });
        cursor.expect(']')?;
        if dimensions.len() > MOST_DIMENSIONS {
            return Err(cursor.error(format!("more than {MOST_DIMENSIONS} dimensions")));
        }
    }
    if head.lanes > 1 {
        dimensions.push(Some(head.lanes));
    }
    let mut size = dimensions
        .iter()
        .try_fold(u64::from(head.element), |size, dimension| {
            size.checked_mul(dimension.unwrap_or(0))
        })
        .filter(|&size| i64::try_from(size).is_ok())
        .ok_or_else(|| {
            cursor.error(format!(
                "'{}' is larger than 64 bits can count",
                shortened(name)
            ))
        })?;
    let mut initial = Initialiser::new(head.element, head.float);
    if cursor.accept('=')? {
        initial.read(cursor, &dimensions)?;
        if dimensions.first() == Some(&None) {
            size = initial.bytes.len() as u64;
        }
    }
    // u32: 16 bytes times 8 lanes.
    let align = head.align.unwrap_or(head.element * head.lanes as u32);
    let variable = Variable {
        name: name.to_owned(),
        align,
        size,
        initial: initial.bytes,
        pointers: initial.pointers,
    };
    Ok((name, variable))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(text: &str) -> Result<Variable, ParseError> {
        read_one(&mut Cursor::new(text).unwrap()).map(|(_, variable)| variable)
    }

    fn shape(text: &str) -> (String, u32, u64) {
        let variable = variable(text).unwrap();
        (variable.name, variable.align, variable.size)
    }

    #[test]
    fn size_and_alignment() {
        assert_eq!(shape(".u32 a"), ("a".into(), 4, 4));
        assert_eq!(shape(".align 128 .b8 b[64]"), ("b".into(), 128, 64));
        assert_eq!(shape(".f64 c[3][5]"), ("c".into(), 8, 120));
        assert_eq!(shape(".align 16 .b8 d[]"), ("d".into(), 16, 0));
        assert_eq!(shape(".v4 .f32 e[2]"), ("e".into(), 16, 32));
        assert_eq!(shape(".b128 f"), ("f".into(), 16, 16));
        assert_eq!(
            shape(".attribute(.managed) .align 8 .u64 g"),
            ("g".into(), 8, 8)
        );
    }

    #[test]
    fn a_pointer_parameter_keeps_its_own_alignment() {
        assert_eq!(shape(".u64 .ptr .global .align 16 p"), ("p".into(), 8, 8));
        assert_eq!(shape(".u64 .ptr .align 1 p"), ("p".into(), 8, 8));
    }

    #[test]
    fn several_of_one_type() {
        let mut cursor = Cursor::new(".b32 a, b[2]").unwrap();
        let names: Vec<_> = read_all(&mut cursor)
            .unwrap()
            .into_iter()
            .map(|(name, v)| (name, v.size))
            .collect();
        assert_eq!(names, [("a", 4), ("b", 8)]);
    }

    #[test]
    fn what_is_refused() {
        for text in [
            "a",
            ".align 3 .b8 a",
            ".align 0 .b8 a",
            ".pred a",
            ".b32 a[4][]",
            ".b64 a[4294967296][4294967296]",
            ".b8 a[9223372036854775808]",
            ".b32 a[1][1][1][1][1][1][1][1][1][1][1][1][1][1][1][1][1]",
        ] {
            assert!(variable(text).is_err(), "{text}");
        }
    }
}
