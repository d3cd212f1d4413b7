//! Model folders that are incomplete, damaged, hostile or of another kind.

use std::fs::{self, File};
use std::io::Write;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::json;
use zip::write::{SimpleFileOptions, ZipWriter};

use crate::sandbox::{Run, Sandbox};
use crate::support::random_model::RandomModel;

const CONFIG: &str = "model/config.json";
const WEIGHTS: &str = "model/model.safetensors";
const VOCABULARY: &str = "model/vocab.txt";

/// The model is refused with a message of all `parts`, before anything is written.
#[track_caller]
fn refuses(sandbox: &Sandbox, parts: &[&str]) -> Run {
    sandbox.write_documents("docs.jsonl", &["red planet"]);
    let run = sandbox.encode("--input docs.jsonl --output rows.jsonl").fails(1, parts);
    assert!(!sandbox.has("rows.jsonl") && !sandbox.has("rows.jsonl.partial"));
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    run
}

// The folder.

#[test]
fn a_path_that_is_no_folder() {
    let sandbox = Sandbox::new();
    sandbox.write_documents("docs.jsonl", &["red planet"]);
    for model in ["./nothing", "model/config.json", "model/nothing/at/all"] {
        let line = format!("encode --model {model} --input docs.jsonl --output rows.jsonl");
        let place = format!("lexpeak: {model}: no such folder");
        sandbox.run(&line).fails(1, &[&place, "; name a model folder", "or a hub id"]);
    }
}

#[test]
fn missing_config() {
    let sandbox = without(CONFIG);
    refuses(&sandbox, &["lexpeak: model/config.json: no such file", "; fetch the model again"]);
}

#[test]
fn missing_weights() {
    let sandbox = without(WEIGHTS);
    let remedy = "; a model folder holds model.safetensors or pytorch_model.bin";
    refuses(&sandbox, &["lexpeak: model: no weights here", remedy]);
}

#[test]
fn missing_tokenizer() {
    let sandbox = without(VOCABULARY);
    let remedy = "; a model folder holds tokenizer.json, or vocab.txt with tokenizer_config.json";
    refuses(&sandbox, &["lexpeak: model: no tokeniser here", remedy]);
}

fn without(file: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    fs::remove_file(sandbox.path(file)).expect("it was there");
    sandbox
}

// config.json

#[test]
fn config_is_not_json() {
    let sandbox = Sandbox::new();
    for content in ["", "{\"hidden_size\": ", "[]", "{\"hidden_size\": \"wide\"}"] {
        sandbox.write(CONFIG, content);
        let problem = "lexpeak: model/config.json: not the JSON that is expected here: ";
        refuses(&sandbox, &[problem, "; get another copy of the file"]);
    }
}

#[test]
fn unknown_architecture() {
    let remedy = "; lexpeak reads BertForMaskedLM and DistilBertForMaskedLM";
    for (names, problem) in [
        (json!(["GPT2LMHeadModel"]), "architecture GPT2LMHeadModel is not supported"),
        (json!(["BertModel"]), "architecture BertModel is not supported"),
        (json!([]), "it names no architecture"),
    ] {
        refuses(&with_config("architectures", names), &[CONFIG, problem, remedy]);
    }
}

#[test]
fn width_that_the_heads_do_not_divide() {
    let problem = "hidden_size 64 is no multiple of num_attention_heads 3";
    let remedy = "; every head must have the same whole width";
    refuses(&with_config("num_attention_heads", json!(3)), &[CONFIG, problem, remedy]);
}

#[test]
fn unsupported_activation() {
    let problem = "activation \"relu\" is not supported";
    let remedy = "; lexpeak computes \"gelu\"";
    refuses(&with_config("hidden_act", json!("relu")), &[CONFIG, problem, remedy]);
}

#[test]
fn sizes_that_no_model_has() {
    for (key, size) in [
        ("hidden_size", json!(0)),
        ("num_attention_heads", json!(0)),
        ("vocab_size", json!(1u64 << 40)),
        ("max_position_embeddings", json!(0)),
    ] {
        let problem = format!("{key} is {size}");
        let remedy = "; it must be at least 1 and below 2^32";
        refuses(&with_config(key, size), &[CONFIG, &problem, remedy]);
    }
    let problem = "hidden_size is missing";
    let remedy = "; a model of this architecture cannot be built without it";
    refuses(&with_config("hidden_size", json!(null)), &[CONFIG, problem, remedy]);
}

fn with_config(key: &str, value: serde_json::Value) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.edit_json(CONFIG, |config| config[key] = value);
    sandbox
}

// The files of sentence-transformers.

#[test]
fn unknown_module() {
    let sandbox = Sandbox::with(&RandomModel::named("bert_sum"));
    sandbox.edit_json("model/modules.json", |modules| {
        modules[1]["type"] = json!("sentence_transformers.models.Pooling");
    });
    let problem = "the module chain MLMTransformer -> Pooling is not supported";
    let remedy = "; lexpeak reads the chain MLMTransformer -> SpladePooling";
    refuses(&sandbox, &["lexpeak: model/modules.json: ", problem, remedy]);
}

#[test]
fn module_outside_the_folder() {
    let sandbox = Sandbox::with(&RandomModel::named("bert_sum"));
    sandbox.edit_json("model/modules.json", |modules| modules[1]["path"] = json!("../pooling"));
    let problem = "module path \"../pooling\" is outside the model folder";
    let remedy = "; module paths must be folders of the model";
    refuses(&sandbox, &["lexpeak: model/modules.json: ", problem, remedy]);
}

#[test]
fn missing_pooling_config() {
    let sandbox = Sandbox::with(&RandomModel::named("bert_sum"));
    fs::remove_file(sandbox.path("model/1_SpladePooling/config.json")).expect("it was there");
    let problem = "lexpeak: model/1_SpladePooling/config.json: no such file";
    refuses(&sandbox, &[problem, "; fetch the model again"]);
}

#[test]
fn unknown_pooling() {
    let sandbox = Sandbox::with(&RandomModel::named("bert_sum"));
    let config = "model/1_SpladePooling/config.json";
    sandbox.edit_json(config, |config| config["pooling_strategy"] = json!("mean"));
    refuses(&sandbox, &[config, "unknown variant `mean`, expected `max` or `sum`"]);
}

// The tokeniser.

#[test]
fn more_tokens_than_the_vocabulary_has() {
    let sandbox = Sandbox::new();
    sandbox.write(VOCABULARY, sandbox.read(VOCABULARY) + "comet\n");
    let problem = "the tokeniser has ids up to 139, the model a vocabulary of 139";
    let remedy = "; tokeniser and weights are of different models: fetch both again";
    refuses(&sandbox, &["lexpeak: model/vocab.txt: ", problem, remedy]);
}

#[test]
fn far_fewer_tokens_than_the_vocabulary_has() {
    let vocab = 1200; // the words there are end before
    let sandbox = Sandbox::with(&RandomModel {
        vocab,
        ..RandomModel::named("bert")
    });
    let problem = "the tokeniser has ids up to 156, the model a vocabulary of 1200";
    let remedy = "; tokeniser and weights are of different models: fetch both again";
    refuses(&sandbox, &["lexpeak: model/vocab.txt: ", problem, remedy]);
}

#[test]
fn vocabulary_without_special_tokens() {
    let sandbox = Sandbox::new();
    sandbox.write(VOCABULARY, sandbox.read(VOCABULARY).replace("[SEP]", "[sep]"));
    let problem = "the tokeniser cannot be used: [SEP] is not in the vocabulary";
    let remedy = "; get another copy of the tokeniser's files";
    refuses(&sandbox, &["lexpeak: model/vocab.txt: ", problem, remedy]);
}

#[test]
fn damaged_tokenizer() {
    let sandbox = Sandbox::new();
    sandbox.write("model/tokenizer.json", "{\"version\": \"1.0\"");
    let problem = "lexpeak: model/tokenizer.json: the tokeniser cannot be used: ";
    refuses(&sandbox, &[problem, "; get another copy of the tokeniser's files"]);
}

// Tensors.

#[test]
fn encoder_without_its_language_model_head() {
    let sandbox = with_tensors(|tensors| tensors.retain(|tensor| !tensor.name.starts_with("cls.")));
    let problem = "tensor cls.predictions.transform.dense.weight is missing";
    let remedy = "; a SPLADE model needs its masked-language-model head: save it as BertForMaskedLM";
    refuses(&sandbox, &["lexpeak: model/model.safetensors: ", problem, remedy]);
}

#[test]
fn missing_tensor() {
    for name in [
        "bert.embeddings.position_embeddings.weight",
        "bert.encoder.layer.1.attention.self.value.bias",
        "bert.encoder.layer.0.output.LayerNorm.weight",
        "cls.predictions.bias",
    ] {
        let sandbox = with_tensors(|tensors| tensors.retain(|tensor| tensor.name != name));
        let problem = format!("tensor {name} "); // "or", where there is another name for it
        let remedy = "is missing; the file does not hold a whole BertForMaskedLM: fetch it again";
        refuses(&sandbox, &["lexpeak: model/model.safetensors: ", &problem, remedy]);
    }
}

#[test]
fn wrong_shape() {
    for (name, shape, problem) in [
        (
            "bert.encoder.layer.0.intermediate.dense.weight",
            vec![64, 128],
            "has shape [64, 128] where config.json calls for [128, 64]",
        ),
        (
            "cls.predictions.bias",
            vec![1, 139],
            "has shape [1, 139] where config.json calls for [139]",
        ),
    ] {
        let sandbox = with_tensors(|tensors| tensor(tensors, name).shape = shape);
        let remedy = "; config.json and weights are of different models: fetch both again";
        let problem = format!("tensor {name} {problem}");
        refuses(&sandbox, &["lexpeak: model/model.safetensors: ", &problem, remedy]);
    }
}

#[test]
fn weights_that_are_no_numbers() {
    let name = "bert.encoder.layer.1.output.dense.weight";
    for (number, printed) in [
        (f32::NAN, "NaN"),
        (f32::INFINITY, "inf"),
        (f32::NEG_INFINITY, "-inf"),
    ] {
        let sandbox = with_tensors(|tensors| {
            tensor(tensors, name).bytes[4 * 1000..][..4].copy_from_slice(&number.to_le_bytes());
        });
        let problem = format!("tensor {name} holds {printed} at element 1000");
        let remedy = "; the file is damaged or its training diverged: get another copy";
        refuses(&sandbox, &["lexpeak: model/model.safetensors: ", &problem, remedy]);
    }
}

#[test]
fn weights_that_are_no_floats() {
    let name = "cls.predictions.bias";
    let sandbox = with_tensors(|tensors| tensor(tensors, name).dtype = Dtype::I32);
    let problem = "tensor cls.predictions.bias is stored as I32";
    let remedy = "; weights must be F32, F16 or BF16: save the model in one of these";
    refuses(&sandbox, &["lexpeak: model/model.safetensors: ", problem, remedy]);
}

/// A tensor of a safetensors file, taken out to be changed.
struct Tensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

fn tensor<'a>(tensors: &'a mut [Tensor], name: &str) -> &'a mut Tensor {
    let found = tensors.iter_mut().find(|tensor| tensor.name == name);
    found.unwrap_or_else(|| panic!("the model has no {name}"))
}

fn with_tensors(edit: impl FnOnce(&mut Vec<Tensor>)) -> Sandbox {
    let sandbox = Sandbox::new();
    let path = sandbox.path(WEIGHTS);
    let file = fs::read(&path).expect("the weights are there");
    let file = SafeTensors::deserialize(&file).expect("they are whole");
    let taken = file.iter().map(|(name, view)| Tensor {
        name: name.to_owned(),
        dtype: view.dtype(),
        shape: view.shape().to_vec(),
        bytes: view.data().to_vec(),
    });
    let mut tensors: Vec<Tensor> = taken.collect();
    edit(&mut tensors);
    let views = tensors.iter().map(|Tensor { name, dtype, shape, bytes }| {
        (name, TensorView::new(*dtype, shape.clone(), bytes).expect("shape and bytes agree"))
    });
    safetensors::serialize_to_file(views, None, &path).expect("they are written");
    sandbox
}

// Weight files.

#[test]
fn truncated_safetensors() {
    let sandbox = Sandbox::new();
    let whole = fs::read(sandbox.path(WEIGHTS)).expect("the weights are there");
    let header_end = 8 + u64::from_le_bytes(*whole.first_chunk().expect("a length")) as usize;
    let middle = whole.len() / 2;
    for length in [0, 1, 7, 8, header_end / 2, header_end, header_end + 1, middle, whole.len() - 1] {
        sandbox.write(WEIGHTS, &whole[..length]);
        let problem = "lexpeak: model/model.safetensors: not a whole safetensors file: ";
        refuses(&sandbox, &[problem, "; the download may be incomplete: fetch the file again"]);
    }
}

#[test]
fn safetensors_header_larger_than_its_file() {
    let sandbox = Sandbox::new();
    let whole = fs::read(sandbox.path(WEIGHTS)).expect("the weights are there");
    for length in [whole.len() as u64 - 7, 99_000_000, 1 << 40, u64::MAX] {
        sandbox.write(WEIGHTS, [&length.to_le_bytes(), &whole[8..]].concat());
        let problem = "lexpeak: model/model.safetensors: not a whole safetensors file: ";
        refuses(&sandbox, &[problem, "; the download may be incomplete: fetch the file again"]);
    }
}

#[test]
fn safetensors_that_are_something_else() {
    let sandbox = Sandbox::new();
    sandbox.write(WEIGHTS, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n");
    let problem = "lexpeak: model/model.safetensors: not a whole safetensors file: ";
    refuses(&sandbox, &[problem, "; the download may be incomplete: fetch the file again"]);
}

#[test]
fn truncated_pickle() {
    let sandbox = Sandbox::with(&RandomModel::named("bert_bin"));
    let path = "model/pytorch_model.bin";
    let whole = fs::read(sandbox.path(path)).expect("the weights are there");
    for length in [0, 4, 100, whole.len() / 2, whole.len() - 1] {
        sandbox.write(path, &whole[..length]);
        let remedy = "; the file is damaged: download it again, best as model.safetensors";
        refuses(&sandbox, &["lexpeak: model/pytorch_model.bin: ", remedy]);
    }
}

#[test]
fn pickle_that_wants_to_run_code() {
    for (module, name) in [
        ("posix", "system"),
        ("os", "system"),
        ("builtins", "eval"),
        ("torch", "load"),
    ] {
        let sandbox = without(WEIGHTS);
        // In Python, loading this file runs `touch executed`.
        let call = format!("\x02c{module}\n{name}\nX\x0e\0\0\0touch executed");
        write_bin(&sandbox, &[b"\x80", call.as_bytes(), b"\x85R."].concat());
        let problem = format!("wants to run code, \"{module}.{name}\", and was refused");
        let remedy = "; use the model.safetensors of this model";
        refuses(&sandbox, &["lexpeak: model/pytorch_model.bin: ", &problem, remedy]);
        assert!(!sandbox.has("executed"));
    }
}

/// An archive as of `torch.save` around `pickle`.
fn write_bin(sandbox: &Sandbox, pickle: &[u8]) {
    let file = File::create(sandbox.path("model/pytorch_model.bin")).expect("a file");
    let mut archive = ZipWriter::new(file);
    archive.start_file("archive/data.pkl", SimpleFileOptions::default()).expect("an entry");
    archive.write_all(pickle).expect("it is written");
    archive.finish().expect("it is whole");
}

// Shards.

const INDEX: &str = "model/model.safetensors.index.json";

#[test]
fn missing_shard() {
    let sandbox = Sandbox::with(&RandomModel::named("bert_sharded"));
    let shard = "model/model-00002-of-00003.safetensors";
    fs::remove_file(sandbox.path(shard)).expect("it was there");
    let problem = format!("lexpeak: {shard}: no such file");
    refuses(&sandbox, &[&problem, "; fetch the model again"]);
}

#[test]
fn shard_outside_the_folder() {
    for outside in ["../model-00001-of-00003.safetensors", "/dev/zero"] {
        let sandbox = Sandbox::with(&RandomModel::named("bert_sharded"));
        sandbox.edit_json(INDEX, |index| {
            index["weight_map"]["cls.predictions.bias"] = json!(outside);
        });
        let problem = format!("it names the shard {outside:?}, which is outside the model folder");
        let remedy = "; shards must lie beside their index";
        refuses(&sandbox, &["lexpeak: model/model.safetensors.index.json: ", &problem, remedy]);
    }
}

#[test]
fn tensor_that_is_not_in_its_shard() {
    let sandbox = Sandbox::with(&RandomModel::named("bert_sharded"));
    sandbox.edit_json(INDEX, |index| {
        index["weight_map"]["cls.predictions.bias"] = json!("model-00001-of-00003.safetensors");
    });
    let problem = "tensor cls.predictions.bias is not in its shard";
    let remedy = "; index and shards are of different downloads: fetch the model again";
    refuses(&sandbox, &["lexpeak: model/model.safetensors.index.json: ", problem, remedy]);
}

#[test]
fn tensor_that_no_shard_has() {
    let sandbox = Sandbox::with(&RandomModel::named("bert_sharded"));
    sandbox.edit_json(INDEX, |index| {
        let map = index["weight_map"].as_object_mut().expect("an object");
        map.remove("cls.predictions.bias").expect("it was there");
    });
    let problem = "tensor cls.predictions.bias or cls.predictions.decoder.bias is missing";
    refuses(&sandbox, &["lexpeak: model/model.safetensors.index.json: ", problem]);
}
