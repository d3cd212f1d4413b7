//! JSON Lines, the format that every search engine's loader script can read.

#![forbid(unsafe_code)]

use std::path::PathBuf;

use serde::Serialize;

use super::{OutputTarget, RowWriter};
use crate::embeddings::Embedding;
use crate::error::{Error, Result};
use crate::input::DocumentId;
use crate::sparse::SparseRow;

/// Bytes of a line that are handed on together: the vectors of a long document's tokens, 100 MB of
/// digits, are never in memory at once.
const LINE_PART_BYTES: usize = 1 << 16;

/// Writes `{"id":...,"indices":[...],"values":[...],"dense":[...],"colbert":[[...],...]}` a line, with
/// `"tokens":[...]` behind the values if asked, and without what an embedding does not have.
///
/// Values have the shortest decimal form that reads back as the same f32.
pub(super) struct JsonlWriter {
    target: OutputTarget,
    /// Token strings by vocabulary id.
    tokens: Option<Vec<String>>,
    /// The end of the current line; kept between rows for its capacity.
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
    fn write(&mut self, id: &DocumentId, embedding: Embedding<'_>) -> Result<()> {
        let line = &mut self.line;
        line.clear();
        line.extend_from_slice(br#"{"id":"#);
        line.extend_from_slice(id.as_json().as_bytes());
        if let Some(row) = embedding.sparse {
            push_row(line, row, self.tokens.as_deref())?;
        }
        if let Some(vector) = embedding.dense {
            line.extend_from_slice(br#","dense":"#);
            push_json(line, vector);
        }
        if let Some(vectors) = embedding.colbert {
            line.extend_from_slice(br#","colbert":["#);
            for (position, vector) in vectors.iter().enumerate() {
                if position > 0 {
                    line.push(b',');
                }
                push_json(line, vector);
                if line.len() >= LINE_PART_BYTES {
                    self.target.write_all(line)?;
                    line.clear();
                }
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

fn push_row(line: &mut Vec<u8>, row: SparseRow<'_>, tokens: Option<&[String]>) -> Result<()> {
    line.extend_from_slice(br#","indices":"#);
    push_json(line, row.indices);
    line.extend_from_slice(br#","values":"#);
    push_json(line, row.values);
    if let Some(tokens) = tokens {
        line.extend_from_slice(br#","tokens":["#);
        for (position, &index) in row.indices.iter().enumerate() {
            if position > 0 {
                line.push(b',');
            }
            push_json(line, token(tokens, index)?);
        }
        line.push(b']');
    }
    Ok(())
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
    use crate::vectors::MultiVector;

    const NOTHING: Embedding<'_> = Embedding {
        sparse: None,
        dense: None,
        colbert: None,
    };

    /// What a writer makes of `rows` with the ids 0, 1, 2, ...
    fn written(rows: &SparseRows, tokens: Option<&[&str]>) -> Result<String> {
        let embeddings = rows.iter().map(|row| Embedding {
            sparse: Some(row),
            ..NOTHING
        });
        written_embeddings(embeddings, tokens)
    }

    fn written_embeddings<'a>(
        embeddings: impl IntoIterator<Item = Embedding<'a>>,
        tokens: Option<&[&str]>,
    ) -> Result<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rows.jsonl");
        let tokens = tokens.map(|tokens| tokens.iter().map(|&token| token.to_owned()).collect());
        let mut writer = Box::new(JsonlWriter::new(OutputTarget::create(&path)?, tokens));
        for (id, embedding) in (0..).zip(embeddings) {
            writer.write(&DocumentId::from(id), embedding)?;
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
        writer
            .write(&DocumentId::from("\"é\n"), NOTHING)
            .expect("written");
        writer.finish().expect("finished");
        assert_eq!(
            fs::read_to_string(path).expect("the output"),
            "{\"id\":\"\\\"é\\n\"}\n"
        );
    }

    #[test]
    fn outputs_have_an_order_and_those_that_are_not_there_no_key() {
        let mut rows = SparseRows::new();
        rows.push([(1, 2.0)]);
        let all = Embedding {
            sparse: Some(rows.row(0)),
            dense: Some(&[0.1, -0.0]),
            colbert: Some(MultiVector::new(2, &[1.0, 2.0, 1e-40, -1e30])),
        };
        let no_tokens = Some(MultiVector::new(2, &[]));
        let embeddings = [
            all,
            Embedding {
                sparse: None,
                ..all
            },
            Embedding {
                dense: None,
                colbert: no_tokens,
                ..all
            },
            Embedding {
                colbert: all.colbert,
                ..NOTHING
            },
        ];
        assert_eq!(
            written_embeddings(embeddings, Some(&["a", "b"])).expect("written"),
            "{\"id\":0,\"indices\":[1],\"values\":[2.0],\"tokens\":[\"b\"],\"dense\":[0.1,-0.0],\"colbert\":[[1.0,2.0],[1e-40,-1e+30]]}\n\
             {\"id\":1,\"dense\":[0.1,-0.0],\"colbert\":[[1.0,2.0],[1e-40,-1e+30]]}\n\
             {\"id\":2,\"indices\":[1],\"values\":[2.0],\"tokens\":[\"b\"],\"colbert\":[]}\n\
             {\"id\":3,\"colbert\":[[1.0,2.0],[1e-40,-1e+30]]}\n"
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

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct VectorLine<'a> {
        id: u64,
        #[serde(borrow)]
        dense: Vec<&'a RawValue>,
        #[serde(borrow)]
        colbert: Vec<Vec<&'a RawValue>>,
    }

    /// The bits of the numbers.
    fn bits<'a>(numbers: impl IntoIterator<Item = &'a RawValue>) -> Vec<u32> {
        let bits = |number: &RawValue| number.get().parse::<f32>().expect("a number").to_bits();
        numbers.into_iter().map(bits).collect()
    }

    #[test]
    fn vectors_read_back_bit_for_bit_also_those_of_a_long_line() {
        // Finite numbers of all sizes and both signs, in lines that are handed on in parts.
        let value = |i: u32| f32::from_bits((i.wrapping_mul(0x9e37_79b9) % 0x7f80_0000) | i << 31);
        let values: Vec<f32> = (0..40_000).map(value).collect();
        for width in [1, 3, 1000, 40_000] {
            let values = &values[..values.len() / width * width];
            let embedding = Embedding {
                sparse: None,
                dense: Some(values),
                colbert: Some(MultiVector::new(width, values)),
            };
            let text = written_embeddings([embedding, embedding], None).expect("written");
            assert!(text.len() > 4 * LINE_PART_BYTES);
            let expected: Vec<u32> = values.iter().map(|x| x.to_bits()).collect();
            for (number, line) in (0..).zip(text.lines()) {
                let line: VectorLine = serde_json::from_str(line).expect("valid JSON");
                assert_eq!(line.id, number);
                assert_eq!(bits(line.dense), expected);
                assert!(line.colbert.iter().all(|vector| vector.len() == width));
                assert_eq!(bits(line.colbert.into_iter().flatten()), expected);
            }
        }
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
