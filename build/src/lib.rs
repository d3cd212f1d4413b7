//! Compiles a folder of CUDA kernels for a build script: each `.cu` once, into one fatbin with machine code for
//! every GPU that the file supports and PTX for those to come.
//!
//! - [`Search`] finds nvcc, 12.8 or newer.
//! - [`Source`] reads what a kernel file says about itself in marker lines: targets, leave to spill, launch shape.
//! - [`KernelBuild`] compiles what changed, several files at a time, and holds the gates: a warning, a spill without
//!   leave, and an optimisation that ptxas gave up are errors.
//! - [`build_script`] does all of that for cargo, and writes what the crate includes.
//!
//! Without an nvcc there is no error: the launch shapes are there, the images are not, and cargo warns.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod compile;
mod error;
mod gates;
mod launch_shape;
mod markers;
mod resources;
mod script;
mod target;
mod toolchain;
mod watch;

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

pub use compile::Image;
pub use error::{Error, Result};
pub use launch_shape::Constant;
pub use markers::{Source, read_sources};
pub use resources::Resources;
pub use script::build_script;
pub use target::Target;
pub use toolchain::{Found, Nvcc, Release, Search};

use compile::Settings;

/// How to compile kernel files.
#[derive(Clone, Debug)]
pub struct KernelBuild {
    nvcc: Nvcc,
    out_dir: PathBuf,
    machine_code: bool,
    jobs: usize,
}

impl KernelBuild {
    /// With the nvcc that `search` finds, into `out_dir`, which also remembers what need not be compiled again.
    ///
    /// # Errors
    ///
    /// There is no usable nvcc, or no host compiler for it.
    pub fn new(search: &Search, out_dir: impl Into<PathBuf>) -> Result<Self> {
        let found = search.find();
        let nvcc = found.nvcc.ok_or_else(|| {
            let mut message = "there is no usable nvcc; `make toolchain` fetches one".to_owned();
            for reason in found.passed_over {
                message += &format!("\n{reason}");
            }
            Error::new(message)
        })?;
        Self::with(nvcc, search, out_dir)
    }

    fn with(nvcc: Nvcc, search: &Search, out_dir: impl Into<PathBuf>) -> Result<Self> {
        if let Some(missing) = toolchain::missing_host_compiler(search) {
            return Err(Error::new(missing));
        }
        Ok(Self {
            nvcc,
            out_dir: out_dir.into(),
            machine_code: true,
            jobs: thread::available_parallelism().map_or(1, NonZero::get),
        })
    }

    /// PTX alone, which is all that the stand-in driver reads, in a quarter of the time. The gates that rest on machine
    /// code are not held.
    pub fn ptx_only(mut self) -> Self {
        self.machine_code = false;
        self
    }

    /// How many files to compile at a time; by default one a core.
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.jobs = jobs.max(1);
        self
    }

    /// The images of `sources`, in their order.
    ///
    /// # Errors
    ///
    /// What nvcc or a gate has against any of them, all together.
    pub fn run(&self, sources: &[Source]) -> Result<Vec<Image>> {
        fs::create_dir_all(&self.out_dir)
            .map_err(|error| Error::io("make", &self.out_dir, &error))?;
        let settings = Settings {
            nvcc: &self.nvcc,
            out_dir: &self.out_dir,
            machine_code: self.machine_code,
        };
        let queue = Mutex::new(sources.iter().enumerate());
        let work = || {
            let mut done = Vec::new();
            loop {
                // The lock is not held while nvcc runs.
                let next = queue.lock().expect("no holder panics").next();
                match next {
                    Some((place, source)) => done.push((place, compile::compile(source, settings))),
                    None => return done,
                }
            }
        };
        let mut results: Vec<_> = thread::scope(|scope| {
            let workers: Vec<_> = (0..self.jobs.min(sources.len()))
                .map(|_| scope.spawn(work))
                .collect();
            let join = |worker: thread::ScopedJoinHandle<'_, _>| {
                worker.join().expect("compiling does not panic")
            };
            workers.into_iter().flat_map(join).collect()
        });
        results.sort_by_key(|&(place, _)| place);

        let (mut images, mut errors) = (Vec::new(), Vec::new());
        for (_, result) in results {
            match result {
                Ok(image) => images.push(image),
                Err(error) => errors.push(error.to_string()),
            }
        }
        if errors.is_empty() {
            Ok(images)
        } else {
            Err(Error::new(errors.join("\n")))
        }
    }
}

/// Writes `text` to `path` unless it is there already: rustc compiles anew what is newer.
fn write_if_changed(path: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::write(path, text).map_err(|error| Error::io("write", path, &error))
}
