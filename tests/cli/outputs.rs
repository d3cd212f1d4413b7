//! Models that weigh tokens: which outputs are written, and what the options do to each.

use std::collections::BTreeSet;

use lexpeak::{Device, EncodeOptions, Encoder};
use serde_json::json;

use crate::sandbox::{Row, Sandbox, assert_same_vectors};
use crate::support::agreement::Agreement;
use crate::support::random_model::RandomModel;

const ALL: &str = "--outputs sparse,dense,colbert";

const TEXTS: [&str; 6] = [
    "The RED planet: Mars!",
    "",
    "火星 <mask> قمر",
    "<unk> <unk>",
    "the quick sparse search engine",
    " \t ",
];

/// <s>, <pad>, </s> and <unk>
const UNWEIGHTED: [u32; 4] = [0, 1, 2, 3];
const MASK: u32 = 421;

/// H of the models.
const HIDDEN: usize = 64;

fn named(model: &str) -> Sandbox {
    Sandbox::with(&RandomModel::named(model))
}

fn bge_m3() -> Sandbox {
    named("bge_m3")
}

/// Tokens of each text, as the library counts them.
fn token_counts(sandbox: &Sandbox, texts: &[&str]) -> Vec<usize> {
    let builder = Encoder::builder(sandbox.path("model")).device(Device::Cpu);
    let encoder = builder.build().expect("the model is whole");
    let count = |text: &&str| {
        let ids = encoder.token_ids(text, &EncodeOptions::default());
        ids.expect("good options").len()
    };
    texts.iter().map(count).collect()
}

/// The keys that `line` has, in its order.
fn keys(line: &str) -> Vec<&'static str> {
    let keys = ["id", "indices", "values", "tokens", "dense", "colbert"];
    let mut found: Vec<(usize, &str)> = keys
        .into_iter()
        .filter_map(|key| Some((line.find(&format!("\"{key}\":"))?, key)))
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, key)| key).collect()
}

#[test]
fn a_line_has_what_was_asked_for() {
    let sandbox = bge_m3();
    let all = sandbox.encode_texts(ALL, &TEXTS);
    let sparse = ["indices", "values"];
    for (outputs, wanted) in [
        ("sparse", &sparse[..]),
        ("dense", &["dense"]),
        ("colbert", &["colbert"]),
        ("sparse,dense", &["indices", "values", "dense"]),
        ("colbert,sparse", &["indices", "values", "colbert"]),
        ("colbert,dense", &["dense", "colbert"]),
        (
            "dense,colbert,sparse,dense",
            &["indices", "values", "dense", "colbert"],
        ),
    ] {
        for tokens in ["", "--tokens"] {
            sandbox.write_documents("docs.jsonl", &TEXTS);
            let options = format!("--outputs {outputs} {tokens}");
            let run = sandbox.encode(&format!("--input docs.jsonl --output rows.jsonl {options}"));
            let said = run.succeeds().stderr;
            let has_rows = wanted.contains(&"values");
            assert_eq!(said.contains("non-zeros a document"), has_rows, "{said}");
            let mut expected = [&["id"], wanted].concat();
            if has_rows && !tokens.is_empty() {
                expected.insert(3, "tokens");
            }
            for line in sandbox.read("rows.jsonl").lines() {
                assert_eq!(keys(line), expected, "{options}");
            }

            let mut found = sandbox.rows("rows.jsonl");
            assert_eq!(found.len(), all.len());
            // What is not there is the same.
            for (found, all) in found.iter_mut().zip(&all) {
                if !wanted.contains(&"values") {
                    found.indices.clone_from(&all.indices);
                    found.values.clone_from(&all.values);
                }
                if !wanted.contains(&"dense") {
                    found.dense.clone_from(&all.dense);
                }
                if !wanted.contains(&"colbert") {
                    found.colbert.clone_from(&all.colbert);
                }
            }
            assert_same_vectors(&found, &all);
        }
    }
}

#[test]
fn sparse_alone_is_the_default() {
    let sandbox = bge_m3();
    let rows = sandbox.encode_texts("", &TEXTS);
    assert_same_vectors(&rows, &sandbox.encode_texts("--outputs sparse", &TEXTS));
    assert!(rows[0].dense.is_none() && rows[0].colbert.is_none());
}

#[test]
fn vectors_have_length_1() {
    for (model, colbert) in [
        ("bge_m3", 64),
        ("bge_m3_bin", 24),
        ("xlm_roberta_classifier", 0),
    ] {
        let sandbox = named(model);
        let outputs = if colbert == 0 {
            "sparse,dense"
        } else {
            "dense,colbert"
        };
        let options = format!("--outputs {outputs}");
        let rows = sandbox.encode_texts(&options, &TEXTS);
        let hidden = RandomModel::named(model).hidden();
        for (row, tokens) in rows.iter().zip(token_counts(&sandbox, &TEXTS)) {
            let dense = row.dense.as_ref().expect("it was asked for");
            assert_eq!(dense.len(), hidden, "{model}");
            assert!((length(dense) - 1.0).abs() <= 1e-5, "{model}: {dense:?}");
            if colbert == 0 {
                assert!(row.colbert.is_none());
                continue;
            }
            let vectors = row.colbert.as_ref().expect("they were asked for");
            assert_eq!(vectors.len(), tokens - 1, "{model}: all tokens but <s>");
            for vector in vectors {
                assert_eq!(vector.len(), colbert, "{model}");
                assert!((length(vector) - 1.0).abs() <= 1e-5, "{model}: {vector:?}");
            }
        }
    }
}

fn length(vector: &[f32]) -> f64 {
    let squares = vector.iter().map(|&x| f64::from(x) * f64::from(x));
    squares.sum::<f64>().sqrt()
}

#[test]
fn dense_vectors_can_be_shorter() {
    let sandbox = bge_m3();
    let whole = sandbox.encode_texts(ALL, &TEXTS);
    for size in [1, 7, 32, 63, HIDDEN] {
        let rows = sandbox.encode_texts(&format!("{ALL} --truncate-dim {size}"), &TEXTS);
        let mut agreement = Agreement::within(1e-6);
        for (row, whole) in rows.iter().zip(&whole) {
            let prefix = &whole.dense.as_ref().expect("it was asked for")[..size];
            let length = length(prefix);
            let prefix: Vec<f64> = prefix.iter().map(|&x| f64::from(x) / length).collect();
            let found = row.dense.as_ref().expect("it was asked for");
            agreement.vector(&format!("{size} values"), found, &prefix);
            // The others are as they were.
            assert_eq!(row.colbert, whole.colbert);
            assert_eq!(row.entries(), whole.entries());
        }
        agreement.finish("shorter dense vectors");
    }
}

#[test]
fn what_a_model_does_not_have_is_wrong_usage() {
    let sparse = "ask for sparse";
    let dense = "ask for sparse and dense";
    let sizes = "ask for 1 to 64";
    for (model, options, problem, remedy) in [
        (
            "bert",
            "--outputs dense",
            "BertForMaskedLM has no dense output",
            sparse,
        ),
        (
            "bert",
            "--outputs sparse,colbert",
            "BertForMaskedLM has no colbert output",
            sparse,
        ),
        (
            "xlm_roberta",
            "--outputs dense,colbert",
            "XLMRobertaForMaskedLM has no dense output",
            sparse,
        ),
        (
            "unicoil",
            "--outputs dense",
            "UniCoilEncoder has no dense output",
            sparse,
        ),
        (
            "xlm_roberta_classifier",
            "--outputs dense,colbert",
            "XLMRobertaForTokenClassification has no colbert output",
            dense,
        ),
        (
            "bge_m3",
            "--outputs dense --truncate-dim 0",
            "a dense vector of 0 values",
            sizes,
        ),
        (
            "bge_m3",
            "--outputs dense --truncate-dim 65",
            "a dense vector of 65 values",
            sizes,
        ),
        (
            "bge_m3",
            "--outputs sparse --truncate-dim 7",
            "a size of dense vectors, which are not asked for",
            "leave the size out",
        ),
        (
            "bge_m3",
            "--outputs dense --top-k 3",
            "limits on the weights of sparse rows, which are not asked for",
            "leave the limits out",
        ),
        (
            "bge_m3",
            "--outputs sparse,lexical",
            "invalid value 'lexical' for '--outputs <OUTPUTS>'",
            "[possible values: sparse, dense, colbert]",
        ),
        (
            "bge_m3",
            "--outputs=",
            "--outputs <OUTPUTS>",
            "[possible values:",
        ),
        (
            "bge_m3",
            "--outputs dense --truncate-dim many",
            "invalid value 'many' for '--truncate-dim <N>'",
            "--help",
        ),
        (
            "bge_m3",
            "--max-length 41",
            "a length of 41 tokens is out of this model's range",
            "ask for 3 to 40 tokens",
        ),
        (
            "bge_m3",
            "--vectors vectors",
            "no vectors, or vectors without a value, are to go to files of their own",
            "ask for dense or colbert vectors",
        ),
        (
            "bge_m3",
            "--outputs dense --vectors-dtype f16",
            "the following required arguments were not provided",
            "--vectors <DIR>",
        ),
        (
            "bge_m3",
            "--outputs dense --vectors vectors --vectors-dtype int8",
            "invalid value 'int8' for '--vectors-dtype <VECTORS_DTYPE>'",
            "[possible values: f32, f16]",
        ),
    ] {
        let sandbox = named(model);
        sandbox.write_documents("docs.jsonl", &TEXTS);
        sandbox.write("rows.jsonl", "whole");
        sandbox.write("rows.jsonl.partial", "earlier");
        let run = sandbox.encode(&format!("--input docs.jsonl --output rows.jsonl {options}"));
        run.fails(2, &[problem, remedy]);
        assert_eq!(sandbox.read("rows.jsonl"), "whole", "{options}");
        assert_eq!(sandbox.read("rows.jsonl.partial"), "earlier", "{options}");
        assert!(!sandbox.has("vectors"), "{options}");
    }
}

#[test]
fn marks_have_no_weight_but_the_mask_of_a_text_has() {
    for model in ["bge_m3", "bge_m3_bin", "xlm_roberta_classifier"] {
        let sandbox = named(model);
        let texts = [&TEXTS[..], &["<s> </s> <pad> <unk> the </s>"]].concat();
        for options in [
            "",
            "--special-tokens zero-columns",
            "--special-tokens drop-positions",
        ] {
            for row in sandbox.encode_texts(options, &texts) {
                let excluded = row.indices.iter().find(|id| UNWEIGHTED.contains(id));
                assert_eq!(excluded, None, "{model} {options}");
            }
        }
        let masked = &sandbox.encode_texts("", &["<mask>"])[0];
        assert_eq!(masked.indices, [MASK], "{model}");
        let zeroed = &sandbox.encode_texts("--special-tokens zero-columns", &["<mask>"])[0];
        assert!(zeroed.indices.is_empty(), "{model}");
    }
}

/// uniCOIL weighs the end of a text and what is unknown, and neither its beginning nor padding.
#[test]
fn unicoil_weighs_the_end_and_what_is_unknown() {
    let texts = ["[CLS] [PAD] planet \u{10ffff}", "[UNK] [SEP] red", ""];
    let rows = named("unicoil").encode_texts("", &texts);
    let ids: BTreeSet<u32> = rows.iter().flat_map(|row| row.indices.clone()).collect();
    let [padding, unknown, beginning, end] = [0, 3, 4, 5];
    assert!(
        !ids.contains(&padding) && !ids.contains(&beginning),
        "{ids:?}"
    );
    assert!(ids.contains(&unknown) && ids.contains(&end), "{ids:?}");
}

#[test]
fn terms_are_those_of_the_text() {
    for model in ["bge_m3", "xlm_roberta_classifier", "unicoil"] {
        let sandbox = named(model);
        let builder = Encoder::builder(sandbox.path("model")).device(Device::Cpu);
        let encoder = builder.build().expect("the model is whole");
        let rows = sandbox.encode_texts("--tokens", &TEXTS);
        assert!(rows.iter().any(|row| !row.indices.is_empty()));
        for (row, text) in rows.iter().zip(TEXTS) {
            let ids = encoder.token_ids(text, &EncodeOptions::default());
            let ids = ids.expect("good options");
            assert!(row.indices.iter().all(|id| ids.contains(id)), "{text:?}");
            let tokens: Vec<String> = row.indices.iter().map(|&id| encoder.token(id)).collect();
            assert_eq!(row.tokens.as_ref(), Some(&tokens), "{text:?}");
        }
    }
}

#[test]
fn empty_rows_are_counted() {
    let sandbox = bge_m3();
    // Nothing is left of the second, fourth and last.
    sandbox.write_documents("docs.jsonl", &TEXTS);
    for (outputs, said) in [
        ("sparse", true),
        ("sparse,dense", true),
        ("dense,colbert", false),
    ] {
        let line = format!("--input docs.jsonl --output rows.jsonl --outputs {outputs}");
        let run = sandbox.encode(&line).succeeds();
        let flagged = run
            .stderr
            .lines()
            .any(|line| line == "3 documents with an empty row");
        assert_eq!(flagged, said, "{outputs}: {}", run.stderr);
    }
    sandbox
        .encode("--input docs.jsonl --output rows.jsonl")
        .succeeds();
    let empty = |row: &Row| row.indices.is_empty();
    let rows = sandbox.rows("rows.jsonl");
    let rows: Vec<bool> = rows.iter().map(empty).collect();
    assert_eq!(rows, [false, true, false, true, false, true]);
}

#[test]
fn limits_are_for_weights_alone() {
    let sandbox = bge_m3();
    let all = sandbox.encode_texts(ALL, &TEXTS);
    let limit = {
        let mut weights = all[0].values.clone();
        weights.sort_by(f32::total_cmp);
        weights[weights.len() / 2]
    };
    for (options, most, least) in [
        ("--top-k 2".to_owned(), 2, 0.0),
        (format!("--min-weight {limit}"), usize::MAX, limit),
        (format!("--min-weight {limit} --top-k 2"), 2, limit),
        ("--top-k 0".to_owned(), 0, 0.0),
    ] {
        let found = sandbox.encode_texts(&format!("{ALL} {options}"), &TEXTS);
        for (found, all) in found.iter().zip(&all) {
            let heavier = |weight: f64| {
                all.values
                    .iter()
                    .filter(|&&w| f64::from(w) > weight)
                    .count()
            };
            let mut kept = all.entries();
            kept.retain(|&(_, weight)| weight > f64::from(least) && heavier(weight) < most);
            assert_eq!(found.entries(), kept, "{options}");
            assert_eq!((&found.dense, &found.colbert), (&all.dense, &all.colbert));
        }
    }
}

#[test]
fn roles_have_their_prompts_in_every_output() {
    let sandbox = bge_m3();
    sandbox.write(
        "model/config_sentence_transformers.json",
        json!({"prompts": {"query": "the ", "document": "all "}}).to_string(),
    );
    let [query, document] = ["query", "document"].map(|role| {
        let options = format!("{ALL} --role {role}");
        sandbox.encode_texts(&options, &["planet Mars"])
    });
    let plain = bge_m3().encode_texts(ALL, &["the planet Mars", "all planet Mars"]);
    assert_same_vectors(&query, &plain[..1]);
    assert_same_vectors(&document, &plain[1..]);
}

#[test]
fn long_texts_are_cut_for_every_output() {
    let sandbox = bge_m3();
    // `▁the` and `▁planet`, some times over.
    let long = "the planet ".repeat(30);
    sandbox.write_documents("docs.jsonl", &[long.as_str(), "the planet", &long]);
    for (options, tokens) in [("", 40), ("--max-length 6", 6), ("--max-length 3", 3)] {
        let line = format!("--input docs.jsonl --output rows.jsonl {ALL} {options}");
        let cut = if tokens == 3 {
            "3 documents"
        } else {
            "2 documents"
        };
        let said = format!("\n{cut} cut at the maximum length\n");
        sandbox.encode(&line).ends(0, &[&said]);
        let rows = sandbox.rows("rows.jsonl");
        let vectors = rows[0].colbert.as_ref().expect("they were asked for");
        assert_eq!(vectors.len(), tokens - 1);
        let words = ["the", "planet"].into_iter().cycle().take(tokens - 2);
        let short = words.collect::<Vec<_>>().join(" ");
        assert_same_vectors(&rows[..1], &sandbox.encode_texts(ALL, &[short]));
        assert_same_vectors(&rows[2..], &rows[..1]);
    }
}

#[test]
fn threads_and_batches_change_no_output() {
    let sandbox = bge_m3();
    let texts: Vec<String> = (0..60).map(|n| TEXTS[n % 6].repeat(n % 5)).collect();
    let expected = sandbox.encode_texts(&format!("{ALL} --threads 1"), &texts);
    for options in ["--threads 2", "--batch-tokens 1", "--batch-tokens 4096"] {
        let found = sandbox.encode_texts(&format!("{ALL} {options}"), &texts);
        assert_same_vectors(&found, &expected);
    }
}
