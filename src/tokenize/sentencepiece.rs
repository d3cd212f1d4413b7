//! Tokenisers from `sentencepiece.bpe.model`, which in spite of its name holds a Unigram model.
//!
//! What is built is what transformers builds from the same file: pieces with their scores and the map of characters from
//! the file, ids as the family has them, words split at white space.

#![forbid(unsafe_code)]

mod protobuf;

use std::fs;
use std::path::Path;

use tokenizers::Tokenizer as HfTokenizer;
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::Precompiled;
use tokenizers::pre_tokenizers::metaspace::Metaspace;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;

use self::protobuf::{Field, Message};
use super::build::{add_mask, add_special, around_text, content};
use super::{TokenizerConfig, guarded, unusable};
use crate::error::{Error, Result};
use crate::model::Architecture;

/// Whose ids the pieces get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// `<s> <pad> </s> <unk>`, the pieces behind sentencepiece's own three, `<mask>`.
    XlmRoberta,
    /// `<s>NOTUSED <pad> </s>NOTUSED <unk> <unk>NOTUSED`, the pieces behind sentencepiece's own `<unk>`, `<mask>`.
    Camembert,
}

impl Family {
    /// After the class of the tokeniser, or of the model where none is named.
    pub(super) fn of(
        config: &TokenizerConfig,
        architecture: Architecture,
        folder: &Path,
    ) -> Result<Self> {
        let class = config.class().unwrap_or(match architecture {
            Architecture::XlmRoberta | Architecture::BgeM3 | Architecture::XlmRobertaTokens => {
                "XLMRobertaTokenizer"
            }
            Architecture::Camembert => "CamembertTokenizer",
            other => other.class_name(),
        });
        match class {
            "XLMRobertaTokenizer" => Ok(Self::XlmRoberta),
            "CamembertTokenizer" => Ok(Self::Camembert),
            other => Err(Error::model(
                folder,
                format!("a sentencepiece.bpe.model of {other} is not supported"),
                "lexpeak builds XLMRobertaTokenizer and CamembertTokenizer from it; save others as tokenizer.json",
            )),
        }
    }
}

/// The id of the token for unknown characters, in both families.
const UNKNOWN_ID: usize = 3;

/// Sentencepiece's own token for them is never to be chosen.
const NEVER: f64 = -100.0;

/// The tokeniser of `family` with the pieces in the file at `path`.
pub(super) fn unigram(
    family: Family,
    path: &Path,
    config: &TokenizerConfig,
) -> Result<HfTokenizer> {
    let file = fs::read(path).map_err(|e| Error::model_io(path, "read the file", e))?;
    let Pieces { pieces, charsmap } = Pieces::read(&file).map_err(|problem| {
        Error::model(
            path,
            format!("the tokeniser cannot be used: {problem}"),
            "get another copy of the file, or save the tokeniser as tokenizer.json with transformers",
        )
    })?;

    let cls = content(&config.cls_token, "<s>");
    let sep = content(&config.sep_token, "</s>");
    let unk = content(&config.unk_token, "<unk>");
    let pad = content(&config.pad_token, "<pad>");
    let mask = content(&config.mask_token, "<mask>");
    let own = |token: &str| (token.to_owned(), 0.0);
    let (mut vocabulary, of_sentencepiece) = match family {
        Family::XlmRoberta => (vec![own(&cls), own(&pad), own(&sep), own(&unk)], 3),
        Family::Camembert => {
            let unused = ("<unk>NOTUSED".to_owned(), NEVER);
            let first = [
                own("<s>NOTUSED"),
                own(&pad),
                own("</s>NOTUSED"),
                own(&unk),
                unused,
            ];
            (first.to_vec(), 1)
        }
    };
    vocabulary.extend(pieces.into_iter().skip(of_sentencepiece));
    vocabulary.push(own(&mask));

    let model = guarded(path, || Unigram::from(vocabulary, Some(UNKNOWN_ID), false))?;
    let mut tokenizer = HfTokenizer::new(model);
    if !charsmap.is_empty() {
        let normalizer = guarded(path, || Ok(Precompiled::from(charsmap)?))?;
        tokenizer
            .with_normalizer(Some(normalizer))
            .map_err(|e| unusable(path, e))?;
    }
    let around = around_text(&tokenizer, &cls, &sep, path)?;
    let words = Sequence::new(vec![WhitespaceSplit.into(), Metaspace::default().into()]);
    tokenizer
        .with_pre_tokenizer(Some(words))
        .with_post_processor(Some(around));
    add_special(&mut tokenizer, [cls, pad, sep, unk], path)?;
    add_mask(&mut tokenizer, config, path)?;
    Ok(tokenizer)
}

/// What counts of a sentencepiece model.
struct Pieces<'a> {
    /// With their scores; the first three are `<unk>`, `<s>` and `</s>`.
    pieces: Vec<(String, f64)>,
    /// Unicode normalisation, compiled.
    charsmap: &'a [u8],
}

/// Numbers of `sentencepiece_model.proto`.
const PIECES: u64 = 1;
const TRAINER: u64 = 2;
const TRAINER_MODEL_TYPE: u64 = 3;
const TRAINER_BYTE_FALLBACK: u64 = 35;
const UNIGRAM: u64 = 1;
const NORMALIZER: u64 = 3;
const NORMALIZER_CHARSMAP: u64 = 2;
/// Dummy prefix, extra white space removed, white space escaped: all true unless the file says otherwise.
const NORMALIZER_SPACES: [u64; 3] = [3, 4, 5];
const PIECE_TEXT: u64 = 1;
const PIECE_SCORE: u64 = 2;
const PIECE_TYPE: u64 = 3;
const NORMAL: u64 = 1;
const UNKNOWN: u64 = 2;
const CONTROL: u64 = 3;

impl<'a> Pieces<'a> {
    fn read(file: &'a [u8]) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut charsmap: &[u8] = &[];
        for field in Message::new(file) {
            match field? {
                (PIECES, Field::Bytes(piece)) => {
                    let number = pieces.len();
                    let piece = piece_at(number, piece)
                        .map_err(|problem| format!("piece {number}: {problem}"))?;
                    pieces.push(piece);
                }
                (TRAINER, Field::Bytes(trainer)) => check_trainer(trainer)?,
                (NORMALIZER, Field::Bytes(normalizer)) => {
                    for field in Message::new(normalizer) {
                        match field? {
                            (NORMALIZER_CHARSMAP, Field::Bytes(map)) => charsmap = map,
                            (number, Field::Number(0)) if NORMALIZER_SPACES.contains(&number) => {
                                return Err("it treats spaces in another way than these families"
                                    .to_owned());
                            }
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        if pieces.len() <= 3 {
            return Err("it holds no pieces".to_owned());
        }
        // The library reserves as much memory as the map's first part claims to take.
        if let Some((size, rest)) = charsmap.split_first_chunk()
            && u32::from_le_bytes(*size) as usize > rest.len()
        {
            return Err("its map of characters is cut off".to_owned());
        }
        Ok(Self { pieces, charsmap })
    }
}

fn check_trainer(trainer: &[u8]) -> Result<(), String> {
    for field in Message::new(trainer) {
        match field? {
            (TRAINER_MODEL_TYPE, Field::Number(kind)) if kind != UNIGRAM => {
                return Err("it is no Unigram model".to_owned());
            }
            (TRAINER_BYTE_FALLBACK, Field::Number(1..)) => {
                return Err("it takes unknown characters apart into bytes".to_owned());
            }
            _ => {}
        }
    }
    Ok(())
}

fn piece_at(number: usize, piece: &[u8]) -> Result<(String, f64), String> {
    let (mut text, mut score, mut kind) = ("", 0.0, NORMAL);
    for field in Message::new(piece) {
        match field? {
            (PIECE_TEXT, Field::Bytes(bytes)) => {
                text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
            }
            (PIECE_SCORE, Field::Fixed32(bits)) => score = f32::from_bits(bits),
            (PIECE_TYPE, Field::Number(number)) => kind = number,
            _ => {}
        }
    }
    let expected = match number {
        0 => (UNKNOWN, "<unk>"),
        1 => (CONTROL, "<s>"),
        2 => (CONTROL, "</s>"),
        _ => (NORMAL, text),
    };
    if (kind, text) != expected {
        return Err(format!("{text:?} of type {kind} is not expected there"));
    }
    if !score.is_finite() || text.is_empty() {
        return Err(format!("{text:?} with score {score} makes no sense"));
    }
    Ok((text.to_owned(), f64::from(score)))
}
