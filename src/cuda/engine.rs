//! The CUDA engine: packed batches in, sparse rows out; only those cross back to the host.

#![forbid(unsafe_code)]

use std::ops::Range;

use cudarc::driver::CudaSlice;
use half::{bf16, f16};

use super::Gpu;
use super::batch::{DeviceBatch, batch_words, upload_columns};
use super::buffers::{Activations, Rows, zeros};
use super::forward::{Kernels, forward};
use super::gpu::driver_error;
use super::kernels::{
    HeadColumns, Positions, Sparsify, SparsifyArgs, SpladeHead, SpladeHeadArgs, Storage, TopK,
    TopKArgs,
};
use super::weights::{Sizes, Weights};
use crate::engine::{Dtype, Encoded, Engine, Memory, Want};
use crate::error::{Error, Result};
use crate::model::{Model, ModelSpec};
use crate::pack::PackedBatch;
use crate::sparse::SparseRows;

/// How many GPUs the driver shows.
pub(crate) fn device_count() -> Result<usize> {
    Gpu::count()
}

/// The name of the GPU of that number.
pub(crate) fn device_name(number: usize) -> Result<String> {
    Gpu::name(number)
}

/// An engine for `model` on the GPU of that number, for batches of `tokens` tokens.
pub(crate) fn engine(
    number: usize,
    dtype: Dtype,
    model: &Model,
    tokens: usize,
) -> Result<Box<dyn Engine>> {
    let gpu = Gpu::new(number)?;
    match dtype {
        Dtype::Bf16 => Ok(Box::new(CudaEngine::<bf16>::new(gpu, model, tokens)?)),
        _ => Ok(Box::new(CudaEngine::<f16>::new(gpu, model, tokens)?)),
    }
}

/// A model on one GPU, with the memory that batches of its size need.
#[derive(Debug)]
struct CudaEngine<T> {
    gpu: Gpu,
    spec: ModelSpec,
    sizes: Sizes,
    weights: Weights<T>,
    kernels: Kernels<T>,
    head: SpladeHead<T>,
    head_with_positions: SpladeHead<T>,
    sparsify: Sparsify,
    top_k: TopK,
    activations: Activations<T>,
    rows: Rows,
    words: CudaSlice<u32>,
    columns: HeadColumns,
    column_words: CudaSlice<u32>,
}

/// Sparse rows of some documents as they came from the GPU: segments in any order.
struct Segments {
    starts: Vec<u32>,
    counts: Vec<u32>,
    ids: Vec<u32>,
    values: Vec<f32>,
    positions: Vec<u32>,
}

impl<T: Storage> CudaEngine<T> {
    /// Puts `model` on a GPU, ready for batches of `tokens` tokens.
    fn new(gpu: Gpu, model: &Model, tokens: usize) -> Result<Self> {
        let spec = model.spec.clone();
        let kernels = Kernels::load(&gpu, &spec)?;
        let sizes = Sizes::new(&spec, kernels.head())?;
        let weights = Weights::load(&gpu, model, &sizes)?;
        let head =
            |positions| SpladeHead::load(&gpu, spec.head.pooling, spec.head.activation, positions);
        Ok(Self {
            head: head(false)?,
            head_with_positions: head(true)?,
            sparsify: Sparsify::load(&gpu, spec.head)?,
            top_k: TopK::load(&gpu)?,
            activations: Activations::new(&gpu, tokens, &sizes)?,
            rows: Rows::new(&gpu, tokens, &sizes)?,
            words: zeros(&gpu, batch_words(tokens))?,
            columns: HeadColumns::new(),
            column_words: zeros(&gpu, HeadColumns::words(tokens))?,
            kernels,
            weights,
            sizes,
            spec,
            gpu,
        })
    }

    /// The rows of some documents whose hidden states are in `activations.attended`.
    fn sparse_rows(
        &mut self,
        batch: &PackedBatch,
        documents: Range<usize>,
        want: Want,
    ) -> Result<Segments> {
        self.columns.clear();
        for document in documents {
            let pooled =
                batch.cu_pooled()[document] as usize..batch.cu_pooled()[document + 1] as usize;
            self.columns.push(&batch.pooled()[pooled]);
        }
        let rows = self.columns.documents();
        let (width, vocabulary) = (Rows::width(&self.sizes), self.sizes.vocabulary);
        let tokens = batch.tokens() * self.sizes.row.stride();
        let decoder = self.weights.decoder.as_ref().unwrap_or(&self.weights.words);
        let head = if want.positions {
            &self.head_with_positions
        } else {
            &self.head
        };
        let mut positions = self.rows.positions.as_mut().filter(|_| want.positions);
        head.launch(SpladeHeadArgs {
            hidden: self.activations.attended.slice(..tokens),
            decoder: decoder.as_view(),
            bias: self.weights.decoder_bias.slice(..vocabulary),
            columns: upload_columns(&self.gpu, &mut self.column_words, &self.columns)?,
            pooled: self.rows.pooled.slice_mut(..rows * width),
            positions: positions
                .as_mut()
                .map(|positions| positions.pooled.slice_mut(..rows * width)),
        })?;
        self.sparsify.launch(SparsifyArgs {
            pooled: self.rows.pooled.slice(..rows * width),
            bias: self.weights.decoder_bias.as_view(),
            positions: positions.as_mut().map(|positions| Positions {
                pooled: positions.pooled.slice(..rows * width),
                kept: positions.kept.as_view_mut(),
            }),
            terms: vocabulary,
            threshold: want.min_weight,
            total: self.rows.total.as_view_mut(),
            starts: self.rows.starts.slice_mut(..rows),
            counts: self.rows.counts.slice_mut(..rows),
            damaged: self.rows.damaged.slice_mut(..rows),
            ids: self.rows.ids.as_view_mut(),
            values: self.rows.values.as_view_mut(),
        })?;
        if let Some(k) = want.top_k.filter(|&k| k > 0) {
            self.top_k.launch(TopKArgs {
                starts: self.rows.starts.slice(..rows),
                counts: self.rows.counts.slice_mut(..rows),
                ids: self.rows.ids.as_view_mut(),
                values: self.rows.values.as_view_mut(),
                positions: positions
                    .as_mut()
                    .map(|positions| positions.kept.as_view_mut()),
                k,
            })?;
        }
        self.read_back(rows, want)
    }

    fn read_back(&self, rows: usize, want: Want) -> Result<Segments> {
        let failed = |error| driver_error("the GPU", "give sparse rows back", error);
        let stream = self.gpu.stream();
        let damaged = stream
            .clone_dtoh(&self.rows.damaged.slice(..rows))
            .map_err(failed)?;
        let total = stream.clone_dtoh(&self.rows.total).map_err(failed)?;
        let starts = stream
            .clone_dtoh(&self.rows.starts.slice(..rows))
            .map_err(failed)?;
        let counts = stream
            .clone_dtoh(&self.rows.counts.slice(..rows))
            .map_err(failed)?;
        if damaged.iter().any(|&damaged| damaged != 0) {
            return Err(Error::numeric(
                "the model computes numbers beyond its precision",
                "try --dtype bf16 or --device cpu; if that fails too, its weights are damaged: get another copy",
            ));
        }
        // What did not fit is asked for again.
        let written = (total[0] as usize).min(self.rows.ids.len());
        let ids = stream
            .clone_dtoh(&self.rows.ids.slice(..written))
            .map_err(failed)?;
        let values = stream
            .clone_dtoh(&self.rows.values.slice(..written))
            .map_err(failed)?;
        let positions = match self.rows.positions.as_ref().filter(|_| want.positions) {
            Some(positions) => stream
                .clone_dtoh(&positions.kept.slice(..written))
                .map_err(failed)?,
            None => Vec::new(),
        };
        self.gpu.synchronize()?;
        Ok(Segments {
            starts,
            counts,
            ids,
            values,
            positions,
        })
    }

    /// Appends the rows of some documents; where they have more entries than there is room for, half of them at a time.
    fn append_rows(
        &mut self,
        encoded: &mut Encoded,
        batch: &PackedBatch,
        documents: Range<usize>,
        want: Want,
    ) -> Result<()> {
        let segments = self.sparse_rows(batch, documents.clone(), want)?;
        let room = self.rows.ids.len();
        let fits =
            |row: usize| segments.starts[row] as usize + segments.counts[row] as usize <= room;
        if documents.len() > 1 && !(0..segments.counts.len()).all(fits) {
            let middle = documents.start + documents.len() / 2;
            self.append_rows(encoded, batch, documents.start..middle, want)?;
            return self.append_rows(encoded, batch, middle..documents.end, want);
        }
        let mut row = 0;
        for document in documents {
            let cu_pooled = batch.cu_pooled();
            // The head has no column for a document without a token, and so no row.
            if cu_pooled[document] == cu_pooled[document + 1] {
                encoded.rows.push([]);
                continue;
            }
            let start = segments.starts[row] as usize;
            let entries = start..start + segments.counts[row] as usize;
            let ids = segments.ids[entries.clone()].iter().copied();
            let values = segments.values[entries.clone()].iter().copied();
            encoded.rows.push(ids.zip(values));
            if want.positions {
                encoded
                    .positions
                    .extend_from_slice(&segments.positions[entries]);
            }
            row += 1;
        }
        Ok(())
    }
}

impl<T: Storage> Engine for CudaEngine<T> {
    fn encode(&mut self, batch: &PackedBatch, want: Want) -> Result<Encoded> {
        if batch.tokens() == 0 {
            return Ok(Encoded::empty_rows(batch.len()));
        }
        self.gpu.bind_to_thread()?;
        if want.positions {
            self.rows.with_positions(&self.gpu)?;
        }
        let on_gpu = DeviceBatch::upload(&self.gpu, &mut self.words, batch)?;
        forward(
            &self.kernels,
            &self.weights,
            &self.sizes,
            &mut self.activations,
            &on_gpu,
            self.spec.layer_norm_eps,
        )?;
        let mut encoded = Encoded {
            rows: SparseRows::with_capacity(batch.len(), 0),
            positions: Vec::new(),
        };
        for first in (0..batch.len()).step_by(self.rows.documents) {
            let documents = first..batch.len().min(first + self.rows.documents);
            self.append_rows(&mut encoded, batch, documents, want)?;
        }
        encoded.place_in_documents(batch);
        Ok(encoded)
    }

    fn memory(&self, tokens: usize) -> Memory {
        Memory {
            weights: self.weights.bytes,
            activations: tokens * Activations::<T>::bytes_per_token(&self.sizes)
                + Rows::bytes(tokens, &self.sizes)
                + 4 * (batch_words(tokens) + HeadColumns::words(tokens)),
        }
    }
}
