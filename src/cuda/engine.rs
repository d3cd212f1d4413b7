//! The CUDA engine: packed batches in, sparse rows and vectors out; only those cross back to the host.
//!
//! Two lanes share a GPU. Each brings its batches to the GPU and takes rows back on a stream of its own, by way of pinned
//! memory; the kernels of all batches run one after the other on the stream of the GPU. So the copies of one lane, and
//! what the host does for it, pass while the kernels of the other run:
//!
//! ```text
//! lane 0   pack, upload 0 .                      . read back 0, pack, upload 2 .
//! GPU                     kernels 0 .............. kernels 1 .................. kernels 2 ....
//! lane 1          pack, upload 1 .                                             . read back 1, ...
//! ```
//!
//! The kernels of a pass are launched one by one, not as a CUDA graph: a pass of the usual size takes many times as long as
//! launching its hundred kernels, which happens while the pass before it runs.

#![forbid(unsafe_code)]

use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{CudaEvent, CudaStream};
use half::{bf16, f16};

use super::Gpu;
use super::arena::{Arena, Piece, piece_bytes};
use super::batch::{self, BatchPlan};
use super::buffers::Workspace;
use super::forward::{Kernels, forward};
use super::gpu::driver_error;
use super::heads::{HeadStage, Pass, SpladeStage, TokenStage};
use super::kernels::{RowShape, Storage};
use super::staging::Staging;
use super::weights::{Loader, Sizes, Weights};
use crate::embeddings::Embeddings;
use crate::engine::{Dtype, Encoded, Engine, Memory, Want};
use crate::error::{Category, Result};
use crate::model::{HeadWeights, Model, ModelSpec};
use crate::pack::PackedBatch;

/// Batches of a GPU that are under way at once: one in its kernels, one on its way there or back.
const LANES: usize = 2;

/// How many GPUs the driver shows.
pub(crate) fn device_count() -> Result<usize> {
    Gpu::count()
}

/// The name of the GPU of that number.
pub(crate) fn device_name(number: usize) -> Result<String> {
    Gpu::name(number)
}

/// The engines of the GPU of that number, for batches of at most `batch_tokens` tokens or one document of the longest kind;
/// and the tokens a batch that its memory allows, which may be fewer.
pub(crate) fn engines(
    number: usize,
    dtype: Dtype,
    model: &Model,
    batch_tokens: usize,
) -> Result<(Vec<Box<dyn Engine>>, usize)> {
    match dtype {
        Dtype::Bf16 => of_type::<bf16>(number, model, batch_tokens),
        _ => of_type::<f16>(number, model, batch_tokens),
    }
}

fn of_type<T: Storage>(
    number: usize,
    model: &Model,
    batch_tokens: usize,
) -> Result<(Vec<Box<dyn Engine>>, usize)> {
    match &model.weights.head {
        HeadWeights::Splade(splade, head) => {
            load::<T, SpladeStage<T>>(number, model, (*splade, head), batch_tokens)
        }
        HeadWeights::Token(head) => load::<T, TokenStage<T>>(number, model, head, batch_tokens),
    }
}

fn load<T: Storage, H: HeadStage<T>>(
    number: usize,
    model: &Model,
    head: H::Stored<'_>,
    mut batch_tokens: usize,
) -> Result<(Vec<Box<dyn Engine>>, usize)> {
    let resident = Arc::new(Resident::<T, H>::new(number, model, head)?);
    let longest = model.spec.longest_input;
    loop {
        match resident.lanes(batch_tokens.max(longest)) {
            Ok(lanes) => return Ok((lanes, batch_tokens)),
            // A text may be as long as that: smaller batches would not take less.
            Err(error) if error.category() == Category::OutOfMemory && batch_tokens > longest => {
                batch_tokens = (batch_tokens / 2).max(longest);
                // What was set aside and given back is free only when the stream has come to it.
                resident.gpu.synchronize()?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// A model on one GPU.
#[derive(Debug)]
struct Resident<T: Storage, H> {
    gpu: Gpu,
    spec: ModelSpec,
    sizes: Sizes,
    weights: Weights<T>,
    weight_bytes: usize,
    kernels: Kernels<T>,
    head: H,
}

/// One of the engines that share a GPU.
#[derive(Debug)]
struct Lane<T: Storage, H: HeadStage<T>> {
    resident: Arc<Resident<T, H>>,
    /// Kernels are put on the GPU's stream by whoever holds it, a batch at a time: on the GPU, batches follow each other.
    workspace: Arc<Mutex<Workspace<T>>>,
    /// Tokens of a batch that there is room for.
    tokens: usize,
    copies: Arc<CudaStream>,
    uploaded: CudaEvent,
    computed: CudaEvent,
    results: H::Results,
    words: Staging<u32>,
    /// Freed last: dropping what is above waits for the copies to it.
    memory: Piece<u32>, // what the kernels must know of a batch
}

impl<T: Storage, H: HeadStage<T>> Resident<T, H> {
    fn new(number: usize, model: &Model, head: H::Stored<'_>) -> Result<Self> {
        let gpu = Gpu::new(number)?;
        let spec = model.spec.clone();
        let row = RowShape::new(spec.hidden_size)?;
        let kernels = Kernels::load(&gpu, &spec, row)?;
        let sizes = Sizes::new(&spec, row, kernels.head())?;
        let mut loader = Loader::new(&gpu, &spec, &sizes);
        Ok(Self {
            weights: Weights::load(&mut loader, model)?,
            head: H::load(&gpu, &mut loader, head, &sizes)?,
            weight_bytes: loader.bytes,
            kernels,
            sizes,
            spec,
            gpu,
        })
    }

    fn lanes(self: &Arc<Self>, tokens: usize) -> Result<Vec<Box<dyn Engine>>> {
        let of_head = H::workspace_len(tokens, &self.sizes);
        let workspace = Workspace::new(&self.gpu, tokens, of_head, &self.sizes)?;
        let workspace = Arc::new(Mutex::new(workspace));
        let lane =
            |_| -> Result<Box<dyn Engine>> { Ok(Box::new(Lane::new(self, &workspace, tokens)?)) };
        let lanes = (0..LANES).map(lane).collect::<Result<_>>()?;
        // Memory was set aside on the GPU's stream: those of the lanes use it, too.
        self.gpu.synchronize()?;
        Ok(lanes)
    }
}

impl<T: Storage, H: HeadStage<T>> Lane<T, H> {
    fn new(
        resident: &Arc<Resident<T, H>>,
        workspace: &Arc<Mutex<Workspace<T>>>,
        tokens: usize,
    ) -> Result<Self> {
        let (gpu, words) = (&resident.gpu, Self::words_at_most(tokens));
        let event = || {
            let made = gpu.stream().context().new_event(None);
            made.map_err(|error| driver_error("the GPU", "make an event", error))
        };
        Ok(Self {
            memory: Arena::new(gpu, piece_bytes::<u32>(words))?.take(words),
            tokens,
            copies: gpu.new_stream()?,
            uploaded: event()?,
            computed: event()?,
            words: Staging::to_gpu(gpu, words)?,
            results: resident.head.results(gpu, tokens, &resident.sizes)?,
            resident: Arc::clone(resident),
            workspace: Arc::clone(workspace),
        })
    }

    fn words_at_most(tokens: usize) -> usize {
        batch::words_at_most(tokens) + H::words_at_most(tokens)
    }

    /// The outputs for a batch, or `None` if there is no room for them.
    fn try_encode(&mut self, batch: &PackedBatch, want: Want) -> Result<Option<Encoded>> {
        let Resident {
            gpu,
            spec,
            sizes,
            weights,
            kernels,
            head,
            ..
        } = &*self.resident;
        let order = |error| driver_error("the GPU", "order its streams", error);
        let Some(plan) = head.plan(batch, want, sizes, self.tokens) else {
            return Ok(None);
        };
        let plan = BatchPlan::new(batch, plan)?;
        // Kernels of the batch before are done, unless a panic came in between: then they still read its words.
        self.copies.wait(&self.computed).map_err(order)?;
        let (words, memory) = (&mut self.words, &mut self.memory);
        let on_gpu = plan.upload(gpu, &self.copies, words, memory, &self.uploaded)?;
        {
            let workspace = self.workspace.lock();
            let mut workspace = workspace.unwrap_or_else(PoisonError::into_inner);
            let eps = spec.layer_norm_eps;
            forward(kernels, weights, sizes, &mut workspace, &on_gpu, eps)?;
            let pass = Pass {
                gpu,
                sizes,
                weights,
                workspace: &mut workspace,
                tokens: on_gpu.tokens(),
                words: on_gpu.head_words(),
                eps,
            };
            head.launch(pass, &plan.head, &mut self.results, want)?;
            self.computed.record(gpu.stream()).map_err(order)?;
        }
        self.copies.wait(&self.computed).map_err(order)?;
        head.read_back(&self.copies, batch, &plan.head, &mut self.results, want)
    }
}

impl<T: Storage, H: HeadStage<T>> Drop for Lane<T, H> {
    fn drop(&mut self) {
        // Memory is freed on the GPU of the thread. If that fails, the driver is gone and the memory with it.
        let _ = self.resident.gpu.bind_to_thread();
    }
}

impl<T: Storage, H: HeadStage<T>> Engine for Lane<T, H> {
    fn encode(&mut self, batch: &PackedBatch, want: Want) -> Result<Encoded> {
        if batch.tokens() == 0 {
            let embeddings = Embeddings::of_empty_documents(batch.len(), want.outputs);
            return Ok(Encoded::new(embeddings));
        }
        self.resident.gpu.bind_to_thread()?;
        let encoded = self.try_encode(batch, want);
        if encoded.is_err() {
            // What was launched still uses the memory of this lane. How that ends changes nothing.
            let _ = self.resident.gpu.synchronize();
            let _ = self.copies.synchronize();
        }
        if let Some(encoded) = encoded? {
            return Ok(encoded);
        }
        // There is room for the results of one document, so this comes to an end.
        let middle = batch.len() / 2;
        let mut encoded = self.encode(&batch.documents(0..middle), want)?;
        encoded.append(self.encode(&batch.documents(middle..batch.len()), want)?);
        Ok(encoded)
    }

    fn memory(&self, _: usize) -> Memory {
        let Resident {
            weight_bytes,
            sizes,
            head,
            ..
        } = &*self.resident;
        // It was set aside at start, whatever batches come.
        let of_head = H::workspace_len(self.tokens, sizes);
        let of_lane = piece_bytes::<u32>(Self::words_at_most(self.tokens))
            + head.result_bytes(self.tokens, sizes);
        let arena = Workspace::<T>::bytes(self.tokens, of_head, sizes) + LANES * of_lane;
        Memory {
            weights: *weight_bytes,
            arena,
            peak: weight_bytes + arena,
        }
    }
}
