//! Where a long text may be cut without changing the tokens before the cut.

#![forbid(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokenizers::normalizers::{NormalizerWrapper, Replace};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::{
    AddedToken, ModelWrapper, NormalizedString, Normalizer, Tokenizer as HfTokenizer,
};
use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};

/// A tokeniser that splits texts into words at spaces, and looks at nothing beyond them.
///
/// A text may be cut before a space that is a grapheme of its own and follows a character that is no space, nor becomes
/// one by normalisation: that is the end of a word in all of BERT's, RoBERTa's byte-level and sentencepiece's splitting.
pub(super) struct Cut {
    normalizer: Option<NormalizerWrapper>,
}

impl Cut {
    /// None for a tokeniser of which this is not known.
    pub(super) fn of(tokenizer: &HfTokenizer) -> Option<Self> {
        let normalizer = tokenizer.get_normalizer().cloned();
        let cut = Self { normalizer };
        let words = tokenizer.get_pre_tokenizer().is_some_and(splits_at_spaces)
            && cut.normalizer.as_ref().is_none_or(works_in_place)
            && cut.normalized("a a").is_some_and(|text| text == "a a");
        // With spaces inside, an added token could lie across the cut.
        let has_space = |token: &AddedToken| {
            let normalized = cut.normalized(&token.content);
            token.content.contains(char::is_whitespace)
                || normalized.is_none_or(|content| content.contains(char::is_whitespace))
        };
        let added = tokenizer.get_added_tokens_decoder();
        let known_model = !matches!(tokenizer.get_model(), ModelWrapper::WordLevel(_));
        (words && known_model && !added.values().any(has_space)).then_some(cut)
    }

    /// The longest start of `text` of at most `window` bytes that may be cut off; all of it if it is shorter, or has no
    /// place for a cut there.
    pub(super) fn start<'a>(&self, text: &'a str, window: usize) -> &'a str {
        if text.len() <= window {
            return text;
        }
        let spaces = text.as_bytes()[..window].iter().enumerate().rev();
        let mut spaces = spaces.filter(|&(_, &byte)| byte == b' ').map(|(at, _)| at);
        let place = spaces.find(|&at| self.is_word_end(text, at));
        place.map_or(text, |at| &text[..at])
    }

    /// Whether a word ends before the space at `at`.
    pub(super) fn is_word_end(&self, text: &str, at: usize) -> bool {
        let boundary = |at: usize| {
            let mut cursor = GraphemeCursor::new(at, text.len(), true);
            cursor.is_boundary(text, 0) == Ok(true)
        };
        let before = text[..at].graphemes(true).next_back();
        boundary(at)
            && boundary(at + 1)
            && before
                .and_then(|before| self.normalized(before))
                .is_some_and(|normal| !normal.is_empty() && !normal.ends_with(char::is_whitespace))
    }

    /// None if the normalisation fails: by panic, where its map of characters is damaged.
    fn normalized(&self, text: &str) -> Option<String> {
        let normalize = || {
            let mut normalized = NormalizedString::from(text);
            if let Some(normalizer) = &self.normalizer {
                normalizer.normalize(&mut normalized)?;
            }
            Ok(normalized.get().to_owned())
        };
        let outcome: tokenizers::Result<String> = catch_unwind(AssertUnwindSafe(normalize)).ok()?;
        outcome.ok()
    }
}

/// Whether the step joins nothing across a space that is a grapheme of its own between two words.
fn works_in_place(normalizer: &NormalizerWrapper) -> bool {
    match normalizer {
        NormalizerWrapper::BertNormalizer(_)
        | NormalizerWrapper::Precompiled(_)
        | NormalizerWrapper::StripNormalizer(_) => true,
        NormalizerWrapper::Replace(replace) => joins_spaces(replace),
        NormalizerWrapper::Sequence(steps) => steps.as_ref().iter().all(works_in_place),
        _ => false,
    }
}

/// Runs of spaces become one: its pattern is to be seen in no other way than in JSON.
fn joins_spaces(replace: &Replace) -> bool {
    serde_json::to_value(replace).is_ok_and(|replace| replace["pattern"]["Regex"] == " {2,}")
}

fn splits_at_spaces(pre_tokenizer: &PreTokenizerWrapper) -> bool {
    match pre_tokenizer {
        PreTokenizerWrapper::BertPreTokenizer(_) | PreTokenizerWrapper::WhitespaceSplit(_) => true,
        PreTokenizerWrapper::ByteLevel(bytes) => bytes.use_regex,
        PreTokenizerWrapper::Metaspace(spaces) => spaces.get_split(),
        PreTokenizerWrapper::Sequence(steps) => steps.as_ref().iter().all(splits_at_spaces),
        _ => false,
    }
}
