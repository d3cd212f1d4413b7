//! The forward pass of the encoder, kernel by kernel.

#![forbid(unsafe_code)]

use super::Gpu;
use super::batch::DeviceBatch;
use super::buffers::Workspace;
use super::kernels::{
    AddLn, AddLnArgs, Attention, AttentionArgs, EmbedLn, EmbedLnArgs, Epilogue, Gemm, GemmArgs,
    Storage,
};
use super::weights::{Linear, Norm, Sizes, Weights};
use crate::error::Result;
use crate::model::ModelSpec;
use cudarc::driver::CudaViewMut;

/// The kernels of the encoder.
#[derive(Debug)]
pub(super) struct Kernels<T> {
    embed_ln: EmbedLn<T>,
    linear: Gemm<T>,
    linear_gelu: Gemm<T>,
    attention: Attention<T>,
    add_ln: AddLn<T>,
}

impl<T: Storage> Kernels<T> {
    pub(super) fn load(gpu: &Gpu, spec: &ModelSpec) -> Result<Self> {
        Ok(Self {
            embed_ln: EmbedLn::load(gpu)?,
            linear: Gemm::load(gpu, Epilogue::Bias)?,
            linear_gelu: Gemm::load(gpu, Epilogue::BiasGelu)?,
            attention: Attention::load(gpu, spec.head_size())?,
            add_ln: AddLn::load(gpu)?,
        })
    }

    /// D: the size that heads are padded to.
    pub(super) fn head(&self) -> usize {
        self.attention.padded()
    }
}

/// Leaves the last layer's hidden states behind the head's transform in `workspace.attended`, `[T, stride]`.
pub(super) fn forward<T: Storage>(
    kernels: &Kernels<T>,
    weights: &Weights<T>,
    sizes: &Sizes,
    workspace: &mut Workspace<T>,
    batch: &DeviceBatch<'_>,
    eps: f32,
) -> Result<()> {
    let (row, stride, tokens) = (sizes.row, sizes.row.stride(), batch.tokens());
    let mut hidden = workspace.hidden.slice_mut(..tokens * stride);
    let mut attended = workspace.attended.slice_mut(..tokens * stride);
    let mut qkv = workspace.qkv.slice_mut(..tokens * 3 * sizes.attention());
    let mut context = workspace.context.slice_mut(..tokens * sizes.attention());
    let mut ffn = workspace.ffn.slice_mut(..tokens * sizes.ffn);
    let add_ln =
        |x: &mut CudaViewMut<'_, T>, residual: Option<&CudaViewMut<'_, T>>, norm: &Norm| {
            kernels.add_ln.launch(AddLnArgs {
                x: x.slice_mut(..),
                residual: residual.map(|residual| residual.slice(..)),
                scale: norm.scale.as_view(),
                shift: norm.shift.as_view(),
                row,
                eps,
            })
        };

    kernels.embed_ln.launch(EmbedLnArgs {
        tokens: batch.token_ids(),
        words: weights.words.as_view(),
        places: weights.places.as_view(),
        scale: weights.embedding_norm.scale.as_view(),
        shift: weights.embedding_norm.shift.as_view(),
        out: hidden.slice_mut(..), // [T, H]
        row,
        eps,
    })?;
    for layer in &weights.layers {
        linear(&kernels.linear, &hidden, &layer.qkv, &mut qkv)?; // [T, 3 · heads · D]
        kernels.attention.launch(AttentionArgs {
            tiles: batch.tiles(),
            qkv: qkv.slice(..),
            context: context.slice_mut(..), // [T, heads · D]
            heads: sizes.heads,
        })?;
        linear(
            &kernels.linear,
            &context,
            &layer.attention_output,
            &mut attended,
        )?; // [T, H]
        add_ln(&mut attended, Some(&hidden), &layer.attention_norm)?;

        linear(&kernels.linear_gelu, &attended, &layer.ffn_up, &mut ffn)?; // [T, I]
        linear(&kernels.linear, &ffn, &layer.ffn_down, &mut hidden)?; // [T, H]
        add_ln(&mut hidden, Some(&attended), &layer.ffn_norm)?;
    }
    linear(
        &kernels.linear_gelu,
        &hidden,
        &weights.transform,
        &mut attended,
    )?; // [T, H]
    add_ln(&mut attended, None, &weights.transform_norm)
}

fn linear<T: Storage>(
    gemm: &Gemm<T>,
    x: &CudaViewMut<'_, T>,
    layer: &Linear<T>,
    out: &mut CudaViewMut<'_, T>,
) -> Result<()> {
    gemm.launch(GemmArgs {
        x: x.slice(..),
        weight: layer.weight.as_view(),
        bias: layer.bias.as_view(),
        residual: None,
        out: out.slice_mut(..),
    })
}
