//! The command on GPUs, in a process of its own: the original PyTorch models' rows, the same bytes in any company, any number
//! of devices, and what it says where a GPU does not do.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use safetensors::SafeTensors;

use crate::rig::Rig;
use crate::support::agreement::Agreement;
use crate::support::demo_model;
use crate::support::golden_rows::{GoldenRow, SpecialTokens};
use crate::support::random_model::RandomModel;
use crate::support::sandbox::{Row, Run, Sandbox, json_lines, rows};
use crate::support::tokenizers;

/// How far a weight may be from PyTorch's in f32.
const TOLERANCES: [(&str, f64); 2] = [("f16", 2e-2), ("bf16", 6e-2)];

/// And the cosine that a vector must have with PyTorch's.
const LEAST_COSINES: [f64; 2] = [0.9999, 0.9999];

/// Rounding errors of all tokens add up in a sum: three times the tolerance, or a share of the weight where that is more.
const SUM_FACTOR: f64 = 3.0;
const SUM_SHARE: f64 = 0.01;

/// `encode` of a model with `options`, on a GPU or its stand-in, which must find nothing wrong.
pub struct Encode<'a> {
    rig: &'a Rig,
    sandbox: &'a Sandbox,
    model: &'a Path,
}

impl<'a> Encode<'a> {
    pub fn of(rig: &'a Rig, sandbox: &'a Sandbox) -> Self {
        let model = Path::new("model");
        Self {
            rig,
            sandbox,
            model,
        }
    }

    pub fn command(&self, options: &str) -> Command {
        let model = self.model.display();
        let line =
            format!("encode --model {model} --input - --input-format jsonl --output - {options}");
        let mut command = self.sandbox.command(&line);
        command
            .env_remove("CUDA_VISIBLE_DEVICES")
            .env("STANDIN_REPORT", "report");
        if let Some(standin) = self.rig.standin {
            standin.preload(&mut command);
        }
        command
    }

    pub fn finish(&self, mut command: Command, texts: &[impl AsRef<str>]) -> Run {
        self.sandbox.write("texts.jsonl", json_lines(texts));
        let input = File::open(self.sandbox.path("texts.jsonl")).expect("it is there");
        Run::of(command.stdin(input))
    }

    /// The rows of `texts` as the command writes them.
    #[track_caller]
    pub fn run(&self, options: &str, texts: &[impl AsRef<str>]) -> String {
        let run = self.finish(self.command(options), texts).succeeds();
        let report = fs::read_to_string(self.sandbox.path("report")).unwrap_or_default();
        assert_eq!(report, "", "what the stand-in found");
        run.stdout
    }

    /// Compares with golden rows of a model; those with the same options are one run.
    fn compare_with_golden_rows(&self, agreement: &mut Agreement, dtype: &str, name: &str) {
        self.compare_with(agreement, dtype, name, GoldenRow::of(name));
    }

    fn compare_with(
        &self,
        agreement: &mut Agreement,
        dtype: &str,
        name: &str,
        rows_of_model: Vec<GoldenRow>,
    ) {
        let mut by_options: BTreeMap<String, Vec<GoldenRow>> = BTreeMap::new();
        for row in rows_of_model {
            let special_tokens = match row.special_tokens {
                SpecialTokens::Keep => "keep",
                SpecialTokens::ZeroColumns => "zero-columns",
                SpecialTokens::DropPositions => "drop-positions",
            };
            let mut options = format!("--special-tokens {special_tokens}");
            if let Some(length) = row.max_length {
                options += &format!(" --max-length {length}");
            }
            if let Some(size) = row.dense_size {
                options += &format!(" --truncate-dim {size}");
            }
            options += match (&row.dense, &row.colbert) {
                (None, _) => " --outputs sparse",
                (Some(_), None) => " --outputs sparse,dense",
                (Some(_), Some(_)) => " --outputs sparse,dense,colbert",
            };
            by_options.entry(options).or_default().push(row);
        }
        for (options, golden) in by_options {
            let texts: Vec<&str> = golden.iter().map(|row| row.text.as_str()).collect();
            let options = format!("--device cuda --dtype {dtype} --batch-tokens 512 {options}");
            let found = rows(&self.run(&options, &texts));
            assert_eq!(found.len(), golden.len());
            for (found, golden) in found.iter().zip(&golden) {
                let what = format!("{name} {}", golden.label());
                agreement.row(&what, &found.entries(), &golden.entries());
                compare_vectors(agreement, &what, found, golden);
            }
        }
    }
}

/// Compares those that the golden row has.
fn compare_vectors(agreement: &mut Agreement, what: &str, found: &Row, golden: &GoldenRow) {
    assert_eq!(found.dense.is_some(), golden.dense.is_some(), "{what}");
    if let (Some(found), Some(golden)) = (&found.dense, &golden.dense) {
        agreement.vector(&format!("{what}, dense"), found, golden);
    }
    let count = found.colbert.as_ref().map(Vec::len);
    let golden = golden.colbert.as_ref();
    assert_eq!(count, golden.map(|golden| golden.vectors), "{what}");
    if let (Some(found), Some(golden)) = (&found.colbert, golden) {
        for (number, golden) in &golden.sample {
            agreement.vector(&format!("{what}, vector {number}"), &found[*number], golden);
        }
    }
}

#[test]
fn it_matches_pytorch_on_random_models() {
    let rig = Rig::new();
    for (dtype, tolerance) in TOLERANCES {
        for (sums, factor, share) in [(false, 1.0, 0.0), (true, SUM_FACTOR, SUM_SHARE)] {
            let mut agreement = Agreement::within(tolerance * factor).or_share(share);
            let models = RandomModel::all().into_iter();
            for model in models.filter(|model| model.name.contains("sum") == sums) {
                let sandbox = Sandbox::with(&model);
                let encode = Encode::of(&rig, &sandbox);
                encode.compare_with_golden_rows(&mut agreement, dtype, &model.name);
            }
            agreement.finish(&format!(
                "--device cuda --dtype {dtype} against PyTorch, random models"
            ));
        }
    }
}

#[test]
fn it_matches_pytorch_on_models_that_weigh_tokens() {
    let rig = Rig::new();
    for ((dtype, tolerance), least_cosine) in TOLERANCES.into_iter().zip(LEAST_COSINES) {
        let mut agreement = Agreement::within(tolerance).and_cosine(least_cosine);
        for model in RandomModel::with_token_weights() {
            let sandbox = Sandbox::with(&model);
            let mut golden = GoldenRow::of(&model.name);
            golden.retain(|row| row.tokens() <= 2100);
            let encode = Encode::of(&rig, &sandbox);
            encode.compare_with(&mut agreement, dtype, &model.name, golden);
        }
        agreement.finish(&format!(
            "--device cuda --dtype {dtype} against PyTorch, models that weigh tokens"
        ));
    }
}

/// The longest that the model takes, and one that is cut.
#[test]
fn it_matches_pytorch_on_8192_tokens() {
    let rig = Rig::new();
    let model = RandomModel::named("bge_m3_long");
    let sandbox = Sandbox::with(&model);
    let ((dtype, tolerance), least_cosine) = (TOLERANCES[0], LEAST_COSINES[0]);
    let mut agreement = Agreement::within(tolerance).and_cosine(least_cosine);
    let mut golden = GoldenRow::of(&model.name);
    golden.retain(|row| row.tokens() == 8192);
    golden.truncate(1);
    let encode = Encode::of(&rig, &sandbox);
    encode.compare_with(&mut agreement, dtype, &model.name, golden);
    agreement.finish("--device cuda against PyTorch, 8,192 tokens");
}

#[test]
fn it_matches_pytorch_on_the_demo_model() {
    let rig = Rig::new();
    let sandbox = Sandbox::empty();
    let encode = Encode {
        model: &demo_model::folder(),
        ..Encode::of(&rig, &sandbox)
    };
    for (dtype, tolerance) in TOLERANCES {
        let mut agreement = Agreement::within(tolerance);
        encode.compare_with_golden_rows(&mut agreement, dtype, "splade_tiny");
        agreement.finish(&format!(
            "--device cuda --dtype {dtype} against PyTorch, demo model"
        ));
    }
}

/// XLM-R has 250,002 terms, near the most that a row may have: the CPU engine says what is right.
#[test]
fn a_vocabulary_of_a_quarter_million_comes_out_whole() {
    let rig = Rig::new();
    let sandbox = Sandbox::with(&RandomModel::of_real_vocabulary());
    let tokenizer = tokenizers::real_xlm_roberta().to_string();
    sandbox.write("model/tokenizer.json", tokenizer);
    let texts = ["火星 is the Red Planet", ""];
    let expected = sandbox.encode_texts("--device cpu", &texts);
    let found = rows(&Encode::of(&rig, &sandbox).run("--device cuda", &texts));
    let (dtype, tolerance) = TOLERANCES[0];
    let mut agreement = Agreement::within(tolerance);
    for (found, expected) in found.iter().zip(&expected) {
        assert!(expected.indices.last() > Some(&249_000));
        agreement.row(dtype, &found.entries(), &expected.entries());
    }
    agreement.finish("250,002 terms");
}

/// Each line without its id, which is the place of the text.
fn vectors(output: &str) -> Vec<&str> {
    output
        .lines()
        .map(|line| line.split_once(',').expect("more follows the id").1)
        .collect()
}

/// Models with outputs of theirs, and the precisions that they are compared in.
const IN_ANY_COMPANY: [(&str, &str, &[&str]); 3] = [
    ("bert", "sparse", &["f16", "bf16"]),
    ("bge_m3", "sparse,dense,colbert", &["f16", "bf16"]),
    ("bge_m3_bin", "sparse,dense,colbert", &["f16"]),
];

#[test]
fn a_document_has_the_same_bytes_alone_in_a_batch_in_another_order_and_on_more_devices() {
    let rig = Rig::new();
    for (name, outputs, dtypes) in IN_ANY_COMPANY {
        let golden = GoldenRow::of(name);
        let mut texts: Vec<&str> = golden.iter().map(|row| row.text.as_str()).collect();
        texts.dedup();
        let sandbox = Sandbox::with(&RandomModel::named(name));
        let encode = Encode::of(&rig, &sandbox);
        for dtype in dtypes {
            let options = format!("--outputs {outputs} --dtype {dtype}");
            let name = format!("{name} {dtype}");
            same_bytes_in_any_company(&encode, &name, &options, dtype, &mut texts);
        }
    }
}

fn same_bytes_in_any_company(
    encode: &Encode<'_>,
    name: &str,
    options: &str,
    dtype: &str,
    texts: &mut [&str],
) {
    let on_first = format!("{options} --device cuda:0");
    let together = encode.run(&on_first, texts);
    assert!(vectors(&together).iter().any(|vector| vector.len() > 300));
    // Once more, on the GPU that `auto` finds.
    let again = encode.finish(encode.command(options), texts);
    let again = again.ends(0, &[&format!("engine cuda {dtype}")]);
    assert!(together == again.stdout, "{name}: twice");
    // Each is a batch.
    let alone = encode.run(&format!("{on_first} --batch-tokens 1"), texts);
    assert!(together == alone, "{name}: alone");

    let mut several = encode.command(&format!("{options} --device cuda --batch-tokens 40"));
    // In a random order, a kernel that does not wait for the copy of its batch comes before it.
    several.env("STANDIN_DEVICES", "3").env("STANDIN_SEED", "1");
    let several = encode.finish(several, texts).succeeds();
    if encode.rig.standin.is_some() {
        assert!(
            several.stderr.contains("3 x Stand-in"),
            "{}",
            several.stderr
        );
    }
    assert!(together == several.stdout, "{name}: all devices");

    // Whatever the order in which streams and blocks run.
    for seed in ["1", "2"] {
        let mut shuffled = encode.command(&format!("{on_first} --batch-tokens 60"));
        shuffled.env("STANDIN_SEED", seed);
        let shuffled = encode.finish(shuffled, texts).succeeds();
        assert!(together == shuffled.stdout, "{name}: schedule {seed}");
    }

    texts.reverse();
    let reversed = encode.run(&format!("{on_first} --batch-tokens 100"), texts);
    texts.reverse();
    let mut reversed = vectors(&reversed);
    reversed.reverse();
    assert!(vectors(&together) == reversed, "{name}: reversed");
}

/// More documents than the head takes at a time.
#[test]
fn a_batch_may_have_any_number_of_documents() {
    let rig = Rig::new();
    let sandbox = Sandbox::without_special_tokens();
    let encode = Encode::of(&rig, &sandbox);
    let words = RandomModel::named("bert").vocabulary();
    let words: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .filter(|word| word.len() > 2 && word.is_ascii())
        .collect();
    let texts: Vec<&str> = words.iter().copied().cycle().take(150).collect();
    let together = encode.run("--device cuda", &texts);
    assert_eq!(
        together,
        encode.run("--device cuda --batch-tokens 1", &texts)
    );

    let texts: Vec<String> = (0..290).map(|number| format!("{}", number % 10)).collect();
    let encode = Encode {
        model: &demo_model::folder(),
        ..Encode::of(&rig, &sandbox)
    };
    let together = encode.run("--device cuda", &texts);
    let apart = encode.run("--device cuda --batch-tokens 120", &texts);
    assert_eq!(together, apart);
}

/// Fills a tensor of the model in the sandbox with one number.
pub fn fill_tensor(sandbox: &Sandbox, name: &str, value: f32) {
    let path = sandbox.path("model/model.safetensors");
    let mut bytes = fs::read(&path).expect("the model's weights");
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors");
    let tensor = tensors.tensor(name).expect("it is in the file");
    assert_eq!(tensor.dtype(), safetensors::Dtype::F32);
    let first = tensor.data().as_ptr() as usize - bytes.as_ptr() as usize;
    let range = first..first + tensor.data().len();
    for number in bytes[range].chunks_exact_mut(4) {
        number.copy_from_slice(&value.to_le_bytes());
    }
    fs::write(path, bytes).expect("the weights are written");
}

/// Where every term fires, a batch has more entries than there is room for.
#[test]
fn what_does_not_fit_is_encoded_in_halves() {
    let rig = Rig::new();
    let sandbox = Sandbox::without_special_tokens();
    fill_tensor(&sandbox, "cls.predictions.bias", 9.0);
    let encode = Encode::of(&rig, &sandbox);
    let vocabulary = RandomModel::named("bert").vocabulary();
    let words = vocabulary
        .iter()
        .map(String::as_str)
        .filter(|word| word.len() > 2 && word.is_ascii());
    let mut texts: Vec<&str> = words.cycle().take(64).collect();
    texts.insert(20, ""); // without a token
    let together = encode.run("--device cuda --batch-tokens 65", &texts);
    for (number, row) in rows(&together).iter().enumerate() {
        let terms = if number == 20 { 0 } else { vocabulary.len() };
        assert!(
            row.indices.len() + 9 >= terms,
            "row {number}: {} terms",
            row.indices.len()
        );
    }
    assert_eq!(
        together,
        encode.run("--device cuda --batch-tokens 1", &texts)
    );
}

#[test]
fn numbers_beyond_the_precision_are_an_error_that_names_the_documents() {
    let rig = Rig::new();
    let sandbox = Sandbox::new();
    fill_tensor(&sandbox, "cls.predictions.transform.LayerNorm.weight", 1e6);
    let encode = Encode::of(&rig, &sandbox);
    let run = encode.finish(encode.command("--device cuda"), &["red", "planet"]);
    run.fails(
        1,
        &["document 0 to 1", "beyond its precision", "--device cpu"],
    );
}

#[test]
fn where_memory_is_short_batches_are_smaller_and_nothing_is_lost() {
    let rig = Rig::new();
    if rig.standin.is_none() {
        return eprintln!("no GPU can be told to have less memory than it has");
    }
    let models = [
        ("bert", "sparse", "32"),
        ("bge_m3", "sparse,dense,colbert", "16"),
    ];
    for (name, outputs, mebibytes) in models {
        let golden = GoldenRow::of(name);
        let texts: Vec<&str> = golden.iter().map(|row| row.text.as_str()).collect();
        let sandbox = Sandbox::with(&RandomModel::named(name));
        let encode = Encode::of(&rig, &sandbox);
        let options = format!("--device cuda --outputs {outputs}");
        let plenty = encode.run(&options, &texts);
        let mut command = encode.command(&options);
        command.env("STANDIN_MEMORY", mebibytes);
        let short = encode.finish(command, &texts);
        let said = "the GPU has not enough memory for 16384 tokens at a time, so it computes 8192";
        assert!(plenty == short.ends(0, &[said]).stdout, "{name}");
    }
    // Where not even the model fits, nothing helps.
    let sandbox = Sandbox::empty();
    let encode = Encode {
        model: &demo_model::folder(),
        ..Encode::of(&rig, &sandbox)
    };
    let mut command = encode.command("--device cuda");
    command.env("STANDIN_MEMORY", "4");
    let said = [
        "GPU 0: the weights",
        "copy them to the GPU",
        "out of memory",
        "a GPU with more memory",
    ];
    encode.finish(command, &["a text"]).fails(1, &said);
}

#[test]
fn a_gpu_that_is_too_old_is_named_as_such() {
    let rig = Rig::new();
    if rig.standin.is_none() {
        return eprintln!("no GPU can be told to be older than it is");
    }
    let sandbox = Sandbox::new();
    let encode = Encode::of(&rig, &sandbox);
    let mut command = encode.command("--device cuda");
    command.env("STANDIN_CC", "7.5");
    let run = encode.finish(command, &["a text"]);
    run.fails(
        1,
        &[
            "kernel",
            "older than the kernels",
            "compute capability 8.0 or newer",
        ],
    );
}
