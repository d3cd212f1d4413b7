//! The CPU engine: f32, packed batches, all cores; the default where there is no GPU.

mod attention;
mod documents;
mod elementary;
mod embed;
mod forward;
mod layer_norm;
mod linear;
mod matrix;
mod pooling;
mod simd;
mod splade_head;

use crate::engine::{Encoded, Engine, Memory, Want};
use crate::error::Result;
use crate::model::{Floats, Model, ModelSpec, ModelWeights};
use crate::pack::PackedBatch;
use forward::{Activations, forward};
use layer_norm::layer_norm;
use linear::{add_bias_gelu, linear_without_bias};
pub(crate) use simd::instructions;
use splade_head::{Projection, check_finite, splade_head};

/// A model in memory, ready to compute on the threads of the pool that calls it.
#[derive(Debug)]
pub(crate) struct CpuEngine {
    spec: ModelSpec,
    weights: ModelWeights<Floats>,
    weight_bytes: usize,
    activations: Activations,
    pooled: Vec<f32>,      // [P, H] hidden states that the head sees
    transformed: Vec<f32>, // [P, H] behind the head's transform
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
            pooled: Vec::new(),
            transformed: Vec::new(),
        })
    }
}

impl Engine for CpuEngine {
    fn encode(&mut self, batch: &PackedBatch, want: Want) -> Result<Encoded> {
        if batch.tokens() == 0 {
            return Ok(Encoded::empty_rows(batch.len()));
        }
        let (h, head) = (self.spec.hidden_size, &self.weights.head);
        let mut hidden: &[f32] = forward(&mut self.activations, batch, &self.weights, &self.spec); // [T, H]
        if batch.pooled().len() < batch.tokens() {
            self.pooled.clear();
            for &row in batch.pooled() {
                self.pooled
                    .extend_from_slice(&hidden[row as usize * h..][..h]);
            }
            hidden = &self.pooled; // [P, H]
        }

        self.transformed.resize(hidden.len(), 0.0);
        linear_without_bias(&mut self.transformed, hidden, &head.transform); // [P, H]
        add_bias_gelu(&mut self.transformed, &head.transform.bias);
        layer_norm(&mut self.transformed, &head.norm, self.spec.layer_norm_eps);
        check_finite(&self.transformed)?;

        let projection = Projection {
            hidden: &self.transformed,
            decoder: head
                .decoder
                .as_ref()
                .unwrap_or(&self.weights.embeddings.words),
            bias: &head.bias,
        };
        let mut encoded = splade_head(projection, self.spec.head, batch.cu_pooled(), want)?;
        encoded.place_in_documents(batch);
        Ok(encoded)
    }

    fn memory(&self, tokens: usize) -> Memory {
        let floats_a_token = Activations::floats_a_token(&self.spec) + 2 * self.spec.hidden_size;
        Memory {
            weights: self.weight_bytes,
            activations: tokens * floats_a_token * size_of::<f32>(),
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
