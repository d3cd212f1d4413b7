//! Text in, sparse rows out, end to end: `cargo bench --bench encode`.
//!
//! Throughput counts tokens (`elem/s`). `matmul` measures the product that bounds the encoder, in
//! the same run: its `elem/s` are floating point operations. BERT-base takes 227 million of them a
//! token at 256 tokens, the demo model 8.6 million, so their quotient is the roof.

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gemm::{Parallelism, gemm};
use lexpeak::{EncodeOptions, Encoder};
use support::demo_model;
use support::peak_memory::peak_memory;
use support::random_model::RandomModel;

/// Tokens a text, special ones included.
const LENGTH: usize = 256;

fn encode(c: &mut Criterion) {
    let demo_folder = demo_model::folder();
    let demo = Encoder::builder(&demo_folder)
        .build()
        .expect("the demo model");
    let passages = passages();
    bench(c, "splade-tiny/passages", &demo, &passages);

    let texts = texts_of(LENGTH, &passages, &demo);
    bench(c, "splade-tiny/256", &demo, &texts);

    let base_folder = bert_base(&demo_folder);
    let base = Encoder::builder(base_folder.path())
        .build()
        .expect("a random BERT-base");
    bench(c, "bert-base/256", &base, &texts[..8]);
    bench(c, "bert-base/one-passage", &base, &passages[..1]);
    drop(base);
    print_peak_memory("bert-base/256", base_folder.path(), &texts);
}

fn bench(c: &mut Criterion, name: &str, encoder: &Encoder, texts: &[String]) {
    let options = EncodeOptions {
        max_length: Some(LENGTH),
        ..EncodeOptions::default()
    };
    let tokens: usize = texts
        .iter()
        .map(|text| encoder.token_ids(text, &options).expect("token ids").len())
        .sum();
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

/// `[T, K] x [K, N]` in f32 on all cores, as the feed-forward layer of BERT-base has it.
fn matmul(c: &mut Criterion) {
    let (t, k, n) = (2048, 768, 3072);
    let values = |count: usize| (0..count).map(|i| (i * 7919 % 1000) as f32 / 1000.0 - 0.5);
    let (x, w): (Vec<f32>, Vec<f32>) = (values(t * k).collect(), values(n * k).collect());
    let mut out = vec![0.0f32; t * n];
    let mut group = c.benchmark_group("matmul");
    group.sample_size(10).warm_up_time(Duration::from_secs(1));
    group.throughput(Throughput::Elements(2 * (t * k * n) as u64));
    group.bench_function("2048x768x3072", |b| {
        b.iter(|| {
            // SAFETY: the extents are those of the vectors: out [t, n], x [t, k], w [n, k].
            unsafe {
                gemm(
                    t,
                    n,
                    k,
                    out.as_mut_ptr(),
                    1,
                    n as isize,
                    false,
                    x.as_ptr(),
                    1,
                    k as isize,
                    w.as_ptr(),
                    k as isize,
                    1,
                    0.0,
                    1.0,
                    false,
                    false,
                    false,
                    Parallelism::Rayon(0),
                );
            }
        });
    });
    assert!(out.iter().any(|&x| x != 0.0));
    group.finish();
}

/// The bundled sample passages.
fn passages() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/wordnet.jsonl");
    let text = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).expect("a JSON line");
        row["text"].as_str().expect("a text").to_owned()
    };
    fs::read_to_string(path)
        .expect("sample passages")
        .lines()
        .map(text)
        .collect()
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
