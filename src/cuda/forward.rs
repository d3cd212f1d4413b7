//! The forward pass of the encoder, kernel by kernel.

#![forbid(unsafe_code)]

use cudarc::driver::CudaViewMut;

use super::Gpu;
use super::batch::DeviceBatch;
use super::buffers::Workspace;
use super::kernels::{
    Attention, AttentionArgs, Element, EmbedLn, EmbedLnArgs, Epilogue, Gemm, GemmArgs, LayerNorm,
    LayerNormArgs, Normed, RowShape, Storage,
};
use super::weights::{Linear, Norm, Sizes, Weights};
use crate::error::Result;
use crate::model::ModelSpec;

/// The kernels of the encoder.
#[derive(Debug)]
pub(super) struct Kernels<T: Storage> {
    embed_ln: EmbedLn,
    linear: Gemm<Normed, T>,
    linear_gelu: Gemm<Normed, T>,
    linear_residual: Gemm<T, T::Sum>,
    attention: Attention<T>,
    layer_norm: LayerNorm<T::Sum>,
}

impl<T: Storage> Kernels<T> {
    pub(super) fn load(gpu: &Gpu, spec: &ModelSpec, row: RowShape) -> Result<Self> {
        Ok(Self {
            embed_ln: EmbedLn::load(gpu, row)?,
            linear: Gemm::load(gpu, Epilogue::Bias)?,
            linear_gelu: Gemm::load(gpu, Epilogue::BiasGelu)?,
            linear_residual: Gemm::load(gpu, Epilogue::BiasResidual)?,
            attention: Attention::load(gpu, spec.head_size())?,
            layer_norm: LayerNorm::load(gpu, row)?,
        })
    }

    /// D: the size that heads are padded to.
    pub(super) fn head(&self) -> usize {
        self.attention.padded()
    }
}

/// Leaves the last layer's sums in `workspace.sums`, `[T, stride]`: the head begins with their LayerNorm.
pub(super) fn forward<T: Storage>(
    kernels: &Kernels<T>,
    weights: &Weights<T>,
    sizes: &Sizes,
    workspace: &mut Workspace<T>,
    batch: &DeviceBatch<'_>,
    eps: f32,
) -> Result<()> {
    let (stride, tokens) = (sizes.row.stride(), batch.tokens());
    let mut hidden = workspace.hidden.slice_mut(..tokens * stride);
    let mut sums = workspace.sums.slice_mut(..tokens * stride);
    let mut qkv = workspace.qkv.slice_mut(..tokens * 3 * sizes.attention());
    let mut context = workspace.context.slice_mut(..tokens * sizes.attention());
    let mut ffn = workspace.ffn.slice_mut(..tokens * sizes.ffn);
    kernels.embed_ln.launch(EmbedLnArgs {
        tokens: batch.token_ids(),
        words: weights.words.as_view(),
        places: weights.places.as_view(),
        scale: weights.embedding_norm.scale.as_view(),
        shift: weights.embedding_norm.shift.as_view(),
        out: hidden.slice_mut(..), // [T, H]
        eps,
    })?;
    for (number, layer) in weights.layers.iter().enumerate() {
        linear(&kernels.linear, &hidden, &layer.qkv, None, &mut qkv)?; // [T, 3 · heads · D]
        kernels.attention.launch(AttentionArgs {
            tiles: batch.tiles(),
            qkv: qkv.slice(..),
            context: context.slice_mut(..), // [T, heads · D]
            heads: sizes.heads,
        })?;
        linear(
            &kernels.linear_residual,
            &context,
            &layer.attention_output,
            Some(&hidden),
            &mut sums,
        )?; // [T, H]
        normalize(
            &kernels.layer_norm,
            &sums,
            &layer.attention_norm,
            eps,
            &mut hidden,
        )?;

        linear(&kernels.linear_gelu, &hidden, &layer.ffn_up, None, &mut ffn)?; // [T, I]
        linear(
            &kernels.linear_residual,
            &ffn,
            &layer.ffn_down,
            Some(&hidden),
            &mut sums,
        )?; // [T, H]
        if number + 1 < weights.layers.len() {
            normalize(
                &kernels.layer_norm,
                &sums,
                &layer.ffn_norm,
                eps,
                &mut hidden,
            )?;
        }
    }
    Ok(())
}

/// `out = LayerNorm(sums)`, `[T, stride]`
pub(super) fn normalize<S: Element>(
    layer_norm: &LayerNorm<S>,
    sums: &CudaViewMut<'_, S>,
    norm: &Norm,
    eps: f32,
    out: &mut CudaViewMut<'_, Normed>,
) -> Result<()> {
    layer_norm.launch(LayerNormArgs {
        sums: sums.slice(..),
        scale: norm.scale.as_view(),
        shift: norm.shift.as_view(),
        out: out.slice_mut(..),
        eps,
    })
}

/// `out = epilogue(x · weightᵀ + bias)`
pub(super) fn linear<T: Element, R: Element>(
    gemm: &Gemm<T, R>,
    x: &CudaViewMut<'_, T>,
    layer: &Linear<T>,
    residual: Option<&CudaViewMut<'_, Normed>>,
    out: &mut CudaViewMut<'_, R>,
) -> Result<()> {
    gemm.launch(GemmArgs {
        x: x.slice(..),
        weight: layer.weight.as_view(),
        bias: layer.bias.as_view(),
        residual: residual.map(|residual| residual.slice(..)),
        out: out.slice_mut(..),
    })
}
