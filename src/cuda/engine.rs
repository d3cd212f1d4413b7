//! The CUDA engine: packed batches in, sparse rows out; only those cross back to the host.
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
use super::batch::{BatchPlan, DeviceBatch};
use super::buffers::{
    BatchMemory, PositionMemory, RowMemory, Workspace, entries, figure_words, pooled_width,
    rows_of_a_pass,
};
use super::forward::{Kernels, forward};
use super::gpu::driver_error;
use super::kernels::{
    Positions, RowShape, Sparsify, SparsifyArgs, SpladeHead, SpladeHeadArgs, Storage, TopK,
    TopKArgs,
};
use super::staging::Staging;
use super::weights::{Sizes, Weights};
use crate::engine::{Dtype, Encoded, Engine, Memory, Want};
use crate::error::{Category, Error, Result};
use crate::model::{Model, ModelSpec};
use crate::pack::PackedBatch;
use crate::sparse::SparseRows;

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
        Dtype::Bf16 => load::<bf16>(number, model, batch_tokens),
        _ => load::<f16>(number, model, batch_tokens),
    }
}

fn load<T: Storage>(
    number: usize,
    model: &Model,
    mut batch_tokens: usize,
) -> Result<(Vec<Box<dyn Engine>>, usize)> {
    let resident = Arc::new(Resident::<T>::new(number, model)?);
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
struct Resident<T: Storage> {
    gpu: Gpu,
    spec: ModelSpec,
    sizes: Sizes,
    weights: Weights<T>,
    kernels: Kernels<T>,
    head: SpladeHead,
    head_with_positions: SpladeHead,
    sparsify: Sparsify,
    top_k: TopK,
}

/// One of the engines that share a GPU.
#[derive(Debug)]
struct Lane<T: Storage> {
    resident: Arc<Resident<T>>,
    /// Kernels are put on the GPU's stream by whoever holds it, a batch at a time: on the GPU, batches follow each other.
    workspace: Arc<Mutex<Workspace<T>>>,
    /// Tokens of a batch that there is room for.
    tokens: usize,
    /// Documents that the head takes at a time.
    rows_of_a_pass: usize,
    copies: Arc<CudaStream>,
    uploaded: CudaEvent,
    computed: CudaEvent,
    words: Staging<u32>,
    figures: Staging<u32>,
    ids: Staging<u32>,
    values: Staging<f32>,
    /// Freed last: dropping what is above waits for the copies from it.
    memory: BatchMemory,
}

impl<T: Storage> Resident<T> {
    fn new(number: usize, model: &Model) -> Result<Self> {
        let gpu = Gpu::new(number)?;
        let spec = model.spec.clone();
        let row = RowShape::new(spec.hidden_size)?;
        let kernels = Kernels::load(&gpu, &spec, row)?;
        let sizes = Sizes::new(&spec, row, kernels.head());
        let head =
            |positions| SpladeHead::load(&gpu, spec.head.pooling, spec.head.activation, positions);
        Ok(Self {
            weights: Weights::load(&gpu, model, &sizes)?,
            head: head(false)?,
            head_with_positions: head(true)?,
            sparsify: Sparsify::load(&gpu, spec.head)?,
            top_k: TopK::load(&gpu)?,
            kernels,
            sizes,
            spec,
            gpu,
        })
    }

    /// Launches all kernels for a batch.
    fn launch(
        &self,
        workspace: &mut Workspace<T>,
        batch: &DeviceBatch<'_>,
        rows: &mut RowMemory,
        mut positions: Option<&mut PositionMemory>,
        want: Want,
    ) -> Result<()> {
        forward(
            &self.kernels,
            &self.weights,
            &self.sizes,
            workspace,
            batch,
            self.spec.layer_norm_eps,
        )?;
        let (vocabulary, width) = (self.sizes.vocabulary, pooled_width(&self.sizes));
        let tokens = batch.tokens() * self.sizes.row.stride();
        let decoder = self.weights.decoder.as_ref().unwrap_or(&self.weights.words);
        let head = if want.positions {
            &self.head_with_positions
        } else {
            &self.head
        };
        let RowMemory {
            figures,
            ids,
            values,
        } = rows;
        let (mut total, mut figures) = figures.split_at_mut(1);
        let (mut starts, mut figures) = figures.split_at_mut(batch.rows());
        let (mut counts, mut damaged) = figures.split_at_mut(batch.rows());
        let cleared = self.gpu.stream().memset_zeros(&mut total);
        cleared.map_err(|error| driver_error("the GPU", "clear memory", error))?;
        let mut first = 0;
        for columns in batch.passes() {
            let pass = first..first + columns.documents();
            let pooled = ..columns.documents() * width;
            head.launch(SpladeHeadArgs {
                hidden: workspace.hidden.slice(..tokens), // [T, H]
                decoder: decoder.as_view(),
                bias: self.weights.decoder_bias.slice(..vocabulary),
                columns,
                pooled: workspace.pooled.slice_mut(pooled), // [R, V]
                positions: positions
                    .as_mut()
                    .map(|positions| positions.pooled.slice_mut(pooled)),
            })?;
            self.sparsify.launch(SparsifyArgs {
                pooled: workspace.pooled.slice(pooled),
                bias: self.weights.decoder_bias.as_view(),
                positions: positions.as_mut().map(|positions| Positions {
                    pooled: positions.pooled.slice(pooled),
                    kept: positions.kept.as_view_mut(),
                }),
                terms: vocabulary,
                threshold: want.min_weight,
                total: total.slice_mut(..),
                starts: starts.slice_mut(pass.clone()),
                counts: counts.slice_mut(pass.clone()),
                damaged: damaged.slice_mut(pass.clone()),
                ids: ids.as_view_mut(),
                values: values.as_view_mut(),
            })?;
            first = pass.end;
        }
        if let Some(k) = want.top_k.filter(|&k| k > 0) {
            self.top_k.launch(TopKArgs {
                starts: starts.slice(..),
                counts: counts.slice_mut(..batch.rows()),
                ids: ids.as_view_mut(),
                values: values.as_view_mut(),
                positions: positions.map(|positions| positions.kept.as_view_mut()),
                k,
            })?;
        }
        Ok(())
    }

    fn lanes(self: &Arc<Self>, tokens: usize) -> Result<Vec<Box<dyn Engine>>> {
        let workspace = Workspace::new(&self.gpu, tokens, &self.sizes)?;
        let workspace = Arc::new(Mutex::new(workspace));
        let lane =
            |_| -> Result<Box<dyn Engine>> { Ok(Box::new(Lane::new(self, &workspace, tokens)?)) };
        let lanes = (0..LANES).map(lane).collect::<Result<_>>()?;
        // Memory was set aside on the GPU's stream: those of the lanes use it, too.
        self.gpu.synchronize()?;
        Ok(lanes)
    }
}

impl<T: Storage> Lane<T> {
    fn new(
        resident: &Arc<Resident<T>>,
        workspace: &Arc<Mutex<Workspace<T>>>,
        tokens: usize,
    ) -> Result<Self> {
        let (gpu, sizes) = (&resident.gpu, &resident.sizes);
        let event = || {
            let made = gpu.stream().context().new_event(None);
            made.map_err(|error| driver_error("the GPU", "make an event", error))
        };
        Ok(Self {
            memory: BatchMemory::new(gpu, tokens, sizes)?,
            tokens,
            rows_of_a_pass: rows_of_a_pass(tokens, sizes),
            copies: gpu.new_stream()?,
            uploaded: event()?,
            computed: event()?,
            words: Staging::to_gpu(gpu, BatchPlan::words_at_most(tokens))?,
            figures: Staging::from_gpu(gpu, figure_words(tokens))?,
            ids: Staging::from_gpu(gpu, entries(tokens, sizes))?,
            values: Staging::from_gpu(gpu, entries(tokens, sizes))?,
            resident: Arc::clone(resident),
            workspace: Arc::clone(workspace),
        })
    }

    /// The rows of a batch, or `None` if they have more entries than there is room for.
    fn try_encode(&mut self, batch: &PackedBatch, want: Want) -> Result<Option<Encoded>> {
        let Resident { gpu, sizes, .. } = &*self.resident;
        let BatchMemory { words, rows } = &mut self.memory;
        let order = |error| driver_error("the GPU", "order its streams", error);
        let plan = BatchPlan::new(batch, self.rows_of_a_pass)?;
        // Kernels of the batch before are done, unless a panic came in between: then they still read its words.
        self.copies.wait(&self.computed).map_err(order)?;
        let on_gpu = plan.upload(gpu, &self.copies, &mut self.words, words, &self.uploaded)?;
        let positions = want.positions.then(|| {
            let pooled = plan.rows().min(self.rows_of_a_pass) * pooled_width(sizes);
            PositionMemory::new(gpu, pooled, rows.ids.len())
        });
        let mut positions = positions.transpose()?;
        {
            let workspace = self.workspace.lock();
            let mut workspace = workspace.unwrap_or_else(PoisonError::into_inner);
            self.resident
                .launch(&mut workspace, &on_gpu, rows, positions.as_mut(), want)?;
            self.computed.record(gpu.stream()).map_err(order)?;
        }
        self.copies.wait(&self.computed).map_err(order)?;
        self.read_back(batch, plan.rows(), positions.as_ref())
    }

    /// Copies the rows of the documents that have any from the GPU, and waits for them.
    fn read_back(
        &mut self,
        batch: &PackedBatch,
        rows: usize,
        positions: Option<&PositionMemory>,
    ) -> Result<Option<Encoded>> {
        let (on_gpu, copies) = (&self.memory.rows, &self.copies);
        let figures = on_gpu.figures.slice(..figure_words(rows));
        self.figures.download(&figures, copies)?;
        let (total, figures) = self.figures.wait()?[..figure_words(rows)].split_at(1);
        let (starts, figures) = figures.split_at(rows);
        let (counts, damaged) = figures.split_at(rows);
        if damaged.iter().any(|&damaged| damaged != 0) {
            return Err(Error::numeric(
                "the model computes numbers beyond its precision",
                "try --dtype bf16 or --device cpu; if that fails too, its weights are damaged: get another copy",
            ));
        }
        let total = total[0] as usize;
        if total > on_gpu.ids.len() {
            return Ok(None);
        }
        self.ids.download(&on_gpu.ids.slice(..total), copies)?;
        self.values
            .download(&on_gpu.values.slice(..total), copies)?;
        let (ids, values) = (self.ids.wait()?, self.values.wait()?);
        let segments = starts.iter().zip(counts);
        let segments = segments.map(|(&start, &count)| start as usize..(start + count) as usize);

        let mut encoded = Encoded {
            rows: SparseRows::with_capacity(batch.len(), total),
            positions: Vec::new(),
        };
        let mut left = segments.clone().peekable();
        for ends in batch.cu_pooled().windows(2) {
            // A document of which nothing is pooled has no segment.
            let pooled = ends[0] < ends[1];
            let segment = left.next_if(|_| pooled).unwrap_or(0..0);
            let entries = ids[segment.clone()].iter().zip(&values[segment]);
            encoded.rows.push(entries.map(|(&id, &value)| (id, value)));
        }
        if let Some(positions) = positions {
            self.ids.download(&positions.kept.slice(..total), copies)?;
            let kept = self.ids.wait()?;
            let kept = segments.flat_map(|segment| &kept[segment]).copied();
            encoded.positions = kept.collect();
            encoded.place_in_documents(batch);
        }
        Ok(Some(encoded))
    }
}

impl<T: Storage> Drop for Lane<T> {
    fn drop(&mut self) {
        // Memory is freed on the GPU of the thread. If that fails, the driver is gone and the memory with it.
        let _ = self.resident.gpu.bind_to_thread();
    }
}

impl<T: Storage> Engine for Lane<T> {
    fn encode(&mut self, batch: &PackedBatch, want: Want) -> Result<Encoded> {
        if batch.tokens() == 0 {
            return Ok(Encoded::empty_rows(batch.len()));
        }
        let gpu = &self.resident.gpu;
        gpu.bind_to_thread()?;
        // The GPU counts entries in 32 bits.
        let most = batch.len() as u64 * self.resident.sizes.vocabulary as u64;
        if u32::try_from(most).is_ok() {
            let encoded = self.try_encode(batch, want);
            if encoded.is_err() {
                // What was launched still uses the memory of this lane. How that ends changes nothing.
                let _ = self.resident.gpu.synchronize();
                let _ = self.copies.synchronize();
            }
            if let Some(encoded) = encoded? {
                return Ok(encoded);
            }
        }
        // There is room for the rows of one document, so this comes to an end.
        let middle = batch.len() / 2;
        let mut encoded = self.encode(&batch.documents(0..middle), want)?;
        encoded.append(self.encode(&batch.documents(middle..batch.len()), want)?);
        Ok(encoded)
    }

    fn memory(&self, _: usize) -> Memory {
        let Resident { weights, sizes, .. } = &*self.resident;
        // It was set aside at start, whatever batches come.
        Memory {
            weights: weights.bytes,
            activations: Workspace::<T>::bytes(self.tokens, sizes)
                + LANES * BatchMemory::bytes(self.tokens, sizes),
        }
    }
}
