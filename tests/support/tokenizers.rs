//! Small tokenisers of RoBERTa's families, in each of the forms that they come in.
//!
//! `tests/golden/tokenizers/` has them as `tokenizer.json`: byte-level BPE, and Unigram as sentencepiece trains it, with a
//! few rules of Unicode normalisation. The other forms are written from these.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::random_model::{Architecture, write_json};

pub fn roberta() -> Value {
    parse(include_str!("../golden/tokenizers/roberta.json"))
}

pub fn xlm_roberta() -> Value {
    parse(include_str!("../golden/tokenizers/xlm_roberta.json"))
}

pub fn camembert() -> Value {
    parse(include_str!("../golden/tokenizers/camembert.json"))
}

fn parse(json: &str) -> Value {
    serde_json::from_str(json).expect("a tokeniser")
}

/// XLM-RoBERTa's own, which `make tokenizer` fetches.
///
/// # Panics
///
/// If it is not there: a test that is passed over has tested nothing.
pub fn real_xlm_roberta() -> Value {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("models/xlm-roberta-tokenizer/tokenizer.json");
    let json = fs::read(&path).unwrap_or_else(|e| {
        let path = path.display();
        panic!("{path}: {e}: run `make tokenizer`, which fetches it")
    });
    serde_json::from_slice(&json).expect("a tokeniser")
}

/// The tokens of a vocabulary, in the order of their ids.
pub fn tokens(tokenizer: &Value) -> Vec<String> {
    match &tokenizer["model"]["vocab"] {
        Value::Object(ids) => {
            let mut tokens: Vec<&String> = ids.keys().collect();
            tokens.sort_by_key(|token| ids[*token].as_u64());
            tokens.into_iter().cloned().collect()
        }
        pieces => scored(pieces).map(|(piece, _)| piece.to_owned()).collect(),
    }
}

fn scored(pieces: &Value) -> impl ExactSizeIterator<Item = (&str, f64)> {
    fn scored_piece(piece: &Value) -> (&str, f64) {
        (
            piece[0].as_str().expect("a piece"),
            piece[1].as_f64().expect("a score"),
        )
    }
    pieces.as_array().expect("pieces").iter().map(scored_piece)
}

/// Byte-level BPE as `vocab.json` and `merges.txt`.
pub fn write_merges(tokenizer: &Value, folder: &Path) {
    write_json(&folder.join("vocab.json"), &tokenizer["model"]["vocab"]);
    let merges = tokenizer["model"]["merges"].as_array().expect("merges");
    let merges: String = merges
        .iter()
        .map(|merge| format!("{}\n", merge.as_str().expect("a merge")))
        .collect();
    fs::write(
        folder.join("merges.txt"),
        format!("#version: 0.2\n{merges}"),
    )
    .expect("merges.txt is written");
}

/// Unigram as a `sentencepiece.bpe.model`: the pieces without what the family puts around them.
pub fn sentencepiece(tokenizer: &Value, family: Architecture) -> Vec<u8> {
    let vocabulary = &tokenizer["model"]["vocab"];
    let first = match family {
        Architecture::XlmRoberta | Architecture::BgeM3 | Architecture::XlmRobertaTokens => 4,
        // <s> and </s> of sentencepiece itself follow five of the family's own.
        Architecture::Camembert => 7,
        other => panic!("{other:?} has no pieces"),
    };
    let last = scored(vocabulary).len() - 1; // <mask>
    const UNKNOWN: u64 = 2;
    const CONTROL: u64 = 3;
    let mut file = Vec::new();
    for (piece, kind) in [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)] {
        message(&mut file, 1, &sentencepiece_piece(piece, 0.0, Some(kind)));
    }
    for (piece, score) in scored(vocabulary).take(last).skip(first) {
        message(
            &mut file,
            1,
            &sentencepiece_piece(piece, score as f32, None),
        );
    }
    let mut trainer = Vec::new();
    varint_field(&mut trainer, 3, 1); // Unigram
    message(&mut file, 2, &trainer);
    let mut normalizer = Vec::new();
    message(&mut normalizer, 1, b"of its own");
    message(&mut normalizer, 2, &base64(charsmap(tokenizer)));
    message(&mut file, 3, &normalizer);
    file
}

fn charsmap(tokenizer: &Value) -> &str {
    let places = [
        "/normalizer/precompiled_charsmap",
        "/normalizer/normalizers/0/precompiled_charsmap",
    ];
    let found = places.iter().find_map(|place| tokenizer.pointer(place));
    let map = found.and_then(Value::as_str);
    map.expect("a map of characters")
}

fn sentencepiece_piece(piece: &str, score: f32, kind: Option<u64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    message(&mut bytes, 1, piece.as_bytes());
    varint(&mut bytes, 2 << 3 | 5);
    bytes.extend(score.to_le_bytes());
    if let Some(kind) = kind {
        varint_field(&mut bytes, 3, kind);
    }
    bytes
}

/// A field of bytes: a string or a message inside.
pub fn message(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend(bytes);
}

pub fn varint_field(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

pub fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn base64(text: &str) -> Vec<u8> {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => panic!("{c} in base64"),
    };
    let digits: Vec<u8> = text.trim_end_matches('=').bytes().map(digit).collect();
    let group = |digits: &[u8]| {
        let bits = digits
            .iter()
            .fold(0u32, |bits, &digit| bits << 6 | u32::from(digit))
            << (6 * (4 - digits.len()));
        bits.to_be_bytes()[1..digits.len()].to_vec()
    };
    digits.chunks(4).flat_map(group).collect()
}
