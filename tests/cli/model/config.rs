//! `config.json`

use serde_json::json;

use super::{FETCH_AGAIN, refuses, with_config, without};
use crate::sandbox::{Sandbox, assert_same_vectors};
use crate::support::random_model::RandomModel;

const CONFIG: &str = "config.json";

#[test]
fn missing() {
    let sandbox = without(CONFIG);
    refuses(&sandbox, CONFIG, "cannot read the file: ", FETCH_AGAIN);
}

#[test]
fn no_json() {
    let sandbox = Sandbox::new();
    let remedy = "get another copy of the file";
    for content in ["", "{\"hidden_size\": ", "<!DOCTYPE html>"] {
        sandbox.write("model/config.json", content);
        refuses(&sandbox, CONFIG, "malformed JSON: ", remedy);
    }
}

#[test]
fn json_of_something_else() {
    let sandbox = Sandbox::new();
    let remedy = "lexpeak reads models as transformers and sentence-transformers save them";
    for content in ["[]", "3", "\"bert\""] {
        sandbox.write("model/config.json", content);
        refuses(&sandbox, CONFIG, "unexpected content: ", remedy);
    }
}

#[test]
fn unknown_architecture() {
    let remedy = "lexpeak reads BertForMaskedLM, DistilBertForMaskedLM, RobertaForMaskedLM, \
                  CamembertForMaskedLM, XLMRobertaForMaskedLM, XLMRobertaModel, \
                  XLMRobertaForTokenClassification, UniCoilEncoder (key \"architectures\")";
    for name in ["GPT2LMHeadModel", "BertModel", "RobertaModel"] {
        let sandbox = with_config("architectures", json!([name]));
        let problem = format!("architecture {name} is not supported");
        refuses(&sandbox, CONFIG, &problem, remedy);
    }
    let sandbox = with_config("architectures", json!([]));
    refuses(&sandbox, CONFIG, "it names no architecture", remedy);
}

#[test]
fn width_that_the_heads_do_not_divide() {
    let sandbox = with_config("num_attention_heads", json!(3));
    let problem = "hidden_size 64 is no multiple of num_attention_heads 3";
    let remedy = "every head must have the same whole width";
    refuses(&sandbox, CONFIG, problem, remedy);
}

#[test]
fn unsupported_computation() {
    for (key, value, computed) in [
        ("hidden_act", json!("relu"), "\"gelu\""),
        (
            "position_embedding_type",
            json!("relative_key"),
            "\"absolute\"",
        ),
        ("is_decoder", json!(true), "false"),
        ("add_cross_attention", json!(true), "false"),
    ] {
        let problem = format!("{key} {value} is not supported");
        let remedy = format!("lexpeak computes {computed}");
        refuses(&with_config(key, value), CONFIG, &problem, &remedy);
    }
}

#[test]
fn key_of_the_other_architecture() {
    for (name, key) in [("bert", "dim"), ("distilbert", "hidden_size")] {
        let sandbox = Sandbox::with(&RandomModel::named(name));
        let expected = sandbox.encode_texts("", &["red planet"]);
        sandbox.edit_json("model/config.json", |config| config[key] = json!(7));
        assert_same_vectors(&sandbox.encode_texts("", &["red planet"]), &expected);
    }
}

#[test]
fn sizes_that_no_model_has() {
    let remedy = "it must be a whole number, at least 1 and below 2^32";
    for (key, size) in [
        ("hidden_size", json!(0)),
        ("hidden_size", json!("wide")),
        ("intermediate_size", json!(1.5)),
        ("vocab_size", json!(-1)),
        ("num_attention_heads", json!(0)),
        ("num_hidden_layers", json!(0)),
        ("vocab_size", json!(1u64 << 40)),
        ("max_position_embeddings", json!(0)),
    ] {
        let problem = format!("{key} is {size}");
        refuses(&with_config(key, size), CONFIG, &problem, remedy);
    }
    let sandbox = with_config("hidden_size", json!(null));
    let remedy = "a model of this architecture cannot be built without it";
    refuses(&sandbox, CONFIG, "hidden_size is missing", remedy);
}
