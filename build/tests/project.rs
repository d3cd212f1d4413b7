//! A project with kernels, built by cargo without nvcc, then with it, and so on.
#![cfg(unix)]

mod support;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use support::{nvcc, project, write_program};

const WITHOUT: &str = "cfg false, [], image false, figures for [], 32 threads\n";
const WITH: &str =
    "cfg true, [\"one\"], image true, figures for [\"sm_80\", \"sm_90a\"], 32 threads\n";

/// tests/fixture as a project of its own, and an nvcc beside it that writes a line each time that it runs.
struct Project {
    folder: TempDir,
}

struct Run {
    /// What the project's program prints; None if it did not build.
    printed: Option<String>,
    /// What cargo says.
    said: String,
    /// How often nvcc ran.
    nvcc_runs: usize,
}

impl Project {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture");
        for file in [
            "build.rs",
            "src/main.rs",
            "kernels/one.cu",
            "kernels/value.cuh",
        ] {
            let copy = folder.path().join(file);
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            fs::copy(fixture.join(file), copy).unwrap();
        }
        let manifest = format!(
            "[package]\nname = \"fixture\"\nedition = \"2024\"\n\n[workspace]\n\n\
             [build-dependencies]\nkernel-build = {{ path = {:?} }}\n",
            env!("CARGO_MANIFEST_DIR")
        );
        fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
        // The versions that are on this machine already.
        let lock = project().join("Cargo.lock");
        fs::copy(lock, folder.path().join("Cargo.lock")).unwrap();

        let script = format!(
            "echo run >> '{}'\nexec '{}' \"$@\"",
            folder.path().join("runs").display(),
            nvcc().display()
        );
        let toolchain = folder.path().join("elsewhere/nvidia/cu13/bin/nvcc");
        write_program(&toolchain, &script);
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn run(&self) -> Run {
        self.run_with(|_| ())
    }

    /// Builds and runs the program with some other environment.
    fn run_with(&self, change: impl FnOnce(&mut Command)) -> Run {
        let path = env::var_os("PATH").unwrap_or_default();
        let without_nvcc = env::split_paths(&path).filter(|folder| !folder.join("nvcc").exists());
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(["run", "--offline"])
            .current_dir(self.folder.path())
            .env("PATH", env::join_paths(without_nvcc).unwrap())
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("CARGO_BUILD_TARGET_DIR")
            .env_remove("NVCC")
            .env_remove("CUDA_HOME");
        change(&mut cargo);
        let output = cargo.output().expect("cargo starts");
        let runs = fs::read_to_string(self.path("runs")).unwrap_or_default();
        fs::write(self.path("runs"), "").unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        Run {
            printed: output.status.success().then_some(printed),
            said: String::from_utf8(output.stderr).unwrap(),
            nvcc_runs: runs.lines().count(),
        }
    }
}

impl Run {
    fn prints(&self, expected: &str) -> &Self {
        assert_eq!(self.printed.as_deref(), Some(expected), "{}", self.said);
        self
    }

    /// Nothing was to be done.
    fn is_no_op(&self) {
        assert!(!self.said.contains("Compiling"), "{}", self.said);
        assert_eq!(self.nvcc_runs, 0);
    }
}

#[test]
fn a_toolchain_that_comes_or_goes_is_noticed() {
    let project = Project::new();
    let run = project.run();
    run.prints(WITHOUT);
    assert!(
        run.said
            .contains("warning: fixture@0.0.0: no nvcc of CUDA 12.8 or newer"),
        "{}",
        run.said
    );
    assert!(
        run.said
            .contains("CPU engine only; for CUDA run `make toolchain`"),
        "{}",
        run.said
    );
    project.run().prints(WITHOUT).is_no_op();

    // Moved in, it is older than the build that did not find it.
    project.rename("elsewhere", ".cuda");
    let run = project.run();
    run.prints(WITH);
    assert_eq!(run.nvcc_runs, 2, "its version, and one file");
    project.run().prints(WITH).is_no_op();

    project.rename(".cuda", "elsewhere");
    project.run().prints(WITHOUT);
    project.run().prints(WITHOUT).is_no_op();

    // The file alone moved back into a folder that was there.
    fs::create_dir_all(project.path(".cuda/nvidia/cu13/bin")).unwrap();
    project.run().prints(WITHOUT);
    project.run().prints(WITHOUT).is_no_op();
    let nvcc = "nvidia/cu13/bin/nvcc";
    project.rename(&format!("elsewhere/{nvcc}"), &format!(".cuda/{nvcc}"));
    project.run().prints(WITH);
    project.run().prints(WITH).is_no_op();
}

#[test]
fn variables_lead_to_a_toolchain() {
    let project = Project::new();
    project.run().prints(WITHOUT);
    let home = project.path("elsewhere/nvidia/cu13");
    let run = project.run_with(|cargo| {
        cargo.env("CUDA_HOME", &home);
    });
    run.prints(WITH);
    let nvcc = home.join("bin/nvcc");
    let run = project.run_with(|cargo| {
        cargo.env("NVCC", &nvcc);
    });
    run.prints(WITH);
    assert_eq!(
        run.nvcc_runs, 1,
        "the same nvcc: its version, and nothing to compile"
    );
    let run = project.run_with(|cargo| {
        cargo.env("NVCC", project.path("nowhere/nvcc"));
    });
    run.prints(WITHOUT);
    assert!(run.said.contains("passed over: NVCC is "), "{}", run.said);
}

#[test]
fn an_edited_kernel_is_compiled_and_a_wrong_one_stops_the_build() {
    let project = Project::new();
    project.rename("elsewhere", ".cuda");
    project.run().prints(WITH);
    fs::write(
        project.path("kernels/value.cuh"),
        "constexpr float kValue = 2.0f;\n",
    )
    .unwrap();
    let run = project.run();
    run.prints(WITH);
    assert_eq!(run.nvcc_runs, 2, "its version, and one file");

    fs::write(
        project.path("kernels/value.cuh"),
        "constexpr float kValue = no_such_thing;\n",
    )
    .unwrap();
    let run = project.run();
    assert_eq!(run.printed, None, "{}", run.said);
    assert!(
        run.said.contains("kernels/one.cu does not compile:"),
        "{}",
        run.said
    );
    assert!(
        run.said.contains("\"no_such_thing\" is undefined"),
        "{}",
        run.said
    );
}
