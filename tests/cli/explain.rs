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
    for name in [
        "bert",
        "bert_sum",
        "distilbert",
        "bge_m3",
        "xlm_roberta_classifier",
        "unicoil",
    ] {
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

/// A head that weighs tokens gives a term the weight of one of its own, the first with the largest.
#[test]
fn explain_names_the_term_itself_where_tokens_are_weighed() {
    let sandbox = Sandbox::with(&RandomModel::named("bge_m3"));
    let text = "the planet the planet the planet";
    let run = Run::of(sandbox.command("explain --model model").arg(text)).succeeds();
    let terms = table(&run.stdout);
    assert!(!terms.is_empty());
    let tokens = [
        "<s>",
        "▁the",
        "▁planet",
        "▁the",
        "▁planet",
        "▁the",
        "▁planet",
        "</s>",
    ];
    for term in &terms {
        assert_eq!(term.token, term.source);
        assert_eq!(tokens[term.position], term.source, "{term:?}");
    }
    for empty in ["", "<unk>", "<s> </s> <pad>"] {
        let run = Run::of(sandbox.command("explain --model model").arg(empty));
        assert!(table(&run.succeeds().stdout).is_empty(), "{empty:?}");
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
        (
            "bge_m3",
            [
                "model    XLMRobertaModel: 2 layers, hidden 64, 2 heads of 32, ffn 128",
                "head     max over a term's tokens of relu(weight); dense vector of the first token; \
                 vectors of 64 for the others",
                "space    422 vocabulary terms",
                "length   40 tokens (at most 40)",
            ],
        ),
        (
            "bge_m3_bin",
            [
                "model    XLMRobertaModel: 2 layers, hidden 60, 3 heads of 20, ffn 128",
                "head     max over a term's tokens of relu(weight); dense vector of the first token; \
                 vectors of 24 for the others",
                "space    422 vocabulary terms",
                "length   40 tokens (at most 40)",
            ],
        ),
        (
            "bge_m3_long",
            [
                "model    XLMRobertaModel: 1 layers, hidden 32, 1 heads of 32, ffn 64",
                "head     max over a term's tokens of relu(weight); dense vector of the first token; \
                 vectors of 32 for the others",
                "space    422 vocabulary terms",
                "length   8192 tokens (at most 8192)",
            ],
        ),
        (
            "xlm_roberta_classifier",
            [
                "model    XLMRobertaForTokenClassification: 2 layers, hidden 64, 2 heads of 32, ffn 128",
                "head     max over a term's tokens of relu(weight); dense vector of the first token",
                "space    422 vocabulary terms",
                "length   40 tokens (at most 40)",
            ],
        ),
        (
            "unicoil",
            [
                "model    UniCoilEncoder: 2 layers, hidden 64, 2 heads of 32, ffn 128",
                "head     max over a term's tokens of relu(weight)",
                "space    139 vocabulary terms",
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

/// The numbers of the line `memory`: megabytes of weights, arena and peak, and the tokens they are for.
fn memory(sandbox: &Sandbox, options: &str) -> ([f64; 3], usize) {
    let run = sandbox.run(&format!("info --model model --device cpu {options}"));
    let printed = run.succeeds().stdout;
    let line = printed
        .lines()
        .find_map(|line| line.strip_prefix("memory   "));
    let line = line.unwrap_or_else(|| panic!("{printed}"));
    let numbers: Vec<&str> = line
        .split(' ')
        .filter(|word| word.starts_with(|c: char| c.is_ascii_digit()))
        .collect();
    let [weights, arena, tokens, peak] = numbers[..] else {
        panic!("{line}");
    };
    let said = format!(
        "{weights} MB weights, {arena} MB arena for {tokens} tokens at a time, {peak} MB peak"
    );
    assert_eq!(line, said);
    let megabytes = [weights, arena, peak].map(|number| number.parse().expect("a number"));
    (megabytes, tokens.parse().expect("a number"))
}

#[test]
fn info_s_memory_is_for_the_tokens_at_a_time() {
    let sandbox = Sandbox::with(&RandomModel::named("bge_m3"));
    let ([weights, _, _], _) = memory(&sandbox, "");
    let numbers = RandomModel::named("bge_m3").tensors().into_iter();
    // The pooler is not read. What is stored in halves is held in whole numbers.
    let read = numbers.filter(|tensor| !tensor.name.starts_with("pooler."));
    let floats: usize = read.map(|tensor| tensor.values.len()).sum();
    // RoBERTa's first two positions belong to no token.
    let held = 4.0 * (floats - 2 * 64) as f64 / 1e6;
    assert!(
        (weights - held).abs() <= 0.05 + 1e-9,
        "{weights} and not {held}"
    );

    let ([_, arena, peak], tokens) = memory(&sandbox, "--batch-tokens 100000");
    assert_eq!(tokens, 100_000);
    let ([same, twice, more], tokens) = memory(&sandbox, "--batch-tokens 200000");
    assert_eq!((same, tokens), (weights, 200_000));
    assert!((twice / arena - 2.0).abs() < 0.01, "{arena} and {twice}");
    // On the way to the output are at least the vectors of one batch.
    let vectors = 200_000.0 * 64.0 * 4.0 / 1e6;
    assert!(more >= weights + twice + vectors, "{more}");
    assert!(more > peak);
    // A text is never divided.
    let ([..], tokens) = memory(&sandbox, "--batch-tokens 1");
    assert_eq!(tokens, 40);
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
