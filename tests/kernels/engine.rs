//! The whole CUDA engine as programs use it: the same bits in any company, and what is asked for beside the weights.

use std::path::Path;

use half::f16;
use lexpeak::cuda::kernels::{DeviceTokens, EmbedLn, EmbedLnArgs, RowShape};
use lexpeak::{
    Category, Device, Dtype, Embeddings, EncodeOptions, Encoder, SparseRows, SpecialTokens,
};
use rayon::prelude::*;

use crate::rig::Rig;
use crate::support::demo_model;
use crate::support::golden_rows::GoldenRow;
use crate::support::random_model::RandomModel;
use crate::values::{poisoned, upload};

pub fn encoder(folder: &Path, dtype: Dtype, batch_tokens: usize) -> Encoder {
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

/// All outputs that the model has.
pub fn embed(encoder: &Encoder, texts: &[&str]) -> Embeddings {
    let options = EncodeOptions {
        outputs: encoder.spec().head.outputs(),
        ..EncodeOptions::default()
    };
    encoder
        .embed(texts, &options)
        .expect("the texts are encoded")
}

#[test]
fn a_document_is_the_same_bits_alone_in_a_batch_and_in_another_order() {
    let rig = Rig::new();
    for name in [
        "bert",
        "bert_head20",
        "bert_log1p_sum",
        "distilbert",
        "bge_m3_bin",
        "unicoil",
    ] {
        let model = RandomModel::named(name);
        let folder = model.write_temporary();
        let golden = GoldenRow::of(name);
        let mut texts: Vec<&str> = golden.iter().map(|row| row.text.as_str()).collect();
        for batch_tokens in [64, 2048] {
            let encoder = encoder(folder.path(), Dtype::F16, batch_tokens);
            let together = embed(&encoder, &texts);
            assert!(together == embed(&encoder, &texts), "{name}: twice");
            for (at, text) in texts.iter().enumerate() {
                let alone = embed(&encoder, &[text]);
                assert!(
                    alone.document(0) == together.document(at),
                    "{name}: {text:?} alone"
                );
            }
            texts.reverse();
            let reversed = embed(&encoder, &texts);
            let last = texts.len() - 1;
            for at in 0..=last {
                assert!(
                    together.document(at) == reversed.document(last - at),
                    "{name}: reversed"
                );
            }
            texts.reverse();
        }
    }
    rig.assert_sound();
}

/// A text may be as long as the model allows, however small the batches are, and memory for it is set aside.
#[test]
fn memory_is_that_of_the_longest_text_at_least() {
    let rig = Rig::new();
    let folder = RandomModel::named("bert").write_temporary();
    let memory = |tokens| encoder(folder.path(), Dtype::F16, tokens).memory();
    let longest = encoder(folder.path(), Dtype::F16, 1).spec().longest_input;
    assert_eq!(memory(1), memory(longest));
    assert!(memory(1).arena < memory(2 * longest).arena);
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

#[test]
fn a_weight_comes_from_the_same_token_as_on_the_cpu() {
    let rig = Rig::new();
    let options = EncodeOptions::default();
    let explain = |device, text| {
        let builder = Encoder::builder(demo_model::folder()).device(device);
        let terms = builder
            .build()
            .and_then(|encoder| encoder.explain(text, &options));
        terms.expect("the text has terms")
    };
    for text in ["Which planet is known as the Red Planet?", "volcano", ""] {
        let found = explain(Device::Cuda(Some(0)), text);
        let expected = explain(Device::Cpu, text);
        assert!(found.len() >= 5);
        for term in &found {
            let same = expected.iter().find(|other| other.id == term.id);
            let Some(same) = same else {
                // Close to nothing, it may be missing.
                assert!(term.weight < 2e-2, "{text:?}: {term:?}");
                continue;
            };
            assert_eq!(term.position, same.position, "{text:?}: {term:?}");
            assert_eq!(term.source, same.source);
        }
    }
    rig.assert_sound();
}

/// Positions count the tokens of the text, special ones too, whether those are pooled or not.
#[test]
fn positions_are_those_of_the_cpu_where_special_tokens_are_dropped() {
    let rig = Rig::new();
    let options = EncodeOptions {
        special_tokens: SpecialTokens::DropPositions,
        ..EncodeOptions::default()
    };
    for name in ["bert", "bert_log1p_sum"] {
        let folder = RandomModel::named(name).write_temporary();
        let explain = |device, text| {
            let builder = Encoder::builder(folder.path()).device(device);
            let encoder = builder.build().expect("the model loads");
            let mut terms = encoder.explain(text, &options).expect("terms");
            terms.sort_by_key(|term| term.id);
            terms
        };
        for text in ["red planet mars fox", "the dog", ""] {
            let found = explain(Device::Cuda(Some(0)), text);
            let expected = explain(Device::Cpu, text);
            let mut alike = 0;
            for term in &found {
                let same = expected.iter().find(|other| other.id == term.id);
                alike += usize::from(same.is_some_and(|same| same.position == term.position));
                assert!(term.position > 0, "{name} {text:?}: {term:?}");
            }
            // Of tokens that give nearly the same, another may win.
            assert!(
                alike * 20 >= found.len() * 19,
                "{name} {text:?}: {alike} of {}",
                found.len()
            );
            assert_eq!(found.is_empty(), text.is_empty(), "{name} {text:?}");
        }
    }
    rig.assert_sound();
}

#[test]
fn any_number_of_threads_share_the_engines() {
    let rig = Rig::new();
    let options = EncodeOptions::default();
    for name in ["bert", "bge_m3"] {
        let folder = RandomModel::named(name).write_temporary();
        let golden = GoldenRow::of(name);
        let texts: Vec<&str> = golden.iter().map(|row| row.text.as_str()).collect();
        let encoder = encoder(folder.path(), Dtype::F16, 64);
        let together = embed(&encoder, &texts);
        texts.par_iter().enumerate().for_each(|(at, text)| {
            let both = embed(&encoder, &[text, text]);
            for number in [0, 1] {
                assert!(
                    both.document(number) == together.document(at),
                    "{name}: {text:?}"
                );
            }
            encoder.explain(text, &options).expect("terms");
            assert!(encoder.memory().weights > 0);
        });
    }
    rig.assert_sound();
}

/// Stand-in only: a real GPU would fail in everything that the process does after this.
#[test]
fn a_kernel_that_fails_is_reported() {
    let rig = Rig::new();
    let Some(standin) = rig.standin else {
        return eprintln!("a GPU that has failed would fail in all other tests");
    };
    let row = RowShape::new(8).unwrap();
    let table = poisoned::<f16>(&rig.gpu, 8);
    let zeros = upload(&rig.gpu, &[0.0_f32; 8]);
    let ids = upload(&rig.gpu, &[1_000_000_u32, 0]);
    // SAFETY: none, which is the point: the first id has no row, whatever is said of it.
    let tokens = unsafe { DeviceTokens::new(ids.slice(..1), ids.slice(1..), 1, 1) };
    let launched = EmbedLn::load(&rig.gpu, row).unwrap().launch(EmbedLnArgs {
        tokens,
        words: table.as_view(),
        places: table.as_view(),
        scale: zeros.as_view(),
        shift: zeros.as_view(),
        out: poisoned(&rig.gpu, 8).as_view_mut(),
        eps: 1e-5,
    });
    let (error, parts) = if cfg!(feature = "synchronous") {
        let named = ["kernel embed_ln_1024_f16", "run it for 1 tokens of 8"];
        (launched.unwrap_err(), named)
    } else {
        launched.unwrap();
        let hint = ["finish its work", "--features synchronous"];
        (rig.gpu.synchronize().unwrap_err(), hint)
    };
    assert_eq!(error.category(), Category::Device);
    for part in parts.into_iter().chain(["illegal memory access"]) {
        assert!(error.to_string().contains(part), "{error}");
    }
    standin.reset();
}
