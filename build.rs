//! Compiles `kernels/` where there is an nvcc: see the crate kernel-build.

use std::env;
use std::process::ExitCode;

use kernel_build::{Search, build_script};

fn main() -> ExitCode {
    let project = env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it for build scripts");
    match build_script(&Search::from_env(project), "lexpeak_cuda") {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
