//! XLM-R's real tokeniser against the reference implementations: xlm_roberta_ids.jsonl.

use std::fs;
use std::path::Path;

use lexpeak::{EncodeOptions, Encoder};
use serde::Deserialize;
use tempfile::TempDir;

use crate::oracle_of;
use crate::support::agreement::{Agreement, entries};
use crate::support::random_model::{Architecture, RandomModel};
use crate::support::tokenizers;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    text: String,
    /// By `tokenizer.json`.
    ids: Vec<u32>,
    /// By `sentencepiece.bpe.model`, where that differs.
    built: Option<Vec<u32>>,
}

fn golden_rows() -> Vec<Row> {
    let rows = include_str!("xlm_roberta_ids.jsonl").split_terminator('\n');
    rows.map(|row| serde_json::from_str(row).expect("a row"))
        .collect()
}

/// A small model with a vocabulary as large as the tokeniser's, which `write` adds.
fn encoder_with(write: impl FnOnce(&Path)) -> (TempDir, Encoder) {
    let folder = RandomModel::of_real_vocabulary().write_temporary();
    fs::remove_file(folder.path().join("tokenizer.json")).expect("the small one was there");
    write(folder.path());
    let encoder = crate::encoder(folder.path());
    (folder, encoder)
}

fn with_tokenizer_json() -> (TempDir, Encoder) {
    encoder_with(|folder| {
        let json = tokenizers::real_xlm_roberta().to_string();
        fs::write(folder.join("tokenizer.json"), json).expect("it is written");
    })
}

fn token_ids(encoder: &Encoder, text: &str, max_length: usize) -> Vec<u32> {
    let options = EncodeOptions {
        max_length: Some(max_length),
        ..EncodeOptions::default()
    };
    encoder.token_ids(text, &options).expect("it has tokens")
}

#[test]
fn by_tokenizer_json() {
    let (_folder, encoder) = with_tokenizer_json();
    let rows = golden_rows();
    assert!(rows.len() > 300);
    for Row { text, ids, .. } in rows {
        assert_eq!(token_ids(&encoder, &text, 512), ids, "{text:?}");
    }
}

#[test]
fn by_sentencepiece() {
    let (_folder, encoder) = encoder_with(|folder| {
        let pieces =
            tokenizers::sentencepiece(&tokenizers::real_xlm_roberta(), Architecture::XlmRoberta);
        fs::write(folder.join("sentencepiece.bpe.model"), pieces).expect("it is written");
    });
    let mut differing = 0;
    for Row { text, ids, built } in golden_rows() {
        differing += usize::from(built.is_some());
        assert_eq!(
            token_ids(&encoder, &text, 512),
            built.unwrap_or(ids),
            "{text:?}"
        );
    }
    assert!(differing > 0);
    assert_eq!(encoder.token(250_001), "<mask>");
}

/// A long text is tokenised only as far as it counts: the tokens are the first of the whole text all the same.
#[test]
fn of_a_text_that_is_cut() {
    let (_folder, encoder) = with_tokenizer_json();
    let rows = golden_rows();
    let texts = rows.iter().map(|row| row.text.as_str());
    let texts: Vec<&str> = texts.filter(|text| text.len() < 400).collect();
    for several in texts.windows(7).step_by(2) {
        let text = several.join(" ");
        let whole = token_ids(&encoder, &text, 512);
        let (end, own) = whole.split_last().expect("at least </s>");
        for max_length in 3..whole.len().min(40) {
            let cut = token_ids(&encoder, &text, max_length);
            assert_eq!(
                cut.split_last(),
                Some((end, &own[..max_length - 1])),
                "{text:?}"
            );
        }
    }
}

#[test]
fn a_quarter_of_a_million_terms_are_as_the_oracle_has_them() {
    let (_folder, encoder) = with_tokenizer_json();
    let text = "火星 is the Red Planet";
    let rows = encoder.encode(&[text], &EncodeOptions::default());
    let ids = token_ids(&encoder, text, 512);
    let every_position: Vec<usize> = (0..ids.len()).collect();
    let expected = oracle_of(&RandomModel::of_real_vocabulary()).forward(&ids, &every_position);
    let expected = expected.entries();
    assert!(expected.last().is_some_and(|&(id, _)| id > 249_000));
    let mut agreement = Agreement::within(crate::ENGINE_TOLERANCE);
    let rows = rows.expect("the text is encoded");
    agreement.row(text, &entries(rows.row(0)), &expected);
    agreement.finish("250,002 terms");
}
