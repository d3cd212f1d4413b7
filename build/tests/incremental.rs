//! What is compiled again, and what is not.
#![cfg(unix)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use kernel_build::{KernelBuild, Search, read_sources};
use tempfile::TempDir;

use support::{nvcc, write_program};

/// When the kernels were written.
const FIRST_DAY: u64 = 20_000;

/// Two kernels; `uses_it.cu` includes `shared.cuh`. An nvcc that writes a line for each time that it compiles.
struct Kernels {
    scratch: TempDir,
    search: Search,
}

impl Kernels {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path();
        fs::create_dir(folder.join("kernels")).unwrap();
        let kernel = "extern \"C\" __global__ void f(float* x) { *x = 1.0f; }\n";
        let uses_it = kernel.replace("1.0f", "kOne");
        for (name, text) in [
            ("alone.cu", kernel),
            ("shared.cuh", "constexpr float kOne = 1.0f;\n"),
            ("uses_it.cu", &format!("#include \"shared.cuh\"\n{uses_it}")),
        ] {
            fs::write(folder.join("kernels").join(name), text).unwrap();
            date(&folder.join("kernels").join(name), FIRST_DAY);
        }
        let counting = folder.join("nvcc");
        write_counting_nvcc(&counting, folder);
        let search = Search {
            nvcc: Some(counting.into()),
            ..Search::from_env(support::project())
        };
        Self { scratch, search }
    }

    /// Compiles what is to be compiled; the names of that, told by the images and by nvcc alike.
    fn build(&self) -> Vec<String> {
        let sources = read_sources(&self.scratch.path().join("kernels")).unwrap();
        let build = KernelBuild::new(&self.search, self.scratch.path().join("out")).unwrap();
        let images = build.ptx_only().run(&sources).unwrap();
        let compiled = images.into_iter().filter(|image| image.compiled);
        let names: Vec<String> = compiled.map(|image| image.name).collect();
        let log = self.scratch.path().join("compiled");
        let lines = fs::read_to_string(&log).unwrap_or_default().lines().count();
        assert_eq!(lines, names.len(), "runs of nvcc");
        fs::write(&log, "").unwrap();
        names
    }

    fn file(&self, name: &str) -> PathBuf {
        self.scratch.path().join("kernels").join(name)
    }
}

/// nvcc with a line in `folder`/compiled for every run but those that ask for its version.
fn write_counting_nvcc(path: &Path, folder: &Path) {
    let script = format!(
        "[ \"$1\" = --version ] || echo run >> '{}'\nexec '{}' \"$@\"",
        folder.join("compiled").display(),
        nvcc().display()
    );
    write_program(path, &script);
}

/// Dates a file to some day in the past.
fn date(path: &Path, day: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(day * 24 * 60 * 60);
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(time).unwrap();
}

#[test]
fn an_unchanged_build_runs_no_nvcc() {
    let kernels = Kernels::new();
    assert_eq!(kernels.build(), ["alone", "uses_it"]);
    assert!(kernels.build().is_empty());
}

#[test]
fn a_touched_header_recompiles_what_includes_it() {
    let kernels = Kernels::new();
    kernels.build();
    date(&kernels.file("shared.cuh"), FIRST_DAY + 1);
    assert_eq!(kernels.build(), ["uses_it"]);
    assert!(kernels.build().is_empty());
}

#[test]
fn a_new_file_is_compiled_alone() {
    let kernels = Kernels::new();
    kernels.build();
    fs::copy(kernels.file("alone.cu"), kernels.file("new.cu")).unwrap();
    date(&kernels.file("new.cu"), FIRST_DAY + 1);
    assert_eq!(kernels.build(), ["new"]);
}

#[test]
fn an_edited_file_is_compiled_alone() {
    let kernels = Kernels::new();
    kernels.build();
    let text = fs::read_to_string(kernels.file("alone.cu")).unwrap();
    fs::write(
        kernels.file("alone.cu"),
        format!("// Targets: sm_90a\n{text}"),
    )
    .unwrap();
    date(&kernels.file("alone.cu"), FIRST_DAY + 1);
    assert_eq!(kernels.build(), ["alone"]);
}

#[test]
fn another_nvcc_recompiles_all() {
    let mut kernels = Kernels::new();
    kernels.build();
    let other = kernels.scratch.path().join("other/nvcc");
    write_counting_nvcc(&other, kernels.scratch.path());
    kernels.search.nvcc = Some(other.into());
    assert_eq!(kernels.build(), ["alone", "uses_it"]);
}

#[test]
fn what_failed_is_compiled_again() {
    let kernels = Kernels::new();
    kernels.build();
    let good = fs::read_to_string(kernels.file("shared.cuh")).unwrap();
    fs::write(kernels.file("shared.cuh"), "no CUDA\n").unwrap();
    let sources = read_sources(&kernels.scratch.path().join("kernels")).unwrap();
    let build = KernelBuild::new(&kernels.search, kernels.scratch.path().join("out")).unwrap();
    assert!(build.ptx_only().run(&sources).is_err());
    fs::write(kernels.scratch.path().join("compiled"), "").unwrap();

    // Even if the header is as it was, time and all.
    fs::write(kernels.file("shared.cuh"), good).unwrap();
    date(&kernels.file("shared.cuh"), FIRST_DAY);
    assert_eq!(kernels.build(), ["uses_it"]);
}
