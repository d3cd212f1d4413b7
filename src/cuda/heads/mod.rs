//! What makes a model's outputs of the last layer's sums, on a GPU.

mod splade;
mod token;

use std::fmt::Debug;
use std::sync::Arc;

use cudarc::driver::{CudaStream, CudaView};

pub(super) use splade::SpladeStage;
pub(super) use token::TokenStage;

use super::Gpu;
use super::buffers::Workspace;
use super::kernels::Storage;
use super::weights::{Loader, Norm, Sizes, Weights};
use crate::engine::{Encoded, Want};
use crate::error::{Error, Result};
use crate::pack::PackedBatch;

/// A head with its weights and kernels, which the lanes of a GPU share: what follows the last layer.
pub(super) trait HeadStage<T: Storage>: Debug + Send + Sync + Sized + 'static {
    /// Its weights in the model.
    type Stored<'a>: Copy;
    /// What it must know of a batch.
    type Plan: HeadPlan;
    /// Where a lane has what it gives, on the GPU and on its way back.
    type Results: Send;

    /// Loads the kernels, and the weights by `loader`.
    fn load(
        gpu: &Gpu,
        loader: &mut Loader<'_>,
        stored: Self::Stored<'_>,
        sizes: &Sizes,
    ) -> Result<Self>;

    /// The plan of a batch; none if its results are more than can be counted.
    fn plan(
        &self,
        batch: &PackedBatch,
        want: Want,
        sizes: &Sizes,
        tokens: usize,
    ) -> Option<Self::Plan>;

    /// Words of the plan of any batch of `tokens` tokens, at most.
    fn words_at_most(tokens: usize) -> usize;

    /// Floats that it works in, in [`Workspace::head`], for batches of `tokens` tokens.
    fn workspace_len(tokens: usize, sizes: &Sizes) -> usize;

    /// Room for the results of batches of `tokens` tokens.
    fn results(&self, gpu: &Gpu, tokens: usize, sizes: &Sizes) -> Result<Self::Results>;

    /// Bytes of the GPU that they take.
    fn result_bytes(&self, tokens: usize, sizes: &Sizes) -> usize;

    /// Launches its kernels.
    fn launch(
        &self,
        pass: Pass<'_, T>,
        plan: &Self::Plan,
        results: &mut Self::Results,
        want: Want,
    ) -> Result<()>;

    /// Copies the results to the host and waits for them; none if there was no room for them.
    fn read_back(
        &self,
        copies: &Arc<CudaStream>,
        batch: &PackedBatch,
        plan: &Self::Plan,
        results: &mut Self::Results,
        want: Want,
    ) -> Result<Option<Encoded>>;
}

/// What a head must know of a batch.
pub(super) trait HeadPlan {
    /// What of it the GPU must know, part by part.
    fn words(&self) -> impl Iterator<Item = &[u32]>;
}

/// A forward pass up to the last layer's sums, which are in the workspace.
pub(super) struct Pass<'a, T: Storage> {
    pub(super) gpu: &'a Gpu,
    pub(super) sizes: &'a Sizes,
    pub(super) weights: &'a Weights<T>,
    pub(super) workspace: &'a mut Workspace<T>,
    /// T
    pub(super) tokens: usize,
    /// The words of the head's plan.
    pub(super) words: CudaView<'a, u32>,
    pub(super) eps: f32,
}

impl<'a, T: Storage> Pass<'a, T> {
    /// That of the last layer's sums.
    fn last_norm(&self) -> &'a Norm {
        let last = self.weights.layers.last();
        &last.expect("a model has a layer. This is a bug").ffn_norm
    }
}

fn overflow() -> Error {
    Error::numeric(
        "the model computes numbers beyond its precision",
        "try --dtype bf16 or --device cpu; if that fails too, its weights are damaged: get another copy",
    )
}
