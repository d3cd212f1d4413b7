//! The tokeniser's files.

use super::refuses;
use crate::sandbox::Sandbox;
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
    let sandbox = with_vocabulary(|words| words.replace("[SEP]", "[sep]"));
    let problem = "the tokeniser cannot be used: [SEP] is not in the vocabulary";
    refuses(&sandbox, "vocab.txt", problem, ANOTHER_COPY);
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
