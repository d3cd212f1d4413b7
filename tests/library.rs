//! The library as programs use it: from threads of their own, and with documents of their own making.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use lexpeak::{
    Device, Document, EncodeOptions, Encoder, OutputFormat, OutputTarget, encode_documents,
};
use proptest::prelude::*;
use rayon::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use support::agreement::{Agreement, entries};
use support::random_model::RandomModel;

/// The order of sums may differ with the batch, in f32.
const ROW_TOLERANCE: f64 = 1e-5;

/// Nothing here takes a fraction of this; what does hangs.
const LONGEST: Duration = Duration::from_secs(60);

/// One layer is enough where only the way to it matters.
fn small_model() -> RandomModel {
    RandomModel {
        layers: 1,
        ffn: 32,
        max_positions: 512,
        ..RandomModel::named("bert")
    }
}

fn encoder(folder: &Path) -> Encoder {
    let builder = Encoder::builder(folder).device(Device::Cpu);
    builder.build().expect("the model is whole")
}

/// The encoder of [`small_model`], and the folder that the model lies in.
fn small_encoder() -> (TempDir, Arc<Encoder>) {
    let folder = small_model().write_temporary();
    let encoder = Arc::new(encoder(folder.path()));
    (folder, encoder)
}

/// What `work` gives, in another thread, so that a test that would hang fails.
fn in_time<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    let (sender, result) = mpsc::channel();
    let worker = thread::spawn(move || sender.send(work()).is_ok());
    match result.recv_timeout(LONGEST) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => panic!("it did not end in {LONGEST:?}"),
        Err(RecvTimeoutError::Disconnected) => {
            resume_unwind(worker.join().expect_err("it sent nothing"))
        }
    }
}

/// Short texts of different lengths.
fn texts(count: usize) -> Vec<String> {
    let text = |n: usize| format!("{} planet {}", "red ".repeat(n % 7), "fox ".repeat(n % 5));
    (0..count).map(text).collect()
}

#[test]
fn a_panic_in_the_documents_is_a_panic_of_the_call() {
    for good in [0, 1, 1000] {
        let (folder, encoder) = small_encoder();
        let path = folder.path().join("rows.jsonl");
        let output = path.clone();
        let panic = in_time(move || {
            let target = OutputTarget::create(&output).expect("a file");
            let mut writer = OutputFormat::Jsonl.writer(target, None);
            let documents = (0..).map(move |n| {
                assert!(n < good, "no document {n}");
                Ok(Document {
                    id: n.into(),
                    text: "red planet".to_owned(),
                })
            });
            let call = catch_unwind(AssertUnwindSafe(|| {
                let stop = AtomicBool::new(false);
                let options = EncodeOptions::default();
                encode_documents(
                    &encoder,
                    &options,
                    documents,
                    writer.as_mut(),
                    &stop,
                    |_| {},
                )
            }));
            call.expect_err("it cannot know the other documents")
        });
        let message = panic.downcast_ref::<String>().expect("the documents' own");
        assert_eq!(*message, format!("no document {good}"));
        assert!(!path.exists());
    }
}

#[test]
fn threads_of_the_caller_s_pool_may_encode() {
    let (_folder, encoder) = small_encoder();
    let options = EncodeOptions::default();
    let texts = texts(2000);
    let together = encoder.encode(&texts, &options).expect("rows");
    let alone = in_time(move || {
        let row = |text| encoder.encode(&[text], &options).expect("a row");
        texts.par_iter().map(row).collect::<Vec<_>>()
    });
    let mut agreement = Agreement::within(ROW_TOLERANCE);
    for (number, (alone, together)) in alone.iter().zip(together.iter()).enumerate() {
        let what = format!("row {number}");
        agreement.row(&what, &entries(alone.row(0)), &entries(together));
    }
    agreement.finish("rows encoded alone and together");
}

#[test]
fn tasks_of_the_caller_s_pool_may_encode() {
    const TASKS: usize = 300;
    let (_folder, encoder) = small_encoder();
    let options = EncodeOptions::default();
    let (sender, finished) = mpsc::channel();
    for text in texts(TASKS) {
        let (encoder, options, sender) = (encoder.clone(), options.clone(), sender.clone());
        rayon::spawn(move || {
            let rows = encoder.encode(&[&text], &options).expect("a row");
            let terms = encoder.explain(&text, &options).expect("terms");
            let _ = sender.send((rows.non_zeros(), terms.len()));
        });
        thread::sleep(Duration::from_micros(200)); // as requests of a service come
    }
    drop(sender);
    let finished = in_time(move || finished.iter().collect::<Vec<_>>());
    assert_eq!(finished.len(), TASKS);
    for (non_zeros, terms) in finished {
        assert_eq!(non_zeros, terms);
    }
}

/// A model whose tokeniser has tokens with spaces inside and around them.
fn with_added_tokens() -> TempDir {
    let model = small_model();
    let folder = model.write_temporary();
    let mut tokenizer = model.tokenizer_json();
    // They take the ids of the last words.
    let tokens = [
        ("red planet mars", false, false),
        ("lazy dog", true, false),
        ("fox  over", false, true),
    ];
    let first = model.vocab - tokens.len();
    let vocabulary = tokenizer["model"]["vocab"].as_object_mut().expect("a map");
    vocabulary.retain(|_, id| id.as_u64() < Some(first as u64));
    let added_tokens = tokenizer["added_tokens"].as_array_mut().expect("a list");
    added_tokens.extend(tokens.into_iter().zip(first..).map(
        |((content, normalized, strips), id)| -> Value {
            json!({
                "id": id, "content": content, "special": false, "single_word": false,
                "lstrip": strips, "rstrip": strips, "normalized": normalized,
            })
        },
    ));
    let path = folder.path().join("tokenizer.json");
    std::fs::write(path, tokenizer.to_string()).expect("tokenizer.json is written");
    folder
}

/// `token_ids` of the text cut to `max_length`.
fn cut(encoder: &Encoder, text: &str, max_length: usize) -> Vec<u32> {
    let options = EncodeOptions {
        max_length: Some(max_length),
        ..Default::default()
    };
    encoder.token_ids(text, &options).expect("a valid length")
}

/// The first tokens of the whole text, which has no more than the model takes.
fn cut_by_hand(encoder: &Encoder, text: &str, max_length: usize) -> Vec<u32> {
    let mut ids = cut(encoder, text, 512);
    let end = ids.pop().expect("[SEP]");
    ids.truncate(max_length - 1);
    ids.push(end);
    ids
}

#[test]
fn a_long_text_has_the_first_tokens_of_the_whole() {
    let plain = small_encoder();
    let folder = with_added_tokens();
    let added = Arc::new(encoder(folder.path()));
    for encoder in [&plain.1, &added] {
        for spaces in [1, 20, 100, 3000] {
            let space = " ".repeat(spaces);
            for text in [
                format!("fox{space}red planet mars"),
                format!("fox{space}red planet mars{space}the dog"),
                format!("a a a a{space}red planet mars and the lazy dog"),
                format!("{space}lazy dog{space}fox  over{space}"),
            ] {
                for max_length in 3..12 {
                    assert_eq!(
                        cut(encoder, &text, max_length),
                        cut_by_hand(encoder, &text, max_length),
                        "{max_length} tokens of {text:?}"
                    );
                }
            }
        }
    }

    let id = |text: &str| cut(&added, text, 512)[1];
    assert_eq!(id("red planet mars"), 136);
    assert_eq!(id("Lazy Dog"), 137);
    assert_eq!(id("fox  over"), 138);
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None, // it has its place only beside a lib.rs
        ..ProptestConfig::default()
    })]
    #[test]
    fn so_does_any_other(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "red planet mars", "red planet", "lazy dog", "lazy", "dog", "fox  over", "fox", "over",
                " ", "  ", "\t", "                              ", "[SEP]", "e\u{301}", "!",
            ]),
            0..100,
        ),
        max_length in 3usize..12,
    ) {
        thread_local!(static ADDED: Encoder = encoder(with_added_tokens().path()));
        let text = pieces.concat();
        ADDED.with(|encoder| {
            prop_assert_eq!(cut(encoder, &text, max_length), cut_by_hand(encoder, &text, max_length));
            Ok(())
        })?;
    }
}
