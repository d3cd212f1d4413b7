//! What a model makes of its hidden states.

#![forbid(unsafe_code)]

use std::fmt;

use serde::Deserialize;

use crate::embeddings::Outputs;

/// What a model makes of its hidden states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Head {
    /// Weights of all terms of the vocabulary.
    Splade(SpladeHead),
    /// Weights of the terms that a text has, and perhaps vectors.
    TokenWeights(TokenWeightHead),
}

/// A linear layer gives every token a weight, `relu(w·h + b)`. A term of the text has the largest that any of its tokens has;
/// terms that do not stand in the text have none, and neither have those that mark its beginning, end or padding.
///
/// Formulas: BGE-M3 (arXiv 2402.03216), uniCOIL (arXiv 2106.14807).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenWeightHead {
    /// Whether the first token's hidden state, normalised, is a dense vector of the text.
    pub dense: bool,
    /// M: values of the vector that a second linear layer gives every token but the first, where there is one.
    pub colbert_size: Option<usize>,
}

/// How the logits of a document's tokens become one weight a vocabulary term.
///
/// Formulas: SPLADE v2 (arXiv 2109.10086) for `max` and `relu`, SPLADE (arXiv 2107.05720) for `sum`,
/// OpenSearch's doc-v3 models for `log1p_relu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpladeHead {
    /// Over the positions of a document.
    pub pooling: Pooling,
    /// From logit to weight.
    pub activation: Activation,
}

/// How the weights of all positions become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Pooling {
    /// The largest one.
    Max,
    /// Their sum.
    Sum,
}

/// What turns a logit z into a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Activation {
    /// `log(1 + max(0, z))`
    Relu,
    /// `log(1 + log(1 + max(0, z)))`
    Log1pRelu,
}

impl Default for SpladeHead {
    fn default() -> Self {
        Self {
            pooling: Pooling::Max,
            activation: Activation::Relu,
        }
    }
}

impl fmt::Display for SpladeHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pooling = match self.pooling {
            Pooling::Max => "max",
            Pooling::Sum => "sum",
        };
        let activation = match self.activation {
            Activation::Relu => "log(1 + relu(logit))",
            Activation::Log1pRelu => "log(1 + log(1 + relu(logit)))",
        };
        write!(f, "{pooling} over positions of {activation}")
    }
}

impl Head {
    /// The outputs that a model with this head has.
    pub fn outputs(&self) -> Outputs {
        let (dense, colbert) = match self {
            Self::Splade(_) => (false, false),
            Self::TokenWeights(head) => (head.dense, head.colbert_size.is_some()),
        };
        Outputs {
            sparse: true,
            dense,
            colbert,
        }
    }
}

impl fmt::Display for TokenWeightHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("max over a term's tokens of relu(weight)")?;
        if self.dense {
            f.write_str("; dense vector of the first token")?;
        }
        match self.colbert_size {
            Some(size) => write!(f, "; vectors of {size} for the others"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Splade(head) => head.fmt(f),
            Self::TokenWeights(head) => head.fmt(f),
        }
    }
}
