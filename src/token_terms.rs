//! Which tokens of a packed batch are the same term of the same document: a head that weighs tokens gives them one weight.

#![forbid(unsafe_code)]

use crate::pack::PackedBatch;
use crate::sparse::SparseRows;

/// The terms of a batch's documents, and the term of every token.
///
/// ```text
/// token_ids   0 17  4 17  2 | 0  4  2      T
/// terms       0  2  4 17    | 0  2  4      U token ids, ascending in each document
/// cu_terms    0               4        7   S + 1: where the terms of each document start
/// slots       0  3  2  3  1 | 4  6  5      T: where the term of each token is; NONE for those that are not pooled
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenTerms {
    terms: Vec<u32>,
    cu_terms: Vec<u32>,
    slots: Vec<u32>,
}

impl TokenTerms {
    /// The slot of a token whose weight counts nowhere.
    pub(crate) const NONE: u32 = u32::MAX;

    /// The terms of what is pooled of `batch`.
    pub(crate) fn of(batch: &PackedBatch) -> Self {
        let mut found = Self {
            terms: Vec::new(),
            cu_terms: vec![0],
            slots: vec![Self::NONE; batch.tokens()],
        };
        let mut rows = Vec::new();
        for ends in batch.cu_pooled().windows(2) {
            rows.clear();
            rows.extend_from_slice(&batch.pooled()[ends[0] as usize..ends[1] as usize]);
            rows.sort_unstable_by_key(|&row| batch.token_ids()[row as usize]);
            let start = found.terms.len();
            for &row in &rows {
                let id = batch.token_ids()[row as usize];
                if found.terms[start..].last() != Some(&id) {
                    found.terms.push(id);
                }
                found.slots[row as usize] = found.terms.len() as u32 - 1;
            }
            found.cu_terms.push(found.terms.len() as u32);
        }
        found
    }

    /// U
    #[cfg(lexpeak_cuda)]
    pub(crate) fn len(&self) -> usize {
        self.terms.len()
    }

    /// Where the term of each token is, `[T]`.
    #[cfg_attr(
        not(lexpeak_cuda),
        allow(dead_code, reason = "the CPU engine finds maxima by itself")
    )]
    pub(crate) fn slots(&self) -> &[u32] {
        &self.slots
    }

    /// The largest weight of every term, `[U]`, and the first row of the batch that has it, of the weights of the tokens, `[T]`,
    /// each at least 0. What is no number is larger than all.
    pub(crate) fn largest(&self, token_weights: &[f32]) -> (Vec<f32>, Vec<u32>) {
        let mut weights = vec![0.0; self.terms.len()];
        let mut rows = vec![0; self.terms.len()];
        for ((&slot, &weight), row) in self.slots.iter().zip(token_weights).zip(0..) {
            if let Some(largest) = weights.get_mut(slot as usize)
                && (weight > *largest || weight.is_nan())
            {
                *largest = weight;
                rows[slot as usize] = row;
            }
        }
        (weights, rows)
    }

    /// The rows of weights `[U]`; none if one is no finite number.
    pub(crate) fn rows(&self, weights: &[f32]) -> Option<SparseRows> {
        let mut rows = SparseRows::with_capacity(self.cu_terms.len() - 1, self.terms.len());
        if !weights.iter().all(|weight| weight.is_finite()) {
            return None;
        }
        for ends in self.cu_terms.windows(2) {
            let slots = ends[0] as usize..ends[1] as usize;
            let entries = self.terms[slots.clone()].iter().zip(&weights[slots]);
            let entries = entries.filter(|&(_, &weight)| weight > 0.0);
            rows.push(entries.map(|(&id, &weight)| (id, weight)));
        }
        Some(rows)
    }

    /// Beside each entry of [`rows`](Self::rows) of these weights: the position in its document of a token's row, `[U]`.
    pub(crate) fn positions(&self, batch: &PackedBatch, weights: &[f32], rows: &[u32]) -> Vec<u32> {
        let documents = self.cu_terms.windows(2).zip(batch.cu_seqlens());
        documents
            .flat_map(|(ends, &first)| {
                let slots = ends[0] as usize..ends[1] as usize;
                let kept = slots.filter(|&slot| weights[slot] > 0.0);
                kept.map(move |slot| rows[slot] - first)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::tokenize::TokenSequence;

    fn batch(documents: &[Vec<u32>], pool_special: bool) -> PackedBatch {
        let mut batch = PackedBatch::new();
        for ids in documents {
            let sequence = TokenSequence {
                ids: ids.clone(),
                special: (0..ids.len()).map(|at| at == 0).collect(),
                truncated: false,
            };
            batch.push(&sequence, pool_special);
        }
        batch
    }

    proptest! {
        #[test]
        fn every_term_has_the_largest_weight_of_its_tokens(
            documents in prop::collection::vec(prop::collection::vec((0u32..9, 0u8..4), 0..30), 0..6),
            pool_special: bool,
        ) {
            let ids: Vec<Vec<u32>> = documents.iter().map(|tokens| tokens.iter().map(|token| token.0).collect()).collect();
            let token_weights: Vec<f32> = documents.iter().flatten().map(|token| f32::from(token.1)).collect();
            let batch = batch(&ids, pool_special);
            let terms = TokenTerms::of(&batch);
            let (weights, winners) = terms.largest(&token_weights);
            let rows = terms.rows(&weights).unwrap();
            let positions = terms.positions(&batch, &weights, &winners);
            prop_assert_eq!(rows.len(), documents.len());
            prop_assert_eq!(positions.len(), rows.non_zeros());

            let mut first = 0;
            for (document, tokens) in documents.iter().enumerate() {
                // Id -> largest weight, and the first position that has it.
                let mut naive: BTreeMap<u32, (f32, u32)> = BTreeMap::new();
                for (position, &(id, weight)) in tokens.iter().enumerate().skip(usize::from(!pool_special)) {
                    let weight = f32::from(weight);
                    if weight > naive.get(&id).map_or(0.0, |found| found.0) {
                        naive.insert(id, (weight, position as u32));
                    }
                }
                let row = rows.row(document);
                let last = first + row.indices.len();
                let found = row.entries().zip(&positions[first..last]);
                let found: Vec<_> = found.map(|((id, weight), &position)| (id, (weight, position))).collect();
                prop_assert_eq!(found, naive.into_iter().collect::<Vec<_>>());
                first = last;
            }
        }
    }

    #[test]
    fn what_is_no_number_is_found() {
        let batch = batch(&[vec![1, 5, 5]], true);
        let terms = TokenTerms::of(&batch);
        for bad in [f32::NAN, f32::INFINITY] {
            let (weights, _) = terms.largest(&[1.0, bad, 7.0]);
            assert_eq!(terms.rows(&weights), None);
        }
    }

    #[test]
    fn tokens_that_are_not_pooled_have_no_slot() {
        let terms = TokenTerms::of(&batch(&[vec![7, 3, 7], vec![], vec![7]], false));
        assert_eq!(terms.slots(), [TokenTerms::NONE, 0, 1, TokenTerms::NONE]);
        assert_eq!(terms.terms, [3, 7]);
        assert_eq!(terms.cu_terms, [0, 2, 2, 2]);
    }
}
