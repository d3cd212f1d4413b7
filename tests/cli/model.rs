//! Model folders that are incomplete, damaged, hostile or of another kind.

mod bge_m3;
mod config;
mod modules;
mod pickle;
mod roberta;
mod shards;
mod tensors;
mod tokenizer;
mod weight_file;

use std::fs;

use serde_json::Value;

use crate::sandbox::Sandbox;

/// What to do about a file that is missing.
const FETCH_AGAIN: &str = "it must be there and readable: fetch the model again";

/// The model is refused before anything is written, in one line: what is wrong in which file of
/// its folder, and what to do about it.
#[track_caller]
fn refuses(sandbox: &Sandbox, file: &str, problem: &str, remedy: &str) {
    sandbox.write_documents("docs.jsonl", &["red planet"]);
    let run = sandbox.encode("--input docs.jsonl --output rows.jsonl");
    let said = format!("lexpeak: model/{file}: {problem}");
    let run = run.fails(1, &[&said, &format!("; {remedy}")]);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(!sandbox.has("rows.jsonl") && !sandbox.has("rows.jsonl.partial"));
}

/// A model without this file.
fn without(file: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    fs::remove_file(sandbox.path("model").join(file)).expect("it was there");
    sandbox
}

/// A model whose `config.json` has `value` under `key`.
fn with_config(key: &str, value: Value) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.edit_json("model/config.json", |config| config[key] = value);
    sandbox
}

#[test]
fn a_path_that_is_no_folder() {
    let sandbox = Sandbox::new();
    sandbox.write_documents("docs.jsonl", &["red planet"]);
    for model in ["./nothing", "model/config.json", "model/nothing/at/all"] {
        let line = format!("encode --model {model} --input docs.jsonl --output rows.jsonl");
        let said = format!("lexpeak: {model}: no such folder; name a model folder (config.json, ");
        sandbox.run(&line).fails(1, &[&said, ") or a hub id"]);
    }
}

#[test]
fn a_folder_without_weights() {
    let sandbox = without("model.safetensors");
    sandbox.encode("--input model/vocab.txt --output -").fails(
        1,
        &[
            "lexpeak: model: no weights here; ",
            "a model folder holds model.safetensors or pytorch_model.bin",
        ],
    );
}

#[test]
fn a_folder_without_tokenizer() {
    let sandbox = without("vocab.txt");
    sandbox
        .encode("--input model/config.json --output -")
        .fails(
            1,
            &[
                "lexpeak: model: no tokeniser here; ",
                "a model folder holds tokenizer.json, or vocab.txt with tokenizer_config.json, \
                 or sentencepiece.bpe.model, or vocab.json with merges.txt",
            ],
        );
}
