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
    Category, Device, Document, Embedding, EncodeOptions, Encoder, OutputFormat, OutputTarget,
    Outputs, Scores, encode_documents,
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

/// Vectors of the same text differ by less.
const VECTOR_TOLERANCE: f64 = 1e-5;

/// Every output that a model may have.
const ALL: Outputs = Outputs {
    sparse: true,
    dense: true,
    colbert: true,
};

fn wanting(outputs: Outputs) -> EncodeOptions {
    EncodeOptions {
        outputs,
        ..Default::default()
    }
}

/// The encoder of a BGE-M3 with one layer, and the folder that the model lies in.
fn bge_m3(batch_tokens: Option<usize>) -> (TempDir, Arc<Encoder>) {
    let model = RandomModel {
        layers: 1,
        max_positions: 512,
        ..RandomModel::named("bge_m3")
    };
    let folder = model.write_temporary();
    let mut builder = Encoder::builder(folder.path()).device(Device::Cpu);
    if let Some(tokens) = batch_tokens {
        builder = builder.batch_tokens(tokens);
    }
    let encoder = builder.build().expect("the model is whole");
    (folder, Arc::new(encoder))
}

/// Each output that `found` has is that of `expected`.
fn compare(agreement: &mut Agreement, what: &str, found: Embedding<'_>, expected: Embedding<'_>) {
    if let Some(row) = found.sparse {
        let expected = expected.sparse.expect("a row");
        agreement.row(what, &entries(row), &entries(expected));
    }
    if let Some(vector) = found.dense {
        agreement.vector(what, vector, expected.dense.expect("a vector"));
    }
    if let Some(vectors) = found.colbert {
        let expected = expected.colbert.expect("vectors");
        agreement.exact(what, vectors.len(), expected.len());
        for (found, expected) in vectors.iter().zip(expected.iter()) {
            agreement.vector(what, found, expected);
        }
    }
}

#[test]
fn only_what_was_asked_for_is_there() {
    let (_folder, encoder) = bge_m3(None);
    let texts = texts(20);
    let all = encoder.embed(&texts, &wanting(ALL)).expect("embeddings");
    for subset in 1..8 {
        let [sparse, dense, colbert] = [1, 2, 4].map(|bit| subset & bit != 0);
        let outputs = Outputs {
            sparse,
            dense,
            colbert,
        };
        let found = encoder.embed(&texts, &wanting(outputs)).expect("some");
        assert_eq!(found.sparse.is_some(), sparse);
        assert_eq!(found.dense.is_some(), dense);
        assert_eq!(found.colbert.is_some(), colbert);
        assert!(found.sparse.as_ref().is_none_or(|rows| rows.len() == 20));
        assert!(
            found
                .dense
                .as_ref()
                .is_none_or(|vectors| vectors.len() == 20)
        );
        assert!(
            found
                .colbert
                .as_ref()
                .is_none_or(|vectors| vectors.len() == 20)
        );
        let mut agreement = Agreement::within(VECTOR_TOLERANCE);
        for number in 0..texts.len() {
            let what = format!("text {number} of {outputs:?}");
            let (found, all) = (found.document(number), all.document(number));
            compare(&mut agreement, &what, found, all);
        }
        agreement.finish("some outputs and all");
    }
    let nothing: [&str; 0] = [];
    let found = encoder.embed(&nothing, &wanting(ALL)).expect("none");
    assert!(found.sparse.is_some_and(|rows| rows.is_empty()));
    assert!(
        found
            .dense
            .is_some_and(|vectors| vectors.is_empty() && vectors.width() == 64)
    );
    assert!(
        found
            .colbert
            .is_some_and(|vectors| vectors.is_empty() && vectors.width() == 64)
    );
}

#[test]
fn rows_do_not_depend_on_the_outputs_named() {
    let (_folder, with_vectors) = bge_m3(None);
    let (_other, without) = small_encoder();
    for encoder in [&with_vectors, &without] {
        let texts = texts(20);
        let rows = encoder.encode(&texts, &EncodeOptions::default());
        let expected = rows.expect("rows");
        assert_eq!(expected.len(), 20);
        for outputs in [
            ALL,
            Outputs {
                sparse: false,
                dense: false,
                colbert: false,
            },
        ] {
            let rows = encoder.encode(&texts, &wanting(outputs)).expect("rows");
            assert_eq!(rows, expected);
            let terms = encoder.explain("red planet", &wanting(outputs));
            let default = encoder.explain("red planet", &EncodeOptions::default());
            assert_eq!(terms.expect("terms"), default.expect("terms"));
        }
    }
}

#[test]
fn options_are_checked_without_a_text() {
    let (_folder, encoder) = bge_m3(None);
    let sizes = |options| {
        let sizes = encoder.check(&options).expect("good options");
        (sizes.sparse, sizes.dense, sizes.colbert)
    };
    let vectors = Outputs {
        sparse: false,
        ..ALL
    };
    assert_eq!(sizes(EncodeOptions::default()), (true, None, None));
    assert_eq!(sizes(wanting(ALL)), (true, Some(64), Some(64)));
    assert_eq!(sizes(wanting(vectors)), (false, Some(64), Some(64)));
    let shorter = EncodeOptions {
        truncate_dim: Some(7),
        ..wanting(ALL)
    };
    assert_eq!(sizes(shorter), (true, Some(7), Some(64)));

    let none = Outputs {
        sparse: false,
        dense: false,
        colbert: false,
    };
    for (options, part) in [
        (wanting(none), "no output"),
        (
            EncodeOptions {
                truncate_dim: Some(0),
                ..wanting(ALL)
            },
            "ask for 1 to 64",
        ),
        (
            EncodeOptions {
                truncate_dim: Some(65),
                ..wanting(ALL)
            },
            "ask for 1 to 64",
        ),
    ] {
        for error in [
            encoder.check(&options).expect_err("without sense"),
            encoder
                .embed(&["red"], &options)
                .expect_err("without sense"),
        ] {
            assert_eq!(error.category(), Category::Usage);
            assert!(error.to_string().contains(part), "{error}");
        }
    }
    let (_folder, encoder) = small_encoder();
    let error = encoder.check(&wanting(ALL)).expect_err("no such output");
    assert_eq!(error.category(), Category::Usage);
    let said = "BertForMaskedLM has no dense output; ask for sparse";
    assert_eq!(error.to_string(), said);
}

#[test]
fn batches_of_any_size_give_the_same_vectors() {
    let texts = texts(40);
    let options = wanting(ALL);
    let (_folder, together) = bge_m3(Some(1 << 16));
    let expected = together.embed(&texts, &options).expect("embeddings");
    for batch_tokens in [1, 17, 64, 1000] {
        let (_folder, encoder) = bge_m3(Some(batch_tokens));
        let mut agreement = Agreement::within(VECTOR_TOLERANCE);
        // The same encoder has large batches, small ones and again large ones.
        for count in [40, 1, 7, 40] {
            let found = encoder.embed(&texts[..count], &options).expect("some");
            for number in 0..count {
                let what = format!("text {number} of {count}, {batch_tokens} tokens a batch");
                let (found, expected) = (found.document(number), expected.document(number));
                compare(&mut agreement, &what, found, expected);
            }
        }
        agreement.finish("small batches and a large one");
    }
}

#[test]
fn any_thread_may_embed() {
    let (_folder, encoder) = bge_m3(None);
    let options = wanting(ALL);
    let texts = texts(200);
    let expected = encoder.embed(&texts, &options).expect("embeddings");
    let (found, texts) = in_time(move || {
        let embed = |text| encoder.embed(&[text], &options).expect("an embedding");
        // In threads of the caller's pool, and in one of its own.
        let mut found = texts[..150].par_iter().map(embed).collect::<Vec<_>>();
        thread::scope(|scope| {
            let rest = scope.spawn(|| texts[150..].iter().map(embed).collect::<Vec<_>>());
            found.extend(rest.join().expect("it ends"));
        });
        (found, texts)
    });
    let mut agreement = Agreement::within(VECTOR_TOLERANCE);
    for number in 0..texts.len() {
        let what = format!("text {number}");
        let (found, expected) = (found[number].document(0), expected.document(number));
        compare(&mut agreement, &what, found, expected);
    }
    agreement.finish("texts alone and together");
}

/// Dense vectors as a program compares them: a text is nearest to itself, whatever it is encoded with.
#[test]
fn a_text_scores_1_with_itself() {
    let (_folder, encoder) = bge_m3(None);
    let texts = ["the red planet", "", "火星 <mask>"];
    let embeddings = encoder.embed(&texts, &wanting(ALL)).expect("embeddings");
    for number in 0..texts.len() {
        let itself = embeddings.document(number);
        let scores = Scores::of(itself, itself);
        let near_1 = |score: Option<f64>| score.is_some_and(|score| (score - 1.0).abs() <= 1e-5);
        assert!(near_1(scores.dense) && near_1(scores.colbert), "{scores:?}");
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
