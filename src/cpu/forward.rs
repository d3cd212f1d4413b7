//! The forward pass of the encoder, kernel by kernel.

#![forbid(unsafe_code)]

use super::attention::attention;
use super::embed::embed;
use super::layer_norm::add_bias_layer_norm;
use super::linear::{add_bias_gelu, add_linear_without_bias, linear_into, linear_without_bias};
use crate::model::{Floats, ModelSpec, ModelWeights};
use crate::pack::PackedBatch;

/// Space for the activations of one batch. It grows to the largest batch and is used again.
#[derive(Debug, Default)]
pub(super) struct Activations {
    hidden: Vec<f32>,  // [T, H]
    qkv: Vec<f32>,     // [T, 3H]
    context: Vec<f32>, // [T, H]
    ffn: Vec<f32>,     // [T, I]
}

impl Activations {
    pub(super) fn floats_a_token(spec: &ModelSpec) -> usize {
        5 * spec.hidden_size + spec.ffn_size
    }

    fn resize(&mut self, tokens: usize, spec: &ModelSpec) {
        self.hidden.resize(tokens * spec.hidden_size, 0.0);
        self.qkv.resize(tokens * 3 * spec.hidden_size, 0.0);
        self.context.resize(tokens * spec.hidden_size, 0.0);
        self.ffn.resize(tokens * spec.ffn_size, 0.0);
    }
}

/// The last layer's hidden states of every token, `[T, H]`.
pub(super) fn forward<'a>(
    activations: &'a mut Activations,
    batch: &PackedBatch,
    weights: &ModelWeights<Floats>,
    spec: &ModelSpec,
) -> &'a mut [f32] {
    activations.resize(batch.tokens(), spec);
    let Activations {
        hidden,
        qkv,
        context,
        ffn,
    } = activations;
    let (h, eps) = (spec.hidden_size, spec.layer_norm_eps);

    embed(hidden, batch, &weights.embeddings, eps); // [T, H]
    for layer in &weights.layers {
        linear_into(qkv, 3 * h, 0, hidden, &layer.query); // [T, 3H]
        linear_into(qkv, 3 * h, h, hidden, &layer.key);
        linear_into(qkv, 3 * h, 2 * h, hidden, &layer.value);
        attention(context, qkv, batch.cu_seqlens(), h, spec.num_heads); // [T, H]
        add_linear_without_bias(hidden, context, &layer.attention_output); // [T, H]
        add_bias_layer_norm(
            hidden,
            &layer.attention_output.bias,
            &layer.attention_norm,
            eps,
        );

        linear_without_bias(ffn, hidden, &layer.ffn_up); // [T, I]
        add_bias_gelu(ffn, &layer.ffn_up.bias);
        add_linear_without_bias(hidden, ffn, &layer.ffn_down); // [T, H]
        add_bias_layer_norm(hidden, &layer.ffn_down.bias, &layer.ffn_norm, eps);
    }
    hidden
}
