//! Memory does not grow with the corpus, and with the length of texts as `info` says.

use std::io::{self, Write};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::sandbox::{Run, Sandbox, wait_until};
use crate::support::peak_memory::peak_memory;
use crate::support::random_model::RandomModel;
use crate::support::random_tensors::SplitMix64;

#[test]
fn a_hundred_times_the_documents_take_no_more_memory() {
    let sandbox = Sandbox::with(&RandomModel {
        layers: 1,
        ffn: 32,
        ..RandomModel::named("bert")
    });
    compare_peaks(&sandbox, texts, 1_000, 100_000);
}

#[test]
fn neither_do_documents_of_which_nothing_is_left() {
    let sandbox = Sandbox::without_special_tokens();
    let blank = |documents| "\n".repeat(documents);
    compare_peaks(&sandbox, blank, 50_000, 1_000_000);
}

#[test]
fn their_rows_are_written_before_the_end_too() {
    let sandbox = Sandbox::without_special_tokens();
    let line = "encode --model model --input - --input-format text --output rows.jsonl";
    let mut command = sandbox.command(line);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let blank = "\n".repeat(100_000);
    stdin.write_all(blank.as_bytes()).expect("it is read");
    let partial = sandbox.path("rows.jsonl.partial");
    wait_until("rows are written", || {
        partial.metadata().is_ok_and(|file| file.len() > 0)
    });
    drop(stdin);
    Run::end_of(child).succeeds();
    assert_eq!(sandbox.rows("rows.jsonl").len(), 100_000);
}

/// What attention makes of a text of 8,192 tokens would alone be 268 MB a head, were it all there at once.
#[test]
fn long_texts_take_what_info_says() {
    let sandbox = Sandbox::with(&RandomModel {
        layers: 1,
        max_positions: 8192,
        ..RandomModel::named("bge_m3")
    });
    let info = sandbox.run("info --model model").succeeds().stdout;
    let predicted = info_peak(&info, 8192);

    sandbox.write_documents("docs.jsonl", &["the planet"]);
    let short = peak_of_all_outputs(&sandbox, "1 document, 4 tokens");
    sandbox.write_documents("docs.jsonl", &vec!["the planet ".repeat(5000); 4]);
    let long = peak_of_all_outputs(&sandbox, "4 documents, 32768 tokens");

    let peaks = format!("{long} kB, of a short text {short} kB, predicted {predicted} kB");
    println!("{peaks}");
    let limit = 1.25 * (short + predicted) as f64; // The tokeniser is in none of the two.
    assert!(long as f64 <= limit, "{peaks}");
    // Else it predicts far too much, or nothing was measured.
    assert!(long > short + predicted / 4, "{peaks}");
}

/// The peak on info's line `memory   W MB weights, A MB arena for T tokens at a time, P MB peak`, in kB of 1024 bytes.
#[track_caller]
fn info_peak(info: &str, tokens: usize) -> u64 {
    let line = info.lines().find_map(|line| line.strip_prefix("memory   "));
    let line = line.unwrap_or_else(|| panic!("{info}"));
    let fields: Vec<&str> = line.split(' ').collect();
    let [
        weights,
        "MB",
        "weights,",
        arena,
        "MB",
        "arena",
        "for",
        found,
        "tokens",
        "at",
        "a",
        "time,",
        peak,
        "MB",
        "peak",
    ] = fields[..]
    else {
        panic!("{line}");
    };
    assert_eq!(found, tokens.to_string());
    let [weights, arena, peak] =
        [weights, arena, peak].map(|megabytes| megabytes.parse::<f64>().expect("a number"));
    assert!(
        weights > 0.0 && arena > 0.0 && peak >= weights + arena,
        "{line}"
    );
    (peak * 1e6 / 1024.0) as u64
}

/// The most memory, in kB, that `docs.jsonl` takes with all outputs, vectors in files; it has `count`.
fn peak_of_all_outputs(sandbox: &Sandbox, count: &str) -> u64 {
    let line = "encode --model model --input docs.jsonl --output rows.jsonl \
                --outputs sparse,dense,colbert --vectors vectors --threads 2";
    let mut child = sandbox.command(line).spawn().expect("it starts");
    let peak = peak_memory(&mut child);
    Run::end_of(child).ends(0, &[count]);
    peak
}

/// `many` of those documents take as much memory as `few`.
#[track_caller]
fn compare_peaks(sandbox: &Sandbox, documents: impl Fn(usize) -> String, few: usize, many: usize) {
    let [few_peak, many_peak] = [few, many].map(|count| {
        sandbox.write("docs.txt", documents(count));
        peak_with(sandbox, count)
    });
    let peaks = format!("{few_peak} kB for {few} documents, {many_peak} kB for {many}");
    println!("{peaks}");
    let growth = many_peak as f64 / few_peak as f64;
    assert!((0.9..=1.1).contains(&growth), "{peaks}");
}

/// The most memory, in kB, that encoding `docs.txt` takes at any time. Whoever reads the rows is late,
/// so that what is not held back piles up.
fn peak_with(sandbox: &Sandbox, documents: usize) -> u64 {
    // With its tokens a row is long enough for the first documents to fill the output's buffer.
    let line = "encode --model model --input docs.txt --output - --tokens";
    let mut child = sandbox.command(line).spawn().expect("it starts");
    let mut stdout = child.stdout.take().expect("it is piped");
    let reader = thread::spawn(move || {
        thread::sleep(Duration::from_secs(1));
        io::copy(&mut stdout, &mut io::sink())
    });
    let peak = peak_memory(&mut child);
    reader.join().expect("the reader ends").expect("it reads");
    let run = Run::end_of(child).succeeds();
    assert!(
        run.stderr.starts_with(&format!("{documents} documents")),
        "{}",
        run.stderr
    );
    peak
}

/// Lines of 3 to 35 words.
fn texts(count: usize) -> String {
    let words = [
        "the", "red", "planet", "mars", "fox", "dog", "rocket", "lazy", "quick",
    ];
    let mut numbers = SplitMix64::named("documents", 0);
    let mut below = |limit: usize| numbers.next().expect("it never ends") as usize % limit;
    let mut lines = String::new();
    for _ in 0..count {
        let length = 3 + below(33);
        let line: Vec<&str> = (0..length).map(|_| words[below(words.len())]).collect();
        lines += &line.join(" ");
        lines.push('\n');
    }
    lines
}
