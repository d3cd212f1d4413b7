//! The seam between the host side and whatever computes: packed batch in, sparse rows out.

#![forbid(unsafe_code)]

use std::fmt;
use std::num::NonZero;
use std::str::FromStr;
use std::thread;

use crate::cpu;
use crate::error::{Error, Result};
use crate::pack::PackedBatch;
use crate::sparse::SparseRows;

/// Computes the sparse rows of packed batches.
pub(crate) trait Engine: Send {
    /// One row a document, in the batch's order; every weight > 0 is in it.
    fn encode(&mut self, batch: &PackedBatch, want: Want) -> Result<Encoded>;

    /// What it holds, and needs for batches of `tokens` tokens.
    fn memory(&self, tokens: usize) -> Memory;
}

/// What an engine is asked for beside the rows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Want {
    /// For every weight, the position of the token that won the max (under sum pooling: that gave most).
    pub(crate) positions: bool,
}

/// What an engine gives back.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) rows: SparseRows,
    /// Beside each entry of `rows`: the position in its document, counted from 0. Empty unless wanted.
    pub(crate) positions: Vec<u32>,
}

impl Encoded {
    /// The rows of documents without a token.
    pub(crate) fn empty_rows(documents: usize) -> Self {
        let mut rows = SparseRows::with_capacity(documents, 0);
        (0..documents).for_each(|_| rows.push([]));
        Self {
            rows,
            positions: Vec::new(),
        }
    }
}

/// Memory of an engine, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// Weights, mapped from their file or converted.
    pub weights: usize,
    /// Activations of one batch.
    pub activations: usize,
}

/// Where to compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Device {
    /// A GPU if this build and machine have one, else the CPU.
    #[default]
    Auto,
    /// All visible NVIDIA GPUs, or the one with this number.
    Cuda(Option<usize>),
    /// The CPU.
    Cpu,
}

/// In which precision to compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum Dtype {
    /// What suits the device: f32 on the CPU.
    #[default]
    Auto,
    /// 32-bit floats.
    F32,
    /// 16-bit floats, accumulated in 32 bits.
    F16,
    /// Brain floats, accumulated in 32 bits.
    Bf16,
    /// 8-bit integers, accumulated in 32 bits.
    Int8,
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        })
    }
}

impl FromStr for Device {
    type Err = Error;

    /// `auto`, `cuda`, `cuda:N` or `cpu`.
    fn from_str(name: &str) -> Result<Self> {
        match (name, name.strip_prefix("cuda:").map(str::parse)) {
            ("auto", _) => Ok(Self::Auto),
            ("cpu", _) => Ok(Self::Cpu),
            ("cuda", _) => Ok(Self::Cuda(None)),
            (_, Some(Ok(number))) => Ok(Self::Cuda(Some(number))),
            _ => Err(Error::usage(
                format!("{name:?} is no device"),
                "say auto, cuda, cuda:N or cpu",
            )),
        }
    }
}

/// Which engine computes, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineDescription {
    /// `cpu`
    pub device: &'static str,
    /// The precision of the matrix products.
    pub dtype: Dtype,
    /// The vector instructions that its kernels use.
    pub kernels: &'static str,
    /// Worker threads.
    pub threads: usize,
}

/// More cores than any machine has; many more threads would only wait for each other.
const MOST_THREADS: usize = 4096;

impl EngineDescription {
    /// The engine that would compute here.
    ///
    /// # Errors
    ///
    /// A device or precision that this build or machine does not have.
    pub fn resolve(device: Device, dtype: Dtype, threads: Option<usize>) -> Result<Self> {
        if let Device::Cuda(_) = device {
            return Err(no_cuda_engine(cfg!(lexpeak_cuda)));
        }
        if !matches!(dtype, Dtype::Auto | Dtype::F32) {
            return Err(Error::unsupported(
                format!("the CPU engine has no {dtype} kernels"),
                "it computes in f32",
            ));
        }
        if let Some(threads) = threads
            && !(1..=MOST_THREADS).contains(&threads)
        {
            return Err(Error::usage(
                format!("{threads} worker threads"),
                format!("ask for 1 to {MOST_THREADS}"),
            ));
        }
        let cores = || thread::available_parallelism().map_or(1, NonZero::get);
        Ok(Self {
            device: "cpu",
            dtype: Dtype::F32,
            kernels: cpu::instructions(),
            threads: threads.unwrap_or_else(cores),
        })
    }
}

/// Why there is no CUDA engine in a build with kernels, or without.
fn no_cuda_engine(has_kernels: bool) -> Error {
    if has_kernels {
        Error::unsupported(
            "this version of lexpeak holds CUDA kernels but has no CUDA engine yet",
            "choose the device cpu, the default",
        )
    } else {
        Error::unsupported(
            "this lexpeak was built without nvcc and has no CUDA engine",
            "choose the device cpu; `make toolchain` and another build give it the kernels, but this version has no \
             engine for them yet either",
        )
    }
}

impl fmt::Display for EngineDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            device,
            dtype,
            kernels,
            threads,
        } = self;
        let s = if *threads == 1 { "" } else { "s" };
        write!(f, "{device} {dtype} ({kernels}, {threads} thread{s})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_there_is_no_cuda_engine_depends_on_the_build() {
        let with = no_cuda_engine(true).to_string();
        assert!(
            with.contains("no CUDA engine yet; choose the device cpu"),
            "{with}"
        );
        assert!(!with.contains("nvcc"), "{with}");
        let without = no_cuda_engine(false).to_string();
        assert!(without.contains("built without nvcc"), "{without}");
        assert!(without.contains("`make toolchain`"), "{without}");
    }
}
