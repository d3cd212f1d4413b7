//! Outputs that are no files, run full or lose their reader.

use std::fs::{self, File};
use std::io::{self, Write};
use std::process::{Command, Stdio};

use crate::sandbox::{Run, Sandbox};

/// A sandbox with `docs.jsonl`, a hundred documents.
fn with_documents() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write_documents("docs.jsonl", &["red planet"; 100]);
    sandbox
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_device_is_reported_and_stays_a_device() {
    use std::os::unix::fs::FileTypeExt;

    let sandbox = with_documents();
    let run = sandbox.encode("--input docs.jsonl --output /dev/full");
    run.fails(
        1,
        &["lexpeak: /dev/full: cannot write: ", "; free some space"],
    );
    let kind = fs::symlink_metadata("/dev/full")
        .expect("it is there")
        .file_type();
    assert!(kind.is_char_device());
    assert!(!fs::exists("/dev/full.partial").expect("/dev can be searched"));
}

#[cfg(target_os = "linux")]
#[test]
fn full_standard_output_is_reported() {
    let sandbox = with_documents();
    let parts = [
        "lexpeak: standard output: cannot write: ",
        "; free some space",
    ];
    for line in [
        "encode --model model --input docs.jsonl --output -",
        "explain --model model mars",
        "info",
    ] {
        let full = File::options()
            .write(true)
            .open("/dev/full")
            .expect("the device");
        Run::of(sandbox.command(line).stdout(full)).fails(1, &parts);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_said_changes_nothing() {
    let sandbox = with_documents();
    let line = "encode --model model --input docs.jsonl --output -";
    let expected = sandbox.run(line).succeeds().stdout;
    sandbox.write("bad.jsonl", sandbox.read("docs.jsonl") + "{}\n");
    for redirection in ["2>/dev/full", "2>&-"] {
        let script = format!(r#"exec "$0" "$@" {redirection}"#);
        let run = Run::of(&mut sandbox.shell(&script, line)).succeeds();
        assert!(run.stdout == expected, "{redirection}");

        let bad = "encode --model model --input bad.jsonl --output rows.jsonl";
        let run = Run::of(&mut sandbox.shell(&script, bad));
        assert_eq!(run.code, Some(1), "{redirection}");
        assert!(!sandbox.has("rows.jsonl"), "{redirection}");
        assert_eq!(sandbox.rows("rows.jsonl.partial").len(), 100);

        let wrong = "encode --model model --no-such-option";
        let run = Run::of(&mut sandbox.shell(&script, wrong));
        assert_eq!(run.code, Some(2), "{redirection}");
    }
}

#[test]
fn rows_are_appended_to_a_stream_that_appends() {
    let sandbox = with_documents();
    let rows = sandbox.encode("--input docs.jsonl --output -").succeeds();
    for output in ["-", "/dev/stdout", "/dev/fd/1"] {
        sandbox.write("all.txt", "earlier\n");
        let line = format!("encode --model model --input docs.jsonl --output {output}");
        let script = r#"exec "$0" "$@" >>all.txt"#;
        Run::of(&mut sandbox.shell(script, &line)).succeeds();
        let all = sandbox.read("all.txt");
        assert!(all == format!("earlier\n{}", rows.stdout), "{output}");
    }
}

#[test]
fn a_file_at_its_size_limit_stays_partial() {
    let sandbox = with_documents();
    let mut limited = sandbox.shell(
        r#"ulimit -f 1; exec "$0" "$@""#,
        "encode --model model --input docs.jsonl --output rows.jsonl",
    );
    let place = "lexpeak: rows.jsonl.partial: cannot write: ";
    Run::of(&mut limited).fails(1, &[place, "; raise the limit on file sizes (ulimit -f)"]);
    assert!(!sandbox.has("rows.jsonl"));
    let length = sandbox.read("rows.jsonl.partial").len();
    assert!((1..=1024).contains(&length), "{length} bytes");
}

#[test]
fn encode_ends_quietly_when_its_reader_goes_away() {
    let sandbox = with_documents();
    let line = "encode --model model --input docs.jsonl --output -";
    let run = Run::of(sandbox.command(line).stdout(without_reader()));
    assert_eq!((run.code, run.stderr.as_str()), (Some(141), ""));

    // The same in the middle of its work: the input has no end.
    let line = "encode --model model --input - --input-format text --output -";
    let mut child = sandbox
        .command(line)
        .stdin(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().expect("it is piped");
    let stopped = loop {
        if let Err(error) = stdin.write_all(&b"red planet\n".repeat(1000)) {
            break error;
        }
    };
    assert_eq!(stopped.kind(), io::ErrorKind::BrokenPipe);
    let run = Run::end_of(child);
    assert_eq!((run.code, run.stderr.as_str()), (Some(141), ""));
}

#[test]
fn explain_and_info_do_not_mind_when_their_reader_goes_away() {
    let sandbox = Sandbox::new();
    for line in ["explain --model model mars", "info", "info --model model"] {
        let run = Run::of(sandbox.command(line).stdout(without_reader()));
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{line}");
    }
}

/// The writing end of a pipe that nobody reads.
fn without_reader() -> io::PipeWriter {
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    writer
}

#[test]
fn a_named_pipe_is_written_directly() {
    let sandbox = with_documents();
    let made = Command::new("mkfifo").arg(sandbox.path("pipe")).status();
    assert!(made.expect("mkfifo runs").success());
    let line = "encode --model model --input docs.jsonl --output pipe";
    let child = sandbox.command(line).spawn().expect("it starts");
    assert_eq!(sandbox.rows("pipe").len(), 100);
    Run::end_of(child).succeeds();
    assert!(!sandbox.has("pipe.partial"));
}
