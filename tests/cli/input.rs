//! Documents in: every format, and every way in which a file of them can be wrong.

use std::io::Write;
use std::process::Stdio;

use crate::sandbox::{Run, Sandbox, assert_same_vectors, ids, rows};

#[test]
fn an_empty_file_gives_an_empty_file() {
    for (name, content) in [
        ("docs.jsonl", ""),
        ("docs.tsv", ""),
        ("docs.txt", ""),
        ("mark.jsonl", "\u{feff}"),
    ] {
        let sandbox = Sandbox::new();
        sandbox.write(name, content);
        let run = sandbox.encode(&format!("--input {name} --output rows.jsonl"));
        assert!(run.succeeds().stderr.starts_with("0 documents, 0 tokens"));
        assert_eq!(sandbox.read("rows.jsonl"), "", "{name}");
    }
}

#[test]
fn an_empty_text_has_a_row() {
    let sandbox = Sandbox::new();
    sandbox.write_documents("docs.jsonl", &["", "red planet", ""]);
    let run = sandbox.encode("--input docs.jsonl --output -").succeeds();
    let kept = rows(&run.stdout);
    assert_eq!(ids(&kept), ["0", "1", "2"]);
    assert!(
        !kept[0].indices.is_empty(),
        "[CLS] and [SEP] have weights in this model"
    );

    // Without its special tokens nothing is left of an empty text.
    let run = sandbox.encode("--input docs.jsonl --output - --special-tokens drop-positions");
    let run = run.succeeds();
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines[0], r#"{"id":0,"indices":[],"values":[]}"#);
    assert_eq!(lines[2], r#"{"id":2,"indices":[],"values":[]}"#);
    assert!(!rows(&run.stdout)[1].indices.is_empty());
    assert!(
        run.stderr.contains("2 documents with an empty row"),
        "{}",
        run.stderr
    );
}

#[test]
fn nothing_is_left_of_an_empty_text_without_special_tokens() {
    let sandbox = Sandbox::without_special_tokens();
    let texts = [
        "",
        "red planet",
        "",
        " ",
        "the lazy dog and the quick fox",
        "",
        "",
    ];
    let known = sandbox.encode_texts("", &[texts[1], texts[4]]);
    for options in ["", "--batch-tokens 4", "--special-tokens drop-positions"] {
        assert!(
            sandbox
                .encode_texts(options, &[""; 3])
                .iter()
                .all(|row| row.indices.is_empty()),
            "{options}"
        );
        let mut found = sandbox.encode_texts(options, &texts);
        assert_eq!(
            ids(&found),
            ["0", "1", "2", "3", "4", "5", "6"],
            "{options}"
        );
        for (row, text) in found.iter().zip(texts) {
            let empty = text.trim().is_empty();
            assert_eq!(row.indices.is_empty(), empty, "{options}: {text:?}");
        }
        found.retain(|row| !row.indices.is_empty());
        assert_same_vectors(&found, &known);
    }
}

#[test]
fn a_text_of_a_million_characters_loses_its_end() {
    long_text(
        "red planet mars ".repeat(62_500),
        "red planet mars ".repeat(13) + "of",
    );
}

#[test]
fn a_million_characters_may_come_without_a_space() {
    // A word that is too long for the vocabulary is one unknown token, however long it is.
    long_text("x".repeat(1_000_000), "x".repeat(101));
    // Every one of these is a token of its own.
    long_text("\u{706b}".repeat(1_000_000), "\u{706b}".repeat(39));
    long_text("!".repeat(1_000_000), "!".repeat(39));
}

/// `text` has the row of `short`, and those around it are not disturbed.
fn long_text(text: String, short: String) {
    let sandbox = Sandbox::new();
    let found = sandbox.encode_texts("", &["mars", &text, "fox"]);
    assert_eq!(ids(&found), ["0", "1", "2"]);
    assert_same_vectors(&found, &sandbox.encode_texts("", &["mars", &short, "fox"]));
}

#[test]
fn malformed_json_is_located() {
    rejects(
        "docs.jsonl",
        br#"{"id": 3, "text": "red"#,
        "malformed JSON at byte column 22: ",
        r#"; each line must be one JSON object such as {"id": 1, "text": "..."}"#,
    );
}

#[test]
fn a_line_that_is_no_object_is_located() {
    rejects(
        "docs.jsonl",
        b"red planet",
        "no JSON object",
        "; each line must be one JSON object",
    );
}

#[test]
fn a_blank_line_of_json_is_located() {
    rejects("docs.jsonl", b"", "blank line", "; remove it");
}

#[test]
fn a_missing_id_is_located() {
    rejects(
        "docs.jsonl",
        br#"{"text": "red"}"#,
        r#"no "id""#,
        r#"; give each document an "id" that is a string or a number"#,
    );
}

#[test]
fn a_missing_text_is_located() {
    rejects(
        "docs.jsonl",
        br#"{"id": 3}"#,
        r#"no "text""#,
        r#"; give each document a "text" that is a string"#,
    );
}

#[test]
fn a_text_that_is_no_string_is_located() {
    rejects(
        "docs.jsonl",
        br#"{"id": 3, "text": ["red"]}"#,
        r#""text" is an array, not a string"#,
        r#"; give each document a "text" that is a string"#,
    );
}

#[test]
fn invalid_utf8_is_located() {
    let remedy = "; convert the input to UTF-8";
    let json = b"{\"id\": 3, \"text\": \"d\xe9j\xe0\"}";
    rejects(
        "docs.jsonl",
        json,
        "invalid UTF-8 at byte column 21",
        remedy,
    );
    rejects(
        "docs.tsv",
        b"3\td\xe9j\xe0",
        "invalid UTF-8 at byte column 4",
        remedy,
    );
    rejects(
        "docs.txt",
        b"d\xe9j\xe0",
        "invalid UTF-8 at byte column 2",
        remedy,
    );
}

#[test]
fn a_line_without_a_tab_is_located() {
    rejects(
        "docs.tsv",
        b"red planet",
        "no tab",
        "; each line must be an id, a tab and the text",
    );
}

/// `line` is an error where it stands, and the rows before it are kept apart from whole output.
#[track_caller]
fn rejects(input: &str, line: &[u8], problem: &str, remedy: &str) {
    let good: &[u8] = match input {
        "docs.jsonl" => br#"{"id": "g", "text": "red planet"}"#,
        "docs.tsv" => b"g\tred planet",
        _ => b"red planet",
    };
    let sandbox = Sandbox::new();
    sandbox.write(input, [good, good, line, good].join(&b'\n'));
    sandbox
        .encode(&format!("--input {input} --output rows.jsonl"))
        .fails(
            1,
            &[
                &format!("lexpeak: {input}, line 3: {problem}"),
                remedy,
                "the rows finished so far are kept in rows.jsonl.partial",
            ],
        );
    assert!(!sandbox.has("rows.jsonl"));
    assert_eq!(sandbox.rows("rows.jsonl.partial").len(), 2);
}

#[test]
fn an_error_far_into_the_input_comes_after_all_rows_before_it() {
    let sandbox = Sandbox::new();
    let good = "g\tred planet\n".repeat(1000);
    sandbox.write("docs.tsv", format!("{good}bad\n{good}"));
    let run = sandbox.encode("--input docs.tsv --output rows.jsonl");
    run.fails(1, &["docs.tsv, line 1001: no tab"]);
    assert_eq!(sandbox.rows("rows.jsonl.partial").len(), 1000);
}

#[test]
fn duplicate_ids_are_allowed() {
    let found = encode_file(
        &Sandbox::new(),
        "docs.tsv",
        "a\tred\na\tred\nb\tfox\na\tdog\n",
    );
    assert_eq!(ids(&found), [r#""a""#, r#""a""#, r#""b""#, r#""a""#]);
}

#[test]
fn ids_come_back_as_they_were_written() {
    let given = [
        "7",
        "-0",
        "1.0",
        "1e400",
        "123456789012345678901234567890",
        r#""""#,
        r#""7""#,
        r#""d\u00e9j\u00E0 \/ \"x\"""#,
        r#""déjà""#,
    ];
    let line = |id: &&str| format!(r#"{{"id": {id}, "text": "red"}}"#);
    let lines: Vec<String> = given.iter().map(line).collect();
    let found = encode_file(&Sandbox::new(), "docs.jsonl", &lines.join("\n"));
    assert_eq!(ids(&found), given);
}

#[test]
fn byte_order_mark_and_line_ends_do_not_matter() {
    let sandbox = Sandbox::new();
    let plain = "a\tred planet\nb\tmars\n";
    let expected = encode_file(&sandbox, "docs.tsv", plain);
    for content in [
        format!("\u{feff}{plain}"),
        plain.replace('\n', "\r\n"),
        plain.trim_end().to_owned(),
        format!("\u{feff}{}", plain.replace('\n', "\r\n").trim_end()),
    ] {
        let found = encode_file(&sandbox, "docs.tsv", &content);
        assert_eq!(ids(&found), [r#""a""#, r#""b""#], "{content:?}");
        assert_same_vectors(&found, &expected);
    }
}

#[test]
fn documents_of_beir_are_title_and_text() {
    let sandbox = Sandbox::new();
    let beir = r#"{"_id": "d1", "title": "red planet", "text": "mars", "metadata": {"id": 7}}
{"_id": "d2", "title": "", "text": "the quick fox"}
{"_id": "d3", "text": "lazy dog"}
"#;
    let found = encode_file(&sandbox, "docs.jsonl", beir);
    assert_eq!(ids(&found), [r#""d1""#, r#""d2""#, r#""d3""#]);
    let texts = ["red planet mars", "the quick fox", "lazy dog"];
    assert_same_vectors(&found, &sandbox.encode_texts("", &texts));
}

#[test]
fn lines_of_text_are_numbered() {
    let sandbox = Sandbox::new();
    let found = encode_file(&sandbox, "docs.txt", "red planet\n\n{\"id\": 7}\tmars\n");
    assert_eq!(ids(&found), ["1", "2", "3"]);
    let texts = ["red planet", "", "{\"id\": 7} mars"];
    assert_same_vectors(&found, &sandbox.encode_texts("", &texts));
}

#[test]
fn the_extension_names_the_format_unless_the_option_does() {
    let sandbox = Sandbox::new();
    let line = "{\"id\": \"j\", \"text\": \"red\"}\tfox\n"; // with a tab: tsv, and text as all lines are
    let json = "{\"id\": \"j\", \"text\": \"red\"}\n";
    for (name, content, option, id) in [
        ("docs.jsonl", json, "", r#""j""#),
        ("docs.ndjson", json, "", r#""j""#),
        ("docs.JSON", json, "", r#""j""#),
        (
            "docs.tsv",
            line,
            "",
            r#""{\"id\": \"j\", \"text\": \"red\"}""#,
        ),
        ("docs.txt", json, "", "1"),
        ("docs", json, "", "1"),
        ("docs.jsonl.gz", json, "", "1"),
        ("docs.txt", json, "--input-format jsonl", r#""j""#),
        (
            "docs.jsonl",
            line,
            "--input-format tsv",
            r#""{\"id\": \"j\", \"text\": \"red\"}""#,
        ),
        ("docs.jsonl", json, "--input-format text", "1"),
    ] {
        sandbox.write(name, content);
        let run = sandbox.encode(&format!("--input {name} --output - {option}"));
        assert_eq!(ids(&rows(&run.succeeds().stdout)), [id], "{name} {option}");
    }
}

#[test]
fn standard_input_is_json_unless_the_option_says_otherwise() {
    let sandbox = Sandbox::new();
    let json = "{\"id\": \"j\", \"text\": \"red\"}\n";
    let run = encode_stdin(&sandbox, "", json).succeeds();
    assert_eq!(ids(&rows(&run.stdout)), [r#""j""#]);
    let run = encode_stdin(&sandbox, "--input-format text", json).succeeds();
    assert_eq!(ids(&rows(&run.stdout)), ["1"]);

    let run = encode_stdin(&sandbox, "", &format!("{json}red planet\n"));
    let run = run.fails(
        1,
        &[
            "standard input, line 2: no JSON object",
            "; each line must be",
        ],
    );
    assert_eq!(rows(&run.stdout).len(), 1);
}

#[test]
fn an_input_that_is_not_there_is_named() {
    let sandbox = Sandbox::new();
    let run = sandbox.encode("--input nothing.jsonl --output rows.jsonl");
    run.fails(
        1,
        &[
            "lexpeak: nothing.jsonl: cannot open",
            "; name a file that exists and is readable",
        ],
    );
    assert!(!sandbox.has("rows.jsonl") && !sandbox.has("rows.jsonl.partial"));
}

#[test]
fn an_input_that_is_a_folder_is_named() {
    let sandbox = Sandbox::new();
    let run = sandbox.encode("--input model --output rows.jsonl");
    run.fails(
        1,
        &[
            "lexpeak: model: cannot open",
            "it is a folder; name a file in it",
        ],
    );
    assert!(!sandbox.has("rows.jsonl") && !sandbox.has("rows.jsonl.partial"));
}

#[test]
fn rows_come_in_the_order_of_the_documents() {
    // Several chunks and many batches of texts of very different lengths, some of them repeated.
    let sandbox = Sandbox::new();
    let texts: Vec<String> = (0..1000)
        .map(|n: usize| "fox and dog ".repeat(n * n % 13))
        .collect();
    let found = sandbox.encode_texts("--batch-tokens 100", &texts);
    let numbers: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    assert_eq!(ids(&found), numbers);
    let short: Vec<String> = (0..13).map(|n| "fox and dog ".repeat(n)).collect();
    let known = sandbox.encode_texts("", &short);
    for (n, row) in found.into_iter().enumerate() {
        assert_same_vectors(&[row], &known[n * n % 13..][..1]);
    }
}

/// The rows of an input file with this content.
#[track_caller]
fn encode_file(sandbox: &Sandbox, name: &str, content: &str) -> Vec<crate::sandbox::Row> {
    sandbox.write(name, content);
    let run = sandbox.encode(&format!("--input {name} --output -"));
    rows(&run.succeeds().stdout)
}

fn encode_stdin(sandbox: &Sandbox, options: &str, content: &str) -> Run {
    let line = format!("encode --model model --input - --output - {options}");
    let mut child = sandbox
        .command(&line)
        .stdin(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(content.as_bytes()).expect("it is read");
    drop(stdin);
    Run::end_of(child)
}
