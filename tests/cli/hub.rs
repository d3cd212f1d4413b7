//! Models by their id on the hub, from a server on this machine.

mod server;

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use server::{HubServer, MODEL_ID, Refusal};

use crate::sandbox::{Run, Sandbox, assert_same_vectors, rows};
use crate::support::random_model::RandomModel;

/// Encodes two texts with the model from the hub at `endpoint`.
fn encode(sandbox: &Sandbox, endpoint: &str, token: Option<&str>) -> Run {
    sandbox.write_documents("docs.jsonl", &["red planet", "lazy dog"]);
    let line = format!("encode --model {MODEL_ID} --input docs.jsonl --output -");
    let mut command = sandbox.command(&line);
    command.env("HF_ENDPOINT", endpoint);
    if let Some(token) = token {
        command.env("HF_TOKEN", token);
    }
    Run::of(&mut command)
}

/// The run gave the rows of the model in the folder.
#[track_caller]
fn assert_rows(sandbox: &Sandbox, run: Run) {
    let expected = sandbox.encode_texts("", &["red planet", "lazy dog"]);
    assert_same_vectors(&rows(&run.succeeds().stdout), &expected);
}

/// An address where nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", listener.local_addr().expect("it has one"))
}

#[test]
fn a_model_is_fetched_once() {
    for name in ["bert", "bert_sharded", "bert_sum", "bert_bin"] {
        let sandbox = Sandbox::with(&RandomModel::named(name));
        let server = HubServer::start(sandbox.path("model"), Refusal::None);
        assert_rows(&sandbox, encode(&sandbox, server.endpoint(), None));
        let requests = server.requests();
        assert!(requests > 0);
        assert_rows(&sandbox, encode(&sandbox, server.endpoint(), None));
        assert_eq!(server.requests(), requests, "{name}: all is there");
        drop(server);
        assert_rows(&sandbox, encode(&sandbox, &nobody(), None));
    }
}

#[test]
fn only_what_is_needed_is_fetched() {
    let sandbox = Sandbox::new();
    sandbox.write("model/pytorch_model.bin", "the same weights again");
    sandbox.write("model/README.md", "much to read");
    let server = HubServer::start(sandbox.path("model"), Refusal::None);
    assert_rows(&sandbox, encode(&sandbox, server.endpoint(), None));
    assert_eq!(
        names_in(&snapshot(&sandbox)),
        [
            "config.json",
            "model.safetensors",
            "tokenizer_config.json",
            "vocab.txt"
        ]
    );
}

/// Where the hub's cache keeps the files of the model.
fn snapshot(sandbox: &Sandbox) -> PathBuf {
    repository(sandbox).join("snapshots").join(server::COMMIT)
}

/// Where it notes, by empty files, which ones the model does not have.
fn absences(sandbox: &Sandbox) -> PathBuf {
    repository(sandbox).join(".no_exist").join(server::COMMIT)
}

fn repository(sandbox: &Sandbox) -> PathBuf {
    sandbox.path("hub-cache/hub/models--tests--tiny")
}

fn names_in(folder: &Path) -> Vec<OsString> {
    let entries = fs::read_dir(folder).expect("the cache has the usual layout");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    names
}

/// Fills the cache as another program does that has no use for the files in `unwanted`.
fn fill_cache(sandbox: &Sandbox, unwanted: &[&str]) {
    let (refs, snapshot) = (repository(sandbox).join("refs"), snapshot(sandbox));
    fs::create_dir_all(&refs).expect("a folder");
    fs::write(refs.join("main"), server::COMMIT).expect("a reference");
    fs::create_dir_all(snapshot.join("1_SpladePooling")).expect("a folder");
    for name in [
        "config.json",
        "vocab.txt",
        "tokenizer_config.json",
        "model.safetensors",
        "modules.json",
        "1_SpladePooling/config.json",
    ] {
        let file = sandbox.path("model").join(name);
        if !unwanted.contains(&name) && file.exists() {
            fs::copy(file, snapshot.join(name)).expect("a copy");
        }
    }
}

#[test]
fn what_another_program_left_out_is_fetched() {
    let modules = "modules.json";
    let pooling = "1_SpladePooling/config.json";
    for unwanted in [
        &[modules, pooling][..],
        &[modules],
        &[pooling],
        &["tokenizer_config.json", modules, pooling],
        &["vocab.txt", modules, pooling],
        &["model.safetensors"],
    ] {
        let sandbox = Sandbox::with(&RandomModel::named("bert_sum"));
        fill_cache(&sandbox, unwanted);
        let run = encode(&sandbox, &nobody(), None);
        run.fails(1, &["lexpeak: tests/tiny: ", "; without network"]);

        let server = HubServer::start(sandbox.path("model"), Refusal::None);
        assert_rows(&sandbox, encode(&sandbox, server.endpoint(), None));
        drop(server);
        assert_rows(&sandbox, encode(&sandbox, &nobody(), None));
    }
}

#[test]
fn what_a_model_does_not_have_is_noted() {
    let sandbox = Sandbox::new();
    let server = HubServer::start(sandbox.path("model"), Refusal::None);
    assert_rows(&sandbox, encode(&sandbox, server.endpoint(), None));
    drop(server);
    let notes = names_in(&absences(&sandbox));
    assert!(notes.contains(&"modules.json".into()), "{notes:?}");
    for note in notes {
        let file = absences(&sandbox).join(&note);
        assert_eq!(fs::read(file).expect("a file"), b"", "{note:?}");
        assert!(!snapshot(&sandbox).join(&note).exists(), "{note:?}");
    }
}

/// BGE-M3 as its repository has it: layers in files of their own, weights and tokeniser in the older formats, modules, and a
/// copy of the whole for another runtime.
fn bge_m3() -> Sandbox {
    let sandbox = Sandbox::with(&RandomModel::named("bge_m3_bin"));
    let pooling = json!({"word_embedding_dimension": 60, "pooling_mode_cls_token": true});
    sandbox.write_dense_modules(&pooling);
    fs::create_dir(sandbox.path("model/onnx")).expect("a folder");
    let length = json!({"max_seq_length": 30, "do_lower_case": false});
    sandbox.write("model/sentence_bert_config.json", length.to_string());
    sandbox.write("model/onnx/model.onnx", "the same weights again");
    sandbox.write("model/README.md", "much to read");
    sandbox
}

#[test]
fn layers_in_files_of_their_own_are_fetched() {
    const OUTPUTS: &str = "--outputs sparse,dense,colbert";
    let sandbox = bge_m3();
    let texts = ["the planet", "火星 <mask>", &"the planet ".repeat(30)];
    let expected = sandbox.encode_texts(OUTPUTS, &texts);
    let server = HubServer::start(sandbox.path("model"), Refusal::None);
    let line = format!("encode --model {MODEL_ID} --input texts.jsonl --output - {OUTPUTS}");
    let encode = |endpoint: &str| {
        let run = Run::of(sandbox.command(&line).env("HF_ENDPOINT", endpoint));
        assert_same_vectors(&rows(&run.succeeds().stdout), &expected);
    };
    encode(server.endpoint());
    assert_eq!(
        names_in(&snapshot(&sandbox)),
        [
            "1_Pooling",
            "colbert_linear.pt",
            "config.json",
            "modules.json",
            "pytorch_model.bin",
            "sentence_bert_config.json",
            "sentencepiece.bpe.model",
            "sparse_linear.pt",
            "tokenizer_config.json",
        ]
    );
    let requests = server.requests();
    encode(server.endpoint());
    assert_eq!(server.requests(), requests, "all is there");
    drop(server);
    encode(&nobody());
}

/// sentence-transformers, for one, has no use for them.
#[test]
fn layers_that_another_program_left_out_are_fetched() {
    for missing in ["sparse_linear.pt", "colbert_linear.pt"] {
        let sandbox = bge_m3();
        let expected = sandbox.encode_texts("", &["red planet", "lazy dog"]);
        let server = HubServer::start(sandbox.path("model"), Refusal::None);
        encode(&sandbox, server.endpoint(), None).succeeds();
        fs::remove_file(snapshot(&sandbox).join(missing)).expect("a link or file");
        encode(&sandbox, &nobody(), None).fails(1, &["; without network"]);
        let run = encode(&sandbox, server.endpoint(), None).succeeds();
        assert_same_vectors(&rows(&run.stdout), &expected);
        assert!(snapshot(&sandbox).join(missing).is_file());
    }
}

/// A repository of an XLMRobertaModel that is no BGE-M3 is fetched, and then told apart.
#[test]
fn a_repository_without_layers_is_told_apart() {
    let sandbox = bge_m3();
    for layer in ["sparse_linear.pt", "colbert_linear.pt"] {
        fs::remove_file(sandbox.path("model").join(layer)).expect("it was there");
    }
    let server = HubServer::start(sandbox.path("model"), Refusal::None);
    for endpoint in [server.endpoint(), &nobody()] {
        let said = "sparse_linear.pt and colbert_linear.pt are missing; an XLMRobertaModel is read as BGE-M3";
        encode(&sandbox, endpoint, None).fails(1, &[said]);
    }
    let notes = names_in(&absences(&sandbox));
    for layer in ["sparse_linear.pt", "colbert_linear.pt"] {
        assert!(notes.contains(&layer.into()), "{notes:?}");
    }
}

/// A program that notes nothing as absent has left what the hub has.
#[test]
fn a_snapshot_of_everything_needs_no_notes_for_what_matters_to_others() {
    let sandbox = bge_m3();
    let server = HubServer::start(sandbox.path("model"), Refusal::None);
    encode(&sandbox, server.endpoint(), None).succeeds();
    drop(server);
    for name in ["2_Normalize", "sparse_linear.pt", "colbert_linear.pt"] {
        assert!(!absences(&sandbox).join(name).exists(), "{name}");
    }
    encode(&sandbox, &nobody(), None).succeeds();
}

#[test]
fn what_another_program_noted_as_absent_is_not_asked_for() {
    let sandbox = Sandbox::new();
    fill_cache(&sandbox, &[]);
    let notes = absences(&sandbox);
    fs::create_dir_all(&notes).expect("a folder");
    for name in [
        "config_sentence_transformers.json",
        "modules.json",
        "sentence_bert_config.json",
        "special_tokens_map.json",
        "tokenizer.json",
    ] {
        fs::write(notes.join(name), "").expect("a note");
    }
    assert_rows(&sandbox, encode(&sandbox, &nobody(), None));
}

#[test]
fn the_token_opens_a_private_model() {
    let sandbox = Sandbox::new();
    let server = HubServer::start(sandbox.path("model"), Refusal::WithoutToken("hf_secret"));
    for token in [None, Some("hf_wrong")] {
        let run = encode(&sandbox, server.endpoint(), token);
        let run = run.fails(1, &["lexpeak: tests/tiny: ", "401", "HF_TOKEN"]);
        assert!(
            !run.stderr.contains("hf_wrong"),
            "a token is nobody else's business"
        );
    }
    assert_rows(
        &sandbox,
        encode(&sandbox, server.endpoint(), Some("hf_secret")),
    );
}

#[test]
fn an_unknown_model_is_named() {
    let sandbox = Sandbox::new();
    let server = HubServer::start(sandbox.path("model"), Refusal::None);
    let mut command = sandbox.command("info --model tests/unknown");
    let run = Run::of(command.env("HF_ENDPOINT", server.endpoint()));
    run.fails(
        1,
        &[
            "lexpeak: tests/unknown: not a folder here",
            "404",
            "; without network",
        ],
    );
}

#[test]
fn a_download_that_breaks_off_is_completed_by_the_next() {
    let sandbox = Sandbox::new();
    let server = HubServer::start(sandbox.path("model"), Refusal::HalfOf("model.safetensors"));
    let run = encode(&sandbox, server.endpoint(), None);
    run.fails(
        1,
        &[
            "lexpeak: tests/tiny: ",
            "the hub did not give it",
            "; without network",
        ],
    );
    drop(server);
    // What is there is not taken for the model.
    encode(&sandbox, &nobody(), None).fails(1, &["lexpeak: tests/tiny: "]);

    let server = HubServer::start(sandbox.path("model"), Refusal::None);
    assert_rows(&sandbox, encode(&sandbox, server.endpoint(), None));
}

#[test]
fn without_network_the_folder_form_is_named() {
    let sandbox = Sandbox::new();
    let start = Instant::now();
    let run = encode(&sandbox, &nobody(), None).fails(
        1,
        &[
            "lexpeak: tests/tiny: not a folder here, and the hub did not give it: ",
            "; without network, copy the model's files to this machine and name their folder instead",
        ],
    );
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(run.stdout, "");
}
