//! Heads: parameters of kernels and functions, and what a kernel demands of a launch.

use super::cursor::Cursor;
use super::lexer::Token;
use super::{Entry, ParseError, Variable, variable};

/// A kernel without its body.
pub(super) struct Head<'a> {
    /// What the head says.
    pub(super) entry: Entry,
    /// The kernel's name.
    pub(super) name: &'a str,
    /// The names of its parameters.
    pub(super) parameters: Vec<&'a str>,
}

/// Reads from the name to the `{` or `;`, which is left.
pub(super) fn read_head<'a>(cursor: &mut Cursor<'a>) -> Result<Head<'a>, ParseError> {
    let name = cursor.word("the name of a kernel")?;
    let mut entry = Entry {
        name: name.to_owned(),
        ..Entry::default()
    };
    let parameters;
    (parameters, entry.parameters) = read_parameters(cursor)?.into_iter().unzip();
    while let Token::Dot(name) = cursor.peek() {
        demand(cursor, name, &mut entry)?;
    }
    Ok(Head {
        entry,
        name,
        parameters,
    })
}

/// Reads `(.param .u64 a, .param .b32 b)`; without brackets there are none.
pub(super) fn read_parameters<'a>(
    cursor: &mut Cursor<'a>,
) -> Result<Vec<(&'a str, Variable)>, ParseError> {
    let mut parameters = Vec::new();
    if cursor.accept('(')? && !cursor.accept(')')? {
        loop {
            if !cursor.accept_dot("param")? {
                return Err(cursor.expected("'.param'"));
            }
            parameters.push(variable::read_one(cursor)?);
            if !cursor.accept(',')? {
                cursor.expect(')')?;
                break;
            }
        }
    }
    Ok(parameters)
}

fn demand(cursor: &mut Cursor<'_>, name: &str, entry: &mut Entry) -> Result<(), ParseError> {
    if name == "pragma" {
        return cursor.skip_statement();
    }
    let unsupported = cursor.error(format!("'.{name}' of a kernel is not supported"));
    cursor.take()?;
    match name {
        "maxntid" => {
            let threads = dimensions(cursor)?;
            entry.max_threads.get_or_insert(threads);
        }
        "reqntid" => {
            entry.max_threads = Some(dimensions(cursor)?);
            entry.exact_threads = true;
        }
        "minnctapersm" => entry.min_blocks = Some(cursor.number("blocks per multiprocessor")?),
        "reqnctapercluster" => entry.cluster = Some(dimensions(cursor)?),
        "explicitcluster" => entry.explicit_cluster = true,
        "maxnreg" => entry.max_registers = Some(cursor.number("registers a thread")?),
        // Limits of occupancy and of non-portable cluster sizes: nothing to check here.
        "maxnctapersm" | "maxclusterrank" => {
            cursor.number("a limit")?;
        }
        "noreturn" => {}
        _ => return Err(unsupported),
    }
    Ok(())
}

/// `x`, `x, y` or `x, y, z`.
fn dimensions(cursor: &mut Cursor<'_>) -> Result<[u32; 3], ParseError> {
    let mut dimensions = [cursor.number("a number of threads or blocks")?, 1, 1];
    for dimension in &mut dimensions[1..] {
        if !cursor.accept(',')? {
            break;
        }
        *dimension = cursor.number("a number of threads or blocks")?;
    }
    Ok(dimensions)
}
