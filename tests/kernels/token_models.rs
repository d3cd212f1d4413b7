//! Models that weigh tokens, on the whole CUDA engine: every output with and without the others, where weights come from, texts
//! of which little or nothing is left, numbers beyond the precision, and memory to the byte.

use std::fs::{self, File};

use half::f16;
use lexpeak::{Category, Device, Dtype, EncodeOptions, Encoder, Outputs, SpecialTokens, Term};
use serde_json::Value;
use zip::ZipArchive;

use crate::command::{Encode, fill_tensor};
use crate::engine::{embed, encoder};
use crate::rig::Rig;
use crate::support::agreement::Agreement;
use crate::support::random_model::RandomModel;
use crate::support::sandbox::{Row, Sandbox, rows};

/// How far f16 may be from the CPU's f32.
const TOLERANCE: f64 = 2e-2;

const ALL_OUTPUTS: &str = "--outputs sparse,dense,colbert";

/// A row of these repeats terms, so that weights are maxima over several tokens.
const TEXTS: [&str; 6] = [
    "dog dog dog dog dog dog",
    "The Red Planet, Mars, isn't red: it's rusty!",
    "a literal [SEP] and [MASK], but <mask> and [ SEP ]",
    "quick sparse search engine weighs the word; quick sparse search engine weighs the word",
    "المريخ هو الكوكب الأحمر",
    "",
];

fn cpu_encoder(sandbox: &Sandbox) -> Encoder {
    Encoder::builder(sandbox.path("model"))
        .device(Device::Cpu)
        .build()
        .expect("the model loads")
}

#[test]
fn every_output_is_the_same_bits_with_and_without_the_others() {
    let rig = Rig::new();
    for (name, dtype) in [
        ("bge_m3", Dtype::Bf16),
        ("bge_m3_bin", Dtype::F16),
        ("xlm_roberta_classifier", Dtype::F16),
    ] {
        let folder = RandomModel::named(name).write_temporary();
        let encoder = encoder(folder.path(), dtype, 64);
        let has = encoder.spec().head.outputs();
        for truncate_dim in [None, Some(33), Some(1)] {
            let embed = |outputs| {
                let options = EncodeOptions {
                    outputs,
                    truncate_dim: truncate_dim.filter(|_| outputs.dense),
                    ..EncodeOptions::default()
                };
                encoder.embed(&TEXTS, &options).expect("they are encoded")
            };
            let all = embed(has);
            for choice in 1..8 {
                let outputs = Outputs {
                    sparse: choice & 1 != 0,
                    dense: choice & 2 != 0,
                    colbert: choice & 4 != 0,
                };
                if outputs.colbert && !has.colbert {
                    continue;
                }
                let mut expected = all.clone();
                expected.sparse = expected.sparse.filter(|_| outputs.sparse);
                expected.dense = expected.dense.filter(|_| outputs.dense);
                expected.colbert = expected.colbert.filter(|_| outputs.colbert);
                assert!(
                    embed(outputs) == expected,
                    "{name}: {outputs:?} of {truncate_dim:?} values"
                );
            }
        }
    }
    rig.assert_sound();
}

#[test]
fn weights_are_explained_as_on_the_cpu() {
    let rig = Rig::new();
    let mut later = 0;
    for name in ["bge_m3", "unicoil"] {
        let sandbox = Sandbox::with(&RandomModel::named(name));
        let on_gpu = encoder(&sandbox.path("model"), Dtype::F16, 64);
        let on_cpu = cpu_encoder(&sandbox);
        for special_tokens in [
            SpecialTokens::Keep,
            SpecialTokens::ZeroColumns,
            SpecialTokens::DropPositions,
        ] {
            let options = EncodeOptions {
                special_tokens,
                ..EncodeOptions::default()
            };
            for text in TEXTS {
                let what = format!("{name} {special_tokens:?} {text:?}");
                let found = explain(&on_gpu, text, &options);
                let expected = explain(&on_cpu, text, &options);
                let mut agreement = Agreement::within(TOLERANCE);
                agreement.row(&what, &weights(&found), &weights(&expected));
                agreement.finish(&what);

                let rows = on_gpu.encode(&[text], &options).expect("a row");
                let explained = found.iter().map(|term| (term.id, term.weight));
                assert!(rows.row(0).entries().eq(explained), "{what}");

                let ids = on_gpu.token_ids(text, &options).expect("tokens");
                for term in &found {
                    assert_eq!(ids[term.position], term.id, "{what}: {term:?}");
                    assert_eq!(term.source, term.token, "{what}");
                    let same = expected.iter().find(|other| other.id == term.id);
                    if let Some(same) = same {
                        assert_eq!(term.position, same.position, "{what}: {term:?}");
                    }
                    later += usize::from(ids[..term.position].contains(&term.id));
                }
            }
        }
    }
    assert!(later > 20, "{later} weights of tokens that stood before");
    rig.assert_sound();
}

/// Terms by their id.
fn explain(encoder: &Encoder, text: &str, options: &EncodeOptions) -> Vec<Term> {
    let mut terms = encoder.explain(text, options).expect("terms");
    terms.sort_by_key(|term| term.id);
    terms
}

fn weights(terms: &[Term]) -> Vec<(u32, f64)> {
    let weight = |term: &Term| (term.id, f64::from(term.weight));
    terms.iter().map(weight).collect()
}

/// Where positions say nothing, a token weighs the same wherever it stands.
#[test]
fn of_tokens_with_equal_weights_the_first_is_named() {
    let rig = Rig::new();
    for (name, positions) in [
        ("bge_m3", "embeddings.position_embeddings.weight"),
        ("unicoil", "bert.embeddings.position_embeddings.weight"),
    ] {
        let sandbox = Sandbox::with(&RandomModel::named(name));
        fill_tensor(&sandbox, positions, 0.0);
        let on_gpu = encoder(&sandbox.path("model"), Dtype::F16, 64);
        let mut repeated = 0;
        for special_tokens in [SpecialTokens::Keep, SpecialTokens::DropPositions] {
            let options = EncodeOptions {
                special_tokens,
                ..EncodeOptions::default()
            };
            for text in TEXTS {
                let ids = on_gpu.token_ids(text, &options).expect("tokens");
                for term in explain(&on_gpu, text, &options) {
                    let mut places = (0..ids.len()).filter(|&at| ids[at] == term.id);
                    assert_eq!(places.next(), Some(term.position), "{name} {text:?}");
                    repeated += places.count();
                }
            }
        }
        assert!(repeated > 20, "{name}: {repeated} repetitions");
    }
    rig.assert_sound();
}

/// The width of a token's vector may be no multiple of 8, as rows on the GPU are.
#[test]
fn vectors_of_any_width_are_as_on_the_cpu() {
    let rig = Rig::new();
    let sandbox = Sandbox::with(&RandomModel::named("bge_m3_bin"));
    // The sizes in the pickle, of the weight and of the bias.
    let layer = sandbox.path("model/colbert_linear.pt");
    let mut bytes = fs::read(&layer).expect("the layer");
    for (sizes, cut) in [
        (b"K\x18K\x3c\x86".as_slice(), b"K\x14K\x3c\x86".as_slice()),
        (b"K\x18\x85", b"K\x14\x85"),
    ] {
        let places = bytes.windows(sizes.len());
        let place = places.into_iter().position(|bytes| bytes == sizes);
        bytes[place.expect("the sizes")..][..cut.len()].copy_from_slice(cut);
    }
    fs::write(&layer, bytes).expect("the layer is written");
    let found = Encode::of(&rig, &sandbox).run(&format!("{ALL_OUTPUTS} --device cuda"), &TEXTS);
    let found = rows(&found);
    assert!(found[0].colbert.as_ref().expect("vectors")[0].len() == 20);
    assert_as_on_the_cpu(&sandbox, ALL_OUTPUTS, &TEXTS, &found);
}

/// Compares rows and vectors of `texts` with those of the CPU engine.
fn assert_as_on_the_cpu(sandbox: &Sandbox, options: &str, texts: &[&str], found: &[Row]) {
    let expected = sandbox.encode_texts(&format!("{options} --device cpu"), texts);
    let mut agreement = Agreement::within(TOLERANCE);
    for ((text, found), expected) in texts.iter().zip(found).zip(&expected) {
        let what = format!("{text:?}");
        agreement.row(&what, &found.entries(), &expected.entries());
        let vectors = |row: &Row| -> Vec<Vec<f32>> {
            let dense = row.dense.iter().cloned();
            dense.chain(row.colbert.iter().flatten().cloned()).collect()
        };
        let (found, expected) = (vectors(found), vectors(expected));
        assert_eq!(found.len(), expected.len(), "{what}: vectors");
        for (found, expected) in found.iter().zip(&expected) {
            // The vector of a text without a token has no direction.
            if expected.iter().all(|&value| value == 0.0) {
                agreement.exact(&what, found, expected);
            } else {
                agreement.vector(&what, found, expected);
            }
        }
    }
    agreement.finish("the CPU's");
}

fn without_special_tokens(name: &str) -> Sandbox {
    let sandbox = Sandbox::with(&RandomModel::named(name));
    sandbox.edit_json("model/tokenizer.json", |tokenizer| {
        tokenizer["post_processor"] = Value::Null;
    });
    sandbox
}

#[test]
fn of_a_text_without_a_token_nothing_is_left() {
    let rig = Rig::new();
    let sandbox = without_special_tokens("bge_m3");
    let encode = Encode::of(&rig, &sandbox);
    let options = format!("{ALL_OUTPUTS} --device cuda");
    let texts = ["", "planet", "", "", "<unk>", "Mars is the Red Planet", ""];
    let together = encode.run(&options, &texts);
    let found = rows(&together);
    for (text, row) in texts.iter().zip(&found) {
        let dense = row.dense.as_ref().expect("they were asked for");
        let length = dense.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
        let vectors = row.colbert.as_ref().expect("they were asked for").len();
        let expected = if text.is_empty() { 0.0 } else { 1.0 };
        assert!(dense.len() == 64 && (length - expected).abs() < 1e-2);
        assert!(row.indices.is_empty() || !["", "<unk>"].contains(text));
        assert_eq!(vectors > 0, text.contains(' '), "{text:?}: {vectors}");
    }
    assert_as_on_the_cpu(&sandbox, ALL_OUTPUTS, &texts, &found);
    let alone = encode.run(&format!("{options} --batch-tokens 1"), &texts);
    assert_eq!(together, alone);
    // All of a batch, which then has no token.
    let nothing = together.lines().next().expect("a line");
    assert_eq!(encode.run(&options, &[""]).trim_end(), nothing);
    let nothing = encode.run(&options, &["", "", ""]);
    assert_eq!(nothing.lines().count(), 3);
    let other = encode.run("--device cuda --outputs dense", &texts);
    for (row, whole) in rows(&other).iter().zip(&found) {
        assert_eq!(row.dense, whole.dense);
    }
}

/// As many documents as tokens, and no vector of a token in the whole batch.
#[test]
fn a_batch_may_have_only_documents_of_one_token() {
    let rig = Rig::new();
    let sandbox = without_special_tokens("bge_m3");
    let together = encoder(&sandbox.path("model"), Dtype::F16, 512);
    let apart = encoder(&sandbox.path("model"), Dtype::F16, 7);
    let words = RandomModel::named("bge_m3").vocabulary();
    let options = EncodeOptions::default();
    let words: Vec<&str> = words
        .iter()
        .filter_map(|word| word.strip_prefix('▁'))
        .filter(|word| together.token_ids(word, &options).expect("tokens").len() == 1)
        .collect();
    assert!(words.len() > 50, "{} words", words.len());
    let texts: Vec<&str> = words.iter().copied().cycle().take(300).collect();
    let embeddings = embed(&together, &texts);
    assert!(embeddings == embed(&apart, &texts));
    let vectors = embeddings.colbert.as_ref().expect("they were asked for");
    assert_eq!((vectors.len(), vectors.vectors()), (300, 0));
    for (at, word) in words.iter().enumerate() {
        assert!(embeddings.document(at) == embed(&apart, &[word]).document(0));
    }
    rig.assert_sound();
}

/// Fills the weight of a layer that has a file of its own, column by column.
fn fill_layer(sandbox: &Sandbox, layer: &str, value: impl Fn(usize) -> f32) {
    let path = sandbox.path(&format!("model/{layer}.pt"));
    let mut archive = ZipArchive::new(File::open(&path).expect("the layer")).expect("an archive");
    let weight = archive.by_name(&format!("{layer}/data/0")).expect("it");
    assert_eq!(weight.size(), weight.compressed_size());
    let first = weight.data_start().expect("where it is") as usize;
    let range = first..first + weight.size() as usize;
    drop(weight);
    let mut bytes = fs::read(&path).expect("the layer");
    for (column, number) in bytes[range].chunks_exact_mut(2).enumerate() {
        number.copy_from_slice(&f16::from_f32(value(column)).to_le_bytes());
    }
    fs::write(path, bytes).expect("the layer is written");
}

const PLANETS: [&str; 2] = ["red", "planet"];

#[track_caller]
fn assert_beyond_precision(encode: &Encode<'_>, options: &str) {
    let run = encode.finish(
        encode.command(&format!("--device cuda {options}")),
        &PLANETS,
    );
    let said = ["document 0 to 1", "beyond its precision", "--device cpu"];
    assert_eq!(run.fails(1, &said).stdout, "", "{options}");
}

#[test]
fn weights_of_tokens_beyond_the_precision_are_an_error() {
    let rig = Rig::new();
    for (name, weight) in [
        ("xlm_roberta_classifier", "classifier.weight"),
        ("unicoil", "coil_encoder.tok_proj.weight"),
    ] {
        let sandbox = Sandbox::with(&RandomModel::named(name));
        let encode = Encode::of(&rig, &sandbox);
        let has_dense = name != "unicoil";
        let only_dense = "--device cuda --outputs dense";
        let dense = has_dense.then(|| encode.run(only_dense, &PLANETS));
        fill_tensor(&sandbox, weight, 3e38);
        for dtype in ["f16", "bf16"] {
            assert_beyond_precision(&encode, &format!("--dtype {dtype}"));
        }
        let on_gpu = encoder(&sandbox.path("model"), Dtype::F16, 64);
        let error = on_gpu.explain("red", &EncodeOptions::default());
        assert_eq!(error.unwrap_err().category(), Category::Numeric);
        // What does not need the weights has nothing to do with them.
        if let Some(dense) = dense {
            assert_beyond_precision(&encode, "--outputs sparse,dense");
            assert_eq!(encode.run(only_dense, &PLANETS), dense);
        }
    }
}

/// A dense vector is made of f16, as hidden states are stored; a weight is not.
#[test]
fn hidden_states_beyond_the_precision_are_an_error_where_they_are_stored() {
    let rig = Rig::new();
    let sandbox = Sandbox::with(&RandomModel::named("bge_m3"));
    let scale = 1e6;
    let last_norm = "encoder.layer.1.output.LayerNorm.weight";
    fill_tensor(&sandbox, last_norm, scale);
    let encode = Encode::of(&rig, &sandbox);
    for dtype in ["f16", "bf16"] {
        for outputs in [
            "dense",
            "colbert",
            "sparse,dense",
            "sparse,colbert",
            "dense --truncate-dim 3",
        ] {
            assert_beyond_precision(&encode, &format!("--dtype {dtype} --outputs {outputs}"));
        }
    }
    let found = rows(&encode.run("--device cuda", &TEXTS));
    let expected = sandbox.encode_texts("--device cpu", &TEXTS);
    let mut agreement = Agreement::within(TOLERANCE * f64::from(scale));
    for ((text, found), expected) in TEXTS.iter().zip(&found).zip(&expected) {
        agreement.row(text, &found.entries(), &expected.entries());
    }
    agreement.finish("large weights");
}

#[test]
fn numbers_inside_a_layer_beyond_f16_reach_no_output() {
    let rig = Rig::new();
    let sandbox = Sandbox::with(&RandomModel::named("bge_m3"));
    fill_tensor(&sandbox, "encoder.layer.0.intermediate.dense.bias", 1e5);
    let encode = Encode::of(&rig, &sandbox);
    for outputs in ["sparse", "dense", "colbert", "sparse,dense,colbert"] {
        assert_beyond_precision(&encode, &format!("--outputs {outputs}"));
    }
    encode.run(&format!("{ALL_OUTPUTS} --device cuda --dtype bf16"), &TEXTS);
}

#[test]
fn vectors_of_tokens_beyond_f16_are_an_error() {
    let rig = Rig::new();
    let sandbox = Sandbox::with(&RandomModel::named("bge_m3"));
    let encode = Encode::of(&rig, &sandbox);
    let others = "--device cuda --outputs sparse,dense";
    let before = encode.run(others, &TEXTS);
    // A hidden state has about as much above 0 as below: its sum alone would be small.
    fill_layer(&sandbox, "colbert_linear", |column| {
        [65504.0, -65504.0][column % 2]
    });
    for outputs in ["colbert", "dense,colbert", "sparse,dense,colbert"] {
        assert_beyond_precision(&encode, &format!("--outputs {outputs}"));
    }
    assert_eq!(encode.run(others, &TEXTS), before);
    // In bf16 they are sums in f32, and there is room for them. The 64 outputs of the layer are as good as equal.
    let found = rows(&encode.run("--device cuda --dtype bf16 --outputs colbert", &TEXTS));
    for vector in found
        .iter()
        .flat_map(|row| row.colbert.as_ref().expect("vectors"))
    {
        assert!(
            vector
                .iter()
                .all(|value| (value.abs() - 0.125).abs() < 1e-3),
            "{vector:?}"
        );
    }
}

/// What this model, whose sizes are multiples of 8, takes on a GPU.
#[test]
fn memory_is_counted_to_the_byte() {
    let rig = Rig::new();
    let model = RandomModel::named("bge_m3");
    let folder = model.write_temporary();
    let mut weights = 0;
    for tensor in model.tensors() {
        // Token types are added to the positions at start.
        if tensor.name.starts_with("pooler") || tensor.name.contains("token_type") {
            continue;
        }
        let matrix = tensor.shape.len() == 2 && tensor.shape[0] > 1;
        // Rows of positions that no token has are left out.
        let unused = match tensor.name.contains("position") {
            true => model.first_position() * model.hidden(),
            false => 0,
        };
        weights += (tensor.values.len() - unused) * if matrix { 2 } else { 4 };
    }
    let (hidden, ffn, colbert) = (model.hidden(), model.ffn, 64);
    for (dtype, sum) in [(Dtype::F16, 2), (Dtype::Bf16, 4)] {
        // Hidden states, their sums, queries, keys and values, context, feed-forward states.
        let workspace = hidden * (2 + sum + 2 * 3 + 2) + 2 * ffn;
        // Id, position, tile of three, slot and row; weight and vector. Twice: a batch is computed while another is copied.
        let lanes = 2 * (4 * 7 + 4 + 2 * hidden.max(colbert));
        for tokens in [256, 1024] {
            let memory = encoder(folder.path(), dtype, tokens).memory();
            assert_eq!(memory.weights, weights, "{dtype}");
            assert_eq!(memory.arena, tokens * (workspace + lanes), "{dtype}");
            assert_eq!(memory.peak, memory.weights + memory.arena);
        }
    }
    rig.assert_sound();
}
