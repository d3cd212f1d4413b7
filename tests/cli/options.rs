//! What each option does, and which values are refused.

use serde_json::json;

use crate::sandbox::{Row, Sandbox, assert_same_vectors, ids};
use crate::support::random_model::RandomModel;

const TEXTS: [&str; 5] = [
    "mars is known as the red planet",
    "the quick brown fox and the lazy dog",
    "",
    "rocket",
    "fox over fox over fox over fox over fox",
];

/// [PAD], [UNK], [CLS], [SEP] and [MASK] in the vocabulary of the test models.
const SPECIAL_IDS: [u32; 5] = [0, 3, 4, 5, 6];

#[test]
fn wrong_usage_is_told_from_failure() {
    let sandbox = Sandbox::new();
    sandbox.write_documents("docs.jsonl", &TEXTS);
    for (options, parts) in [
        (
            "--no-such-option",
            ["--no-such-option", "Usage: lexpeak encode"],
        ),
        (
            "--max-length 1",
            [
                "a length of 1 tokens is out of this model's range",
                "; ask for 3 to 40 tokens",
            ],
        ),
        (
            "--max-length 2",
            [
                "a length of 2 tokens is out of this model's range",
                "; ask for 3 to 40 tokens",
            ],
        ),
        (
            "--max-length 41",
            [
                "a length of 41 tokens is out of this model's range",
                "; ask for 3 to 40 tokens",
            ],
        ),
        ("--max-length -1", ["-1", "--help"]),
        (
            "--min-weight nan",
            [
                "a minimum weight of NaN",
                "; weights are greater than 0: ask for 0 or more",
            ],
        ),
        (
            "--min-weight inf",
            [
                "a minimum weight of inf",
                "; weights are greater than 0: ask for 0 or more",
            ],
        ),
        (
            "--min-weight=-1",
            [
                "a minimum weight of -1",
                "; weights are greater than 0: ask for 0 or more",
            ],
        ),
        (
            "--min-weight -1",
            [
                "a minimum weight of -1",
                "; weights are greater than 0: ask for 0 or more",
            ],
        ),
        ("--top-k many", ["--top-k", "many"]),
        ("--threads 0", ["0 worker threads", "; ask for 1 to "]),
        (
            "--threads 100000",
            ["100000 worker threads", "; ask for 1 to "],
        ),
        ("--batch-tokens 0", ["0 tokens a batch", "; ask for 1 to "]),
        (
            "--batch-tokens 18446744073709551615",
            ["18446744073709551615 tokens a batch", "; ask for 1 to "],
        ),
        (
            "--device tpu",
            ["\"tpu\" is no device", "say auto, cuda, cuda:N or cpu"],
        ),
        (
            "--device cuda:x",
            ["\"cuda:x\" is no device", "say auto, cuda, cuda:N or cpu"],
        ),
        (
            "--dtype f64",
            ["--dtype", "possible values: auto, f32, f16, bf16, int8"],
        ),
        (
            "--role title",
            ["--role", "possible values: document, query"],
        ),
        (
            "--special-tokens none",
            [
                "--special-tokens",
                "possible values: keep, zero-columns, drop-positions",
            ],
        ),
        (
            "--input-format csv",
            ["--input-format", "possible values: jsonl, tsv, text"],
        ),
        ("--format parquet", ["--format", "possible values: jsonl"]),
    ] {
        // What an earlier run left is not lost to a slip in the command line.
        sandbox.write("rows.jsonl.partial", "earlier");
        let run = sandbox.encode(&format!("--input docs.jsonl --output rows.jsonl {options}"));
        run.fails(2, &parts);
        assert_eq!(sandbox.read("rows.jsonl.partial"), "earlier", "{options}");
        assert!(!sandbox.has("rows.jsonl"), "{options}");
    }
}

#[test]
fn what_is_left_out_is_asked_for() {
    let sandbox = Sandbox::new();
    for (line, part) in [
        ("", "Usage: lexpeak"),
        ("frobnicate", "frobnicate"),
        ("encode", "--model <DIR|HUB_ID>"),
        (
            "encode --model model --output rows.jsonl",
            "--input <FILE|->",
        ),
        (
            "encode --model model --input docs.jsonl",
            "--output <FILE|->",
        ),
        ("explain --model model", "<TEXT>"),
    ] {
        sandbox.run(line).fails(2, &[part]);
    }
}

#[test]
fn an_engine_that_is_not_there_is_no_wrong_usage() {
    let sandbox = Sandbox::new();
    sandbox.write_documents("docs.jsonl", &TEXTS);
    let no_cuda = if cfg!(lexpeak_cuda) {
        ["no NVIDIA GPU answers here", "choose the device cpu"]
    } else {
        ["built without nvcc", "choose the device cpu"]
    };
    for (options, parts) in [
        ("--device cuda", no_cuda),
        ("--device cuda:1", no_cuda),
        (
            "--device cpu --dtype f16",
            ["the CPU engine has no f16 kernels", "; it computes in f32"],
        ),
        (
            "--device cpu --dtype bf16",
            ["the CPU engine has no bf16 kernels", "; it computes in f32"],
        ),
        (
            "--device cpu --dtype int8",
            ["the CPU engine has no int8 kernels", "; it computes in f32"],
        ),
    ] {
        let run = sandbox.encode(&format!("--input docs.jsonl --output rows.jsonl {options}"));
        run.fails(1, &parts);
        sandbox.run(&format!("info {options}")).fails(1, &parts);
        assert!(!sandbox.has("rows.jsonl") && !sandbox.has("rows.jsonl.partial"));
    }
}

#[test]
fn the_cpu_computes_in_f32() {
    let sandbox = Sandbox::new();
    let expected = sandbox.encode_texts("", &TEXTS);
    for options in [
        "--device cpu",
        "--device auto --dtype f32",
        "--device cpu --dtype auto",
    ] {
        assert_same_vectors(&sandbox.encode_texts(options, &TEXTS), &expected);
    }
}

#[test]
fn threads_and_batches_do_not_change_rows() {
    let sandbox = Sandbox::new();
    let texts: Vec<String> = (0..200).map(|n| TEXTS[n % 5].repeat(n % 7)).collect();
    let expected = sandbox.encode_texts("--threads 1", &texts);
    for options in [
        "--threads 2",
        "--batch-tokens 1",
        "--batch-tokens 64",
        "--batch-tokens 4096",
        "--threads 2 --batch-tokens 64",
    ] {
        let found = sandbox.encode_texts(options, &texts);
        assert_eq!(ids(&found), ids(&expected), "{options}");
        assert_same_vectors(&found, &expected);
    }
}

#[test]
fn top_k_keeps_the_heaviest() {
    let sandbox = Sandbox::new();
    let all = sandbox.encode_texts("", &TEXTS);
    for top_k in [0, 1, 7, 1000] {
        let found = sandbox.encode_texts(&format!("--top-k {top_k}"), &TEXTS);
        let kept = entries_where(&all, |row, weight| {
            row.values.iter().filter(|&&other| other > weight).count() < top_k
        });
        assert_eq!(entries_where(&found, |_, _| true), kept, "--top-k {top_k}");
    }
}

#[test]
fn min_weight_keeps_what_is_above() {
    let sandbox = Sandbox::new();
    let all = sandbox.encode_texts("", &TEXTS);
    assert!(
        all.iter()
            .all(|row| row.values.iter().all(|&weight| weight > 0.0))
    );
    let median = all[0].values[all[0].values.len() / 2];
    for limit in [0.0, median, 100.0] {
        let found = sandbox.encode_texts(&format!("--min-weight {limit}"), &TEXTS);
        let kept = entries_where(&all, |_, weight| weight > limit);
        assert_eq!(
            entries_where(&found, |_, _| true),
            kept,
            "--min-weight {limit}"
        );
    }
}

#[test]
fn both_limits_hold_together() {
    let sandbox = Sandbox::new();
    let all = sandbox.encode_texts("", &TEXTS);
    let limit = all[0].values.iter().copied().fold(0.0, f32::max) / 2.0;
    let found = sandbox.encode_texts(&format!("--top-k 3 --min-weight {limit}"), &TEXTS);
    let kept = entries_where(&all, |row, weight| {
        weight > limit && row.values.iter().filter(|&&other| other > weight).count() < 3
    });
    assert_eq!(entries_where(&found, |_, _| true), kept);
}

/// The entries of every row that `keep` wants, told the row and the weight.
fn entries_where(rows: &[Row], keep: impl Fn(&Row, f32) -> bool) -> Vec<Vec<(u32, f64)>> {
    let kept = |row: &Row| {
        let entries = row.entries().into_iter();
        entries
            .filter(|&(_, weight)| keep(row, weight as f32))
            .collect()
    };
    rows.iter().map(kept).collect()
}

#[test]
fn max_length_cuts_and_says_so() {
    let sandbox = Sandbox::new();
    let long = "red planet mars known as the rocket";
    sandbox.write_documents("docs.jsonl", &[long, "red planet", long, "red planet mars"]);
    let run = sandbox
        .encode("--input docs.jsonl --output cut.jsonl --max-length 5")
        .succeeds();
    assert!(
        run.stderr
            .contains("\n2 documents cut at the maximum length"),
        "{}",
        run.stderr
    );
    let short = [
        "red planet mars",
        "red planet",
        "red planet mars",
        "red planet mars",
    ];
    assert_same_vectors(
        &sandbox.rows("cut.jsonl"),
        &sandbox.encode_texts("", &short),
    );

    let run = sandbox
        .encode("--input docs.jsonl --output whole.jsonl")
        .succeeds();
    assert!(!run.stderr.contains("maximum length"), "{}", run.stderr);
    // The model itself takes 40.
    sandbox.write_documents("docs.jsonl", &["fox ".repeat(38), "fox ".repeat(39)]);
    let run = sandbox.encode("--input docs.jsonl --output -").succeeds();
    assert!(
        run.stderr
            .contains("\n1 document cut at the maximum length"),
        "{}",
        run.stderr
    );
}

#[test]
fn no_length_is_beyond_what_models_are_trained_for() {
    let sandbox = Sandbox::with(&RandomModel {
        layers: 1,
        max_positions: 1024,
        ..RandomModel::named("bert")
    });
    sandbox.write_documents("docs.jsonl", &TEXTS);
    for length in [513, 1024] {
        let run = sandbox.encode(&format!(
            "--input docs.jsonl --output - --max-length {length}"
        ));
        let problem = format!("a length of {length} tokens is out of this model's range");
        run.fails(2, &[&problem, "; ask for 3 to 512 tokens"]);
    }
    sandbox
        .encode("--input docs.jsonl --output - --max-length 512")
        .succeeds();
}

#[test]
fn special_tokens_are_kept_by_default() {
    let sandbox = Sandbox::new();
    let default = sandbox.encode_texts("", &TEXTS);
    assert_same_vectors(
        &sandbox.encode_texts("--special-tokens keep", &TEXTS),
        &default,
    );
    let has_special = |row: &Row| row.indices.iter().any(|id| SPECIAL_IDS.contains(id));
    assert!(
        default.iter().any(has_special),
        "this model gives them weights"
    );
}

#[test]
fn special_tokens_can_lose_their_columns() {
    let sandbox = Sandbox::new();
    let found = sandbox.encode_texts("--special-tokens zero-columns", &TEXTS);
    for (found, all) in found.iter().zip(sandbox.encode_texts("", &TEXTS)) {
        let mut expected = all.entries();
        expected.retain(|(id, _)| !SPECIAL_IDS.contains(id));
        assert_eq!(found.entries(), expected);
    }
}

#[test]
fn special_tokens_can_lose_their_positions() {
    let sandbox = Sandbox::new();
    let found = sandbox.encode_texts("--special-tokens drop-positions", &TEXTS);
    let all = sandbox.encode_texts("", &TEXTS);
    assert!(
        found[2].indices.is_empty(),
        "an empty text has no other positions"
    );
    for (found, all) in found.iter().zip(&all) {
        // The max over some of the positions.
        let of_all = |id| all.entries().into_iter().find(|entry| entry.0 == id);
        for (id, weight) in found.entries() {
            let most = of_all(id).unwrap_or_else(|| panic!("id {id} is new")).1;
            assert!(weight <= most + 1e-5, "id {id}: {weight} is over {most}");
        }
        let sum = |row: &Row| row.values.iter().sum::<f32>();
        assert!(sum(found) < sum(all), "special tokens win somewhere");
    }
}

#[test]
fn tokens_are_the_vocabulary_s_strings() {
    let sandbox = Sandbox::new();
    let words: Vec<String> = sandbox
        .read("model/vocab.txt")
        .lines()
        .map(str::to_owned)
        .collect();
    for row in sandbox.encode_texts("--tokens --top-k 20", &TEXTS) {
        let tokens: Vec<_> = row
            .indices
            .iter()
            .map(|&id| words[id as usize].clone())
            .collect();
        assert_eq!(row.tokens, Some(tokens));
    }
    let without = sandbox.encode_texts("", &TEXTS);
    assert!(without.iter().all(|row| row.tokens.is_none()));
}

#[test]
fn roles_have_the_prompts_of_the_model() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "model/config_sentence_transformers.json",
        json!({"prompts": {"query": "red ", "document": "the "}}).to_string(),
    );
    let query = sandbox.encode_texts("--role query", &["planet", "dog"]);
    let document = sandbox.encode_texts("--role document", &["planet", "dog"]);
    let default = sandbox.encode_texts("", &["planet", "dog"]);

    let plain = Sandbox::new();
    assert_same_vectors(&query, &plain.encode_texts("", &["red planet", "red dog"]));
    assert_same_vectors(
        &document,
        &plain.encode_texts("", &["the planet", "the dog"]),
    );
    assert_same_vectors(&default, &document);
    let same = plain.encode_texts("--role query", &["planet"]);
    assert_same_vectors(&same, &plain.encode_texts("--role document", &["planet"]));
}

#[test]
fn help_and_version_are_no_errors() {
    let sandbox = Sandbox::empty();
    let run = sandbox.run("--version").succeeds();
    assert_eq!(
        run.stdout,
        format!("lexpeak {}\n", env!("CARGO_PKG_VERSION"))
    );
    for command in ["encode", "explain", "score", "info"] {
        let run = sandbox.run(&format!("{command} --help")).succeeds();
        assert!(
            run.stdout.contains(&format!("Usage: lexpeak {command}")),
            "{}",
            run.stdout
        );
    }
}
