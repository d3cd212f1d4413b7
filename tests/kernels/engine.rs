//! The whole CUDA engine: the original PyTorch models' rows, and the same bits in any company.

use std::path::Path;

use lexpeak::{Device, Dtype, EncodeOptions, Encoder, SparseRows};

use crate::rig::Rig;
use crate::support::agreement::Agreement;
use crate::support::demo_model;
use crate::support::golden_rows::{GoldenRow, compare_with_golden_rows};
use crate::support::random_model::RandomModel;

/// How far a weight may be from PyTorch's in f32. bf16 has 8 bits: with random weights 7.4e-2 was seen.
const TOLERANCES: [(Dtype, f64); 2] = [(Dtype::F16, 2e-2), (Dtype::Bf16, 8e-2)];

/// Rounding errors of all tokens add up in a sum: three times the tolerance, or a share of the weight where that is more.
const SUM_FACTOR: f64 = 3.0;
const SUM_SHARE: f64 = 0.01;

fn encoder(folder: &Path, dtype: Dtype, batch_tokens: usize) -> Encoder {
    Encoder::builder(folder)
        .device(Device::Cuda(Some(0)))
        .dtype(dtype)
        .batch_tokens(batch_tokens)
        .build()
        .expect("the model loads")
}

fn encode(encoder: &Encoder, texts: &[&str], options: &EncodeOptions) -> SparseRows {
    encoder
        .encode(texts, options)
        .expect("the texts are encoded")
}

#[test]
fn it_matches_pytorch_on_random_models() {
    let rig = Rig::new();
    for (dtype, tolerance) in TOLERANCES {
        for (sums, factor, share) in [(false, 1.0, 0.0), (true, SUM_FACTOR, SUM_SHARE)] {
            let mut agreement = Agreement::within(tolerance * factor).or_share(share);
            let models = RandomModel::all().into_iter();
            for model in models.filter(|model| model.name.contains("sum") == sums) {
                let folder = model.write_temporary();
                compare_with_golden_rows(
                    &mut agreement,
                    &encoder(folder.path(), dtype, 512),
                    &model.name,
                );
            }
            agreement.finish(&format!("CUDA {dtype} against PyTorch, random models"));
        }
    }
    rig.assert_sound();
}

#[test]
fn it_matches_pytorch_on_the_demo_model() {
    let rig = Rig::new();
    for (dtype, tolerance) in TOLERANCES {
        let mut agreement = Agreement::within(tolerance);
        let encoder = encoder(&demo_model::folder(), dtype, 512);
        compare_with_golden_rows(&mut agreement, &encoder, "splade_tiny");
        agreement.finish(&format!("CUDA {dtype} against PyTorch, demo model"));
    }
    rig.assert_sound();
}

#[test]
fn a_row_is_the_same_bits_alone_in_a_batch_and_in_another_order() {
    let rig = Rig::new();
    for name in ["bert", "bert_head20", "bert_log1p_sum", "distilbert"] {
        let model = RandomModel::named(name);
        let folder = model.write_temporary();
        let golden = GoldenRow::of(name);
        let mut texts: Vec<&str> = golden.iter().map(|row| row.text.as_str()).collect();
        let options = EncodeOptions::default();
        for batch_tokens in [64, 2048] {
            let encoder = encoder(folder.path(), Dtype::F16, batch_tokens);
            let together = encode(&encoder, &texts, &options);
            assert!(
                together == encode(&encoder, &texts, &options),
                "{name}: twice"
            );
            for (text, row) in texts.iter().zip(together.iter()) {
                let alone = encode(&encoder, &[text], &options);
                assert!(alone.row(0) == row, "{name}: {text:?} alone");
            }
            texts.reverse();
            let reversed = encode(&encoder, &texts, &options);
            assert!(
                together
                    .iter()
                    .eq((0..texts.len()).rev().map(|at| reversed.row(at))),
                "{name}: reversed"
            );
            texts.reverse();
        }
    }
    rig.assert_sound();
}

#[test]
fn rows_are_pruned_as_on_the_cpu() {
    let rig = Rig::new();
    let model = RandomModel::named("bert");
    let folder = model.write_temporary();
    let golden = GoldenRow::of("bert");
    let texts: Vec<&str> = golden.iter().map(|row| row.text.as_str()).collect();
    let encoder = encoder(folder.path(), Dtype::F16, 512);
    let all = encode(&encoder, &texts, &EncodeOptions::default());
    let options = EncodeOptions {
        min_weight: 0.25,
        top_k: Some(9),
        ..EncodeOptions::default()
    };
    let some = encode(&encoder, &texts, &options);
    for (all, some) in all.iter().zip(some.iter()) {
        let mut kept: Vec<(u32, f32)> =
            all.entries().filter(|&(_, weight)| weight > 0.25).collect();
        kept.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        kept.truncate(9);
        kept.sort_unstable_by_key(|&(id, _)| id);
        assert!(!kept.is_empty() && some.entries().eq(kept));
    }
    rig.assert_sound();
}
