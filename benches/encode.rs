//! Text in, sparse rows out, end to end: `cargo bench --bench encode`.
//!
//! Throughput counts tokens (`elem/s`); that of `matmul` counts floating point operations. It is the
//! product that bounds the encoder: BERT-base takes 227 million operations a token at 256 tokens, the
//! demo model 9 million. Machines are noisy, so the share of that roof is measured in turn with it.

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gemm::{Parallelism, gemm};
use lexpeak::{EncodeOptions, Encoder, ModelSpec};
use support::demo_model;
use support::passages::passages;
use support::peak_memory::peak_memory;
use support::random_model::RandomModel;

/// Tokens a text, special ones included.
const LENGTH: usize = 256;

/// Rounds of whatever is timed in turn with something else.
const ROUNDS: usize = 7;

fn encode(c: &mut Criterion) {
    let demo_folder = demo_model::folder();
    let demo = Encoder::builder(&demo_folder)
        .build()
        .expect("the demo model");
    let passages = passages();
    bench(c, "splade-tiny/passages", &demo, &passages);

    let texts = texts_of(LENGTH, &passages, &demo);
    bench(c, "splade-tiny/256", &demo, &texts);

    print_share_of_matmul("splade-tiny/256", &demo, &texts);

    let base_folder = bert_base(&demo_folder);
    let base = Encoder::builder(base_folder.path())
        .build()
        .expect("a random BERT-base");
    bench(c, "bert-base/256", &base, &texts[..8]);
    bench(c, "bert-base/one-passage", &base, &passages[..1]);
    print_share_of_matmul("bert-base/256", &base, &texts[..8]);
    drop(base);
    print_peak_memory("bert-base/256", base_folder.path(), &texts);
}

fn options() -> EncodeOptions {
    EncodeOptions {
        max_length: Some(LENGTH),
        ..EncodeOptions::default()
    }
}

/// Tokens of a text, as they are encoded.
fn length(encoder: &Encoder, text: &str) -> usize {
    encoder
        .token_ids(text, &options())
        .expect("token ids")
        .len()
}

fn bench(c: &mut Criterion, name: &str, encoder: &Encoder, texts: &[String]) {
    let options = options();
    let tokens: usize = texts.iter().map(|text| length(encoder, text)).sum();
    let rows = encoder.encode(texts, &options).expect("rows");
    assert!(rows.len() == texts.len() && rows.iter().all(|row| !row.indices.is_empty()));

    let mut group = c.benchmark_group("encode");
    group.sample_size(10).warm_up_time(Duration::from_secs(1));
    group.throughput(Throughput::Elements(tokens as u64));
    group.bench_function(BenchmarkId::from_parameter(name), |b| {
        b.iter(|| encoder.encode(black_box(texts), &options).expect("rows"));
    });
    group.finish();
}

/// What `lexpeak encode` takes at most, weights in their mapped file included.
fn print_peak_memory(name: &str, model: &Path, texts: &[String]) {
    let input = model.join("texts.txt");
    fs::write(&input, texts.join("\n")).expect("texts.txt");
    let mut child = Command::new(env!("CARGO_BIN_EXE_lexpeak"))
        .args([
            "encode",
            "--output",
            "/dev/null",
            "--max-length",
            &LENGTH.to_string(),
        ])
        .args([Path::new("--model"), model, Path::new("--input"), &input])
        .spawn()
        .expect("lexpeak");
    let peak = peak_memory(&mut child);
    assert!(child.wait().expect("lexpeak").success());
    println!("encode/{name} peak resident memory: {} MB", peak / 1000);
}

/// Prints how close encoding comes to doing nothing but its matrix products, both timed in turn.
fn print_share_of_matmul(name: &str, encoder: &Encoder, texts: &[String]) {
    let options = options();
    let lengths: Vec<usize> = texts.iter().map(|text| length(encoder, text)).collect();
    let flops: f64 = lengths
        .iter()
        .map(|&length| flops(encoder.spec(), length))
        .sum();
    let mut matmul = Matmul::new();
    let mut shares: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let (roof, actual) = (Instant::now(), matmul.run());
            let roof = actual / roof.elapsed().as_secs_f64();
            let start = Instant::now();
            black_box(encoder.encode(texts, &options).expect("rows"));
            flops / start.elapsed().as_secs_f64() / roof
        })
        .collect();
    shares.sort_by(f64::total_cmp);
    println!(
        "encode/{name} share of the matmul rate: {:.0} % (median of {ROUNDS} rounds)",
        100.0 * shares[ROUNDS / 2]
    );
}

/// Floating point operations of all matrix products over a document of `length` tokens.
fn flops(spec: &ModelSpec, length: usize) -> f64 {
    let (h, ffn) = (spec.hidden_size, spec.ffn_size);
    let layer = 4 * h * h + 2 * h * ffn + 2 * length * h;
    let head = h * h + h * spec.vocab_size;
    (2 * length * (spec.num_layers * layer + head)) as f64
}

/// `[T, K] x [K, N]` in f32 on all cores, as the feed-forward layer of BERT-base has it.
struct Matmul {
    x: Vec<f32>,
    w: Vec<f32>,
    out: Vec<f32>,
}

impl Matmul {
    const T: usize = 2048;
    const K: usize = 768;
    const N: usize = 3072;

    fn new() -> Self {
        let values = |count: usize| (0..count).map(|i| (i * 7919 % 1000) as f32 / 1000.0 - 0.5);
        Self {
            x: values(Self::T * Self::K).collect(),
            w: values(Self::N * Self::K).collect(),
            out: vec![0.0; Self::T * Self::N],
        }
    }

    /// Multiplies, and gives the number of floating point operations.
    fn run(&mut self) -> f64 {
        // SAFETY: the extents are those of the vectors: out [T, N], x [T, K], w [N, K].
        unsafe {
            gemm(
                Self::T,
                Self::N,
                Self::K,
                self.out.as_mut_ptr(),
                1,
                Self::N as isize,
                false,
                self.x.as_ptr(),
                1,
                Self::K as isize,
                self.w.as_ptr(),
                Self::K as isize,
                1,
                0.0,
                1.0,
                false,
                false,
                false,
                Parallelism::Rayon(0),
            );
        }
        assert!(black_box(&self.out)[0] != 0.0);
        2.0 * (Self::T * Self::K * Self::N) as f64
    }
}

fn matmul(c: &mut Criterion) {
    let mut product = Matmul::new();
    let mut group = c.benchmark_group("matmul");
    group.sample_size(10).warm_up_time(Duration::from_secs(1));
    group.throughput(Throughput::Elements(product.run() as u64));
    group.bench_function("2048x768x3072", |b| b.iter(|| product.run()));
    group.finish();
}

/// 32 different texts of at least `length` tokens, made of real passages.
fn texts_of(length: usize, passages: &[String], encoder: &Encoder) -> Vec<String> {
    (0..32)
        .map(|first| {
            let mut text = String::new();
            for passage in passages.iter().cycle().skip(first * 7) {
                text += passage;
                text += ". ";
                let ids = encoder
                    .token_ids(&text, &EncodeOptions::default())
                    .expect("token ids");
                if ids.len() > length {
                    break;
                }
            }
            text
        })
        .collect()
}

/// A model of BERT-base's shape with random weights and the demo model's tokeniser.
fn bert_base(demo_folder: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = RandomModel {
        name: "bert-base".to_owned(),
        layers: 12,
        heads: 12,
        head_dim: 64,
        ffn: 3072,
        max_positions: 512,
        vocab: 30_522,
        ..RandomModel::named("bert")
    };
    model.write(folder.path());
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        fs::copy(demo_folder.join(file), folder.path().join(file))
            .expect("the demo model's tokeniser");
    }
    folder
}

criterion_group!(benches, matmul, encode);
criterion_main!(benches);
