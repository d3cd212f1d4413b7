//! What the tests share. Not every test uses all of it.
#![allow(dead_code)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use kernel_build::{KernelBuild, Search};

/// The folder with `.cuda/` and `scripts/`.
pub fn project() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .expect("this crate is inside of lexpeak")
        .to_path_buf()
}

/// Kernel compilation with the real nvcc, which `make test` provides.
pub fn kernel_build(out_dir: &Path) -> KernelBuild {
    match KernelBuild::new(&Search::from_env(project()), out_dir) {
        Ok(build) => build,
        Err(error) => panic!("this test compiles kernels: {error}"),
    }
}

/// The real nvcc's path.
pub fn nvcc() -> PathBuf {
    let nvcc = Search::from_env(project()).find().nvcc;
    nvcc.expect("this test compiles kernels: run `make toolchain`")
        .path
}

/// Python itself, not a shim that would need the environment that a test clears.
pub fn python() -> PathBuf {
    let output = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output()
        .expect("the tests need python3, as `make` does");
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end())
}

/// Writes a shell script that can be run.
pub fn write_program(path: &Path, script: &str) {
    fs::create_dir_all(path.parent().expect("a program is in a folder")).unwrap();
    fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A program that says that it is nvcc of this release.
pub fn write_fake_nvcc(path: &Path, release: &str) {
    write_program(
        path,
        &format!("echo 'Cuda compilation tools, release {release}, V{release}.88'"),
    );
}
