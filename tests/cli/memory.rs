//! Memory does not grow with the corpus.

use std::io;
use std::thread;
use std::time::Duration;

use crate::sandbox::{Run, Sandbox};
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
    let few = peak_with(&sandbox, 1_000);
    let many = peak_with(&sandbox, 100_000);
    let growth = many as f64 / few as f64;
    println!("peak of 1,000 documents: {few} kB, of 100,000: {many} kB");
    assert!(
        (0.9..=1.1).contains(&growth),
        "{few} kB for 1,000 documents, {many} kB for 100,000"
    );
}

/// The most memory, in kB, that encoding so many documents takes at any time. Whoever reads the rows
/// is late, so that what is not held back piles up.
fn peak_with(sandbox: &Sandbox, documents: usize) -> u64 {
    sandbox.write("docs.txt", texts(documents));
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
