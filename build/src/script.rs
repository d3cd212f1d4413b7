//! The build script of a crate with kernels.

use std::env;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::compile::Image;
use crate::error::{Error, Result};
use crate::launch_shape;
use crate::markers::read_sources;
use crate::resources;
use crate::toolchain::{Found, Search, VARIABLES};
use crate::watch::watched_paths;
use crate::{KernelBuild, write_if_changed};

/// Compiles the `kernels/` of the project that `search` is for, if it finds an nvcc, and sets `cfg` if so.
/// Writes into `OUT_DIR`, for the crate to include:
///
/// - `launch_shapes.rs`: a module a kernel file, with the constants of its launch shape;
/// - `kernel_images.rs`: a slice of `KernelImage {name, targets, ptx, fatbin}` for [`Image`]s, empty without nvcc;
/// - `kernel_resources.rs`: a slice of `KernelResources` with the fields of [`Resources`](crate::Resources);
///
/// and `kernel_resources.md`, the same figures to read.
///
/// # Errors
///
/// What is wrong with the kernels. That there is no nvcc is a warning of cargo.
pub fn build_script(search: &Search, cfg: &str) -> Result<()> {
    let out_dir = env::var_os("OUT_DIR").map(PathBuf::from);
    let out_dir =
        out_dir.ok_or_else(|| Error::new("OUT_DIR is not set: this is for build scripts"))?;
    let kernels = search.project.join("kernels");

    println!("cargo::rustc-check-cfg=cfg({cfg})");
    println!("cargo::rerun-if-changed={}", kernels.display());
    for variable in VARIABLES {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let Found {
        nvcc,
        passed_over,
        tried,
    } = search.find();
    for path in watched_paths(search, &tried, &out_dir)? {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    for reason in passed_over {
        println!("cargo::warning=passed over: {reason}");
    }

    let sources = read_sources(&kernels)?;
    let write = |name: &str, text: &str| write_if_changed(&out_dir.join(name), text);
    write("launch_shapes.rs", &launch_shape::generate(&sources))?;

    let mut images = Vec::new();
    if let Some(nvcc) = nvcc {
        let mut build = KernelBuild::with(nvcc, search, &out_dir)?;
        // As many as `cargo build --jobs` allows.
        if let Some(jobs) = env::var("NUM_JOBS").ok().and_then(|jobs| jobs.parse().ok()) {
            build = build.jobs(jobs);
        }
        images = build.run(&sources)?;
        println!("cargo::rustc-cfg={cfg}");
        for path in dependencies_elsewhere(&images, &search.project, &kernels) {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    } else {
        println!(
            "cargo::warning=no nvcc of CUDA 12.8 or newer: this build has the CPU engine only; for CUDA run \
             `make toolchain`, or set NVCC or CUDA_HOME, and build again"
        );
    }
    write("kernel_images.rs", &generate_images(&images))?;
    write("kernel_resources.rs", &generate_resources(&images))?;
    let figures: Vec<_> = images
        .iter()
        .flat_map(|image| image.resources.clone())
        .collect();
    write("kernel_resources.md", &resources::to_markdown(&figures))
}

/// What the kernels include of the project from outside their folder. The toolchain's own headers are not declared:
/// they change with nvcc.
fn dependencies_elsewhere<'a>(
    images: &'a [Image],
    project: &Path,
    kernels: &Path,
) -> Vec<&'a PathBuf> {
    let toolchain = project.join(".cuda");
    let mut paths: Vec<_> = images
        .iter()
        .flat_map(|image| &image.dependencies)
        .filter(|path| path.starts_with(project))
        .filter(|path| !path.starts_with(kernels) && !path.starts_with(&toolchain))
        .collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

fn generate_images(images: &[Image]) -> String {
    let mut text = "&[\n".to_owned();
    for Image {
        name,
        fatbin,
        targets,
        ptx,
        ..
    } in images
    {
        let targets: Vec<_> = targets.iter().map(|target| target.sm()).collect();
        writeln!(
            text,
            "    KernelImage {{\n        name: {name:?},\n        targets: &{targets:?},\n        ptx: {ptx:?},\n        \
             fatbin: &Aligned(*include_bytes!({fatbin:?})).0,\n    }},"
        )
        .expect("a String takes all that is written to it");
    }
    text + "]\n"
}

fn generate_resources(images: &[Image]) -> String {
    let mut text = "&[\n".to_owned();
    for image in images {
        for row in &image.resources {
            let target = row.target.sm();
            writeln!(
                text,
                "    KernelResources {{ file: {:?}, kernel: {:?}, target: {target:?}, registers: {}, static_shared: {}, \
                 stack: {}, spill_stores: {}, spill_loads: {}, barriers: {} }},",
                image.name,
                row.kernel,
                row.registers,
                row.static_shared,
                row.stack,
                row.spill_stores,
                row.spill_loads,
                row.barriers
            )
            .expect("a String takes all that is written to it");
        }
    }
    text + "]\n"
}
