//! `--vectors`: dense vectors and multi-vectors in files of their own.

mod npy;

use std::fs;
use std::io::Write;
use std::process::Stdio;

use half::f16;

use crate::sandbox::{Row, Run, Sandbox, assert_same_vectors, signal, wait_until};
use crate::support::random_model::RandomModel;
use npy::Npy;

const TEXTS: [&str; 4] = [
    "The RED planet: Mars!",
    "",
    "火星 <mask> قمر",
    "the quick sparse search engine",
];

const FILES: [&str; 3] = ["colbert.npy", "colbert_offsets.npy", "dense.npy"];

/// BGE-M3 with `docs.jsonl`, and its vectors in the lines.
fn with_documents() -> (Sandbox, Vec<Row>) {
    let sandbox = Sandbox::with(&RandomModel::named("bge_m3"));
    sandbox.write_documents("docs.jsonl", &TEXTS);
    let rows = sandbox.encode_texts("--outputs sparse,dense,colbert", &TEXTS);
    (sandbox, rows)
}

/// Runs `encode` on `docs.jsonl` with the outputs, vectors to `vectors/` and rows to `rows.jsonl`.
fn encode(sandbox: &Sandbox, outputs: &str, options: &str) -> Run {
    sandbox.encode(&format!(
        "--input docs.jsonl --output rows.jsonl --outputs {outputs} --vectors vectors {options}"
    ))
}

fn read(sandbox: &Sandbox, file: &str) -> Npy {
    Npy::read(&sandbox.path("vectors").join(file))
}

/// The names in a folder, in order.
fn names(sandbox: &Sandbox, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(sandbox.path(folder)).expect("a folder");
    let name = |entry: fs::DirEntry| entry.file_name().into_string().expect("UTF-8");
    let mut names: Vec<String> = entries
        .map(|entry| name(entry.expect("an entry")))
        .collect();
    names.sort();
    names
}

/// Dense vectors of all rows, end to end.
fn dense(rows: &[Row]) -> Vec<f32> {
    let vectors = rows.iter().map(|row| row.dense.clone());
    vectors
        .flat_map(|vector| vector.expect("it is there"))
        .collect()
}

/// Multi-vectors of all rows, end to end, and where those of each begin.
fn colbert(rows: &[Row]) -> (Vec<f32>, Vec<u64>) {
    let (mut values, mut offsets) = (Vec::new(), vec![0]);
    for row in rows {
        let vectors = row.colbert.as_ref().expect("they are there");
        values.extend(vectors.concat());
        offsets.push(offsets[offsets.len() - 1] + vectors.len() as u64);
    }
    (values, offsets)
}

#[test]
fn files_have_the_numbers_of_the_lines() {
    let (sandbox, rows) = with_documents();
    encode(&sandbox, "sparse,dense,colbert", "").succeeds();
    assert_eq!(names(&sandbox, "vectors"), FILES);
    let (vectors, offsets) = colbert(&rows);
    let count = vectors.len() / 64;

    let file = read(&sandbox, "dense.npy");
    assert_eq!(file.shape, [TEXTS.len(), 64]);
    assert_eq!(file.f32(), dense(&rows));
    let file = read(&sandbox, "colbert.npy");
    assert_eq!(file.shape, [count, 64]);
    assert_eq!(file.f32(), vectors);
    let file = read(&sandbox, "colbert_offsets.npy");
    assert_eq!(file.shape, [TEXTS.len() + 1]);
    assert_eq!(file.u64(), offsets);

    // What went there is not in the lines; the rest is.
    let left = sandbox.rows("rows.jsonl");
    assert!(
        left.iter()
            .all(|row| row.dense.is_none() && row.colbert.is_none())
    );
    let sparse = sandbox.encode_texts("", &TEXTS);
    assert_same_vectors(&left, &sparse);
}

#[test]
fn halves_are_the_nearest() {
    let (sandbox, rows) = with_documents();
    encode(&sandbox, "dense,colbert", "--vectors-dtype f16").succeeds();
    let halves = |values: Vec<f32>| -> Vec<f16> { values.into_iter().map(f16::from_f32).collect() };
    assert_eq!(read(&sandbox, "dense.npy").f16(), halves(dense(&rows)));
    let (vectors, offsets) = colbert(&rows);
    assert_eq!(read(&sandbox, "colbert.npy").f16(), halves(vectors));
    assert_eq!(read(&sandbox, "colbert_offsets.npy").u64(), offsets);
    let lines = sandbox.read("rows.jsonl");
    assert_eq!(lines, "{\"id\":0}\n{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n");
}

#[test]
fn only_what_was_asked_for_has_a_file() {
    let (sandbox, _) = with_documents();
    for (outputs, files) in [("dense", &FILES[2..]), ("sparse,colbert", &FILES[..2])] {
        encode(&sandbox, outputs, "").succeeds();
        assert_eq!(names(&sandbox, "vectors"), files);
        fs::remove_dir_all(sandbox.path("vectors")).expect("it was there");
    }
    encode(&sandbox, "dense", "--truncate-dim 7").succeeds();
    assert_eq!(read(&sandbox, "dense.npy").shape, [TEXTS.len(), 7]);
    // What an earlier run left is another's.
    encode(&sandbox, "colbert", "").succeeds();
    assert_eq!(names(&sandbox, "vectors"), FILES);
    assert_eq!(read(&sandbox, "dense.npy").shape, [TEXTS.len(), 7]);
}

#[test]
fn rows_may_go_to_standard_output_or_beside_the_vectors() {
    let (sandbox, rows) = with_documents();
    let line = "--input docs.jsonl --outputs sparse,dense --vectors vectors --output";
    let run = sandbox.encode(&format!("{line} -")).succeeds();
    sandbox
        .encode(&format!("{line} vectors/rows.jsonl"))
        .succeeds();
    assert_eq!(names(&sandbox, "vectors"), ["dense.npy", "rows.jsonl"]);
    assert_eq!(run.stdout, sandbox.read("vectors/rows.jsonl"));
    assert_eq!(read(&sandbox, "dense.npy").f32(), dense(&rows));
}

#[test]
fn no_documents_give_whole_files() {
    let (sandbox, _) = with_documents();
    sandbox.write("docs.jsonl", "");
    encode(&sandbox, "dense,colbert", "").succeeds();
    assert_eq!(read(&sandbox, "dense.npy").shape, [0, 64]);
    assert_eq!(read(&sandbox, "colbert.npy").shape, [0, 64]);
    assert_eq!(read(&sandbox, "colbert_offsets.npy").u64(), [0]);
    assert_eq!(sandbox.read("rows.jsonl"), "");
}

/// A tokeniser that adds no tokens leaves nothing of an empty text.
#[test]
fn documents_without_a_token_have_vectors_of_zeros() {
    let (sandbox, _) = with_documents();
    let mut tokenizer = RandomModel::named("bge_m3").tokenizer_json();
    tokenizer["post_processor"] = serde_json::Value::Null;
    sandbox.write("model/tokenizer.json", tokenizer.to_string());
    sandbox.write_documents("docs.jsonl", &["", "the planet", ""]);
    encode(&sandbox, "dense,colbert", "").succeeds();
    let dense = read(&sandbox, "dense.npy").f32();
    let is_zero: Vec<bool> = dense
        .chunks(64)
        .map(|row| row.iter().all(|&x| x == 0.0))
        .collect();
    assert_eq!(is_zero, [true, false, true]);
    assert_eq!(read(&sandbox, "colbert_offsets.npy").u64(), [0, 0, 1, 1]);
}

/// `output` and `vectors/` cannot both be: nothing is touched, and this is said.
#[track_caller]
fn refuses(sandbox: &Sandbox, output: &str, outputs: &str, parts: &[&str]) {
    let before = (names(sandbox, "."), names(sandbox, "vectors"));
    let line =
        format!("--input docs.jsonl --output {output} --outputs {outputs} --vectors vectors");
    sandbox.encode(&line).fails(1, parts);
    assert_eq!(
        (names(sandbox, "."), names(sandbox, "vectors")),
        before,
        "{output}"
    );
}

#[test]
fn rows_under_the_name_of_a_vector_file_are_refused() {
    let (sandbox, _) = with_documents();
    let all = "sparse,dense,colbert";
    fs::create_dir(sandbox.path("vectors")).expect("a folder");
    fs::create_dir(sandbox.path("other")).expect("a folder");
    for earlier in [false, true] {
        for file in FILES {
            for output in [
                format!("vectors/{file}"),
                format!("./other/../vectors/{file}"),
            ] {
                let said = format!("lexpeak: {output}: cannot write: vectors go there");
                refuses(
                    &sandbox,
                    &output,
                    all,
                    &[&said, "; give the rows another name"],
                );
            }
        }
        if !earlier {
            encode(&sandbox, all, "").succeeds();
            sandbox.write("vectors/dense.npy.partial", "earlier");
        }
    }
    assert_eq!(sandbox.read("vectors/dense.npy.partial"), "earlier");
    // Of those that are not asked for it is free.
    let line = "--input docs.jsonl --output vectors/colbert.npy --outputs dense --vectors vectors";
    sandbox.encode(line).succeeds();
    assert_eq!(sandbox.rows("vectors/colbert.npy").len(), TEXTS.len());
}

#[cfg(unix)]
#[test]
fn links_to_a_vector_file_are_refused_for_rows() {
    use std::os::unix::fs::symlink;

    let (sandbox, _) = with_documents();
    fs::create_dir(sandbox.path("vectors")).expect("a folder");
    symlink("vectors/dense.npy", sandbox.path("rows")).expect("a link");
    symlink("vectors", sandbox.path("folder")).expect("a link");
    symlink("circle", sandbox.path("circle")).expect("a link");
    for output in ["rows", "folder/dense.npy"] {
        let said = format!("lexpeak: {output}: cannot write: vectors go there");
        refuses(&sandbox, output, "dense", &[&said]);
    }
    refuses(
        &sandbox,
        "circle",
        "dense",
        &["lexpeak: circle: cannot write"],
    );
    // The vectors may follow a link where the rows do not lead to the same file.
    symlink("../elsewhere.npy", sandbox.path("vectors/dense.npy")).expect("a link");
    encode(&sandbox, "dense", "").succeeds();
    assert!(sandbox.path("vectors/dense.npy").is_symlink());
    assert_eq!(
        Npy::read(&sandbox.path("elsewhere.npy")).shape,
        [TEXTS.len(), 64]
    );
    refuses(&sandbox, "elsewhere.npy", "dense", &["vectors go there"]);
}

#[test]
fn a_file_for_a_folder_and_a_folder_for_a_file_are_refused() {
    let (sandbox, _) = with_documents();
    sandbox.write("vectors", "precious");
    sandbox.write("rows.jsonl.partial", "earlier");
    let said = "lexpeak: vectors: cannot create the folder: it is no folder; name a folder for the vectors";
    encode(&sandbox, "dense", "").fails(1, &[said]);
    assert_eq!(sandbox.read("vectors"), "precious");
    assert_eq!(sandbox.read("rows.jsonl.partial"), "earlier");

    fs::remove_file(sandbox.path("vectors")).expect("it was there");
    fs::create_dir_all(sandbox.path("vectors/dense.npy")).expect("a folder");
    let said = "lexpeak: vectors/dense.npy: cannot write: it is no regular file";
    refuses(&sandbox, "rows.jsonl", "dense,colbert", &[said]);
    assert_eq!(sandbox.read("rows.jsonl.partial"), "earlier");
}

#[test]
fn standard_output_is_no_vector_file() {
    let (sandbox, _) = with_documents();
    fs::create_dir(sandbox.path("vectors")).expect("a folder");
    let line =
        "encode --model model --input docs.jsonl --output - --outputs dense --vectors vectors";
    let file = fs::File::create(sandbox.path("vectors/dense.npy")).expect("a file");
    let run = Run::of(sandbox.command(line).stdout(file));
    run.fails(
        1,
        &["lexpeak: vectors/dense.npy: cannot write: it is standard output; "],
    );
}

/// A run that ends early leaves what an earlier one wrote, and beside it files that can be read as far as they go.
#[test]
fn a_bad_line_keeps_partial_files() {
    let (sandbox, rows) = with_documents();
    encode(&sandbox, "sparse,dense,colbert", "--max-length 5").succeeds();
    let earlier: Vec<Npy> = FILES.iter().map(|file| read(&sandbox, file)).collect();
    let earlier_rows = sandbox.read("rows.jsonl");

    sandbox.write("docs.jsonl", sandbox.read("docs.jsonl") + "{\"id\": 5}\n");
    let run = encode(&sandbox, "sparse,dense,colbert", "");
    run.fails(
        1,
        &[
            "lexpeak: the rows finished so far are kept in rows.jsonl.partial\n",
            "lexpeak: docs.jsonl, line 5: ",
        ],
    );
    assert_eq!(FILES.map(|file| read(&sandbox, file)).as_slice(), earlier);
    assert_eq!(sandbox.read("rows.jsonl"), earlier_rows);

    assert_eq!(sandbox.rows("rows.jsonl.partial").len(), TEXTS.len());
    assert_eq!(read(&sandbox, "dense.npy.partial").f32(), dense(&rows));
    let (vectors, offsets) = colbert(&rows);
    assert_eq!(read(&sandbox, "colbert.npy.partial").f32(), vectors);
    assert_eq!(read(&sandbox, "colbert_offsets.npy.partial").u64(), offsets);

    // A whole run leaves none of them.
    sandbox.write_documents("docs.jsonl", &TEXTS);
    encode(&sandbox, "sparse,dense,colbert", "").succeeds();
    assert_eq!(names(&sandbox, "vectors"), FILES);
    assert!(!sandbox.has("rows.jsonl.partial"));
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_partial_files_alone() {
    let (sandbox, _) = with_documents();
    let line = "encode --model model --input - --input-format text --output rows.jsonl \
                --outputs sparse,dense,colbert --vectors vectors";
    let mut child = sandbox
        .command(line)
        .stdin(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    // More than fits into the buffers before the files.
    stdin
        .write_all(&b"the quick sparse search engine\n".repeat(2000))
        .expect("it is read");
    let partial = sandbox.path("vectors/colbert.npy.partial");
    wait_until("vectors are written", || {
        partial.metadata().is_ok_and(|file| file.len() > 0)
    });
    signal("INT", child.id());
    let said = "the rows finished so far are kept in rows.jsonl.partial\nlexpeak: interrupted";
    Run::end_of(child).fails(130, &[said]);
    drop(stdin);

    let partial = FILES.map(|file| format!("{file}.partial"));
    assert_eq!(names(&sandbox, "vectors"), partial);
    assert!(!sandbox.has("rows.jsonl"));
    let documents = sandbox.rows("rows.jsonl.partial").len();
    assert!(documents > 0);
    let [vectors, offsets, dense] = partial.map(|file| read(&sandbox, &file));
    assert_eq!(dense.shape, [documents, 64]);
    assert_eq!(offsets.shape, [documents + 1]);
    assert_eq!(offsets.u64()[documents], vectors.shape[0] as u64);
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_at_its_size_limit_stays_partial() {
    let (sandbox, _) = with_documents();
    sandbox.write_documents("docs.jsonl", &["the quick sparse search engine"; 400]);
    let mut limited = sandbox.shell(
        r#"ulimit -f 64; exec "$0" "$@""#,
        "encode --model model --input docs.jsonl --output rows.jsonl --outputs dense,colbert --vectors vectors",
    );
    let said = [
        "lexpeak: vectors/colbert.npy.partial: cannot write: ",
        "; raise the limit on file sizes (ulimit -f)",
    ];
    Run::of(&mut limited).fails(1, &said);
    assert!(
        names(&sandbox, "vectors")
            .iter()
            .all(|name| name.ends_with(".partial"))
    );
    assert!(!sandbox.has("rows.jsonl"));
}
