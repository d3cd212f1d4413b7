//! Files out: whole under their own name, or not at all.

use std::fs;

use crate::sandbox::{Sandbox, ids};

/// A sandbox with `docs.jsonl`, two documents.
fn with_documents() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write_documents("docs.jsonl", &["red planet", "lazy dog"]);
    sandbox
}

#[test]
fn a_whole_file_leaves_nothing_beside_it() {
    let sandbox = with_documents();
    let run = sandbox
        .encode("--input docs.jsonl --output rows.jsonl")
        .succeeds();
    assert_eq!(run.stdout, "");
    assert!(
        run.stderr.starts_with("2 documents, 8 tokens in "),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("; engine cpu f32 ("), "{}", run.stderr);
    assert_eq!(ids(&sandbox.rows("rows.jsonl")), ["0", "1"]);
    assert!(!sandbox.has("rows.jsonl.partial"));
}

#[test]
fn standard_output_has_the_same_rows_and_nothing_else() {
    let sandbox = with_documents();
    sandbox
        .encode("--input docs.jsonl --output rows.jsonl")
        .succeeds();
    let run = sandbox.encode("--input docs.jsonl --output -").succeeds();
    assert_eq!(run.stdout, sandbox.read("rows.jsonl"));
    assert!(!sandbox.has("-") && !sandbox.has("-.partial"));
}

#[test]
fn an_earlier_file_stays_until_the_new_one_is_whole() {
    let sandbox = with_documents();
    sandbox.write("rows.jsonl", "earlier");
    sandbox.write("bad.jsonl", sandbox.read("docs.jsonl") + "{}\n");
    sandbox
        .encode("--input bad.jsonl --output rows.jsonl")
        .fails(1, &["bad.jsonl, line 3"]);
    assert_eq!(sandbox.read("rows.jsonl"), "earlier");
    assert_eq!(sandbox.rows("rows.jsonl.partial").len(), 2);

    sandbox
        .encode("--input docs.jsonl --output rows.jsonl")
        .succeeds();
    assert_eq!(sandbox.rows("rows.jsonl").len(), 2);
    assert!(!sandbox.has("rows.jsonl.partial"));
}

#[cfg(unix)]
#[test]
fn a_link_stays_a_link() {
    let sandbox = with_documents();
    fs::create_dir(sandbox.path("data")).expect("a folder");
    sandbox.write("data/rows.jsonl", "earlier");
    std::os::unix::fs::symlink("data/rows.jsonl", sandbox.path("link")).expect("a link");
    sandbox
        .encode("--input docs.jsonl --output link")
        .succeeds();
    assert!(sandbox.path("link").is_symlink());
    assert_eq!(sandbox.rows("data/rows.jsonl").len(), 2);
    assert!(!sandbox.has("link.partial") && !sandbox.has("data/rows.jsonl.partial"));
}

#[test]
fn a_place_where_no_file_can_be() {
    let sandbox = with_documents();
    let remedy = "the folder must exist and be writable";
    for output in ["missing/rows.jsonl", "docs.jsonl/rows.jsonl"] {
        let run = sandbox.encode(&format!("--input docs.jsonl --output {output}"));
        run.fails(1, &[&format!("lexpeak: {output}"), remedy]);
    }
    assert!(!sandbox.has("missing"));
    assert_eq!(sandbox.read("docs.jsonl").lines().count(), 2);
}

#[test]
fn a_folder_is_no_file() {
    let sandbox = with_documents();
    for output in ["model", "."] {
        let run = sandbox.encode(&format!("--input docs.jsonl --output {output}"));
        let place = format!("lexpeak: {output}: ");
        run.fails(1, &[&place, "it is a folder; name a file in it"]);
    }
    assert!(!sandbox.has("model.partial"));
}
