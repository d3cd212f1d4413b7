//! A folder to run the command in, and how a run ended.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::agreement::Agreement;
use crate::support::random_model::RandomModel;

/// The same text gives the same row within this, whatever is computed beside it.
const ROW_TOLERANCE: f64 = 1e-5;

/// No run here takes a fraction of this; one that does hangs.
const LONGEST_RUN: Duration = Duration::from_secs(120);

/// A temporary folder with a model in `model/`. The command runs inside, so that paths are short:
/// in what a test asks for and in what the command says.
pub struct Sandbox {
    folder: TempDir,
}

impl Sandbox {
    /// With a small random BERT: 139 words, 40 positions.
    pub fn new() -> Self {
        Self::with(&RandomModel::named("bert"))
    }

    pub fn with(model: &RandomModel) -> Self {
        let sandbox = Self::empty();
        fs::create_dir(sandbox.path("model")).expect("a folder");
        model.write(&sandbox.path("model"));
        sandbox
    }

    /// With the small BERT and its tokeniser in one file, `model/tokenizer.json`.
    pub fn with_tokenizer(edit: impl FnOnce(&mut Value)) -> Self {
        let model = RandomModel::named("bert");
        let sandbox = Self::with(&model);
        let mut tokenizer = model.tokenizer_json();
        edit(&mut tokenizer);
        sandbox.write("model/tokenizer.json", tokenizer.to_string());
        sandbox
    }

    /// With a tokeniser that adds no special tokens: nothing is left of an empty text.
    pub fn without_special_tokens() -> Self {
        Self::with_tokenizer(|tokenizer| tokenizer["post_processor"] = Value::Null)
    }

    pub fn empty() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn has(&self, name: &str) -> bool {
        self.path(name).symlink_metadata().is_ok()
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap_or_else(|e| panic!("{name}: {e}"));
    }

    /// Writes each text as a line of JSON; its id is its place, from 0.
    pub fn write_documents(&self, name: &str, texts: &[impl AsRef<str>]) {
        self.write(name, json_lines(texts));
    }

    /// Makes the model one of sentence-transformers that gives dense vectors, as BAAI/bge-m3 is, with this pooling.
    pub fn write_dense_modules(&self, pooling: &Value) {
        let module = |index: usize, path: &str, class: &str| {
            let class = format!("sentence_transformers.models.{class}");
            json!({"idx": index, "name": index.to_string(), "path": path, "type": class})
        };
        let modules = json!([
            module(0, "", "Transformer"),
            module(1, "1_Pooling", "Pooling"),
            module(2, "2_Normalize", "Normalize"),
        ]);
        self.write("model/modules.json", modules.to_string());
        fs::create_dir(self.path("model/1_Pooling")).expect("a folder");
        self.write("model/1_Pooling/config.json", pooling.to_string());
    }

    #[track_caller]
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub fn edit_json(&self, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut value = serde_json::from_str(&self.read(name)).expect("a JSON file");
        edit(&mut value);
        self.write(name, value.to_string());
    }

    /// The rows in file `name`.
    #[track_caller]
    pub fn rows(&self, name: &str) -> Vec<Row> {
        rows(&self.read(name))
    }

    /// The command with the arguments on `line`, which are separated by spaces.
    pub fn command(&self, line: &str) -> Command {
        self.inside(Command::new(env!("CARGO_BIN_EXE_lexpeak")), line)
    }

    /// A shell that runs `script`, in which `"$0" "$@"` is the command with its arguments.
    #[cfg(unix)]
    pub fn shell(&self, script: &str, line: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", script, env!("CARGO_BIN_EXE_lexpeak")]);
        self.inside(shell, line)
    }

    fn inside(&self, mut command: Command, line: &str) -> Command {
        command
            .args(line.split_whitespace())
            .current_dir(self.folder.path())
            // The CPU engine computes here, whatever the machine has.
            .env("CUDA_VISIBLE_DEVICES", "-1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for proxy in ["all_proxy", "http_proxy", "https_proxy"] {
            command.env_remove(proxy).env_remove(proxy.to_uppercase());
        }
        // Whatever the hub's variables are outside, no test reaches it or its cache.
        command
            .env("HF_HOME", self.path("hub-cache"))
            .env("HF_ENDPOINT", "http://127.0.0.1:9")
            .env_remove("HF_TOKEN");
        command
    }

    pub fn run(&self, line: &str) -> Run {
        Run::of(&mut self.command(line))
    }

    /// Runs `encode` with the model and `options`.
    pub fn encode(&self, options: &str) -> Run {
        self.run(&format!("encode --model model {options}"))
    }

    /// The rows of `texts`.
    #[track_caller]
    pub fn encode_texts(&self, options: &str, texts: &[impl AsRef<str>]) -> Vec<Row> {
        self.write_documents("texts.jsonl", texts);
        let run = self.encode(&format!("--input texts.jsonl --output - {options}"));
        rows(&run.succeeds().stdout)
    }
}

/// How a run ended and what it said.
#[derive(Debug)]
pub struct Run {
    /// None if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn of(command: &mut Command) -> Self {
        Self::end_of(command.spawn().expect("the command starts"))
    }

    /// Waits for a run that has begun; its standard input is closed.
    pub fn end_of(child: Child) -> Self {
        let id = child.id();
        let (sender, output) = mpsc::channel();
        thread::spawn(move || sender.send(child.wait_with_output()));
        match output.recv_timeout(LONGEST_RUN) {
            Ok(output) => output.expect("its output is read").into(),
            Err(_) => {
                signal("KILL", id);
                panic!("the command did not end in {LONGEST_RUN:?}");
            }
        }
    }

    #[track_caller]
    pub fn succeeds(self) -> Self {
        self.ends(0, &[])
    }

    /// The run failed with exit code `code`, and all of `parts` stand in its message.
    #[track_caller]
    pub fn fails(self, code: i32, parts: &[&str]) -> Self {
        assert_ne!(code, 0);
        self.ends(code, parts)
    }

    /// The run ended with exit code `code`, and all of `parts` stand in what it said.
    #[track_caller]
    pub fn ends(self, code: i32, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        for part in parts {
            assert!(
                self.stderr.contains(part),
                "{part:?} is not in: {}",
                self.stderr
            );
        }
        self
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the command prints UTF-8");
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

/// Sends a signal to a process that this test has started and not yet waited for.
pub fn signal(name: &str, process: u32) {
    let sent = Command::new("kill")
        .args([format!("-{name}"), process.to_string()])
        .status();
    assert!(
        sent.expect("kill runs").success(),
        "signal {name} to {process}"
    );
}

/// Waits for what another process does.
pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LONGEST_RUN, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// One line of output.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    id: Box<RawValue>,
    #[serde(default)]
    pub indices: Vec<u32>,
    #[serde(default)]
    pub values: Vec<f32>,
    pub tokens: Option<Vec<String>>,
    pub dense: Option<Vec<f32>>,
    pub colbert: Option<Vec<Vec<f32>>>,
}

impl Row {
    /// The id as the line has it, with quotes if it is a string.
    pub fn id(&self) -> &str {
        self.id.get()
    }

    pub fn entries(&self) -> Vec<(u32, f64)> {
        assert_eq!(self.indices.len(), self.values.len());
        let values = self.values.iter().map(|&value| f64::from(value));
        self.indices.iter().copied().zip(values).collect()
    }
}

pub fn json_lines(texts: &[impl AsRef<str>]) -> String {
    let line = |(id, text): (usize, &_)| {
        let text: &str = AsRef::as_ref(text);
        format!("{}\n", json!({"id": id, "text": text}))
    };
    texts.iter().enumerate().map(line).collect()
}

/// The rows on `lines`, each of them whole.
#[track_caller]
pub fn rows(lines: &str) -> Vec<Row> {
    assert!(
        lines.is_empty() || lines.ends_with('\n'),
        "the last line is cut off"
    );
    let row = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line:?}: {e}"));
    lines.lines().map(row).collect()
}

pub fn ids(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(Row::id).collect()
}

/// Both are the vectors of the same texts.
pub fn assert_same_vectors(found: &[Row], expected: &[Row]) {
    assert_eq!(found.len(), expected.len());
    let mut agreement = Agreement::within(ROW_TOLERANCE);
    for (number, (found, expected)) in found.iter().zip(expected).enumerate() {
        let what = format!("row {number}");
        agreement.row(&what, &found.entries(), &expected.entries());
        let vectors = |row: &Row| {
            let dense = row.dense.as_slice();
            let colbert = row.colbert.as_deref().unwrap_or_default();
            dense.iter().chain(colbert).cloned().collect::<Vec<_>>()
        };
        let (found, expected) = (vectors(found), vectors(expected));
        agreement.exact(&what, found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            agreement.vector(&what, found, expected);
        }
    }
    agreement.finish("rows");
}
