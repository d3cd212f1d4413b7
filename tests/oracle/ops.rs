//! One function an operation. Matrices are row-major slices; a row of `x` is a token.

use super::erf::erfc;
use super::{Activation, Pooling, Row, Tensor};

/// Word vector + position vector + (BERT) the vector of token type 0, for the tokens of one text.
pub fn embed(
    ids: &[u32],
    words: &Tensor,
    positions: &Tensor,
    token_types: Option<&Tensor>,
) -> Vec<f64> {
    let mut x = Vec::new();
    for (position, &id) in ids.iter().enumerate() {
        for h in 0..words.columns() {
            let token_type = token_types.map_or(0.0, |table| table.row(0)[h]);
            x.push(words.row(id as usize)[h] + positions.row(position)[h] + token_type);
        }
    }
    x
}

/// `x · weightᵀ + bias`: a row of `weight` is an output.
pub fn linear(x: &[f64], weight: &Tensor, bias: &[f64]) -> Vec<f64> {
    let mut y = Vec::new();
    for token in x.chunks_exact(weight.columns()) {
        for (output, &bias) in bias.iter().enumerate() {
            y.push(dot(token, weight.row(output)) + bias);
        }
    }
    y
}

/// Element by element.
pub fn add(a: &[f64], b: &[f64]) -> Vec<f64> {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

/// Every row to mean 0 and variance 1, then scaled and shifted. The variance divides by the width.
pub fn layer_norm(x: &[f64], weight: &[f64], bias: &[f64], eps: f64) -> Vec<f64> {
    let width = weight.len();
    let mut y = Vec::new();
    for token in x.chunks_exact(width) {
        let mean = token.iter().sum::<f64>() / width as f64;
        let variance = token.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / width as f64;
        let scale = 1.0 / (variance + eps).sqrt();
        for h in 0..width {
            y.push((token[h] - mean) * scale * weight[h] + bias[h]);
        }
    }
    y
}

/// `x · Φ(x)`, Φ the normal distribution: the erf form, not the tanh approximation.
pub fn gelu(x: &[f64]) -> Vec<f64> {
    x.iter().map(|x| x * 0.5 * erfc(-x / 2f64.sqrt())).collect()
}

/// Every token looks at every token of its text: `softmax(q · kᵀ / √d) · v`, by itself in each head.
pub fn attention(q: &[f64], k: &[f64], v: &[f64], heads: usize, head_dim: usize) -> Vec<f64> {
    let width = heads * head_dim;
    let tokens = q.len() / width;
    // The part of a token's row that belongs to a head.
    let part = |x: &[f64], token: usize, head: usize| {
        let start = token * width + head * head_dim;
        x[start..start + head_dim].to_vec()
    };
    let mut y = vec![0.0; q.len()];
    for head in 0..heads {
        for to in 0..tokens {
            let query = part(q, to, head);
            let scores: Vec<f64> = (0..tokens)
                .map(|from| dot(&query, &part(k, from, head)) / (head_dim as f64).sqrt())
                .collect();
            for (from, probability) in softmax(&scores).into_iter().enumerate() {
                for (d, value) in part(v, from, head).into_iter().enumerate() {
                    y[to * width + head * head_dim + d] += probability * value;
                }
            }
        }
    }
    y
}

/// Non-negative numbers that sum to 1, in proportion to `exp(score)`.
pub fn softmax(scores: &[f64]) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|e| e / sum).collect()
}

/// The vocabulary projection, its activation, and the max or sum over the tokens in `x`.
pub fn splade_head(
    x: &[f64],
    decoder: &Tensor,
    bias: &[f64],
    pooling: Pooling,
    activation: Activation,
) -> Row {
    let vocabulary = bias.len();
    let mut weights = vec![0.0; vocabulary];
    let mut winners = vec![0; vocabulary];
    let mut heaviest = vec![0.0; vocabulary];
    for (token, logits) in linear(x, decoder, bias)
        .chunks_exact(vocabulary)
        .enumerate()
    {
        for (id, &logit) in logits.iter().enumerate() {
            let saturated = logit.max(0.0).ln_1p();
            let weight = match activation {
                Activation::Relu => saturated,
                Activation::Log1pRelu => saturated.ln_1p(),
            };
            if weight > heaviest[id] {
                heaviest[id] = weight;
                winners[id] = token;
            }
            match pooling {
                Pooling::Max => weights[id] = heaviest[id],
                Pooling::Sum => weights[id] += weight,
            }
        }
    }
    Row { weights, winners }
}

/// The weight of every id: the largest that one of its tokens has, where that is over 0. `weights` has one value a token.
pub fn token_weights(ids: &[u32], weights: &[f64], unweighted: &[u32], vocabulary: usize) -> Row {
    let mut row = Row {
        weights: vec![0.0; vocabulary],
        winners: vec![0; vocabulary],
    };
    for token in 0..ids.len() {
        let id = ids[token] as usize;
        if weights[token] > row.weights[id] && !unweighted.contains(&ids[token]) {
            row.weights[id] = weights[token];
            row.winners[id] = token;
        }
    }
    row
}

/// Every row to length 1.
pub fn normalize(x: &[f64], width: usize) -> Vec<f64> {
    let mut y = Vec::new();
    for row in x.chunks_exact(width) {
        let length = dot(row, row).sqrt();
        for value in row {
            y.push(value / length);
        }
    }
    y
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let mut sum = 0.0;
    for i in 0..a.len() {
        sum += a[i] * b[i];
    }
    sum
}
