//! One line of input to one document.

#![forbid(unsafe_code)]

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Document, DocumentId, InputFormat};

/// What is wrong with a line, and what to do about it.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) what: String,
    pub(super) remedy: &'static str,
}

impl Problem {
    fn new(what: impl Into<String>, remedy: &'static str) -> Self {
        Self {
            what: what.into(),
            remedy,
        }
    }

    /// An error of the JSON parser, which started at byte `offset` of the line.
    fn json(error: &serde_json::Error, offset: usize) -> Self {
        let position = format!(" at line {} column {}", error.line(), error.column());
        let message = error.to_string();
        let message = message.strip_suffix(&position).unwrap_or(&message);
        let column = offset + error.column();
        if error.is_data() {
            // The only thing that `Fields` asks of an object.
            Self::new(
                format!("{message} at byte column {column}"),
                "give each key once",
            )
        } else {
            Self::new(
                format!("malformed JSON at byte column {column}: {message}"),
                JSONL_REMEDY,
            )
        }
    }
}

const JSONL_REMEDY: &str = r#"each line must be one JSON object such as {"id": 1, "text": "..."}"#;
const ID_REMEDY: &str = r#"give each document an "id" that is a string or a number"#;
const TEXT_REMEDY: &str = r#"give each document a "text" that is a string, "" if it is empty"#;

/// The document on `line`, which has neither line feed nor byte order mark.
pub(super) fn parse(
    line: &[u8],
    format: InputFormat,
    line_number: u64,
) -> Result<Document, Problem> {
    let line = str::from_utf8(line).map_err(|error| {
        let column = error.valid_up_to() + 1;
        Problem::new(
            format!("invalid UTF-8 at byte column {column}"),
            "convert the input to UTF-8",
        )
    })?;
    match format {
        InputFormat::Jsonl => parse_json(line),
        InputFormat::Tsv => parse_tsv(line),
        InputFormat::Text => Ok(Document {
            id: line_number.into(),
            text: line.to_owned(),
        }),
    }
}

fn parse_tsv(line: &str) -> Result<Document, Problem> {
    let (id, text) = line.split_once('\t').ok_or_else(|| {
        Problem::new(
            "no tab",
            "each line must be an id, a tab and the text; for text alone choose the format text",
        )
    })?;
    Ok(Document {
        id: id.into(),
        text: text.to_owned(),
    })
}

/// The keys of a JSON line that mean something, their values still unread.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow, rename = "_id")]
    beir_id: Option<&'a RawValue>,
    #[serde(borrow)]
    title: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
}

fn parse_json(line: &str) -> Result<Document, Problem> {
    // Serde would take an array for a struct, so that case has to end here.
    match line.trim_ascii_start().bytes().next() {
        Some(b'{') => {}
        Some(_) => return Err(Problem::new("no JSON object", JSONL_REMEDY)),
        None => return Err(Problem::new("blank line", "remove it")),
    }
    let fields: Fields<'_> =
        serde_json::from_str(line).map_err(|error| Problem::json(&error, 0))?;

    let (id, title) = match (fields.id, fields.beir_id) {
        (Some(id), _) => (parse_id(line, "id", id)?, None),
        (None, Some(id)) => (parse_id(line, "_id", id)?, fields.title),
        (None, None) => return Err(Problem::new(r#"no "id""#, ID_REMEDY)),
    };
    let text = fields
        .text
        .ok_or_else(|| Problem::new(r#"no "text""#, TEXT_REMEDY))?;
    let text = parse_string(line, "text", text, TEXT_REMEDY)?;
    let Some(title) = title else {
        return Ok(Document { id, text });
    };
    let title = parse_string(line, "title", title, "make it a string, or leave it out")?;
    let text = match (title.as_str(), text.as_str()) {
        ("", _) => text,
        (_, "") => title,
        _ => title + " " + &text,
    };
    Ok(Document { id, text })
}

/// Takes the value of `key`, a part of `line`, as an id.
fn parse_id(line: &str, key: &str, value: &RawValue) -> Result<DocumentId, Problem> {
    if is_string(value) {
        // Decoded only to be checked: the row will carry the escapes as they were given.
        parse_string(line, key, value, ID_REMEDY)?;
    } else if !is_number(value) {
        return Err(Problem::new(
            format!(r#""{key}" is {}, neither string nor number"#, kind(value)),
            ID_REMEDY,
        ));
    }
    Ok(DocumentId {
        json: value.get().into(),
    })
}

/// Decodes the value of `key`, a part of `line`.
fn parse_string(
    line: &str,
    key: &str,
    value: &RawValue,
    remedy: &'static str,
) -> Result<String, Problem> {
    if !is_string(value) {
        return Err(Problem::new(
            format!(r#""{key}" is {}, not a string"#, kind(value)),
            remedy,
        ));
    }
    let offset = value.get().as_ptr().addr() - line.as_ptr().addr();
    serde_json::from_str(value.get()).map_err(|error| Problem::json(&error, offset))
}

fn is_string(value: &RawValue) -> bool {
    value.get().starts_with('"')
}

fn is_number(value: &RawValue) -> bool {
    value
        .get()
        .starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

/// What a valid JSON value other than null is, by its first character.
fn kind(value: &RawValue) -> &'static str {
    match value.get().as_bytes()[0] {
        b'"' => "a string",
        b'{' => "an object",
        b'[' => "an array",
        b't' | b'f' => "a boolean",
        _ => "a number",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    fn jsonl(line: &str) -> Result<(String, String), String> {
        parse(line.as_bytes(), InputFormat::Jsonl, 1)
            .map(|document| (document.id.as_json().to_owned(), document.text))
            .map_err(|problem| problem.what)
    }

    #[test]
    fn ids_stay_as_they_were_written() {
        for id in [
            "7",
            "-0",
            "1.0",
            "1e400",
            "12345678901234567890123",
            r#""""#,
            r#""a""#,
            r#""d\u00e9j\u00E0 \/ \ud83d\udd34""#,
            "\"déjà\"",
        ] {
            for key in ["id", "_id"] {
                let line = format!(r#" {{ "{key}" : {id} , "text" : "t" }} "#);
                assert_eq!(jsonl(&line), Ok((id.to_owned(), "t".to_owned())));
            }
        }
    }

    #[test]
    fn titles_count_in_beir_documents_only() {
        for (line, text) in [
            (r#"{"_id":1,"title":"Mars","text":"is red"}"#, "Mars is red"),
            (r#"{"_id":1,"title":"","text":"is red"}"#, "is red"),
            (r#"{"_id":1,"title":null,"text":"is red"}"#, "is red"),
            (r#"{"_id":1,"text":"is red"}"#, "is red"),
            (r#"{"_id":1,"title":"Mars","text":""}"#, "Mars"),
            (r#"{"_id":1,"title":"","text":""}"#, ""),
            (r#"{"id":1,"title":"Mars","text":"is red"}"#, "is red"),
            (
                r#"{"_id":2,"text":"is red","title":"Mars","id":1}"#,
                "is red",
            ),
            (r#"{"id":1,"title":7,"text":"is red"}"#, "is red"),
            (
                r#"{"id":null,"_id":1,"title":"Mars","text":"is red"}"#,
                "Mars is red",
            ),
        ] {
            assert_eq!(jsonl(line), Ok(("1".to_owned(), text.to_owned())), "{line}");
        }
    }

    #[test]
    fn other_keys_are_ignored_whatever_they_hold() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        let line =
            format!(r#"{{"url":{{"id":2}},"deep":{deep},"id":1,"n":1e999,"t\u0065xt":"t"}}"#);
        assert_eq!(jsonl(&line), Ok(("1".to_owned(), "t".to_owned())));
    }

    #[test]
    fn problems_name_what_is_wrong_and_where() {
        for (line, problem) in [
            ("", "blank line"),
            (" \t", "blank line"),
            ("red planet", "no JSON object"),
            (r#"["id", "_id", null, "text"]"#, "no JSON object"),
            ("{}", r#"no "id""#),
            (r#"{"text":"t"}"#, r#"no "id""#),
            (r#"{"id":null,"text":"t"}"#, r#"no "id""#),
            (
                r#"{"id":true,"text":"t"}"#,
                r#""id" is a boolean, neither string nor number"#,
            ),
            (
                r#"{"_id":[1],"text":"t"}"#,
                r#""_id" is an array, neither string nor number"#,
            ),
            (
                r#"{"id":{},"text":"t"}"#,
                r#""id" is an object, neither string nor number"#,
            ),
            (r#"{"id":1}"#, r#"no "text""#),
            (r#"{"id":1,"text":null}"#, r#"no "text""#),
            (r#"{"_id":1,"title":"Mars"}"#, r#"no "text""#),
            (
                r#"{"id":1,"text":-7}"#,
                r#""text" is a number, not a string"#,
            ),
            (
                r#"{"_id":1,"title":["a"],"text":"t"}"#,
                r#""title" is an array, not a string"#,
            ),
            (
                r#"{"id":1,"id":1,"text":"t"}"#,
                "duplicate field `id` at byte column 12",
            ),
            (
                r#"{"id":1,"text":"a","text":null}"#,
                "duplicate field `text` at byte column 25",
            ),
            (
                r#"{"id":1,"text":"t"#,
                "malformed JSON at byte column 17: EOF while parsing a string",
            ),
            (
                r#"{"id":1,"text":"t"} {}"#,
                "malformed JSON at byte column 21: trailing characters",
            ),
            (
                r#"{"id":01,"text":"t"}"#,
                "malformed JSON at byte column 8: invalid number",
            ),
            (
                "{\"id\":1,\"text\":\"\t\"}",
                "malformed JSON at byte column 16: control character (\\u0000-\\u001F) found while parsing a string",
            ),
            (
                r#"{"é":0, 'id':1}"#,
                "malformed JSON at byte column 10: key must be a string",
            ),
            // Halves of a character: in the text, in an id, in a title.
            (
                r#"{"id":1,"text":"a\ud83d"}"#,
                "malformed JSON at byte column 24: unexpected end of hex escape",
            ),
            (
                r#"{"id":"\udd34","text":"t"}"#,
                "malformed JSON at byte column 13: lone leading surrogate in hex escape",
            ),
            (
                r#"{"_id":1,"title":"\udd34","text":"t"}"#,
                "malformed JSON at byte column 24: lone leading surrogate in hex escape",
            ),
        ] {
            assert_eq!(jsonl(line), Err(problem.to_owned()), "{line}");
        }
    }

    #[test]
    fn invalid_utf8_is_located_in_every_format() {
        for format in [InputFormat::Jsonl, InputFormat::Tsv, InputFormat::Text] {
            let problem = parse(b"a\t\xc3\xa9\xff", format, 1).expect_err("invalid UTF-8");
            assert_eq!(problem.what, "invalid UTF-8 at byte column 5");
        }
    }

    #[test]
    fn tsv_splits_at_the_first_tab() {
        let tsv = |line: &str| parse(line.as_bytes(), InputFormat::Tsv, 1);
        for (line, id, text) in [
            ("7\ta\tb", r#""7""#, "a\tb"),
            ("\"q\\\t", r#""\"q\\""#, ""),
            ("\ta", r#""""#, "a"),
        ] {
            let document = tsv(line).expect("it has a tab");
            assert_eq!((document.id.as_json(), &*document.text), (id, text));
        }
        for line in ["", "7 a"] {
            assert_eq!(tsv(line).expect_err("no tab").what, "no tab");
        }
    }

    /// The rules for a JSON line in the shortest words, on a parsed value.
    fn naive(object: &Map<String, Value>) -> Option<(String, String)> {
        let get = |key: &str| object.get(key).filter(|value| !value.is_null());
        let beir = get("id").is_none();
        let id = get("id").or(get("_id"))?;
        if !id.is_string() && !id.is_number() {
            return None;
        }
        let text = get("text")?.as_str()?;
        let title = match get("title") {
            Some(title) if beir => title.as_str()?,
            _ => "",
        };
        let parts: Vec<_> = [title, text]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect();
        Some((id.to_string(), parts.join(" ")))
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            1 => Just(Value::Null),
            1 => any::<bool>().prop_map(Value::from),
            1 => Just(json!([{"id": 1}])),
            4 => any::<i64>().prop_map(Value::from),
            16 => any::<String>().prop_map(Value::from),
        ]
    }

    proptest! {
        #[test]
        fn jsonl_reads_like_the_naive_reader(
            object in proptest::collection::btree_map("id|_id|title|text|url", value(), 0..6),
            pretty in any::<bool>(),
        ) {
            let object: Map<_, _> = object.into_iter().collect();
            let line = if pretty {
                format!("{:#}", Value::Object(object.clone())).replace('\n', " ")
            } else {
                Value::Object(object.clone()).to_string()
            };
            prop_assert_eq!(jsonl(&line).ok(), naive(&object));
        }
    }
}
