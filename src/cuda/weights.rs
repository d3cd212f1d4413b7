//! A model's weights on a GPU, in the types and shapes that the kernels want.
//!
//! Every size that is no multiple of 8 is padded with zeros, once, here: heads to a compiled size, rows of hidden and
//! feed-forward states to whole chunks. Zeros change no sum, and LayerNorm and attention know the true sizes.

#![forbid(unsafe_code)]

use cudarc::driver::CudaSlice;

use super::Gpu;
use super::gpu::driver_error;
use super::kernels::{Normed, RowShape, Storage};
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
    /// M and its stride, where a token has a vector.
    pub(super) colbert: Option<RowShape>,
}

/// Weights of an encoder; its head has its own.
#[derive(Debug)]
pub(super) struct Weights<T> {
    pub(super) words: CudaSlice<Normed>,  // [V, stride]
    pub(super) places: CudaSlice<Normed>, // [positions, stride], with token type 0 added
    pub(super) embedding_norm: Norm,
    pub(super) layers: Vec<Layer<T>>,
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
    pub(super) fn new(spec: &ModelSpec, row: RowShape, head: usize) -> Result<Self> {
        let colbert = match spec.head {
            model::Head::Splade(_) => None,
            model::Head::TokenWeights(head) => head.colbert_size,
        };
        let colbert = colbert.map(RowShape::new).transpose();
        Ok(Self {
            row,
            heads: spec.num_heads,
            head,
            ffn: spec.ffn_size.next_multiple_of(8),
            vocabulary: spec.vocab_size,
            colbert: colbert.map_err(|error| error.within("the vectors of tokens"))?,
        })
    }

    /// Stride of hidden states or of the vectors of tokens, whichever is wider.
    pub(super) fn widest_row(&self) -> usize {
        let colbert = self.colbert.map_or(0, RowShape::stride);
        self.row.stride().max(colbert)
    }

    /// Width of queries, keys or values of all heads.
    pub(super) fn attention(&self) -> usize {
        self.heads * self.head
    }
}

impl<T: Storage> Weights<T> {
    /// Reads the numbers of `model` and copies them to the GPU.
    pub(super) fn load(loader: &mut Loader<'_>, model: &Model) -> Result<Self> {
        let model::ModelWeights {
            embeddings, layers, ..
        } = &model.weights;
        Ok(Self {
            words: loader.vocabulary(&embeddings.words)?,
            places: loader.places(embeddings)?,
            embedding_norm: loader.norm(&embeddings.norm)?,
            layers: layers
                .iter()
                .map(|layer| loader.layer(layer))
                .collect::<Result<_>>()?,
        })
    }
}

/// A stored matrix, and where its rows and columns go in the padded one.
struct Block<'a> {
    tensor: &'a StoredTensor,
    rows: Vec<usize>,
    columns: Vec<usize>,
}

/// Brings a model's weights to a GPU.
pub(super) struct Loader<'a> {
    gpu: &'a Gpu,
    sizes: &'a Sizes,
    spec: &'a ModelSpec,
    /// Of all that it has brought.
    pub(super) bytes: usize,
}

impl<'a> Loader<'a> {
    pub(super) fn new(gpu: &'a Gpu, spec: &'a ModelSpec, sizes: &'a Sizes) -> Self {
        Self {
            gpu,
            sizes,
            spec,
            bytes: 0,
        }
    }

    /// A matrix of a row of H values for each term, `[V, stride]`.
    pub(super) fn vocabulary(&mut self, tensor: &StoredTensor) -> Result<CudaSlice<Normed>> {
        let rows = self.sizes.vocabulary;
        let block = Block {
            tensor,
            rows: (0..rows).collect(),
            columns: (0..self.spec.hidden_size).collect(),
        };
        self.matrix(&[block], [rows, self.sizes.row.stride()])
    }

    /// A layer from H values to `outputs`, `[outputs padded, stride]`.
    pub(super) fn linear_of_hidden(
        &mut self,
        layer: &model::Linear<StoredTensor>,
        outputs: usize,
    ) -> Result<Linear<Normed>> {
        let inputs = (0..self.spec.hidden_size).collect();
        let padded = outputs.next_multiple_of(8);
        let rows = [(0..outputs).collect()];
        self.linear(&[layer], &rows, padded, inputs, self.sizes.row.stride())
    }

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

    pub(super) fn norm(&mut self, norm: &model::LayerNorm<StoredTensor>) -> Result<Norm> {
        let stride = self.sizes.row.stride();
        Ok(Norm {
            scale: self.padded(&norm.scale, stride)?,
            shift: self.padded(&norm.shift, stride)?,
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

    /// The numbers of `tensor`, and zeros up to `len`.
    pub(super) fn padded(&mut self, tensor: &StoredTensor, len: usize) -> Result<CudaSlice<f32>> {
        let places = (0..tensor.shape.iter().product()).collect();
        self.vector(&[(tensor, places)], len)
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
