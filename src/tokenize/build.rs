//! Tokenisers from lists of words: BERT's `vocab.txt`, RoBERTa's `vocab.json` and `merges.txt`.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use ahash::AHashMap;
use tokenizers::models::bpe::BPE;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Tokenizer as HfTokenizer};

use super::{TokenText, TokenizerConfig, unusable};
use crate::error::{Error, Result};
use crate::model::read_json;

/// BERT's tokeniser from its word list, one token a line, the line number being the id.
pub(super) fn word_piece(
    folder: &Path,
    vocab_path: &Path,
    config: &TokenizerConfig,
) -> Result<HfTokenizer> {
    if let Some(class) = config.class()
        && !matches!(class, "BertTokenizer" | "DistilBertTokenizer")
    {
        return Err(Error::model(
            folder,
            format!("a vocab.txt of {class} is not supported"),
            "lexpeak builds BertTokenizer and DistilBertTokenizer from vocab.txt; save others as tokenizer.json",
        ));
    }
    let words = fs::read_to_string(vocab_path)
        .map_err(|e| Error::model_io(vocab_path, "read the file", e))?;
    let vocabulary: AHashMap<String, u32> = words
        .lines()
        .zip(0u32..)
        .map(|(word, id)| (word.trim_end_matches('\r').to_owned(), id))
        .collect();

    let cls = content(&config.cls_token, "[CLS]");
    let sep = content(&config.sep_token, "[SEP]");
    let unk = content(&config.unk_token, "[UNK]");
    let pad = content(&config.pad_token, "[PAD]");
    let mask = content(&config.mask_token, "[MASK]");

    let model = WordPiece::builder()
        .vocab(vocabulary)
        .unk_token(unk.clone())
        .continuing_subword_prefix("##".to_owned())
        .max_input_chars_per_word(100)
        .build()
        .map_err(|e| unusable(vocab_path, e))?;
    let mut tokenizer = HfTokenizer::new(model);
    let template = around_text(&tokenizer, &cls, &sep, vocab_path)?;
    let normalizer = BertNormalizer::new(
        true,
        config.tokenize_chinese_chars.unwrap_or(true),
        config.strip_accents,
        config.do_lower_case.unwrap_or(true),
    );
    tokenizer
        .with_normalizer(Some(normalizer))
        .map_err(|e| unusable(vocab_path, e))?;
    tokenizer
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_post_processor(Some(template));
    add_special(&mut tokenizer, [unk, sep, pad, cls, mask], vocab_path)?;
    Ok(tokenizer)
}

/// RoBERTa's byte-level BPE: tokens with their ids, and the merges in order of preference.
pub(super) fn byte_pairs(
    folder: &Path,
    vocab_path: &Path,
    config: &TokenizerConfig,
) -> Result<HfTokenizer> {
    if let Some(class) = config.class()
        && class != "RobertaTokenizer"
    {
        return Err(Error::model(
            folder,
            format!("a vocab.json of {class} is not supported"),
            "lexpeak builds RobertaTokenizer from vocab.json and merges.txt; save others as tokenizer.json",
        ));
    }
    let vocabulary: HashMap<String, u32> = read_json(vocab_path)?;
    let merges_path = folder.join("merges.txt");
    let merges = fs::read_to_string(&merges_path)
        .map_err(|e| Error::model_io(&merges_path, "read the file", e))?;
    let merges: Vec<(String, String)> = merges
        .lines()
        .zip(1..)
        .filter(|(line, _)| !line.is_empty() && !line.starts_with("#version"))
        .map(|(line, number)| match line.split_once(' ') {
            Some((left, right))
                if !left.is_empty() && !right.is_empty() && !right.contains(' ') =>
            {
                Ok((left.to_owned(), right.to_owned()))
            }
            _ => Err(unusable(
                &merges_path,
                format!("line {number} is not a pair of tokens"),
            )),
        })
        .collect::<Result<_>>()?;

    let model = BPE::builder()
        .vocab_and_merges(vocabulary.into_iter().collect::<AHashMap<_, _>>(), merges)
        .build()
        .map_err(|e| unusable(&merges_path, e))?;
    let mut tokenizer = HfTokenizer::new(model);
    let cls = content(&config.cls_token, "<s>");
    let sep = content(&config.sep_token, "</s>");
    let unk = content(&config.unk_token, "<unk>");
    let pad = content(&config.pad_token, "<pad>");
    let add_prefix_space = config.add_prefix_space.unwrap_or(false);
    let around = RobertaProcessing::new(
        (sep.clone(), id(&tokenizer, &sep, vocab_path)?),
        (cls.clone(), id(&tokenizer, &cls, vocab_path)?),
    );
    tokenizer
        .with_pre_tokenizer(Some(
            ByteLevel::default().add_prefix_space(add_prefix_space),
        ))
        .with_post_processor(Some(around.add_prefix_space(add_prefix_space)));
    add_special(&mut tokenizer, [cls, pad, sep, unk], vocab_path)?;
    add_mask(&mut tokenizer, config, vocab_path)?;
    Ok(tokenizer)
}

/// What a special token is called, in the configuration or by default.
pub(super) fn content(token: &Option<TokenText>, default: &str) -> String {
    match token {
        Some(TokenText::Plain(content) | TokenText::Object { content, .. }) => content.clone(),
        None => default.to_owned(),
    }
}

fn id(tokenizer: &HfTokenizer, token: &str, path: &Path) -> Result<u32> {
    tokenizer
        .token_to_id(token)
        .ok_or_else(|| unusable(path, format!("{token} is not in the vocabulary")))
}

/// Puts `first` before a text and `last` behind it.
pub(super) fn around_text(
    tokenizer: &HfTokenizer,
    first: &str,
    last: &str,
    path: &Path,
) -> Result<TemplateProcessing> {
    TemplateProcessing::builder()
        .try_single(format!("{first}:0 $A:0 {last}:0"))
        .map_err(|e| unusable(path, e))?
        .special_tokens(vec![
            (first.to_owned(), id(tokenizer, first, path)?),
            (last.to_owned(), id(tokenizer, last, path)?),
        ])
        .build()
        .map_err(|e| unusable(path, e))
}

/// Those of `tokens` that the vocabulary has are found in texts where they are spelt out.
pub(super) fn add_special(
    tokenizer: &mut HfTokenizer,
    tokens: impl IntoIterator<Item = String>,
    path: &Path,
) -> Result<()> {
    let present: Vec<AddedToken> = tokens
        .into_iter()
        .filter(|token| tokenizer.token_to_id(token).is_some())
        .map(|token| AddedToken::from(token, true))
        .collect();
    tokenizer
        .add_special_tokens(present)
        .map(drop)
        .map_err(|e| unusable(path, e))
}

/// RoBERTa's families take the spaces before a `<mask>` for a part of it, unless their configuration says otherwise.
pub(super) fn add_mask(
    tokenizer: &mut HfTokenizer,
    config: &TokenizerConfig,
    path: &Path,
) -> Result<()> {
    let mask = content(&config.mask_token, "<mask>");
    if tokenizer.token_to_id(&mask).is_none() {
        return Ok(());
    }
    let takes_spaces = match config.mask_token {
        Some(TokenText::Object { lstrip, .. }) => lstrip,
        _ => true,
    };
    tokenizer
        .add_special_tokens([AddedToken::from(mask, true).lstrip(takes_spaces)])
        .map(drop)
        .map_err(|e| unusable(path, e))
}
