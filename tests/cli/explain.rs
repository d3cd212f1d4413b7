//! `lexpeak explain` and `lexpeak info`: what they print is what the engine does.

use crate::sandbox::{Run, Sandbox};
use crate::support::random_model::RandomModel;

const TEXT: &str = "Mars is known as the Red Planet";

fn explain(sandbox: &Sandbox, options: &str) -> Run {
    let mut command = sandbox.command(&format!("explain --model model {options}"));
    Run::of(command.arg(TEXT)).succeeds()
}

/// A line of the table.
#[derive(Debug)]
struct Term {
    weight: f64,
    token: String,
    id: u32,
    source: String,
    position: usize,
}

fn table(printed: &str) -> Vec<Term> {
    let mut lines = printed.lines();
    let head: Vec<&str> = lines
        .next()
        .expect("a head line")
        .split_whitespace()
        .collect();
    assert_eq!(head, ["weight", "term", "id", "from"]);
    let term = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [weight, token, id, source, "(position", position] = fields[..] else {
            panic!("{line:?}");
        };
        Term {
            weight: weight.parse().expect("a weight"),
            token: token.to_owned(),
            id: id.parse().expect("an id"),
            source: source.to_owned(),
            position: position.trim_end_matches(')').parse().expect("a position"),
        }
    };
    lines.map(term).collect()
}

#[test]
fn explain_shows_the_weights_that_encode_writes() {
    for name in ["bert", "bert_sum", "distilbert"] {
        let sandbox = Sandbox::with(&RandomModel::named(name));
        for options in [
            "",
            "--top-k 5",
            "--special-tokens zero-columns",
            "--min-weight 0.5",
        ] {
            let terms = table(&explain(&sandbox, options).stdout);
            let row = &sandbox.encode_texts(&format!("--tokens {options}"), &[TEXT])[0];
            let tokens = row.tokens.as_ref().expect("they were asked for");
            assert_eq!(terms.len(), row.indices.len(), "{name} {options}");
            assert!(
                terms.is_sorted_by(|a, b| a.weight >= b.weight),
                "{name} {options}: {terms:?}"
            );
            for term in &terms {
                let at = row
                    .indices
                    .binary_search(&term.id)
                    .expect("encode has the id too");
                assert_eq!(term.token, tokens[at]);
                let error = (term.weight - f64::from(row.values[at])).abs();
                assert!(
                    error <= 0.5e-4 + 1e-5,
                    "{name} {options}: {term:?}, {}",
                    row.values[at]
                );
            }
        }
    }
}

#[test]
fn explain_names_the_token_at_the_position() {
    let tokens = [
        "[CLS]", "mars", "is", "known", "as", "the", "red", "planet", "[SEP]",
    ];
    let terms = table(&explain(&Sandbox::new(), "").stdout);
    assert!(!terms.is_empty());
    for term in terms {
        assert_eq!(tokens[term.position], term.source, "{term:?}");
    }
}

#[test]
fn explain_takes_an_empty_text() {
    for (sandbox, options) in [
        (Sandbox::new(), "--special-tokens drop-positions"),
        (Sandbox::without_special_tokens(), ""),
    ] {
        let mut command = sandbox.command(&format!("explain --model model {options}"));
        let run = Run::of(command.arg("")).succeeds();
        assert!(table(&run.stdout).is_empty());
    }
}

#[test]
fn explain_takes_a_text_that_looks_like_an_option() {
    let sandbox = Sandbox::new();
    let [found, expected] = ["-5 planet", "- 5 planet"].map(|text| {
        let run = Run::of(sandbox.command("explain --model model").arg(text));
        run.succeeds().stdout
    });
    assert!(!table(&found).is_empty());
    assert_eq!(found, expected);
}

#[test]
fn info_shows_the_engine_without_a_model() {
    let run = Sandbox::empty()
        .run("info --device cpu --threads 3")
        .succeeds();
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines[0], format!("lexpeak  {}", env!("CARGO_PKG_VERSION")));
    assert!(lines[1].starts_with("engine   cpu f32 ("), "{}", lines[1]);
    assert!(lines[1].ends_with(", 3 threads)"), "{}", lines[1]);
    if cfg!(lexpeak_cuda) {
        let kernels = lexpeak::cuda::kernel_images().len();
        let targets = "sm_80, sm_89, sm_90a, sm_100a, sm_120a";
        assert_eq!(lines[2], format!("kernels  {kernels} files for {targets}"));
    } else {
        assert_eq!(lines[2], "kernels  none (built without nvcc)");
    }
    assert_eq!(lines.len(), 3);
}

#[test]
fn info_shows_the_shape_of_a_model() {
    for (name, lines) in [
        (
            "bert",
            [
                "model    BertForMaskedLM: 2 layers, hidden 64, 2 heads of 32, ffn 128",
                "head     max over positions of log(1 + relu(logit))",
                "space    139 vocabulary terms",
                "length   40 tokens (at most 40)",
            ],
        ),
        (
            "bert_log1p_sum",
            [
                "model    BertForMaskedLM: 1 layers, hidden 64, 2 heads of 32, ffn 128",
                "head     sum over positions of log(1 + log(1 + relu(logit)))",
                "space    139 vocabulary terms",
                "length   40 tokens (at most 40)",
            ],
        ),
        (
            "distilbert",
            [
                "model    DistilBertForMaskedLM: 2 layers, hidden 64, 2 heads of 32, ffn 131",
                "head     max over positions of log(1 + relu(logit))",
                "space    139 vocabulary terms",
                "length   40 tokens (at most 40)",
            ],
        ),
        (
            "xlm_roberta",
            [
                "model    XLMRobertaForMaskedLM: 2 layers, hidden 64, 2 heads of 32, ffn 128",
                "head     max over positions of log(1 + relu(logit))",
                "space    422 vocabulary terms",
                "length   40 tokens (at most 40)",
            ],
        ),
    ] {
        let sandbox = Sandbox::with(&RandomModel::named(name));
        let run = sandbox.run("info --model model").succeeds();
        assert!(
            run.stdout.contains("\nengine   cpu f32 ("),
            "{}",
            run.stdout
        );
        for line in lines {
            assert!(
                run.stdout.lines().any(|printed| printed == line),
                "{line:?}: {}",
                run.stdout
            );
        }
    }
}

#[test]
fn both_name_what_is_wrong_with_a_model() {
    let sandbox = Sandbox::new();
    sandbox.write("model/config.json", "{}");
    for line in ["explain --model model mars", "info --model model"] {
        let parts = [
            "lexpeak: model/config.json: it names no architecture",
            "; lexpeak reads",
        ];
        assert_eq!(sandbox.run(line).fails(1, &parts).stdout, "");
    }
}
