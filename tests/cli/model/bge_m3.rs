//! Models that weigh tokens: BGE-M3 with its layers in files of their own, and those that have one inside.

use std::fs;

use serde_json::{Value, json};

use super::tensors::edit_tensors;
use super::{FETCH_AGAIN, refuses};
use crate::sandbox::{Row, Sandbox, assert_same_vectors};
use crate::support::random_model::RandomModel;
use crate::support::weight_files::write_archive;

const SPARSE: &str = "sparse_linear.pt";
const COLBERT: &str = "colbert_linear.pt";
const WEIGHTS: &str = "model.safetensors";
const MODULES: &str = "modules.json";
const POOLING: &str = "1_Pooling/config.json";

const OTHER_MODEL: &str = "config.json and weights are of different models: fetch both again";
const ALL: &str = "--outputs sparse,dense,colbert";
const TEXTS: [&str; 3] = ["The RED planet: Mars!", "", "火星 <mask> قمر"];

/// H of the model.
const HIDDEN: usize = 64;

fn named(model: &str) -> Sandbox {
    Sandbox::with(&RandomModel::named(model))
}

fn bge_m3() -> Sandbox {
    named("bge_m3")
}

/// A tensor of a layer: its name, shape and numbers.
type Tensor<'a> = (&'a str, &'a [usize], Vec<f32>);

fn zeros<'a>(name: &'a str, shape: &'a [usize]) -> Tensor<'a> {
    (name, shape, vec![0.0; shape.iter().product()])
}

/// The model with other tensors in `file`.
fn with_layer(file: &str, tensors: &[Tensor]) -> Sandbox {
    let sandbox = bge_m3();
    let storages: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(.., values)| values.iter().copied().flat_map(f32::to_le_bytes).collect())
        .collect();
    let storages: Vec<&[u8]> = storages.iter().map(Vec::as_slice).collect();
    let path = sandbox.path("model").join(file);
    write_archive(&path, "archive", &state_dict(tensors), &storages);
    sandbox
}

/// The pickle of a state dict: tensor n has storage n for itself.
fn state_dict(tensors: &[Tensor]) -> Vec<u8> {
    let text = |pickle: &mut Vec<u8>, text: &str| {
        pickle.push(b'X');
        pickle.extend((text.len() as u32).to_le_bytes());
        pickle.extend(text.as_bytes());
    };
    let number = |pickle: &mut Vec<u8>, number: usize| {
        pickle.push(b'J');
        pickle.extend((number as u32).to_le_bytes());
    };
    let tuple = |pickle: &mut Vec<u8>, numbers: &[usize]| {
        pickle.push(b'(');
        numbers.iter().for_each(|&each| number(pickle, each));
        pickle.push(b't');
    };
    let mut pickle = b"\x80\x02}(".to_vec();
    for (key, (name, shape, values)) in tensors.iter().enumerate() {
        let strides: Vec<usize> = (1..=shape.len())
            .map(|next| shape[next..].iter().product())
            .collect();
        text(&mut pickle, name);
        pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut pickle, "storage");
        pickle.extend(b"ctorch\nFloatStorage\n");
        text(&mut pickle, &key.to_string());
        text(&mut pickle, "cpu");
        number(&mut pickle, values.len());
        pickle.extend(b"tQ");
        number(&mut pickle, 0);
        tuple(&mut pickle, shape);
        tuple(&mut pickle, &strides);
        pickle.extend(b"\x89}tR");
    }
    pickle.extend(b"u.");
    pickle
}

#[test]
fn layers_without_a_file() {
    for (missing, named) in [
        (&[SPARSE][..], "sparse_linear.pt is missing"),
        (&[COLBERT], "colbert_linear.pt is missing"),
        (
            &[SPARSE, COLBERT],
            "sparse_linear.pt and colbert_linear.pt are missing",
        ),
    ] {
        let sandbox = bge_m3();
        for file in missing {
            fs::remove_file(sandbox.path("model").join(file)).expect("it was there");
        }
        sandbox.write_documents("docs.jsonl", &TEXTS);
        let run = sandbox.encode("--input docs.jsonl --output rows.jsonl");
        let said = format!(
            "lexpeak: model: {named}; an XLMRobertaModel is read as BGE-M3, whose files these are: \
             fetch the model again\n"
        );
        assert_eq!(run.fails(1, &[]).stderr, said);
        assert!(!sandbox.has("rows.jsonl") && !sandbox.has("rows.jsonl.partial"));
    }
}

#[test]
fn layers_of_another_shape() {
    for (file, weight, bias, wrong) in [
        (SPARSE, &[2, HIDDEN][..], &[1][..], "weight"),
        (SPARSE, &[1, 32], &[1], "weight"),
        (SPARSE, &[HIDDEN, 1], &[1], "weight"),
        (SPARSE, &[HIDDEN], &[1], "weight"),
        (SPARSE, &[1, HIDDEN], &[2], "bias"),
        (SPARSE, &[1, HIDDEN], &[], "bias"),
        (COLBERT, &[HIDDEN, 32], &[HIDDEN], "weight"),
        (COLBERT, &[HIDDEN, HIDDEN, 1], &[HIDDEN], ""),
        (COLBERT, &[24, HIDDEN], &[HIDDEN], "bias"),
        (COLBERT, &[HIDDEN, HIDDEN], &[1, HIDDEN], "bias"),
        (COLBERT, &[HIDDEN], &[HIDDEN], ""),
        (COLBERT, &[0, HIDDEN], &[0], ""),
    ] {
        let sandbox = with_layer(file, &[zeros("weight", weight), zeros("bias", bias)]);
        if wrong.is_empty() {
            let problem = format!("tensor weight has shape {weight:?}");
            let remedy =
                "it must have a row for each value of a token's vector: fetch the file again";
            refuses(&sandbox, file, &problem, remedy);
            continue;
        }
        let outputs = if file == SPARSE { 1 } else { weight[0] };
        let (found, expected) = match wrong {
            "weight" => (weight, vec![outputs, HIDDEN]),
            _ => (bias, vec![outputs]),
        };
        let layer = file.strip_suffix(".pt").expect("its name");
        let problem = format!(
            "tensor {layer}.{wrong} has shape {found:?} where config.json calls for {expected:?}"
        );
        refuses(&sandbox, file, &problem, OTHER_MODEL);
    }
}

#[test]
fn a_token_s_vector_may_have_any_width() {
    for width in [1, 24, 100] {
        let weight = (
            "weight",
            &[width, HIDDEN][..],
            vec![0.5; width * HIDDEN], // Adds up a hidden state: not 0 but by chance.
        );
        let sandbox = with_layer(COLBERT, &[weight, zeros("bias", &[width])]);
        let row = &sandbox.encode_texts("--outputs colbert", &["red planet"])[0];
        let vectors = row.colbert.as_ref().expect("they were asked for");
        for vector in vectors {
            assert_eq!(vector.len(), width);
            let value = 1.0 / (width as f32).sqrt();
            let same = |&x: &f32| (x.abs() - value).abs() <= 1e-5;
            assert!(vector.iter().all(same), "{vector:?}");
        }
    }
}

#[test]
fn layers_without_a_tensor() {
    for (file, layer, size) in [
        (SPARSE, "sparse_linear", 1),
        (COLBERT, "colbert_linear", 64),
    ] {
        let (weight_shape, bias_shape) = ([size, HIDDEN], [size]);
        let (weight, bias) = (zeros("weight", &weight_shape), zeros("bias", &bias_shape));
        for (there, missing) in [(bias, "weight"), (weight, "bias")] {
            let problem = format!("tensor {layer}.{missing} is missing");
            let remedy = "the file does not hold a whole layer, weight and bias: fetch it again";
            refuses(&with_layer(file, &[there]), file, &problem, remedy);
        }
    }
}

#[test]
fn layers_with_no_finite_numbers() {
    for (file, layer, size) in [
        (SPARSE, "sparse_linear", 1),
        (COLBERT, "colbert_linear", 64),
    ] {
        for (odd, printed) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "-inf")] {
            for (tensor, at) in [("weight", 17), ("bias", 0)] {
                let (weight_shape, bias_shape) = ([size, HIDDEN], [size]);
                let mut tensors = [zeros("weight", &weight_shape), zeros("bias", &bias_shape)];
                let (.., values) = &mut tensors[usize::from(tensor == "bias")];
                values[at] = odd;
                let problem = format!("tensor {layer}.{tensor} holds {printed} at element {at}");
                let remedy = "the file is damaged or its training diverged";
                refuses(&with_layer(file, &tensors), file, &problem, remedy);
            }
        }
    }
}

#[test]
fn layers_that_are_damaged() {
    let sandbox = bge_m3();
    // There is no such layer as safetensors.
    let remedy = "the file is damaged: download it again\n";
    for file in [SPARSE, COLBERT] {
        let path = format!("model/{file}");
        let whole = fs::read(sandbox.path(&path)).expect("a layer");
        for cut in [0, 100, whole.len() / 2, whole.len() - 1] {
            sandbox.write(&path, &whole[..cut]);
            refuses(&sandbox, file, "", remedy);
        }
        let no_archive = "is not a file of torch.save (no zip archive)";
        for content in [
            "<!DOCTYPE html>\n<html><body>404: not found</body></html>",
            "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        ] {
            sandbox.write(&path, content);
            refuses(&sandbox, file, no_archive, remedy);
        }
        sandbox.write(&path, &whole);
    }
    sandbox.encode_texts(ALL, &TEXTS);
}

#[test]
fn layers_of_another_format() {
    let sandbox = bge_m3();
    for file in [SPARSE, COLBERT] {
        let path = format!("model/{file}");
        let whole = fs::read(sandbox.path(&path)).expect("a layer");
        sandbox.write(&path, b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.");
        let problem = "is in a format of torch before 1.6, which is not read here";
        let remedy = "load the layer with a recent torch and save its state dict here again";
        refuses(&sandbox, file, problem, remedy);
        sandbox.write(&path, &whole);
    }
}

#[test]
fn layers_that_want_to_run_code() {
    for file in [SPARSE, COLBERT] {
        let sandbox = bge_m3();
        // In Python, loading the file runs `touch executed`.
        let pickle = b"\x80\x02cposix\nsystem\nX\x0e\0\0\0touch executed\x85R.";
        let path = sandbox.path("model").join(file);
        write_archive(&path, "archive", pickle, &[]);
        let problem = "wants to run code, \"posix.system\", and was refused";
        let remedy = "fetch the file from those who trained the model, or, if you trust";
        refuses(&sandbox, file, problem, remedy);
        assert!(!sandbox.has("executed"));
    }
}

/// Files of these names mean nothing beside other models.
#[test]
fn layers_beside_another_model() {
    let sandbox = Sandbox::new();
    let expected = sandbox.encode_texts("", &TEXTS);
    for file in [SPARSE, COLBERT] {
        sandbox.write(&format!("model/{file}"), "<!DOCTYPE html>");
    }
    assert_same_vectors(&sandbox.encode_texts("", &TEXTS), &expected);
}

#[test]
fn layers_among_the_other_weights() {
    let sandbox = bge_m3();
    let expected = sandbox.encode_texts(ALL, &TEXTS);
    let layers = RandomModel::named("bge_m3").tensors();
    let layers = layers
        .into_iter()
        .filter(|tensor| tensor.name.contains("_linear."));
    edit_tensors(&sandbox, |tensors| tensors.extend(layers.map(Into::into)));
    for file in [SPARSE, COLBERT] {
        fs::remove_file(sandbox.path("model").join(file)).expect("it was there");
    }
    assert_same_vectors(&sandbox.encode_texts(ALL, &TEXTS), &expected);
}

#[test]
fn an_encoder_without_a_tensor() {
    for (name, named) in [
        (
            "embeddings.position_embeddings.weight",
            "embeddings.position_embeddings.weight",
        ),
        (
            "encoder.layer.1.attention.self.value.bias",
            "encoder.layer.1.attention.self.value.bias",
        ),
        (
            "encoder.layer.0.output.LayerNorm.weight",
            "encoder.layer.0.output.LayerNorm.weight or encoder.layer.0.output.LayerNorm.gamma",
        ),
    ] {
        let sandbox = bge_m3();
        edit_tensors(&sandbox, |tensors| {
            tensors.retain(|tensor| tensor.name != name)
        });
        let problem = format!("tensor {named} is missing");
        let remedy = "the file does not hold a whole XLMRobertaModel: fetch it again";
        refuses(&sandbox, WEIGHTS, &problem, remedy);
    }
}

/// As an XLMRobertaForMaskedLM has them.
#[test]
fn names_with_a_prefix() {
    let sandbox = bge_m3();
    edit_tensors(&sandbox, |tensors| {
        for tensor in tensors {
            tensor.name.insert_str(0, "roberta.");
        }
    });
    let problem = "tensor embeddings.word_embeddings.weight is missing";
    let remedy = "the file does not hold a whole XLMRobertaModel: fetch it again";
    refuses(&sandbox, WEIGHTS, problem, remedy);
}

/// The model with the modules of sentence-transformers, as BAAI/bge-m3 has them, and this pooling.
fn with_modules(model: &str, pooling: Value) -> Sandbox {
    let sandbox = named(model);
    sandbox.write_dense_modules(&pooling);
    sandbox
}

/// As older versions of sentence-transformers write it, with these modes.
fn pooling(cls: bool, mean: bool) -> Value {
    json!({
        "word_embedding_dimension": HIDDEN,
        "pooling_mode_cls_token": cls,
        "pooling_mode_mean_tokens": mean,
        "pooling_mode_max_tokens": false,
        "pooling_mode_mean_sqrt_len_tokens": false,
    })
}

#[test]
fn modules_change_nothing() {
    for model in ["bge_m3", "xlm_roberta_classifier"] {
        let outputs = match model {
            "bge_m3" => ALL,
            _ => "--outputs sparse,dense",
        };
        let expected = named(model).encode_texts(outputs, &TEXTS);
        for pooling in [pooling(true, false), json!({"pooling_mode": "cls"})] {
            let sandbox = with_modules(model, pooling);
            assert_same_vectors(&sandbox.encode_texts(outputs, &TEXTS), &expected);
        }
    }
}

#[test]
fn dense_vectors_of_other_tokens() {
    for pooling in [
        pooling(false, true),
        pooling(true, true),
        pooling(false, false),
        json!({"pooling_mode": "mean"}),
        json!({}),
    ] {
        let problem = "the dense vector is not that of the first token";
        let remedy = "lexpeak reads the pooling mode cls";
        refuses(&with_modules("bge_m3", pooling), POOLING, problem, remedy);
    }
}

#[test]
fn missing_pooling() {
    let sandbox = with_modules("bge_m3", Value::Null);
    fs::remove_file(sandbox.path("model/1_Pooling/config.json")).expect("it was there");
    refuses(&sandbox, POOLING, "cannot read the file: ", FETCH_AGAIN);
}

#[test]
fn modules_of_the_other_head() {
    let sandbox = with_modules("xlm_roberta", pooling(true, false));
    let problem =
        "the first token is pooled, but config.json is that of a model for masked language";
    let remedy = "lexpeak reads the chain MLMTransformer -> SpladePooling for such a model";
    refuses(&sandbox, MODULES, problem, remedy);

    let sandbox = Sandbox::with(&RandomModel {
        head: RandomModel::named("bert_sum").head,
        ..RandomModel::named("bge_m3")
    });
    let problem =
        "SpladePooling is for models for masked language, but config.json is that of another";
    let remedy = "lexpeak reads the chain Transformer -> Pooling -> Normalize for such a model, or no modules.json";
    refuses(&sandbox, MODULES, problem, remedy);
}

#[test]
fn a_length_of_its_own() {
    let sandbox = with_modules("bge_m3", pooling(true, false));
    let config = json!({"max_seq_length": 7, "do_lower_case": false});
    sandbox.write("model/sentence_bert_config.json", config.to_string());
    let info = sandbox.run("info --model model").succeeds().stdout;
    assert!(
        info.contains("\nlength   7 tokens (at most 40)\n"),
        "{info}"
    );
    sandbox.write_documents("docs.jsonl", &TEXTS);
    let run = sandbox.encode(&format!("--input docs.jsonl --output rows.jsonl {ALL}"));
    run.ends(0, &["2 documents cut at the maximum length"]);
    let vectors = |row: &Row| row.colbert.as_ref().map(Vec::len);
    let found: Vec<_> = sandbox.rows("rows.jsonl").iter().map(vectors).collect();
    assert_eq!(found, [Some(6), Some(1), Some(6)]);
}

#[test]
fn a_classifier_of_several_labels() {
    let sandbox = named("xlm_roberta_classifier");
    sandbox.edit_json("model/config.json", |config| {
        config["id2label"] = json!({"0": "O", "1": "B-PER"});
    });
    let problem = "it names 2 labels";
    let remedy = "lexpeak reads an XLMRobertaForTokenClassification with one label, which is a token's weight";
    refuses(&sandbox, "config.json", problem, remedy);

    // Without names it shows in the weights.
    sandbox.edit_json("model/config.json", |config| {
        config["id2label"] = Value::Null
    });
    edit_tensors(&sandbox, |tensors| {
        let classifier = |name: &str| name == "classifier.weight" || name == "classifier.bias";
        for tensor in tensors.iter_mut().filter(|tensor| classifier(&tensor.name)) {
            tensor.shape[0] = 2;
            tensor.bytes.extend_from_within(..);
        }
    });
    let problem = "tensor classifier.weight has shape [2, 64] where config.json calls for [1, 64]";
    refuses(&sandbox, WEIGHTS, problem, OTHER_MODEL);
}

#[test]
fn unicoil_under_either_name() {
    let sandbox = named("unicoil");
    let expected = sandbox.encode_texts("", &TEXTS);
    let mut renamed = 0;
    edit_tensors(&sandbox, |tensors| {
        for tensor in tensors {
            if let Some(short) = tensor.name.strip_prefix("coil_encoder.") {
                tensor.name = short.to_owned();
                renamed += 1;
            }
        }
    });
    assert_eq!(renamed, 2);
    assert_same_vectors(&sandbox.encode_texts("", &TEXTS), &expected);

    edit_tensors(&sandbox, |tensors| {
        tensors.retain(|tensor| tensor.name != "tok_proj.bias")
    });
    let problem = "tensor coil_encoder.tok_proj.bias or tok_proj.bias is missing";
    let remedy = "the file does not hold a whole UniCoilEncoder: fetch it again";
    refuses(&sandbox, WEIGHTS, problem, remedy);
}

/// What another tokeniser's ids would read beyond the vocabulary is refused with the model.
#[test]
fn a_tokenizer_of_more_tokens_than_the_model_has() {
    let sandbox = bge_m3();
    sandbox.edit_json("model/tokenizer.json", |tokenizer| {
        let pieces = tokenizer["model"]["vocab"].as_array_mut().expect("pieces");
        pieces.push(json!(["▁comet", -9.0]));
    });
    let problem = "the tokeniser has ids up to 422, the model a vocabulary of 422";
    let remedy = "tokeniser and weights are of different models: fetch both again";
    refuses(&sandbox, "tokenizer.json", problem, remedy);
}
