//! A model's weights on a GPU, in the types and shapes that the kernels want.
//!
//! Every size that is no multiple of 8 is padded with zeros, once, here: heads to a compiled size, rows of hidden and
//! feed-forward states to whole chunks. Zeros change no sum, and LayerNorm and attention know the true sizes.

#![forbid(unsafe_code)]

use std::ops::Range;

use cudarc::driver::CudaSlice;

use super::Gpu;
use super::gpu::driver_error;
use super::kernels::{Normed, RowShape, Sparsify, Storage};
use crate::error::{Error, Result};
use crate::model::{self, Model, ModelSpec, StoredTensor};

/// Sizes of a model, padded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// H and its stride.
    pub(super) row: RowShape,
    /// Attention heads.
    pub(super) heads: usize,
    /// D: the compiled size of a head.
    pub(super) head: usize,
    /// I, padded.
    pub(super) ffn: usize,
    /// V.
    pub(super) vocabulary: usize,
}

/// All weights of a model.
#[derive(Debug)]
pub(super) struct Weights<T> {
    pub(super) words: CudaSlice<Normed>,  // [V, stride]
    pub(super) places: CudaSlice<Normed>, // [positions, stride], with token type 0 added
    pub(super) embedding_norm: Norm,
    pub(super) layers: Vec<Layer<T>>,
    pub(super) transform: Linear<Normed>, // [stride, stride]
    pub(super) transform_norm: Norm,
    /// [V, stride]; absent where it is `words`.
    pub(super) decoder: Option<CudaSlice<Normed>>,
    pub(super) decoder_bias: CudaSlice<f32>, // [width of a pooled row], zeros beyond V
    pub(super) bytes: usize,
}

/// One transformer layer.
#[derive(Debug)]
pub(super) struct Layer<T> {
    pub(super) qkv: Linear<Normed>,         // [3 · heads · D, stride]
    pub(super) attention_output: Linear<T>, // [stride, heads · D]
    pub(super) attention_norm: Norm,
    pub(super) ffn_up: Linear<Normed>, // [I, stride]
    pub(super) ffn_down: Linear<T>,    // [stride, I]
    pub(super) ffn_norm: Norm,
}

/// `y = x · weightᵀ + bias`
#[derive(Debug)]
pub(super) struct Linear<T> {
    pub(super) weight: CudaSlice<T>, // [out, in]
    pub(super) bias: CudaSlice<f32>, // [out]
}

/// Scale and shift of a LayerNorm, zeros beyond H.
#[derive(Debug)]
pub(super) struct Norm {
    pub(super) scale: CudaSlice<f32>, // [stride]
    pub(super) shift: CudaSlice<f32>, // [stride]
}

impl Sizes {
    /// Those of a model whose hidden states are rows of that shape and whose heads are padded to `head`.
    pub(super) fn new(spec: &ModelSpec, row: RowShape, head: usize) -> Self {
        Self {
            row,
            heads: spec.num_heads,
            head,
            ffn: spec.ffn_size.next_multiple_of(8),
            vocabulary: spec.vocab_size,
        }
    }

    /// Width of queries, keys or values of all heads.
    pub(super) fn attention(&self) -> usize {
        self.heads * self.head
    }
}

impl<T: Storage> Weights<T> {
    /// Reads the numbers of `model` and copies them to the GPU.
    pub(super) fn load(gpu: &Gpu, model: &Model, sizes: &Sizes) -> Result<Self> {
        let mut loader = Loader {
            gpu,
            sizes,
            spec: &model.spec,
            bytes: 0,
        };
        let model::ModelWeights {
            embeddings,
            layers,
            head,
        } = &model.weights;
        let hidden = 0..model.spec.hidden_size;
        let stride = sizes.row.stride();
        let vocabulary = 0..sizes.vocabulary;
        let rows = |tensor, rows: Range<usize>| Block {
            tensor,
            rows: rows.collect(),
            columns: hidden.clone().collect(),
        };
        let words = rows(&embeddings.words, vocabulary.clone());
        let decoder = head.decoder.as_ref().map(|decoder| {
            loader.matrix(
                &[rows(decoder, vocabulary.clone())],
                [sizes.vocabulary, stride],
            )
        });
        let width = Sparsify::stride(sizes.vocabulary);
        Ok(Self {
            decoder: decoder.transpose()?,
            words: loader.matrix(&[words], [sizes.vocabulary, stride])?,
            places: loader.places(embeddings)?,
            embedding_norm: loader.norm(&embeddings.norm)?,
            layers: layers
                .iter()
                .map(|layer| loader.layer(layer))
                .collect::<Result<_>>()?,
            transform: loader.linear(
                &[&head.transform],
                &[hidden.clone().collect()],
                stride,
                hidden.collect(),
                stride,
            )?,
            transform_norm: loader.norm(&head.norm)?,
            decoder_bias: loader.vector(&[(&head.bias, vocabulary.collect())], width)?,
            bytes: loader.bytes,
        })
    }
}

/// A stored matrix, and where its rows and columns go in the padded one.
struct Block<'a> {
    tensor: &'a StoredTensor,
    rows: Vec<usize>,
    columns: Vec<usize>,
}

struct Loader<'a> {
    gpu: &'a Gpu,
    sizes: &'a Sizes,
    spec: &'a ModelSpec,
    bytes: usize,
}

impl Loader<'_> {
    fn layer<T: Storage>(&mut self, layer: &model::Layer<StoredTensor>) -> Result<Layer<T>> {
        let spec = self.spec;
        let stride = self.sizes.row.stride();
        let (attention, ffn) = (self.sizes.attention(), self.sizes.ffn);
        let hidden = || (0..spec.hidden_size).collect::<Vec<_>>();
        let inner = || (0..spec.ffn_size).collect::<Vec<_>>();
        let by_head = |part: usize| self.by_head(part * attention);
        let parts = [by_head(0), by_head(1), by_head(2)];
        let heads = by_head(0);
        Ok(Layer {
            qkv: self.linear(
                &[&layer.query, &layer.key, &layer.value],
                &parts,
                3 * attention,
                hidden(),
                stride,
            )?,
            attention_output: self.linear(
                &[&layer.attention_output],
                &[hidden()],
                stride,
                heads,
                attention,
            )?,
            attention_norm: self.norm(&layer.attention_norm)?,
            ffn_up: self.linear(&[&layer.ffn_up], &[inner()], ffn, hidden(), stride)?,
            ffn_down: self.linear(&[&layer.ffn_down], &[hidden()], stride, inner(), ffn)?,
            ffn_norm: self.norm(&layer.ffn_norm)?,
        })
    }

    /// Where the values of all heads go, from `first` on.
    fn by_head(&self, first: usize) -> Vec<usize> {
        let (head_size, padded) = (self.spec.head_size(), self.sizes.head);
        (0..self.sizes.heads * head_size)
            .map(|at| first + at / head_size * padded + at % head_size)
            .collect()
    }

    /// Linear layers one above the other: `rows` says where the outputs of each go, `columns` where the inputs go.
    fn linear<T: Storage>(
        &mut self,
        layers: &[&model::Linear<StoredTensor>],
        rows: &[Vec<usize>],
        outputs: usize,
        columns: Vec<usize>,
        inputs: usize,
    ) -> Result<Linear<T>> {
        let blocks: Vec<Block<'_>> = layers
            .iter()
            .zip(rows)
            .map(|(layer, rows)| Block {
                tensor: &layer.weight,
                rows: rows.clone(),
                columns: columns.clone(),
            })
            .collect();
        let biases: Vec<_> = layers
            .iter()
            .zip(rows)
            .map(|(layer, rows)| (&layer.bias, rows.clone()))
            .collect();
        Ok(Linear {
            weight: self.matrix(&blocks, [outputs, inputs])?,
            bias: self.vector(&biases, outputs)?,
        })
    }

    fn norm(&mut self, norm: &model::LayerNorm<StoredTensor>) -> Result<Norm> {
        let (hidden, stride) = (self.sizes.row.hidden(), self.sizes.row.stride());
        Ok(Norm {
            scale: self.vector(&[(&norm.scale, (0..hidden).collect())], stride)?,
            shift: self.vector(&[(&norm.shift, (0..hidden).collect())], stride)?,
        })
    }

    /// Positions with the row of token type 0 added: every token is of that type.
    fn places(
        &mut self,
        embeddings: &model::Embeddings<StoredTensor>,
    ) -> Result<CudaSlice<Normed>> {
        let (hidden, stride) = (self.spec.hidden_size, self.sizes.row.stride());
        let positions = embeddings.positions.to_f32()?;
        let types = embeddings.token_types.as_ref().map(StoredTensor::to_f32);
        let types = types.transpose()?;
        let mut padded = vec![Normed::ZERO; self.spec.max_positions * stride];
        for (row, values) in padded
            .chunks_exact_mut(stride)
            .zip(positions.chunks_exact(hidden))
        {
            for (at, (place, &value)) in row.iter_mut().zip(values).enumerate() {
                *place = stored(value + types.as_ref().map_or(0.0, |types| types[at]))?;
            }
        }
        self.upload(&padded)
    }

    fn matrix<T: Storage>(
        &mut self,
        blocks: &[Block<'_>],
        [rows, columns]: [usize; 2],
    ) -> Result<CudaSlice<T>> {
        let mut padded = vec![T::from_f32(0.0); rows * columns];
        for block in blocks {
            let values = block.tensor.to_f32()?;
            let lines = values.chunks_exact(block.columns.len());
            for (line, &row) in lines.zip(&block.rows) {
                let target = &mut padded[row * columns..][..columns];
                for (&value, &column) in line.iter().zip(&block.columns) {
                    target[column] = stored(value)?;
                }
            }
        }
        self.upload(&padded)
    }

    fn vector(
        &mut self,
        parts: &[(&StoredTensor, Vec<usize>)],
        len: usize,
    ) -> Result<CudaSlice<f32>> {
        let mut padded = vec![0.0; len];
        for (tensor, places) in parts {
            for (&value, &place) in tensor.to_f32()?.iter().zip(places) {
                padded[place] = value;
            }
        }
        self.upload(&padded)
    }

    fn upload<U: cudarc::driver::DeviceRepr>(&mut self, values: &[U]) -> Result<CudaSlice<U>> {
        self.bytes += size_of_val(values);
        let copied = self.gpu.stream().clone_htod(values);
        copied.map_err(|error| driver_error("the weights", "copy them to the GPU", error))
    }
}

/// The value in the storage type.
fn stored<T: Storage>(value: f32) -> Result<T> {
    let stored = T::from_f32(value);
    if !stored.is_finite() {
        return Err(Error::unsupported(
            format!("a weight of {value} is beyond {}", T::NAME),
            "encode with this model on the CPU, in f32 (--device cpu)",
        ));
    }
    Ok(stored)
}
