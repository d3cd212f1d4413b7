//! Ctrl-C, and requests to terminate.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::thread;
use std::time::Duration;

use crate::sandbox::{Run, Sandbox, ids, signal, wait_until};

/// So many rows are longer than the buffer before the file: some of them are seen in it.
const DOCUMENTS: usize = 10_000;

/// A run that has written rows to `rows.jsonl.partial` and waits for more input.
fn waiting_run(sandbox: &Sandbox) -> (Child, ChildStdin) {
    let line = "encode --model model --input - --input-format text --output rows.jsonl";
    let mut child = sandbox
        .command(line)
        .stdin(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let text = "the quick brown fox and the lazy dog\n";
    stdin
        .write_all(text.repeat(DOCUMENTS).as_bytes())
        .expect("it is read");
    let partial = sandbox.path("rows.jsonl.partial");
    wait_until("rows are written", || {
        partial.metadata().is_ok_and(|file| file.len() > 0)
    });
    (child, stdin)
}

#[test]
fn an_interrupted_run_keeps_whole_rows_apart() {
    for name in ["INT", "TERM"] {
        let sandbox = Sandbox::new();
        let (child, stdin) = waiting_run(&sandbox);
        assert!(!sandbox.has("rows.jsonl"));

        signal(name, child.id());
        let message =
            "the rows finished so far are kept in rows.jsonl.partial\nlexpeak: interrupted";
        Run::end_of(child).fails(130, &[message]);
        drop(stdin); // It was open until here: the run did not end because its input did.

        assert!(!sandbox.has("rows.jsonl"));
        let kept = sandbox.rows("rows.jsonl.partial");
        assert!(!kept.is_empty() && kept.len() <= DOCUMENTS);
        let numbers: Vec<String> = (1..=kept.len()).map(|number| number.to_string()).collect();
        assert_eq!(ids(&kept), numbers);
    }
}

#[test]
fn an_interrupted_run_leaves_the_earlier_file() {
    let sandbox = Sandbox::new();
    sandbox.write("rows.jsonl", "earlier");
    let (child, _stdin) = waiting_run(&sandbox);
    signal("INT", child.id());
    Run::end_of(child).fails(130, &["rows.jsonl.partial"]);
    assert_eq!(sandbox.read("rows.jsonl"), "earlier");
}

#[test]
fn a_second_interrupt_ends_a_run_that_cannot_write() {
    // Its reader is there but takes nothing, so that the first one cannot be heeded.
    let sandbox = Sandbox::new();
    let line = "encode --model model --input docs.txt --output -";
    sandbox.write(
        "docs.txt",
        "the quick brown fox and the lazy dog\n".repeat(DOCUMENTS),
    );
    let mut child = sandbox.command(line).spawn().expect("it starts");
    let mut stdout = child.stdout.take().expect("it is piped");
    stdout.read_exact(&mut [0]).expect("it has begun to write");
    signal("INT", child.id());
    thread::sleep(Duration::from_millis(100)); // two at once would count as one
    signal("INT", child.id());
    assert_eq!(Run::end_of(child).code, Some(130));
}
