//! BGE-M3 at full size, with random weights, on its longest texts: `cargo bench --bench bge_m3 [-- TEXTS]`.
//!
//! Prints what `lexpeak info` says of its memory, and what encoding so many texts of 8,192 tokens (one by default) with all
//! outputs takes. It writes a model of 2.3 GB into the folder for temporary files, wants 7 GB of memory to make it, and takes
//! minutes a text.

#[path = "../tests/support/mod.rs"]
mod support;

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use support::passages::passages;
use support::peak_memory::peak_memory;
use support::random_model::{RandomModel, TokenizerFile};
use support::tokenizers;

/// Passages after which a text is longer than the model takes.
const PASSAGES: usize = 600;

fn main() {
    // cargo adds options of its own.
    let texts = env::args().skip(1).find_map(|arg| arg.parse().ok());
    let texts: usize = texts.unwrap_or(1);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = RandomModel {
        layers: 24,
        heads: 16,
        head_dim: 64,
        ffn: 4096,
        max_positions: 8192,
        vocab: 250_002,
        tokenizer: TokenizerFile::Json,
        colbert: Some(1024),
        ..RandomModel::named("bge_m3")
    };
    model.write(folder.path());
    let tokenizer = tokenizers::real_xlm_roberta().to_string();
    fs::write(folder.path().join("tokenizer.json"), tokenizer).expect("the tokeniser is written");
    let input = folder.path().join("texts.txt");
    fs::write(&input, long_texts(texts)).expect("the texts are written");

    let info = lexpeak("info", folder.path()).output().expect("lexpeak");
    print!("{}", String::from_utf8_lossy(&info.stdout));
    let mut encode = lexpeak("encode", folder.path());
    encode
        .args(["--device", "cpu", "--outputs", "sparse,dense,colbert"])
        .args([Path::new("--input"), &input])
        .args([Path::new("--output"), &folder.path().join("rows.jsonl")])
        .args([Path::new("--vectors"), &folder.path().join("vectors")]);
    let mut child = encode.spawn().expect("lexpeak");
    let peak = peak_memory(&mut child);
    assert!(child.wait().expect("lexpeak").success());
    println!("peak resident memory: {} MB", peak / 1000);
}

fn lexpeak(command: &str, model: &Path) -> Command {
    let mut lexpeak = Command::new(env!("CARGO_BIN_EXE_lexpeak"));
    lexpeak.args([Path::new(command), Path::new("--model"), model]);
    lexpeak.stdin(Stdio::null());
    lexpeak
}

/// Lines of real passages, each a text longer than the model takes.
fn long_texts(count: usize) -> String {
    let passages = passages();
    let text = |first: usize| {
        let mut text = String::new();
        for passage in passages.iter().cycle().skip(first * 7).take(PASSAGES) {
            text += passage;
            text += ". ";
        }
        text + "\n"
    };
    (0..count).map(text).collect()
}
