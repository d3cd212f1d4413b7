//! What RoBERTa's families have of their own: late positions, another head, and other tokenisers.

use std::fs;

use serde_json::{Value, json};

use super::{FETCH_AGAIN, refuses};
use crate::sandbox::{Sandbox, assert_same_vectors};
use crate::support::random_model::RandomModel;
use crate::support::tokenizers::{message, varint_field};

const CONFIG: &str = "config.json";
const PIECES: &str = "sentencepiece.bpe.model";
const MERGES: &str = "merges.txt";
const TEXTS: [&str; 3] = ["The RED planet: Mars!", "", "火星 <mask> قمر"];

/// A model whose `config.json` has `value` under `key`.
fn with_config(key: &str, value: Value) -> Sandbox {
    let sandbox = Sandbox::with(&RandomModel::named("xlm_roberta"));
    sandbox.edit_json("model/config.json", |config| config[key] = value);
    sandbox
}

/// A model with `pytorch_model.bin` and its tokeniser in parts.
fn in_parts(model: &str) -> Sandbox {
    Sandbox::with(&RandomModel::named(model))
}

#[test]
fn padding_tokens_that_cannot_be() {
    let remedy = "it must be a token's id, a whole number from 0 on";
    for id in [json!(-1), json!(1.5), json!("<pad>"), json!(u64::MAX)] {
        let problem = format!("pad_token_id is {id}");
        refuses(&with_config("pad_token_id", id), CONFIG, &problem, remedy);
    }
}

#[test]
fn no_position_behind_the_padding_token() {
    let problem = "max_position_embeddings 42 leaves no position for a token";
    for (id, first) in [(41u32, 42u64), (u32::MAX, 1 << 32)] {
        let sandbox = with_config("pad_token_id", json!(id));
        let remedy =
            format!("positions start at pad_token_id + 1, here {first}: correct one of the two");
        refuses(&sandbox, CONFIG, problem, &remedy);
    }
    let sandbox = with_config("max_position_embeddings", json!(2));
    let problem = "max_position_embeddings 2 leaves no position for a token";
    refuses(&sandbox, CONFIG, problem, "positions start at");
}

#[test]
fn another_padding_token_moves_the_positions() {
    let sandbox = Sandbox::with(&RandomModel::named("xlm_roberta"));
    let expected = sandbox.encode_texts("", &TEXTS);
    // 1 is the default.
    sandbox.edit_json("model/config.json", |config| {
        config["pad_token_id"] = Value::Null
    });
    assert_same_vectors(&sandbox.encode_texts("", &TEXTS), &expected);
    sandbox.edit_json("model/config.json", |config| {
        config["pad_token_id"] = json!(4)
    });
    let found = sandbox.encode_texts("", &TEXTS);
    assert_ne!(found[0].values, expected[0].values);
    let info = sandbox.run("info --model model").succeeds().stdout;
    assert!(info.contains("37 tokens (at most 37)"), "{info}");
}

#[test]
fn position_table_of_another_size() {
    let sandbox = with_config("max_position_embeddings", json!(40));
    let problem = "tensor roberta.embeddings.position_embeddings.weight has shape [42, 64] where \
                   config.json calls for [40, 64]";
    let remedy = "config.json and weights are of different models: fetch both again";
    refuses(&sandbox, "model.safetensors", problem, remedy);
}

#[test]
fn no_language_model_head() {
    let sandbox = Sandbox::with(&RandomModel::named("bert"));
    sandbox.edit_json("model/config.json", |config| {
        config["architectures"] = json!(["XLMRobertaForMaskedLM"]);
        config["pad_token_id"] = json!(1);
    });
    let problem = "tensor roberta.embeddings.word_embeddings.weight is missing";
    let remedy =
        "a SPLADE model needs its masked-language-model head: save it as XLMRobertaForMaskedLM";
    refuses(&sandbox, "model.safetensors", problem, remedy);
}

#[test]
fn other_activation() {
    let sandbox = with_config("hidden_act", json!("gelu_new"));
    let problem = "hidden_act \"gelu_new\" is not supported";
    refuses(&sandbox, CONFIG, problem, "lexpeak computes \"gelu\"");
}

/// The forms of a tokeniser are as good as one another, and the best one there is taken.
#[test]
fn parts_are_as_good_as_the_whole() {
    for (name, part) in [
        ("roberta_bin", "vocab.json"),
        ("xlm_roberta_bin", PIECES),
        ("camembert_sum", PIECES),
    ] {
        let sandbox = in_parts(name);
        let expected = sandbox.encode_texts("", &TEXTS);
        let whole = RandomModel::named(name).tokenizer_json();
        sandbox.write("model/tokenizer.json", whole.to_string());
        sandbox.write(&format!("model/{part}"), "not looked at");
        assert_same_vectors(&sandbox.encode_texts("", &TEXTS), &expected);
    }
}

/// As transformers before version 5 took it, and as it is wherever the tokeniser was saved.
#[test]
fn the_mask_takes_the_spaces_before_it_unless_told_otherwise() {
    let sandbox = in_parts("roberta_bin");
    let tokens = |sandbox: &Sandbox| {
        let rows = sandbox.encode_texts("", &["red <mask>", "red<mask>"]);
        rows[0].values == rows[1].values
    };
    assert!(tokens(&sandbox));
    sandbox.edit_json("model/tokenizer_config.json", |config| {
        config["mask_token"] = json!({"content": "<mask>", "lstrip": false});
    });
    assert!(!tokens(&sandbox));
}

#[test]
fn pieces_of_an_unknown_class() {
    let sandbox = in_parts("xlm_roberta_bin");
    sandbox.edit_json("model/tokenizer_config.json", |config| {
        config["tokenizer_class"] = json!("MBartTokenizer");
    });
    sandbox.write_documents("docs.jsonl", &["red planet"]);
    let said = [
        "lexpeak: model: a sentencepiece.bpe.model of MBartTokenizer is not supported",
        "; lexpeak builds XLMRobertaTokenizer and CamembertTokenizer from it",
    ];
    sandbox
        .encode("--input docs.jsonl --output -")
        .fails(1, &said);
    // Without a class the model's own counts.
    sandbox.write("model/tokenizer_config.json", "{}");
    let expected = in_parts("xlm_roberta_bin").encode_texts("", &TEXTS);
    assert_same_vectors(&sandbox.encode_texts("", &TEXTS), &expected);
}

#[test]
fn merges_of_an_unknown_class() {
    let sandbox = in_parts("roberta_bin");
    sandbox.edit_json("model/tokenizer_config.json", |config| {
        config["tokenizer_class"] = json!("GPT2Tokenizer");
    });
    sandbox.write_documents("docs.jsonl", &["red planet"]);
    let said = [
        "model: a vocab.json of GPT2Tokenizer is not supported",
        "; lexpeak builds RobertaTokenizer",
    ];
    sandbox
        .encode("--input docs.jsonl --output -")
        .fails(1, &said);
}

#[test]
fn damaged_pieces() {
    let sandbox = in_parts("xlm_roberta_bin");
    let whole = fs::read(sandbox.path("model").join(PIECES)).expect("the pieces are there");
    let remedy = "get another copy of the file, or save the tokeniser as tokenizer.json";
    let refuses_content = |content: &[u8], problem: &str| {
        sandbox.write(&format!("model/{PIECES}"), content);
        let problem = format!("the tokeniser cannot be used: {problem}");
        refuses(&sandbox, PIECES, &problem, remedy);
    };
    refuses_content(b"", "it holds no pieces");
    for cut in [1, whole.len() / 2, whole.len() - 1] {
        refuses_content(&whole[..cut], "it is no whole sentencepiece model");
    }
    refuses_content(b"version https://git-lfs.github.com/spec/v1", "it ");

    let with = |field: u64, inner: &dyn Fn(&mut Vec<u8>)| {
        let (mut content, mut bytes) = (whole.clone(), Vec::new());
        inner(&mut bytes);
        message(&mut content, field, &bytes);
        content
    };
    refuses_content(
        &with(2, &|trainer| varint_field(trainer, 3, 2)),
        "it is no Unigram model",
    );
    let bytes = with(2, &|trainer| varint_field(trainer, 35, 1));
    refuses_content(&bytes, "it takes unknown characters apart into bytes");
    let spaces = with(3, &|normalizer| varint_field(normalizer, 4, 0));
    refuses_content(
        &spaces,
        "it treats spaces in another way than these families",
    );
    let user_defined = with(1, &|piece| {
        message(piece, 1, b"<special>");
        varint_field(piece, 3, 4);
    });
    refuses_content(
        &user_defined,
        "piece 420: \"<special>\" of type 4 is not expected there",
    );
    let no_number = with(1, &|piece| {
        message(piece, 1, b"x");
        piece.push(2 << 3 | 5);
        piece.extend(f32::NAN.to_le_bytes());
    });
    refuses_content(&no_number, "piece 420: \"x\" with score NaN makes no sense");
    let no_text = with(1, &|piece| message(piece, 1, &[0xff]));
    refuses_content(&no_text, "piece 420: it is not UTF-8");
}

/// The map of characters is compiled, and read by a library that trusts it.
#[test]
fn hostile_map_of_characters() {
    for map in [
        &[0u8, 0, 0][..],
        &[0xff; 4],
        &[4, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f],
        &[0; 9],
    ] {
        let sandbox = in_parts("xlm_roberta_bin");
        let mut content =
            fs::read(sandbox.path("model").join(PIECES)).expect("the pieces are there");
        let mut normalizer = Vec::new();
        message(&mut normalizer, 2, map);
        message(&mut content, 3, &normalizer);
        sandbox.write(&format!("model/{PIECES}"), content);
        sandbox.write_documents("docs.jsonl", &["red planet"]);
        let run = sandbox.encode("--input docs.jsonl --output rows.jsonl");
        assert_eq!(run.code, Some(1), "{map:?}: {run:#?}");
        // The library may have a word before lexpeak's.
        let last = run.stderr.lines().last().expect("a message");
        assert!(
            last.starts_with(
                "lexpeak: model/sentencepiece.bpe.model: the tokeniser cannot be used"
            ),
            "{last}"
        );
        assert!(!sandbox.has("rows.jsonl") && !sandbox.has("rows.jsonl.partial"));
    }
}

#[test]
fn more_pieces_than_the_model_has() {
    let sandbox = in_parts("xlm_roberta_bin");
    let mut content = fs::read(sandbox.path("model").join(PIECES)).expect("the pieces are there");
    let mut piece = Vec::new();
    message(&mut piece, 1, b"planetoid");
    message(&mut content, 1, &piece);
    sandbox.write(&format!("model/{PIECES}"), content);
    let problem = "the tokeniser has ids up to 422, the model a vocabulary of 422";
    let remedy = "tokeniser and weights are of different models: fetch both again";
    refuses(&sandbox, PIECES, problem, remedy);
}

#[test]
fn damaged_merges() {
    let sandbox = in_parts("roberta_bin");
    let remedy = "get another copy of the tokeniser's files";
    for (content, problem) in [
        ("#version: 0.2\na b\nab\n", "line 3 is not a pair of tokens"),
        ("a b c\n", "line 1 is not a pair of tokens"),
        ("a no-such-token\n", ""),
    ] {
        sandbox.write("model/merges.txt", content);
        let problem = format!("the tokeniser cannot be used: {problem}");
        refuses(&sandbox, MERGES, &problem, remedy);
    }
    fs::remove_file(sandbox.path("model").join(MERGES)).expect("it was there");
    refuses(&sandbox, MERGES, "cannot read the file: ", FETCH_AGAIN);
}

#[test]
fn vocabulary_without_its_special_tokens() {
    for token in ["<s>", "</s>"] {
        let sandbox = in_parts("roberta_bin");
        sandbox.edit_json("model/vocab.json", |vocabulary| {
            let vocabulary = vocabulary.as_object_mut().expect("tokens");
            let id = vocabulary.remove(token).expect("it was there");
            vocabulary.insert("another".to_owned(), id);
        });
        let problem = format!("the tokeniser cannot be used: {token} is not in the vocabulary");
        refuses(
            &sandbox,
            "vocab.json",
            &problem,
            "get another copy of the tokeniser's files",
        );
    }
}

#[test]
fn no_token_for_unknown_characters() {
    let sandbox = Sandbox::with(&RandomModel::named("xlm_roberta"));
    sandbox.edit_json("model/tokenizer.json", |tokenizer| {
        tokenizer["model"]["unk_id"] = Value::Null
    });
    let problem =
        "the tokeniser cannot be used: Encountered an unknown token but `unk_id` is missing";
    refuses(
        &sandbox,
        "tokenizer.json",
        problem,
        "get another copy of the tokeniser's files",
    );
}

#[test]
fn tokens_are_written_as_the_vocabulary_has_them() {
    for (name, mark) in [("roberta", '\u{120}'), ("xlm_roberta", '\u{2581}')] {
        let sandbox = Sandbox::with(&RandomModel::named(name));
        let rows = sandbox.encode_texts("--tokens", &TEXTS);
        let tokens = rows[0].tokens.as_ref().expect("tokens");
        let vocabulary = RandomModel::named(name).vocabulary();
        let expected: Vec<&String> = rows[0]
            .indices
            .iter()
            .map(|&id| &vocabulary[id as usize])
            .collect();
        assert_eq!(tokens.iter().collect::<Vec<_>>(), expected);
        assert!(
            tokens.iter().any(|token| token.starts_with(mark)),
            "{tokens:?}"
        );
    }
}
