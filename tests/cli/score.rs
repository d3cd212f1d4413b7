//! `lexpeak score`: the scores that the library gives, as a table or as lines of JSON.

use std::io;
use std::path::Path;
use std::process::Stdio;

use lexpeak::{Device, EncodeOptions, Encoder, Outputs, Role, ScoreWeights, Scores};
use serde_json::{Value, json};

use crate::sandbox::{Run, Sandbox};
use crate::support::random_model::RandomModel;

const QUERY: &str = "the RED planet";
const TEXTS: [&str; 4] = [
    "Mars is the red planet",
    "",
    "火星 <mask> قمر",
    "the quick sparse search engine",
];

/// Of every score that there is, the name.
const NAMES: [&str; 5] = [
    "sparse",
    "dense",
    "colbert",
    "sparse+dense",
    "colbert+sparse+dense",
];

fn bge_m3() -> Sandbox {
    Sandbox::with(&RandomModel::named("bge_m3"))
}

/// The arguments behind `score --model model`, each by itself.
fn score(sandbox: &Sandbox, arguments: &[&str]) -> Run {
    Run::of(sandbox.command("score --model model").args(arguments))
}

/// What the library says of `QUERY` and each text, in the order of [`NAMES`].
fn expected(
    folder: &Path,
    texts: &[&str],
    max_length: Option<usize>,
    weights: ScoreWeights,
) -> Vec<[Option<f64>; 5]> {
    let builder = Encoder::builder(folder).device(Device::Cpu);
    let encoder = builder.build().expect("the model is whole");
    let embed = |texts: &[&str], role| {
        let Outputs { dense, colbert, .. } = encoder.spec().head.outputs();
        let options = EncodeOptions {
            role,
            max_length,
            outputs: Outputs {
                sparse: true,
                dense,
                colbert,
            },
            ..Default::default()
        };
        encoder.embed(texts, &options).expect("embeddings")
    };
    let query = embed(&[QUERY], Role::Query);
    let documents = embed(texts, Role::Document);
    let of = |document| {
        let scores = Scores::of(query.document(0), documents.document(document));
        [
            scores.sparse,
            scores.dense,
            scores.colbert,
            scores.sparse_dense(weights),
            scores.colbert_sparse_dense(weights),
        ]
    };
    (0..texts.len()).map(of).collect()
}

/// The names of a table, and its lines: numbers, and the text behind them.
fn parse_table(printed: &str) -> (Vec<&str>, Vec<(Vec<f64>, &str)>) {
    let mut lines = printed.lines();
    let names = lines.next().expect("a head").split_whitespace();
    let mut names: Vec<&str> = names.collect();
    assert_eq!(names.pop(), Some("text"));
    let line = |line: &'_ str| -> (Vec<f64>, usize) {
        let mut rest = line;
        let mut numbers = Vec::new();
        for _ in 0..names.len() {
            let (number, behind) = rest.trim_start().split_once("  ").expect("a column");
            numbers.push(number.parse().expect("a score"));
            rest = behind;
        }
        (numbers, line.len() - rest.len())
    };
    let lines = lines.map(|text| {
        let (numbers, at) = line(text);
        (numbers, &text[at..])
    });
    let lines = lines.collect();
    (names, lines)
}

/// The table has the scores of `expected` under their names, and the texts.
#[track_caller]
fn assert_table(printed: &str, expected: &[[Option<f64>; 5]], texts: &[&str]) {
    let (names, lines) = parse_table(printed);
    let there = expected[0].iter().zip(NAMES);
    let there: Vec<&str> = there
        .filter_map(|(score, name)| score.map(|_| name))
        .collect();
    assert_eq!(names, there);
    assert_eq!(lines.len(), expected.len());
    for (((numbers, text), expected), wanted) in lines.iter().zip(expected).zip(texts) {
        assert_eq!(text, wanted);
        for (found, expected) in numbers.iter().zip(expected.iter().flatten()) {
            // Four digits behind the point, of sums that may differ in their order.
            let error = (found - expected).abs();
            assert!(
                error <= 0.5e-4 + 1e-5,
                "{text:?}: {found} and not {expected}"
            );
        }
    }
}

/// The lines have the ids, and the scores of `expected` under their names and in their order.
#[track_caller]
fn assert_lines(printed: &str, ids: &[Value], expected: &[[Option<f64>; 5]]) {
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!((lines.len(), ids.len()), (expected.len(), expected.len()));
    for ((line, id), expected) in lines.iter().zip(ids).zip(expected) {
        let found: Value = serde_json::from_str(line).expect("a line of JSON");
        let found = found.as_object().expect("an object");
        assert_eq!(found["id"], *id);
        let mut last = line.find("\"id\":").expect("the id is the first");
        let mut count = 1;
        for (name, expected) in NAMES.into_iter().zip(expected) {
            let Some(expected) = expected else {
                assert!(!found.contains_key(name), "{line}");
                continue;
            };
            count += 1;
            let place = line.find(&format!("\"{name}\":"));
            let place = place.unwrap_or_else(|| panic!("{name} in {line}"));
            assert!(place > last, "{line}");
            last = place;
            let error = (found[name].as_f64().expect("a number") - expected).abs();
            assert!(error <= 1e-5, "{name} in {line}: not {expected}");
        }
        assert_eq!(found.len(), count, "{line}");
    }
}

#[test]
fn a_table_has_the_library_s_scores() {
    let sandbox = bge_m3();
    let folder = sandbox.path("model");
    for (options, max_length, weights) in [
        (&[][..], None, (1.0, 1.0, 1.0)),
        (&["--max-length", "6"], Some(6), (1.0, 1.0, 1.0)),
        (&["--weights", "0.4,0.2,0.4"], None, (0.4, 0.2, 0.4)),
        (&["--weights", " 0, 0, 2.5 "], None, (0.0, 0.0, 2.5)),
    ] {
        let (dense, sparse, colbert) = weights;
        let weights = ScoreWeights::new(dense, sparse, colbert).expect("good weights");
        let expected = expected(&folder, &TEXTS, max_length, weights);
        // Options may stand anywhere.
        let arguments = [&[QUERY], &TEXTS[..], options].concat();
        let run = score(&sandbox, &arguments).succeeds();
        assert_table(&run.stdout, &expected, &TEXTS);
        assert_eq!(run.stderr, "");
        let arguments = [options, &[QUERY], &TEXTS[..]].concat();
        assert_eq!(score(&sandbox, &arguments).succeeds().stdout, run.stdout);
    }
}

#[test]
fn lines_have_the_library_s_scores() {
    let sandbox = bge_m3();
    let weights = ScoreWeights::new(0.4, 0.2, 0.4).expect("good weights");
    let expected = expected(&sandbox.path("model"), &TEXTS, None, weights);
    let ids = [json!("a\u{e9}"), json!(1), json!(-2.5), json!("4")];
    let jsonl: String = (ids.iter().zip(TEXTS))
        .map(|(id, text)| format!("{}\n", json!({"id": id, "text": text})))
        .collect();
    sandbox.write("docs.jsonl", &jsonl);
    let arguments = [QUERY, "--weights", "0.4,0.2,0.4", "--input"];
    let of_file = score(&sandbox, &[&arguments[..], &["docs.jsonl"]].concat()).succeeds();
    assert_lines(&of_file.stdout, &ids, &expected);
    assert_eq!(of_file.stderr, "");

    let from_input = with_input(&sandbox, &[&arguments[..], &["-"]].concat(), &jsonl);
    assert_eq!(from_input.succeeds().stdout, of_file.stdout);

    let tsv: String = (TEXTS.iter().enumerate())
        .map(|(number, text)| format!("d{number}\t{text}\n"))
        .collect();
    sandbox.write("docs.tsv", &tsv);
    let ids: Vec<Value> = (0..4).map(|number| json!(format!("d{number}"))).collect();
    let of_file = score(&sandbox, &[&arguments[..], &["docs.tsv"]].concat()).succeeds();
    assert_lines(&of_file.stdout, &ids, &expected);
    let formatted = [&arguments[..], &["-", "--input-format", "tsv"]].concat();
    let from_input = with_input(&sandbox, &formatted, &tsv).succeeds();
    assert_eq!(from_input.stdout, of_file.stdout);
}

/// Runs `score` with `text` on its standard input.
fn with_input(sandbox: &Sandbox, arguments: &[&str], text: &str) -> Run {
    sandbox.write("input", text);
    let input = std::fs::File::open(sandbox.path("input")).expect("it is there");
    let mut command = sandbox.command("score --model model");
    Run::of(command.args(arguments).stdin(input))
}

#[test]
fn more_lines_than_are_scored_at_a_time() {
    let sandbox = bge_m3();
    let texts: Vec<&str> = TEXTS.into_iter().cycle().take(150).collect();
    let weights = ScoreWeights::default();
    let expected = expected(&sandbox.path("model"), &texts, None, weights);
    sandbox.write_documents("docs.jsonl", &texts);
    let run = score(&sandbox, &[QUERY, "--input", "docs.jsonl"]).succeeds();
    let ids: Vec<Value> = (0..150).map(|id| json!(id)).collect();
    assert_lines(&run.stdout, &ids, &expected);

    sandbox.write("docs.jsonl", "");
    let run = score(&sandbox, &[QUERY, "--input", "docs.jsonl"]).succeeds();
    assert_eq!(run.stdout, "");
}

#[test]
fn lines_before_a_bad_one_are_scored() {
    let sandbox = bge_m3();
    for good in [0, 2, 64, 65] {
        let texts: Vec<&str> = TEXTS.into_iter().cycle().take(good).collect();
        sandbox.write_documents("docs.jsonl", &texts);
        sandbox.write(
            "docs.jsonl",
            sandbox.read("docs.jsonl") + "{\"id\": 1}\n{}\n",
        );
        let run = score(&sandbox, &[QUERY, "--input", "docs.jsonl"]);
        let said = format!("lexpeak: docs.jsonl, line {}: ", good + 1);
        let run = run.fails(1, &[&said, "; give each document a \"text\""]);
        assert_eq!(run.stdout.lines().count(), good);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    }
    let run = score(&sandbox, &[QUERY, "--input", "nothing.jsonl"]);
    let run = run.fails(1, &["lexpeak: nothing.jsonl: "]);
    assert_eq!(run.stdout, "");
}

#[test]
fn models_have_the_scores_of_their_outputs() {
    for (model, names) in [
        ("bert", &NAMES[..1]),
        ("xlm_roberta", &NAMES[..1]),
        ("unicoil", &NAMES[..1]),
        (
            "xlm_roberta_classifier",
            &["sparse", "dense", "sparse+dense"],
        ),
        ("bge_m3", &NAMES),
    ] {
        let sandbox = Sandbox::with(&RandomModel::named(model));
        let weights = ScoreWeights::default();
        let expected = expected(&sandbox.path("model"), &TEXTS, None, weights);
        let run = score(&sandbox, &[&[QUERY], &TEXTS[..]].concat()).succeeds();
        assert_table(&run.stdout, &expected, &TEXTS);
        assert_eq!(parse_table(&run.stdout).0, names, "{model}");
        sandbox.write_documents("docs.jsonl", &TEXTS);
        let run = score(&sandbox, &[QUERY, "--input", "docs.jsonl"]).succeeds();
        let ids: Vec<Value> = (0..TEXTS.len()).map(|id| json!(id)).collect();
        assert_lines(&run.stdout, &ids, &expected);
    }
}

/// Without a weight for either, there is no mean of the two.
#[test]
fn a_mean_without_weights_is_left_out() {
    let run = score(&bge_m3(), &[QUERY, "--weights", "0,0,1", "mars"]).succeeds();
    let (names, lines) = parse_table(&run.stdout);
    assert_eq!(
        names,
        ["sparse", "dense", "colbert", "colbert+sparse+dense"]
    );
    assert_eq!(lines[0].0[2], lines[0].0[3]);
}

#[test]
fn an_empty_query_scores_nothing_sparse() {
    let sandbox = bge_m3();
    let run = score(&sandbox, &["", "the planet", ""]).succeeds();
    let (_, lines) = parse_table(&run.stdout);
    for (numbers, text) in &lines {
        assert_eq!(numbers[0], 0.0, "{text:?}");
        assert!(
            numbers[1..3]
                .iter()
                .all(|score| (-1.0..=1.0).contains(score))
        );
    }
    // Of a text and itself.
    assert_eq!(lines[1].0[1..3], [1.0, 1.0]);
}

#[test]
fn query_and_texts_have_their_prompts() {
    let sandbox = bge_m3();
    let plain = score(&sandbox, &["red planet", "red planet"]).succeeds();
    assert_eq!(parse_table(&plain.stdout).1[0].0[1..3], [1.0, 1.0]);
    let prompts = json!({"prompts": {"query": "the ", "document": "all "}});
    sandbox.write(
        "model/config_sentence_transformers.json",
        prompts.to_string(),
    );
    let prompted = score(&sandbox, &["red planet", "red planet"]).succeeds();
    let plain = score(&bge_m3(), &["the red planet", "all red planet"]).succeeds();
    let [prompted, plain] = [&prompted, &plain].map(|run| parse_table(&run.stdout).1[0].0.clone());
    assert_eq!(prompted, plain);
}

#[test]
fn a_text_is_one_line() {
    let run = score(&bge_m3(), &[QUERY, "two\nlines\tand a tab", "one"]).succeeds();
    let (_, lines) = parse_table(&run.stdout);
    let texts: Vec<&str> = lines.into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["two lines and a tab", "one"]);
}

#[test]
fn texts_that_look_like_options() {
    let sandbox = bge_m3();
    let expected = score(&sandbox, &["- 5 planet", "-x", "--the planet"]);
    expected.fails(
        2,
        &[
            "unexpected argument '-x'",
            "to pass '-x' as a value, use '-- -x'",
        ],
    );
    let run = score(&sandbox, &["-5 planet", "--", "-x", "--the planet"]).succeeds();
    let (_, lines) = parse_table(&run.stdout);
    let texts: Vec<&str> = lines.into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["-x", "--the planet"]);
}

#[test]
fn wrong_usage_is_told_from_failure() {
    let sandbox = bge_m3();
    sandbox.write_documents("docs.jsonl", &TEXTS);
    let three = "give three numbers, dense,sparse,colbert";
    let at_least = "give 0 or a number above it";
    for (arguments, parts) in [
        (&["--weights", "1,2", QUERY, "mars"][..], ["'1,2'", three]),
        (
            &["--weights", "1,2,3,4", QUERY, "mars"],
            ["'1,2,3,4'", three],
        ),
        (
            &["--weights", "1,many,3", QUERY, "mars"],
            ["'1,many,3'", three],
        ),
        (
            &["--weights", "", QUERY, "mars"],
            ["--weights <D,S,C>", three],
        ),
        (
            &["--weights", "1,-2,1", QUERY, "mars"],
            ["the weight -2 of the sparse score", at_least],
        ),
        (
            &["--weights=-1,1,1", QUERY, "mars"],
            ["the weight -1 of the dense score", at_least],
        ),
        (
            &["--weights", "1,1,nan", QUERY, "mars"],
            ["the weight NaN of the colbert score", at_least],
        ),
        (
            &["--weights", "0,0,0", QUERY, "mars"],
            [
                "all scores have the weight 0",
                "give at least one a weight above it",
            ],
        ),
        (
            &["--max-length", "41", QUERY, "mars"],
            [
                "a length of 41 tokens is out of this model's range",
                "; ask for 3 to 40 tokens",
            ],
        ),
        (&[QUERY], ["required arguments", "<TEXTS>..."]),
        (&[], ["required arguments", "<QUERY>"]),
        (
            &[QUERY, "--input-format", "tsv"],
            ["required arguments", "--input <FILE|->"],
        ),
        (
            &[QUERY, "mars", "--input", "docs.jsonl"],
            ["cannot be used with", "--input <FILE|->"],
        ),
        (
            &[QUERY, "mars", "--input-format", "tsv"],
            ["cannot be used with", "--input-format <INPUT_FORMAT>"],
        ),
    ] {
        let run = score(&sandbox, arguments).fails(2, &parts);
        assert_eq!(run.stdout, "", "{arguments:?}");
    }
    sandbox
        .run("score red mars")
        .fails(2, &["--model <DIR|HUB_ID>"]);
}

#[test]
fn it_ends_quietly_when_its_reader_goes_away() {
    let sandbox = bge_m3();
    sandbox.write_documents("docs.jsonl", &TEXTS);
    for (arguments, code) in [
        // As explain's, a table is printed at once: who went away has seen what it wanted.
        (&[QUERY, "mars"][..], 0),
        (&[QUERY, "--input", "docs.jsonl"], 141),
    ] {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let mut command = sandbox.command("score --model model");
        let run = Run::of(command.args(arguments).stdout(writer));
        assert_eq!((run.code, run.stderr.as_str()), (Some(code), ""));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_reported() {
    let sandbox = bge_m3();
    sandbox.write_documents("docs.jsonl", &TEXTS);
    for arguments in [&[QUERY, "mars"][..], &[QUERY, "--input", "docs.jsonl"]] {
        let full = std::fs::File::options().write(true).open("/dev/full");
        let mut command = sandbox.command("score --model model");
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(full.expect("the device"));
        let said = [
            "lexpeak: standard output: cannot write: ",
            "; free some space",
        ];
        Run::of(&mut command).fails(1, &said);
    }
}
