//! JSON Lines, the format that every search engine's loader script can read.

#![forbid(unsafe_code)]

use std::path::PathBuf;

use serde::Serialize;

use super::{OutputTarget, RowWriter};
use crate::error::{Error, Result};
use crate::input::DocumentId;
use crate::sparse::SparseRow;

/// Writes `{"id":...,"indices":[...],"values":[...]}` a line, with `"tokens":[...]` if asked.
///
/// Values have the shortest decimal form that reads back as the same f32.
pub(super) struct JsonlWriter {
    target: OutputTarget,
    /// Token strings by vocabulary id.
    tokens: Option<Vec<String>>,
    /// The current line; kept between rows for its capacity.
    line: Vec<u8>,
}

impl JsonlWriter {
    pub(super) fn new(target: OutputTarget, tokens: Option<Vec<String>>) -> Self {
        Self {
            target,
            tokens,
            line: Vec::new(),
        }
    }
}

impl RowWriter for JsonlWriter {
    fn write(&mut self, id: &DocumentId, row: SparseRow<'_>) -> Result<()> {
        let line = &mut self.line;
        line.clear();
        line.extend_from_slice(br#"{"id":"#);
        line.extend_from_slice(id.as_json().as_bytes());
        line.extend_from_slice(br#","indices":"#);
        push_json(line, row.indices);
        line.extend_from_slice(br#","values":"#);
        push_json(line, row.values);
        if let Some(tokens) = &self.tokens {
            line.extend_from_slice(br#","tokens":["#);
            for (position, &index) in row.indices.iter().enumerate() {
                if position > 0 {
                    line.push(b',');
                }
                push_json(line, token(tokens, index)?);
            }
            line.push(b']');
        }
        line.extend_from_slice(b"}\n");
        self.target.write_all(line)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.target.finish()
    }

    fn keep_partial(self: Box<Self>) -> Option<PathBuf> {
        self.target.keep_partial()
    }
}

fn push_json(line: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(line, value).expect("memory takes numbers and strings. This is a bug");
}

fn token(tokens: &[String], index: u32) -> Result<&str> {
    tokens
        .get(index as usize)
        .map(String::as_str)
        .ok_or_else(|| {
            Error::usage(
                format!(
                    "vocabulary id {index} has no token string among the {} given",
                    tokens.len()
                ),
                "give those of the whole vocabulary",
            )
        })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;
    use serde::Deserialize;
    use serde_json::value::RawValue;

    use super::*;
    use crate::sparse::SparseRows;

    /// What a writer makes of `rows` with the ids 0, 1, 2, ...
    fn written(rows: &SparseRows, tokens: Option<&[&str]>) -> Result<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rows.jsonl");
        let tokens = tokens.map(|tokens| tokens.iter().map(|&token| token.to_owned()).collect());
        let mut writer = Box::new(JsonlWriter::new(OutputTarget::create(&path)?, tokens));
        for (id, row) in (0..).zip(rows.iter()) {
            writer.write(&DocumentId::from(id), row)?;
        }
        writer.finish()?;
        Ok(fs::read_to_string(path).expect("the output"))
    }

    #[test]
    fn a_row_is_a_line_also_if_it_is_empty() {
        let mut rows = SparseRows::new();
        rows.push([(7, 0.1), (42, 1.0)]);
        rows.push([]);
        assert_eq!(
            written(&rows, None).expect("written"),
            "{\"id\":0,\"indices\":[7,42],\"values\":[0.1,1.0]}\n\
             {\"id\":1,\"indices\":[],\"values\":[]}\n"
        );
    }

    #[test]
    fn tokens_are_escaped() {
        let mut rows = SparseRows::new();
        rows.push([(0, 1.0), (1, 1.0), (2, 1.0)]);
        rows.push([]);
        assert_eq!(
            written(&rows, Some(&["\"", "##é", "\\"])).expect("written"),
            "{\"id\":0,\"indices\":[0,1,2],\"values\":[1.0,1.0,1.0],\"tokens\":[\"\\\"\",\"##é\",\"\\\\\"]}\n\
             {\"id\":1,\"indices\":[],\"values\":[],\"tokens\":[]}\n"
        );
    }

    #[test]
    fn a_missing_token_string_is_an_error() {
        let mut rows = SparseRows::new();
        rows.push([(0, 1.0), (3, 1.0)]);
        let error = written(&rows, Some(&["a", "b", "c"])).expect_err("3 has none");
        assert!(error.to_string().starts_with("vocabulary id 3 "), "{error}");
    }

    #[test]
    fn ids_are_handed_through() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rows.jsonl");
        let target = OutputTarget::create(&path).expect("a target");
        let mut writer = Box::new(JsonlWriter::new(target, None));
        let mut rows = SparseRows::new();
        rows.push([]);
        writer
            .write(&DocumentId::from("\"é\n"), rows.row(0))
            .expect("written");
        writer.finish().expect("finished");
        assert_eq!(
            fs::read_to_string(path).expect("the output"),
            "{\"id\":\"\\\"é\\n\",\"indices\":[],\"values\":[]}\n"
        );
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Line<'a> {
        id: u64,
        indices: Vec<u32>,
        #[serde(borrow)]
        values: Vec<&'a RawValue>,
    }

    fn weight() -> impl Strategy<Value = f32> {
        // Every positive finite f32, subnormals included.
        (1..=f32::MAX.to_bits()).prop_map(f32::from_bits)
    }

    proptest! {
        #[test]
        fn rows_read_back_bit_for_bit(
            rows in proptest::collection::vec(
                proptest::collection::btree_map(any::<u32>(), weight(), 0..20), 0..5),
        ) {
            let mut expected = SparseRows::new();
            for row in rows {
                expected.push(row);
            }
            let text = written(&expected, None).expect("written");
            let mut actual = SparseRows::new();
            for (number, line) in (0..).zip(text.lines()) {
                let line: Line = serde_json::from_str(line).expect("valid JSON");
                prop_assert_eq!(line.id, number);
                let values = line.values.iter().map(|value| value.get().parse().expect("a number"));
                prop_assert_eq!(line.indices.len(), values.len());
                actual.push(line.indices.into_iter().zip(values));
            }
            prop_assert_eq!(actual, expected);
        }
    }
}
