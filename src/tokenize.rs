//! Text -> token ids, exactly as the model was trained with.

#![forbid(unsafe_code)]

mod build;
mod cut;
mod sentencepiece;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Deserialize;
use tokenizers::{ModelWrapper, Tokenizer as HfTokenizer};

use crate::error::{Error, Result};
use crate::model::{Architecture, read_optional_json};
use cut::Cut;

/// The tokens of one text, special ones included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSequence {
    /// Token ids, each below the model's vocabulary size.
    pub ids: Vec<u32>,
    /// Whether each token was added by the tokeniser (`[CLS]`, `[SEP]`) and does not stand in the text.
    pub special: Vec<bool>,
    /// Whether the text was longer than the length asked for, and lost its end.
    pub truncated: bool,
}

/// The tokeniser of one model.
pub(crate) struct Tokenizer {
    inner: HfTokenizer,
    path: PathBuf,
    /// Where a text may be cut and keep the first tokens of the whole text; none where that is not known.
    cut: Option<Cut>,
    /// V: every id must be below.
    vocab_size: usize,
    /// Ids of all special tokens, ascending.
    special_ids: Vec<u32>,
    /// Ids that a head of token weights gives none, ascending.
    unweighted_ids: Vec<u32>,
    /// The longest input that the tokeniser's configuration allows, where it says so.
    pub(crate) max_length: Option<usize>,
}

/// The keys of `tokenizer_config.json` that matter.
#[derive(Default, Deserialize)]
struct TokenizerConfig {
    tokenizer_class: Option<String>,
    #[serde(default)]
    do_lower_case: Option<bool>,
    strip_accents: Option<bool>,
    tokenize_chinese_chars: Option<bool>,
    /// An absurdly large float where there is no limit.
    model_max_length: Option<f64>,
    add_prefix_space: Option<bool>,
    cls_token: Option<TokenText>,
    sep_token: Option<TokenText>,
    eos_token: Option<TokenText>,
    unk_token: Option<TokenText>,
    pad_token: Option<TokenText>,
    mask_token: Option<TokenText>,
}

/// A special token is written as a string, or as an object with its content.
#[derive(Deserialize)]
#[serde(untagged)]
enum TokenText {
    Plain(String),
    Object {
        content: String,
        /// Whether the spaces before it are a part of it.
        #[serde(default)]
        lstrip: bool,
    },
}

impl TokenizerConfig {
    /// The class of the tokeniser, whichever of its implementations is named.
    fn class(&self) -> Option<&str> {
        let class = self.tokenizer_class.as_deref()?;
        Some(class.trim_end_matches("Fast"))
    }
}

/// Models are padded to convenient sizes: more vocabulary rows than tokens are no mistake up to here.
const MOST_PADDED_ROWS: usize = 1024;

/// Bytes of text that are tokenised first for every token that the model takes: about twice what
/// English has, so that one look is nearly always enough.
const WINDOW_BYTES_A_TOKEN: usize = 8;

impl Tokenizer {
    /// Reads `tokenizer.json`, or builds the tokeniser from the files that it would be made of.
    pub(crate) fn open(
        folder: &Path,
        architecture: Architecture,
        vocab_size: usize,
    ) -> Result<Self> {
        let config: TokenizerConfig =
            read_optional_json(&folder.join("tokenizer_config.json"))?.unwrap_or_default();
        let present = |name: &str| Some(folder.join(name)).filter(|path| path.is_file());
        let (mut inner, path) = if let Some(path) = present("tokenizer.json") {
            (read_tokenizer_json(&path)?, path)
        } else if let Some(path) = present("vocab.txt") {
            (build::word_piece(folder, &path, &config)?, path)
        } else if let Some(path) = present("sentencepiece.bpe.model") {
            let family = sentencepiece::Family::of(&config, architecture, folder)?;
            (sentencepiece::unigram(family, &path, &config)?, path)
        } else if let Some(path) = present("vocab.json") {
            (build::byte_pairs(folder, &path, &config)?, path)
        } else {
            return Err(Error::model(
                folder,
                "no tokeniser here",
                "a model folder holds tokenizer.json, or vocab.txt with tokenizer_config.json, \
                 or sentencepiece.bpe.model, or vocab.json with merges.txt",
            ));
        };
        // Presets for training batches: lexpeak packs without padding, and cuts by itself.
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|e| unusable(&path, e))?;

        let mut special_ids: Vec<u32> = inner
            .get_added_tokens_decoder()
            .iter()
            .filter(|(_, token)| token.special)
            .map(|(&id, _)| id)
            .collect();
        special_ids.sort_unstable();
        check_unknown_token(&inner, &path)?;
        let tokenizer = Self {
            vocab_size,
            cut: Cut::of(&inner),
            unweighted_ids: unweighted_ids(&inner, &config, architecture),
            inner,
            path,
            special_ids,
            max_length: config
                .model_max_length
                .filter(|&length| (1.0..=f64::from(u32::MAX)).contains(&length))
                .map(|length| length as usize),
        };
        tokenizer.check_vocabulary()?;
        // What is wrong with a post-processor shows with the first text, and a token for unknown characters that
        // is not there with the first of these: this one is in no vocabulary.
        tokenizer.encode_whole("a text")?;
        tokenizer.encode_whole("\u{10ffff}")?;
        Ok(tokenizer)
    }

    fn check_vocabulary(&self) -> Result<()> {
        let vocab_size = self.vocab_size;
        let largest = self
            .inner
            .get_vocab(true)
            .values()
            .copied()
            .max()
            .unwrap_or(0);
        let tokens = largest as usize + 1;
        if tokens > vocab_size || vocab_size - tokens > MOST_PADDED_ROWS {
            return Err(Error::model(
                &self.path,
                format!(
                    "the tokeniser has ids up to {largest}, the model a vocabulary of {vocab_size}"
                ),
                "tokeniser and weights are of different models: fetch both again",
            ));
        }
        Ok(())
    }

    /// Tokenises texts in parallel, each on its own, with special tokens and cut to `max_length` tokens.
    pub(crate) fn encode_batch<T: AsRef<str> + Sync>(
        &self,
        texts: &[T],
        max_length: usize,
    ) -> Vec<Result<TokenSequence>> {
        texts
            .par_iter()
            .map(|text| self.encode(text.as_ref(), max_length))
            .collect()
    }

    /// Of a text far longer than the model takes, only as much is tokenised as decides the outcome.
    fn encode(&self, text: &str, max_length: usize) -> Result<TokenSequence> {
        let mut window = max_length.saturating_mul(WINDOW_BYTES_A_TOKEN);
        loop {
            let part = self
                .cut
                .as_ref()
                .map_or(text, |cut| cut.start(text, window));
            let mut sequence = self.encode_whole(part)?;
            if part.len() == text.len() || sequence.ids.len() > max_length {
                sequence.truncate(max_length);
                return Ok(sequence);
            }
            window = window.saturating_mul(4);
        }
    }

    fn encode_whole(&self, text: &str) -> Result<TokenSequence> {
        let encoding = guarded(&self.path, || self.inner.encode_fast(text, true))?;
        if let Some(id) = encoding
            .get_ids()
            .iter()
            .find(|&&id| id as usize >= self.vocab_size)
        {
            let vocab_size = self.vocab_size;
            return Err(unusable(
                &self.path,
                format!("it gives id {id}, the model has a vocabulary of {vocab_size}"),
            ));
        }
        Ok(TokenSequence {
            ids: encoding.get_ids().to_vec(),
            special: encoding
                .get_special_tokens_mask()
                .iter()
                .map(|&flag| flag != 0)
                .collect(),
            truncated: false,
        })
    }

    /// The number of tokens added to every text.
    pub(crate) fn added_tokens(&self) -> usize {
        self.inner.get_post_processor().map_or(0, |processor| {
            tokenizers::PostProcessor::added_tokens(processor, false)
        })
    }

    /// Ids of the special tokens, ascending.
    pub(crate) fn special_ids(&self) -> &[u32] {
        &self.special_ids
    }

    /// Ids that a head of token weights gives none, ascending.
    pub(crate) fn unweighted_ids(&self) -> &[u32] {
        &self.unweighted_ids
    }

    /// The vocabulary's string for `id`; a padded row of the vocabulary has none.
    pub(crate) fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }
}

impl TokenSequence {
    /// Cuts the text's own tokens from the end so that, with the special ones around, `max_length` remain.
    fn truncate(&mut self, max_length: usize) {
        let excess = self.ids.len().saturating_sub(max_length);
        if excess == 0 {
            return;
        }
        let suffix = self
            .special
            .iter()
            .rev()
            .take_while(|&&special| special)
            .count();
        let cut_end = self.ids.len() - suffix;
        let cut = cut_end.saturating_sub(excess)..cut_end;
        self.ids.drain(cut.clone());
        self.special.drain(cut);
        self.truncated = true;
    }
}

/// Ids of the tokens that stand for no part of a text: they begin, end or pad it, or stand for what is unknown. uniCOIL
/// weighs the end and what is unknown like other tokens.
fn unweighted_ids(
    tokenizer: &HfTokenizer,
    config: &TokenizerConfig,
    architecture: Architecture,
) -> Vec<u32> {
    let named: &[(&Option<TokenText>, &str)] = match architecture {
        Architecture::UniCoil => &[(&config.cls_token, "[CLS]"), (&config.pad_token, "[PAD]")],
        _ => &[
            (&config.cls_token, "<s>"),
            (&config.eos_token, "</s>"),
            (&config.pad_token, "<pad>"),
            (&config.unk_token, "<unk>"),
        ],
    };
    let id = |&(token, default): &(&Option<TokenText>, &str)| {
        tokenizer.token_to_id(&build::content(token, default))
    };
    let mut ids: Vec<u32> = named.iter().filter_map(id).collect();
    ids.sort_unstable();
    ids
}

fn unusable(path: &Path, error: impl std::fmt::Display) -> Error {
    Error::model(
        path,
        format!("the tokeniser cannot be used: {error}"),
        "get another copy of the tokeniser's files",
    )
}

fn read_tokenizer_json(path: &Path) -> Result<HfTokenizer> {
    let json = fs::read(path).map_err(|e| Error::model_io(path, "read the file", e))?;
    guarded(path, || HfTokenizer::from_bytes(json))
}

/// Runs a call of the tokenizers library, which panics on some malformed files.
fn guarded<T>(path: &Path, call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(outcome) => outcome.map_err(|e| unusable(path, e)),
        Err(_) => Err(unusable(path, "the tokenizers library gave up on it")),
    }
}

/// Without its token for unknown words a tokeniser fails at the first of them.
fn check_unknown_token(tokenizer: &HfTokenizer, path: &Path) -> Result<()> {
    let unknown = match tokenizer.get_model() {
        ModelWrapper::WordPiece(model) => Some(&model.unk_token),
        ModelWrapper::BPE(model) => model.unk_token.as_ref(),
        // These name it by its id, which the library checks.
        ModelWrapper::Unigram(_) => None,
        ModelWrapper::WordLevel(model) => Some(&model.unk_token),
    };
    match unknown.filter(|token| tokenizer.token_to_id(token).is_none()) {
        Some(token) => Err(unusable(path, format!("{token} is not in the vocabulary"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::LazyLock;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// BERT's tokeniser over single letters.
    fn letters() -> Tokenizer {
        let folder = tempfile::tempdir().expect("a folder");
        let mut words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].join("\n");
        for letter in ('a'..='z').chain(['.', '中']) {
            words += &format!("\n{letter}\n##{letter}");
        }
        fs::write(folder.path().join("vocab.txt"), words).expect("vocab.txt");
        Tokenizer::open(folder.path(), Architecture::Bert, 61).expect("a tokeniser")
    }

    /// One from a `tokenizer.json`, after `edit`.
    fn of_json(architecture: Architecture, json: &str, edit: impl FnOnce(&mut Value)) -> Tokenizer {
        let mut json: Value = serde_json::from_str(json).expect("a tokeniser");
        edit(&mut json);
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("tokenizer.json"), json.to_string()).expect("it is written");
        Tokenizer::open(folder.path(), architecture, 1000).expect("a tokeniser")
    }

    const ROBERTA: &str = include_str!("../tests/golden/tokenizers/roberta.json");
    const XLM_ROBERTA: &str = include_str!("../tests/golden/tokenizers/xlm_roberta.json");

    /// All kinds of tokenisers whose texts are cut.
    static TOKENIZERS: LazyLock<[Tokenizer; 4]> = LazyLock::new(|| {
        let older = |json: &mut Value| {
            let spaces = json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "});
            json["normalizer"] = json!({
                "type": "Sequence", "normalizers": [json["normalizer"].take(), spaces],
            });
            json["pre_tokenizer"] = json["pre_tokenizer"]["pretokenizers"][1].take();
        };
        [
            letters(),
            of_json(Architecture::Roberta, ROBERTA, |_| {}),
            of_json(Architecture::XlmRoberta, XLM_ROBERTA, |_| {}),
            of_json(Architecture::XlmRoberta, XLM_ROBERTA, older),
        ]
    });

    proptest! {
        /// Words, runs of spaces, special tokens by name, characters that normalisation joins, drops or turns into spaces,
        /// and some that make a grapheme with the space after or before them.
        #[test]
        fn a_window_changes_nothing(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "a", "stitch", " ", " ", "  ", "\t", "\n", "é", "e\u{301}", "中", "[SEP]", ".", "\u{a0}", "Σ",
                    "\u{301}", "\u{600}", "\u{200b}", "\u{ad}", "\u{3000}", "\u{2581}", "\u{200d}", "か\u{3099}",
                    "<mask>", " </s>", "'s", "12", "🚀", "\u{feff}",
                ]),
                0..200,
            ),
            max_length in 3usize..12,
        ) {
            let text = pieces.concat();
            for tokenizer in &*TOKENIZERS {
                prop_assert!(tokenizer.cut.is_some());
                let mut whole = tokenizer.encode_whole(&text).unwrap();
                whole.truncate(max_length);
                prop_assert_eq!(tokenizer.encode(&text, max_length).unwrap(), whole);
            }
        }

        /// Not only far before a cut, as above, but up to it. The small map of characters turns U+600, which takes the space
        /// after it along, into t, and U+308 behind a space into h with the space.
        #[test]
        fn tokens_before_a_cut_are_those_of_the_whole_text(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    " ", " ", " ", " ", "  ", "a", "the", "the", "t", "he", "he", "e", "la", "\u{308}", "\u{600}", "\u{ad}",
                    "\n", "\u{3000}", "e\u{301}", "中", ".", "\u{2581}", "\u{200d}", "<mask>", "</s>", "'s", "12", "🚀",
                ]),
                0..60,
            ),
        ) {
            let text = pieces.concat();
            for tokenizer in &*TOKENIZERS {
                let cut = tokenizer.cut.as_ref().unwrap();
                let whole = tokenizer.encode_whole(&text).unwrap().ids;
                for (at, _) in text.match_indices(' ').filter(|&(at, _)| cut.is_word_end(&text, at)) {
                    let part = tokenizer.encode_whole(&text[..at]).unwrap().ids;
                    let own = &part[..part.len() - 1];
                    prop_assert!(whole.starts_with(own), "{:?} cut at {}: {:?}, {:?}", text, at, whole, own);
                }
            }
        }
    }

    #[test]
    fn a_tokenizer_that_looks_beyond_spaces_is_given_whole_texts() {
        for (place, value) in [
            ("/pre_tokenizer/pretokenizers/1/split", json!(false)),
            ("/added_tokens/4/content", json!("<two words>")),
            (
                "/normalizer",
                json!({"type": "Replace", "pattern": {"String": " "}, "content": ""}),
            ),
            ("/normalizer", json!({"type": "NFC"})),
        ] {
            let tokenizer = of_json(Architecture::XlmRoberta, XLM_ROBERTA, |json| {
                *json.pointer_mut(place).expect(place) = value.clone();
                if place.starts_with("/pre") {
                    json["pre_tokenizer"] = json["pre_tokenizer"]["pretokenizers"][1].take();
                }
            });
            assert!(tokenizer.cut.is_none(), "{place} {value}");
        }
    }

    fn sequence(length: usize) -> TokenSequence {
        let mut special = vec![false; length];
        special[0] = true;
        special[length - 1] = true;
        TokenSequence {
            ids: (0..length as u32).collect(),
            special,
            truncated: false,
        }
    }

    #[test]
    fn truncation_keeps_the_special_tokens() {
        let mut cut = sequence(10);
        cut.truncate(5);
        assert_eq!(cut.ids, [0, 1, 2, 3, 9]);
        assert_eq!(cut.special, [true, false, false, false, true]);
        assert!(cut.truncated);
    }

    #[test]
    fn a_text_that_fits_is_left_alone() {
        let mut whole = sequence(10);
        whole.truncate(10);
        assert_eq!(whole, sequence(10));
    }
}
