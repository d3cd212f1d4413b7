//! `modules.json` and the head's own file, as sentence-transformers writes them.

use std::fs;

use serde_json::json;

use super::{FETCH_AGAIN, refuses};
use crate::sandbox::{Sandbox, assert_same_vectors};
use crate::support::random_model::RandomModel;

const MODULES: &str = "modules.json";
const POOLING: &str = "1_SpladePooling/config.json";

/// A model that has both.
fn with_modules() -> Sandbox {
    Sandbox::with(&RandomModel::named("bert_sum"))
}

#[test]
fn unknown_module() {
    let sandbox = with_modules();
    sandbox.edit_json("model/modules.json", |modules| {
        modules[1]["type"] = json!("sentence_transformers.models.Pooling");
    });
    let problem = "the module chain MLMTransformer -> Pooling is not supported";
    let remedy = "lexpeak reads the chains MLMTransformer -> SpladePooling and \
                  Transformer -> Pooling -> Normalize";
    refuses(&sandbox, MODULES, problem, remedy);
}

#[test]
fn module_outside_the_folder() {
    let sandbox = with_modules();
    sandbox.edit_json("model/modules.json", |modules| {
        modules[1]["path"] = json!("../pooling");
    });
    let problem = "module path \"../pooling\" is outside the model folder";
    let remedy = "module paths must be folders of the model";
    refuses(&sandbox, MODULES, problem, remedy);
}

#[test]
fn module_path_from_here() {
    let sandbox = with_modules();
    let expected = sandbox.encode_texts("", &["red planet"]);
    sandbox.edit_json("model/modules.json", |modules| {
        modules[0]["path"] = json!(".");
        modules[1]["path"] = json!("./1_SpladePooling");
    });
    assert_same_vectors(&sandbox.encode_texts("", &["red planet"]), &expected);
}

#[test]
fn length_without_room_for_text() {
    for (file, key) in [
        ("sentence_bert_config.json", "max_seq_length"),
        ("tokenizer_config.json", "model_max_length"),
    ] {
        for length in [1, 2] {
            let sandbox = Sandbox::new();
            sandbox.write(&format!("model/{file}"), json!({key: length}).to_string());
            sandbox.write_documents("docs.jsonl", &["red planet"]);
            let run = sandbox.encode("--input docs.jsonl --output rows.jsonl");
            run.fails(1, &["lexpeak: model", "no room for text", "; "]);
            assert!(!sandbox.has("rows.jsonl") && !sandbox.has("rows.jsonl.partial"));
        }
    }
}

#[test]
fn missing_pooling_config() {
    let sandbox = with_modules();
    fs::remove_file(sandbox.path("model").join(POOLING)).expect("it was there");
    refuses(&sandbox, POOLING, "cannot read the file: ", FETCH_AGAIN);
}

#[test]
fn unknown_pooling() {
    let sandbox = with_modules();
    sandbox.edit_json("model/1_SpladePooling/config.json", |config| {
        config["pooling_strategy"] = json!("mean");
    });
    let problem = "unexpected content: unknown variant `mean`, expected `max` or `sum`";
    let remedy = "lexpeak reads models";
    refuses(&sandbox, POOLING, problem, remedy);
}
