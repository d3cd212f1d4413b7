//! The seam between the host side and whatever computes: packed batch in, sparse rows and vectors out.

#![forbid(unsafe_code)]

use std::fmt;
use std::num::NonZero;
use std::str::FromStr;
use std::thread;

use crate::cpu;
use crate::cuda;
use crate::embeddings::{Embeddings, OutputSizes};
use crate::error::{Error, Result};
use crate::pack::PackedBatch;
use crate::sparse::SparseRows;

/// Computes the outputs for packed batches.
pub(crate) trait Engine: Send {
    /// The outputs for the documents, in the batch's order; every weight > 0 is in their sparse rows.
    fn encode(&mut self, batch: &PackedBatch, want: Want) -> Result<Encoded>;

    /// What it holds, and needs at most for batches of `tokens` tokens.
    fn memory(&self, tokens: usize) -> Memory;
}

/// What an engine is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    /// Of a dense vector that is shorter than a hidden state, the first values are taken before it is normalised.
    pub(crate) outputs: OutputSizes,
    /// For every weight, the position of the token that won the max (under sum pooling: that gave most).
    pub(crate) positions: bool,
    /// Weights up to this are not needed; an engine may leave them out.
    #[cfg_attr(
        not(lexpeak_cuda),
        expect(dead_code, reason = "the CPU engine gives all")
    )]
    pub(crate) min_weight: f32,
    /// Of each row no more than its heaviest weights are needed; an engine may leave the others out.
    #[cfg_attr(
        not(lexpeak_cuda),
        expect(dead_code, reason = "the CPU engine gives all")
    )]
    pub(crate) top_k: Option<usize>,
}

/// What an engine gives back.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) embeddings: Embeddings,
    /// Beside each entry of the sparse rows: the position in its document, counted from 0. Empty unless wanted.
    pub(crate) positions: Vec<u32>,
}

impl Encoded {
    /// Those without positions.
    pub(crate) fn new(embeddings: Embeddings) -> Self {
        Self {
            embeddings,
            positions: Vec::new(),
        }
    }

    /// Those of a head that gives sparse rows only.
    pub(crate) fn sparse(rows: SparseRows, positions: Vec<u32>) -> Self {
        Self {
            embeddings: Embeddings {
                sparse: Some(rows),
                dense: None,
                colbert: None,
            },
            positions,
        }
    }

    /// Appends what is there for the documents of `other`.
    #[cfg(lexpeak_cuda)]
    pub(crate) fn append(&mut self, other: Self) {
        self.embeddings.append(&other.embeddings);
        self.positions.extend(other.positions);
    }

    /// Turns positions among the pooled rows of a document into positions among its tokens.
    pub(crate) fn place_in_documents(&mut self, batch: &PackedBatch) {
        let Some(rows) = self.embeddings.sparse.as_ref() else {
            return;
        };
        if self.positions.is_empty() {
            return;
        }
        for document in 0..batch.len() {
            let entries = rows.row_starts()[document]..rows.row_starts()[document + 1];
            for position in &mut self.positions[entries] {
                let row = batch.pooled()[(batch.cu_pooled()[document] + *position) as usize];
                *position = row - batch.cu_seqlens()[document];
            }
        }
    }
}

/// Memory of an engine, in bytes: the host's on the CPU, that of each GPU on GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// Weights, mapped from their file or converted.
    pub weights: usize,
    /// Activations of one batch, used again for the next; on GPUs also what goes there and comes back.
    pub arena: usize,
    /// The most at any time: weights, arena, and on the CPU the vectors of batches on their way to the output. The
    /// program, its tokeniser and sparse rows come on top.
    pub peak: usize,
}

/// Where to compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Device {
    /// All GPUs if this build and machine have any, else the CPU.
    #[default]
    Auto,
    /// The NVIDIA GPU with this number, counted from 0; without one all of them, which share the work.
    Cuda(Option<usize>),
    /// The CPU.
    Cpu,
}

/// In which precision to compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum Dtype {
    /// What suits the device: f32 on the CPU, f16 on GPUs.
    #[default]
    Auto,
    /// 32-bit floats.
    F32,
    /// 16-bit floats, accumulated in 32 bits.
    F16,
    /// Brain floats, with the range of [`F32`](Self::F32), accumulated in 32 bits. Where a LayerNorm bounds that range, and in
    /// the weights that meet it, 16-bit floats, which have 3 bits more.
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
    /// `cpu` or `cuda`
    pub device: &'static str,
    /// The precision of the matrix products.
    pub dtype: Dtype,
    /// The vector instructions that the CPU's kernels use, or the names of the GPUs.
    pub kernels: String,
    /// Worker threads.
    pub threads: usize,
    /// Numbers of the GPUs; none on the CPU.
    pub gpus: Vec<usize>,
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
        if let Some(threads) = threads
            && !(1..=MOST_THREADS).contains(&threads)
        {
            return Err(Error::usage(
                format!("{threads} worker threads"),
                format!("ask for 1 to {MOST_THREADS}"),
            ));
        }
        let cores = || thread::available_parallelism().map_or(1, NonZero::get);
        let threads = threads.unwrap_or_else(cores);
        match device {
            Device::Cuda(Some(number)) => Self::on_gpus(vec![number], dtype, threads),
            // Where there is none, the error says so of the first.
            Device::Cuda(None) => {
                let count = cuda::device_count()?.max(1);
                Self::on_gpus((0..count).collect(), dtype, threads)
            }
            // GPUs if there are any, unless the precision is one that only the CPU has.
            Device::Auto if gpu_has(dtype) => match cuda::device_count()? {
                0 => Self::on_cpu(dtype, threads),
                count => Self::on_gpus((0..count).collect(), dtype, threads),
            },
            Device::Auto | Device::Cpu => Self::on_cpu(dtype, threads),
        }
    }

    fn on_cpu(dtype: Dtype, threads: usize) -> Result<Self> {
        if !matches!(dtype, Dtype::Auto | Dtype::F32) {
            return Err(Error::unsupported(
                format!("the CPU engine has no {dtype} kernels"),
                "it computes in f32",
            ));
        }
        Ok(Self {
            device: "cpu",
            dtype: Dtype::F32,
            kernels: cpu::instructions().to_owned(),
            threads,
            gpus: Vec::new(),
        })
    }

    fn on_gpus(gpus: Vec<usize>, dtype: Dtype, threads: usize) -> Result<Self> {
        let names: Vec<String> =
            (gpus.iter().map(|&gpu| cuda::device_name(gpu))).collect::<Result<_>>()?;
        if !gpu_has(dtype) {
            return Err(Error::unsupported(
                format!("the CUDA engine has no {dtype} kernels"),
                "it computes in f16 or bf16",
            ));
        }
        Ok(Self {
            device: "cuda",
            dtype: if dtype == Dtype::Auto {
                Dtype::F16
            } else {
                dtype
            },
            kernels: counted(&names),
            threads,
            gpus,
        })
    }
}

/// Names, equal neighbours counted: `2 x H100, A100`.
fn counted(names: &[String]) -> String {
    let alike = names.chunk_by(|a, b| a == b).map(|alike| match alike {
        [name] => name.clone(),
        _ => format!("{} x {}", alike.len(), alike[0]),
    });
    alike.collect::<Vec<_>>().join(", ")
}

/// Whether the CUDA engine has kernels for it.
fn gpu_has(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::Auto | Dtype::F16 | Dtype::Bf16)
}

impl fmt::Display for EngineDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            device,
            dtype,
            kernels,
            threads,
            ..
        } = self;
        let s = if *threads == 1 { "" } else { "s" };
        write!(f, "{device} {dtype} ({kernels}, {threads} thread{s})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_are_counted() {
        let names =
            |names: &[&str]| counted(&names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(names(&["H100"]), "H100");
        assert_eq!(names(&["H100", "H100", "A100"]), "2 x H100, A100");
    }
}
