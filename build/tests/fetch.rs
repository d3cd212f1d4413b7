//! scripts/fetch_toolchain.py where it must not fetch, or cannot.
#![cfg(unix)]

mod support;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use support::{project, python, write_fake_nvcc};

const FETCHED: &str = "project/.cuda/nvidia/cu13/bin/nvcc";

struct Run {
    success: bool,
    said: String,
}

/// Runs the script for `project` below `folder`, with a pip that has nowhere to fetch from.
fn run(folder: &TempDir, options: &[&str], change: impl FnOnce(&mut Command)) -> Run {
    let folder = folder.path();
    fs::create_dir_all(folder.join("project")).unwrap();
    let path = env::var_os("PATH").unwrap_or_default();
    let without_nvcc = env::split_paths(&path).filter(|folder| !folder.join("nvcc").exists());
    let mut command = Command::new(python());
    command
        .arg(project().join("scripts/fetch_toolchain.py"))
        .args(options)
        .arg("--project")
        .arg(folder.join("project"))
        .arg("--system")
        .arg(folder.join("system"))
        .env("PATH", env::join_paths(without_nvcc).unwrap())
        .env("PIP_CONFIG_FILE", "/dev/null")
        .env("PIP_NO_INDEX", "1");
    for variable in ["PIP_FIND_LINKS", "NVCC", "CUDA_HOME", "LD_LIBRARY_PATH"] {
        command.env_remove(variable);
    }
    change(&mut command);
    let output = command.output().expect("Python starts");
    let text = [output.stdout, output.stderr].concat();
    Run {
        success: output.status.success(),
        said: String::from_utf8(text).unwrap(),
    }
}

fn files(folder: &TempDir) -> Vec<OsString> {
    let entries = fs::read_dir(folder.path().join("project")).unwrap();
    entries.map(|entry| entry.unwrap().file_name()).collect()
}

/// A toolchain as the script leaves it, of these pins.
fn write_toolchain(folder: &TempDir, pins: &str) {
    write_fake_nvcc(&folder.path().join(FETCHED), "13.0");
    fs::write(folder.path().join("project/.cuda/pins"), pins).unwrap();
}

/// The hash of the requirements, which the script keeps beside what it installed from them.
fn current_pins() -> String {
    let requirements = project().join("scripts/cuda-requirements.txt");
    let hash =
        "import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], 'rb').read()).hexdigest())";
    let output = Command::new(python())
        .args(["-c", hash])
        .arg(requirements)
        .output()
        .unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

/// A folder with a driver that reports so many devices.
fn write_driver(folder: &TempDir, devices: u32) -> PathBuf {
    let driver = folder.path().join("driver");
    fs::create_dir(&driver).unwrap();
    let source = driver.join("driver.c");
    let code = format!(
        "int cuInit(unsigned flags) {{ return flags; }}\n\
         int cuDeviceGetCount(int* count) {{ *count = {devices}; return 0; }}\n"
    );
    fs::write(&source, code).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(driver.join("libcuda.so.1"))
        .arg(source)
        .status();
    assert!(
        compiled
            .expect("building lexpeak needs a C compiler")
            .success()
    );
    driver
}

#[test]
fn a_failed_fetch_is_an_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for options in [&[][..], &["--unless-found"]] {
        let run = run(&folder, options, |_| ());
        assert!(!run.success);
        assert!(
            run.said
                .contains("fetch_toolchain: pip could not install the CUDA compiler; "),
            "{}",
            run.said
        );
        assert!(run.said.contains("set CUDA_HOME"), "{}", run.said);
        assert!(files(&folder).is_empty(), "{:?}", files(&folder));
    }
}

#[test]
fn what_is_there_is_not_fetched_again() {
    let folder = tempfile::tempdir().unwrap();
    write_toolchain(&folder, &current_pins());
    let run = run(&folder, &[], |_| ());
    assert!(
        run.success && run.said.contains(": already there"),
        "{}",
        run.said
    );
}

#[test]
fn other_pins_are_another_toolchain() {
    let folder = tempfile::tempdir().unwrap();
    write_toolchain(&folder, "of another version");
    let run = run(&folder, &[], |_| ());
    assert!(!run.success, "{}", run.said);
    assert!(
        folder.path().join(FETCHED).is_file(),
        "the old one stays until the new one is whole"
    );
    assert_eq!(files(&folder), [".cuda"]);
}

#[test]
fn what_an_interrupted_run_left_is_not_taken_for_a_toolchain() {
    let folder = tempfile::tempdir().unwrap();
    write_fake_nvcc(
        &folder
            .path()
            .join("project/.cuda-unfinished/cuda/nvidia/cu13/bin/nvcc"),
        "13.0",
    );
    assert!(!run(&folder, &["--find"], |_| ()).success);
    assert!(!run(&folder, &[], |_| ()).success);
    assert!(files(&folder).is_empty(), "{:?}", files(&folder));
}

#[test]
fn tests_fetch_only_where_no_nvcc_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let nvcc = folder.path().join("home/bin/nvcc");
    let home = |command: &mut Command| {
        command.env("CUDA_HOME", folder.path().join("home"));
    };
    write_fake_nvcc(&nvcc, "12.8");
    assert!(run(&folder, &["--unless-found"], home).success);
    write_fake_nvcc(&nvcc, "12.7");
    assert!(!run(&folder, &["--unless-found"], home).success);
}

#[test]
fn the_demo_fetches_only_for_a_gpu_and_goes_on_without() {
    let folder = tempfile::tempdir().unwrap();
    let driver = write_driver(&folder, 1);
    let with_driver = |driver: &Path| {
        let driver = driver.to_path_buf();
        move |command: &mut Command| {
            command.env("LD_LIBRARY_PATH", driver);
        }
    };
    let run_for_gpu = |driver: &Path| run(&folder, &["--for-gpu"], with_driver(driver));

    let failed = run_for_gpu(&driver);
    assert!(failed.success, "{}", failed.said);
    assert!(
        failed
            .said
            .contains("pip could not install the CUDA compiler"),
        "{}",
        failed.said
    );
    assert!(
        failed
            .said
            .contains("Going on without CUDA: the CPU engine computes."),
        "{}",
        failed.said
    );

    write_fake_nvcc(&folder.path().join("system/bin/nvcc"), "13.0");
    let found = run_for_gpu(&driver);
    assert!(found.success && found.said.is_empty(), "{}", found.said);
}

#[test]
fn the_demo_fetches_nothing_for_a_driver_without_a_device() {
    let folder = tempfile::tempdir().unwrap();
    let driver = write_driver(&folder, 0);
    let run = run(&folder, &["--for-gpu"], |command| {
        command.env("LD_LIBRARY_PATH", driver);
    });
    assert!(run.success && run.said.is_empty(), "{}", run.said);
}
