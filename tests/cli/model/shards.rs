//! Weights in several files, and the index that names them.

use std::fs;

use serde_json::{Map, Value, json};

use super::{FETCH_AGAIN, refuses};
use crate::sandbox::Sandbox;
use crate::support::random_model::RandomModel;

const INDEX: &str = "model.safetensors.index.json";

/// A model of three shards whose index, tensor to shard, was changed.
fn with_index(edit: impl FnOnce(&mut Map<String, Value>)) -> Sandbox {
    let sandbox = Sandbox::with(&RandomModel::named("bert_sharded"));
    sandbox.edit_json("model/model.safetensors.index.json", |index| {
        edit(index["weight_map"].as_object_mut().expect("an object"));
    });
    sandbox
}

#[test]
fn missing() {
    let sandbox = with_index(|_| {});
    let shard = "model-00002-of-00003.safetensors";
    fs::remove_file(sandbox.path("model").join(shard)).expect("it was there");
    refuses(&sandbox, shard, "cannot open the file: ", FETCH_AGAIN);
}

#[test]
fn outside_the_folder() {
    for outside in ["../model-00001-of-00003.safetensors", "/dev/zero"] {
        let sandbox = with_index(|index| index["cls.predictions.bias"] = json!(outside));
        let problem = format!("it names the shard {outside:?}, which is outside the model folder");
        let remedy = "shards must lie beside their index";
        refuses(&sandbox, INDEX, &problem, remedy);
    }
}

#[test]
fn tensor_in_another_shard() {
    let first = "model-00001-of-00003.safetensors";
    let sandbox = with_index(|index| index["cls.predictions.bias"] = json!(first));
    let problem = "tensor cls.predictions.bias is not in its shard";
    let remedy = "index and shards are of different downloads: fetch the model again";
    refuses(&sandbox, INDEX, problem, remedy);
}

#[test]
fn tensor_in_no_shard() {
    let sandbox = with_index(|index| {
        index.remove("cls.predictions.bias").expect("it was there");
    });
    let problem = "tensor cls.predictions.decoder.bias or cls.predictions.bias is missing";
    let remedy = "the file does not hold a whole BertForMaskedLM: fetch it again";
    refuses(&sandbox, INDEX, problem, remedy);
}
