//! The CPU engine: f32, packed batches, all cores; the default where there is no GPU.

mod attention;
mod documents;
mod elementary;
mod embed;
mod finite;
mod forward;
mod layer_norm;
mod linear;
mod matrix;
mod max_sim;
mod pooling;
mod simd;
mod splade_head;
mod token_head;

use crate::embeddings::Embeddings;
use crate::engine::{Encoded, Engine, Memory, Want};
use crate::error::Result;
use crate::model::{Floats, Head, HeadWeights, Model, ModelSpec, ModelWeights};
use crate::pack::PackedBatch;
use finite::check_finite;
use forward::{Activations, forward};
pub(crate) use max_sim::max_sim;
pub(crate) use simd::instructions;
use splade_head::PooledHead;
use token_head::token_head;

/// A model in memory, ready to compute on the threads of the pool that calls it.
#[derive(Debug)]
pub(crate) struct CpuEngine {
    spec: ModelSpec,
    weights: ModelWeights<Floats>,
    weight_bytes: usize,
    activations: Activations,
    head: HeadSpace,
}

/// Whose results are there at once: one that is computed, two that wait, one that is written.
const BATCHES_ON_THEIR_WAY: usize = 4;

/// Space for what a head computes. It grows to the largest batch and is used again.
#[derive(Debug, Default)]
struct HeadSpace {
    pooled: Vec<f32>, // [P, H] hidden states that the SPLADE head sees
    rows: Vec<f32>,   // [P, H] behind its transform; or the vectors of all tokens, [T, M]
}

impl CpuEngine {
    /// Tokens a batch unless asked otherwise.
    pub(crate) const BATCH_TOKENS: usize = 2048;

    /// Reads the numbers of `model`. F32 weights stay where they are in their mapped file.
    pub(crate) fn new(model: &Model) -> Result<Self> {
        let mut weight_bytes = 0;
        let mut weights = model.weights.try_map(|tensor| {
            let floats = tensor.to_f32()?;
            weight_bytes += size_of_val(&floats[..]);
            Ok(floats)
        })?;
        fold_token_type(&mut weights, model.spec.hidden_size);
        Ok(Self {
            spec: model.spec.clone(),
            weights,
            weight_bytes,
            activations: Activations::default(),
            head: HeadSpace::default(),
        })
    }
}

impl Engine for CpuEngine {
    fn encode(&mut self, batch: &PackedBatch, want: Want) -> Result<Encoded> {
        if batch.tokens() == 0 {
            let embeddings = Embeddings::of_empty_documents(batch.len(), want.outputs);
            return Ok(Encoded::new(embeddings));
        }
        let hidden = forward(&mut self.activations, batch, &self.weights, &self.spec); // [T, H]
        match &self.weights.head {
            HeadWeights::Splade(splade, head) => {
                let head = PooledHead {
                    splade: *splade,
                    head,
                    words: &self.weights.embeddings.words,
                    eps: self.spec.layer_norm_eps,
                };
                head.encode(&mut self.head, hidden, batch, want)
            }
            HeadWeights::Token(head) => {
                check_finite(hidden)?;
                token_head(&mut self.head.rows, hidden, head, batch, want)
            }
        }
    }

    fn memory(&self, tokens: usize) -> Memory {
        let (of_head, of_results) = match self.spec.head {
            Head::Splade(_) => (2 * self.spec.hidden_size, 0),
            Head::TokenWeights(head) => {
                let colbert = head.colbert_size.unwrap_or(0);
                // A document has two tokens or more, of which one gives the dense vector.
                let dense = if head.dense {
                    self.spec.hidden_size / 2
                } else {
                    0
                };
                (colbert, colbert.max(dense))
            }
        };
        let bytes = |floats_a_token: usize| tokens * floats_a_token * size_of::<f32>();
        let arena = bytes(Activations::floats_a_token(&self.spec) + of_head);
        Memory {
            weights: self.weight_bytes,
            arena,
            peak: self.weight_bytes + arena + BATCHES_ON_THEIR_WAY * bytes(of_results),
        }
    }
}

/// Every token is of type 0: its row of the table is added to all positions, once.
fn fold_token_type(weights: &mut ModelWeights<Floats>, hidden_size: usize) {
    if let Some(token_types) = weights.embeddings.token_types.take() {
        let mut positions = weights.embeddings.positions.to_vec();
        for row in positions.chunks_exact_mut(hidden_size) {
            for (x, &token_type) in row.iter_mut().zip(token_types.iter()) {
                *x += token_type;
            }
        }
        weights.embeddings.positions = positions.into();
    }
}
