//! The tokeniser's files.

use serde_json::json;

use super::refuses;
use crate::sandbox::{Sandbox, assert_same_vectors};
use crate::support::random_model::RandomModel;

const OTHER_MODEL: &str = "tokeniser and weights are of different models: fetch both again";
const ANOTHER_COPY: &str = "get another copy of the tokeniser's files";

/// A model whose `vocab.txt` was changed.
fn with_vocabulary(edit: impl FnOnce(String) -> String) -> Sandbox {
    let sandbox = Sandbox::new();
    let words = edit(sandbox.read("model/vocab.txt"));
    sandbox.write("model/vocab.txt", words);
    sandbox
}

#[test]
fn more_tokens_than_the_model_has() {
    let sandbox = with_vocabulary(|words| words + "comet\n");
    let problem = "the tokeniser has ids up to 139, the model a vocabulary of 139";
    refuses(&sandbox, "vocab.txt", problem, OTHER_MODEL);
}

#[test]
fn far_fewer_tokens_than_the_model_has() {
    // There are fewer words for its vocab.txt.
    let sandbox = Sandbox::with(&RandomModel {
        vocab: 1200,
        ..RandomModel::named("bert")
    });
    let problem = "the tokeniser has ids up to 156, the model a vocabulary of 1200";
    refuses(&sandbox, "vocab.txt", problem, OTHER_MODEL);
}

#[test]
fn no_special_token() {
    for token in ["[CLS]", "[SEP]", "[UNK]"] {
        let sandbox = with_vocabulary(|words| words.replace(token, "[other]"));
        let problem = format!("the tokeniser cannot be used: {token} is not in the vocabulary");
        refuses(&sandbox, "vocab.txt", &problem, ANOTHER_COPY);
    }
}

#[test]
fn no_unknown_token_in_tokenizer_json() {
    let sandbox = Sandbox::with_tokenizer(|tokenizer| {
        let added_tokens = tokenizer["added_tokens"].as_array_mut().expect("a list");
        added_tokens.retain(|token| token["content"] != "[UNK]");
        let vocabulary = tokenizer["model"]["vocab"].as_object_mut().expect("a map");
        let id = vocabulary.remove("[UNK]").expect("it was there");
        vocabulary.insert("[other]".to_owned(), id);
    });
    let problem = "the tokeniser cannot be used: [UNK] is not in the vocabulary";
    refuses(&sandbox, "tokenizer.json", problem, ANOTHER_COPY);
}

#[test]
fn tokenizer_json_is_as_good_as_vocab_txt() {
    let texts = [
        "The RED planet, crème brûlée",
        "",
        "unsearchable [MASK] \u{706b}",
    ];
    let found = Sandbox::with_tokenizer(|_| {}).encode_texts("", &texts);
    assert_same_vectors(&found, &Sandbox::new().encode_texts("", &texts));
}

/// They are left over from training: padding would join the max, truncation would lose text.
#[test]
fn presets_in_tokenizer_json_are_overridden() {
    let texts = ["the lazy dog and the quick red fox", "", "planet mars"];
    let found = Sandbox::with_tokenizer(|tokenizer| {
        tokenizer["truncation"] = json!({
            "direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0
        });
        tokenizer["padding"] = json!({
            "strategy": {"Fixed": 30}, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"
        });
    })
    .encode_texts("", &texts);
    assert_same_vectors(&found, &Sandbox::new().encode_texts("", &texts));
}

#[test]
fn hostile_tokenizer_json() {
    let no_id = json!({"id": "[SEP]", "ids": [999_999], "tokens": ["[SEP]"]});
    let no_charsmap = json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"});
    let bert =
        json!({"type": "BertProcessing", "sep": ["[SEP]", 4_000_000_000u32], "cls": ["[CLS]", 4]});
    let second_text = json!({"Sequence": {"id": "B", "type_id": 0}});
    for (fault, place, value) in [
        ("id", "/post_processor/special_tokens/[SEP]", no_id),
        ("id of BERT's", "/post_processor", bert),
        ("second text", "/post_processor/single/2", second_text),
        ("missing token", "/post_processor/special_tokens", json!({})),
        ("normaliser", "/normalizer", no_charsmap),
        ("no words", "/model/vocab", json!({})),
    ] {
        let sandbox = Sandbox::with_tokenizer(|tokenizer| {
            *tokenizer.pointer_mut(place).expect(place) = value;
        });
        sandbox.write_documents("docs.jsonl", &["red planet"]);
        // The library that reads the file may have a word before lexpeak's.
        let run = sandbox.encode("--input docs.jsonl --output rows.jsonl");
        assert_eq!(run.code, Some(1), "{fault}: {run:#?}");
        let last = run.stderr.lines().last().expect("a message");
        assert!(
            last.starts_with("lexpeak: model/tokenizer.json: ")
                && [ANOTHER_COPY, OTHER_MODEL]
                    .iter()
                    .any(|remedy| last.ends_with(remedy)),
            "{fault}: {last}"
        );
        assert!(
            !sandbox.has("rows.jsonl") && !sandbox.has("rows.jsonl.partial"),
            "{fault}"
        );
    }
}

#[test]
fn damaged_tokenizer_json() {
    let sandbox = Sandbox::new();
    let problem = "the tokeniser cannot be used: ";
    for content in ["", "{\"version\": \"1.0\"", "{\"version\": \"1.0\"}"] {
        sandbox.write("model/tokenizer.json", content);
        refuses(&sandbox, "tokenizer.json", problem, ANOTHER_COPY);
    }
}
