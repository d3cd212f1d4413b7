//! The launch shape of a kernel file: its tile, stage and thread counts, which the host must know too. Their one
//! home is the `.cu`; this turns the block of literal constants between the markers into Rust, with no nvcc.

use std::fmt::Write;
use std::path::Path;

use crate::error::{Error, Result};
use crate::markers::Source;

const BEGIN: &str = "// --- launch shape ---";
const END: &str = "// --- end of launch shape ---";

/// A line `constexpr int kBlockM = 128;  // reason`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constant {
    /// Its name in Rust, `BLOCK_M`.
    pub name: String,
    /// Its value.
    pub value: u32,
    /// The comment behind it, or on the lines before it.
    pub reason: String,
}

/// The constants of the one block in `text`, if it has one.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Vec<Constant>> {
    let mut constants = Vec::new();
    let mut comment = String::new();
    let mut inside = false;
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        let wrong = |what: &str| Error::new(format!("{}:{number}: {what}", path.display()));
        match (line, inside) {
            (BEGIN, false) if constants.is_empty() => inside = true,
            (BEGIN, _) => return Err(wrong("a second launch shape; a file has one")),
            (END, true) => inside = false,
            (END, false) => return Err(wrong("the end of a launch shape that did not begin")),
            (_, false) => {}
            ("", true) => comment.clear(),
            (line, true) => {
                if let Some(words) = line.strip_prefix("//") {
                    append(&mut comment, words);
                    continue;
                }
                let (name, value, reason) = parse_constant(line).ok_or_else(|| {
                    wrong("a launch shape holds only lines `constexpr int kName = 128;  // reason`")
                })?;
                append(&mut comment, reason);
                if comment.is_empty() {
                    return Err(wrong(&format!(
                        "{name} has no reason: say why it has this value"
                    )));
                }
                constants.push(Constant {
                    name: upper_snake_case(name),
                    value,
                    reason: std::mem::take(&mut comment),
                });
            }
        }
    }
    if inside {
        let path = path.display();
        return Err(Error::new(format!(
            "{path}: the launch shape has no `{END}`"
        )));
    }
    Ok(constants)
}

/// Name, value and comment of a line.
fn parse_constant(line: &str) -> Option<(&str, u32, &str)> {
    let (name, rest) = line.strip_prefix("constexpr int k")?.split_once('=')?;
    let (value, rest) = rest.split_once(';')?;
    let name = name.trim();
    let plain = name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let value = value.trim().replace('\'', "").parse().ok()?;
    let rest = rest.trim();
    let reason = if rest.is_empty() {
        rest
    } else {
        rest.strip_prefix("//")?
    };
    plain.then_some((name, value, reason))
}

fn append(comment: &mut String, words: &str) {
    if !comment.is_empty() && !words.trim().is_empty() {
        comment.push(' ');
    }
    comment.push_str(words.trim());
}

/// `SmemBytes` -> `SMEM_BYTES`, `BlockM` -> `BLOCK_M`.
fn upper_snake_case(name: &str) -> String {
    let mut result = String::new();
    let mut previous = '\0';
    for c in name.chars() {
        if c.is_ascii_uppercase() && (previous.is_ascii_lowercase() || previous.is_ascii_digit()) {
            result.push('_');
        }
        result.push(c.to_ascii_uppercase());
        previous = c;
    }
    result
}

/// A Rust module a file, with its constants.
pub(crate) fn generate(sources: &[Source]) -> String {
    let mut text = String::new();
    for source in sources
        .iter()
        .filter(|source| !source.launch_shape.is_empty())
    {
        let name = &source.name;
        writeln!(
            text,
            "/// The launch shape of `{name}.cu`.\npub mod {name} {{"
        )
        .expect(INFALLIBLE);
        for constant in &source.launch_shape {
            let Constant {
                name,
                value,
                reason,
            } = constant;
            writeln!(text, "    #[doc = {reason:?}]").expect(INFALLIBLE);
            writeln!(text, "    pub const {name}: u32 = {value};").expect(INFALLIBLE);
        }
        text += "}\n";
    }
    text
}

const INFALLIBLE: &str = "a String takes all that is written to it";

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(lines: &str) -> Result<Vec<Constant>> {
        let text = format!("#include <x>\n{BEGIN}\n{lines}\n{END}\nconstexpr int kOther = 3;\n");
        parse(Path::new("kernels/gemm.cu"), &text)
    }

    #[test]
    fn constants_keep_their_names_values_and_reasons() {
        let constants = shape(
            "// Two warpgroups:\n// 64 rows each.\nconstexpr int kBlockM = 128;\n\n\
             constexpr int kSmemBytes = 200'704;  // of 227 KB",
        )
        .unwrap();
        let constant = |name: &str, value, reason: &str| Constant {
            name: name.to_owned(),
            value,
            reason: reason.to_owned(),
        };
        assert_eq!(
            constants,
            [
                constant("BLOCK_M", 128, "Two warpgroups: 64 rows each."),
                constant("SMEM_BYTES", 200_704, "of 227 KB"),
            ]
        );
    }

    #[test]
    fn what_rust_could_not_read_is_an_error_with_the_line() {
        for line in [
            "constexpr int kBlockM = 2 * 64;  // reason",
            "constexpr int kBlockM = kBlockN;  // reason",
            "constexpr int kBlockM = -1;  // reason",
            "constexpr int kBlockM = 0x10;  // reason",
            "constexpr int block_m = 1;  // reason",
            "constexpr int kBlockM = 128; int other;",
            "int kBlockM = 128;  // reason",
            "struct Smem {};",
        ] {
            let error = shape(line).unwrap_err().to_string();
            assert!(
                error.starts_with("kernels/gemm.cu:3: a launch shape holds only lines"),
                "{line}: {error}"
            );
        }
        let error = shape("constexpr int kBlockM = 128;").unwrap_err();
        assert!(
            error.to_string().contains("BlockM has no reason"),
            "{error}"
        );
    }

    #[test]
    fn blocks_are_whole_and_single() {
        let parse = |text: String| parse(Path::new("a.cu"), &text).map_err(|e| e.to_string());
        let block = format!("{BEGIN}\nconstexpr int kA = 1;  // one\n{END}\n");
        assert!(
            parse(format!("{block}{block}"))
                .unwrap_err()
                .contains("a second launch shape")
        );
        assert!(
            parse(format!("{END}\n"))
                .unwrap_err()
                .contains("did not begin")
        );
        assert!(
            parse(format!("{BEGIN}\n"))
                .unwrap_err()
                .contains("has no `// --- end")
        );
        assert_eq!(parse(String::new()), Ok(Vec::new()));
    }

    #[test]
    fn names_are_those_of_rust() {
        for (cuda, rust) in [
            ("BlockM", "BLOCK_M"),
            ("RowsPerBlock", "ROWS_PER_BLOCK"),
            ("MinBlocksPerSM", "MIN_BLOCKS_PER_SM"),
            ("Stages", "STAGES"),
            ("K16Bytes", "K16_BYTES"),
        ] {
            assert_eq!(upper_snake_case(cuda), rust);
        }
    }

    #[test]
    fn generated_modules_are_rust() {
        let path = Path::new("kernels/gemm.cu");
        let source = Source {
            name: "gemm".to_owned(),
            path: path.to_path_buf(),
            targets: Vec::new(),
            spills_allowed: Vec::new(),
            launch_shape: shape("constexpr int kBlockM = 128;  // a \"reason\"").unwrap(),
        };
        assert_eq!(
            generate(&[source]),
            "/// The launch shape of `gemm.cu`.\npub mod gemm {\n    #[doc = \"a \\\"reason\\\"\"]\n    \
             pub const BLOCK_M: u32 = 128;\n}\n"
        );
    }
}
