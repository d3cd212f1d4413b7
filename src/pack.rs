//! Token sequences -> packed batches: documents end to end, no padding, so no mask anywhere.

#![forbid(unsafe_code)]

use std::ops::Range;

use crate::tokenize::TokenSequence;

/// Some documents' tokens, end to end, in document order.
///
/// ```text
/// token_ids   101 2035 2003 102 | 101 102 | 101 4937 102     T tokens of S documents
/// cu_seqlens  0                   4         6            9   S + 1 cumulative lengths
/// pooled          1    2        |         |     7            P rows whose hidden states the head sees
/// cu_pooled   0                   2         2            3   S + 1
/// ```
///
/// `pooled` holds every row, or (as drawn) only those of tokens that stand in the text. Offsets
/// ascend, start at 0 and end at T and P; `pooled` ascends and stays inside its document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedBatch {
    token_ids: Vec<u32>,
    cu_seqlens: Vec<u32>,
    pooled: Vec<u32>,
    cu_pooled: Vec<u32>,
}

impl Default for PackedBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl PackedBatch {
    /// No documents.
    pub fn new() -> Self {
        Self {
            token_ids: Vec::new(),
            cu_seqlens: vec![0],
            pooled: Vec::new(),
            cu_pooled: vec![0],
        }
    }

    /// Appends a document. With `pool_special` the head sees all of its tokens, else only those that
    /// stand in the text.
    ///
    /// # Panics
    ///
    /// If the batch would hold 2³² tokens or more.
    pub fn push(&mut self, sequence: &TokenSequence, pool_special: bool) {
        let start = self.token_ids.len();
        self.token_ids.extend_from_slice(&sequence.ids);
        let end = u32::try_from(self.token_ids.len()).expect("a batch holds less than 2^32 tokens");
        self.pooled.extend(
            sequence
                .special
                .iter()
                .zip(start as u32..end)
                .filter(|&(&special, _)| pool_special || !special)
                .map(|(_, row)| row),
        );
        self.cu_seqlens.push(end);
        self.cu_pooled.push(self.pooled.len() as u32);
    }

    /// Some of the documents as a batch of their own.
    ///
    /// # Panics
    ///
    /// If there are no such documents.
    #[cfg_attr(
        not(lexpeak_cuda),
        allow(dead_code, reason = "only GPUs take part of a batch")
    )]
    pub fn documents(&self, documents: Range<usize>) -> Self {
        let offsets = |offsets: &[u32]| -> (Range<usize>, Vec<u32>) {
            let offsets = &offsets[documents.start..=documents.end];
            let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
            let moved = offsets.iter().map(|offset| offset - first).collect();
            (first as usize..last as usize, moved)
        };
        let (tokens, cu_seqlens) = offsets(&self.cu_seqlens);
        let (pooled, cu_pooled) = offsets(&self.cu_pooled);
        let first = tokens.start as u32;
        Self {
            token_ids: self.token_ids[tokens].to_vec(),
            cu_seqlens,
            pooled: self.pooled[pooled].iter().map(|row| row - first).collect(),
            cu_pooled,
        }
    }

    /// S: number of documents.
    pub fn len(&self) -> usize {
        self.cu_seqlens.len() - 1
    }

    /// Whether there is no document.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// T: number of tokens of all documents together.
    pub fn tokens(&self) -> usize {
        self.token_ids.len()
    }

    /// Token ids of all documents, `[T]`.
    pub fn token_ids(&self) -> &[u32] {
        &self.token_ids
    }

    /// Where each document's tokens start, and the last one's end, `[S + 1]`.
    pub fn cu_seqlens(&self) -> &[u32] {
        &self.cu_seqlens
    }

    /// Rows whose hidden states reach the head, `[P]`.
    pub fn pooled(&self) -> &[u32] {
        &self.pooled
    }

    /// Where each document starts in `pooled`, and the last one's end, `[S + 1]`.
    pub fn cu_pooled(&self) -> &[u32] {
        &self.cu_pooled
    }
}

/// Packs documents in their order into batches of at most `budget` tokens.
///
/// A document longer than the budget gets a batch of its own. Nothing is sorted: without padding a
/// batch of mixed lengths costs no more than one of equal lengths, and the order of the output is
/// the order of the input.
#[derive(Debug)]
pub(crate) struct Packer {
    budget: usize,
    pool_special: bool,
    open: PackedBatch,
    /// What the open batch takes of the budget.
    cost: usize,
}

impl Packer {
    pub(crate) fn new(budget: usize, pool_special: bool) -> Self {
        Self {
            budget,
            pool_special,
            open: PackedBatch::new(),
            cost: 0,
        }
    }

    /// Adds a document; gives the batch before it when that one is full.
    pub(crate) fn push(&mut self, sequence: &TokenSequence) -> Option<PackedBatch> {
        // A document counts at least as one token, so that empty ones do not pile up.
        let cost = sequence.ids.len().max(1);
        let full = !self.open.is_empty() && self.cost + cost > self.budget;
        let closed = full.then(|| std::mem::take(&mut self.open));
        if full {
            self.cost = 0;
        }
        self.cost += cost;
        self.open.push(sequence, self.pool_special);
        closed
    }

    /// The last batch, if a document is in it.
    pub(crate) fn finish(self) -> Option<PackedBatch> {
        (!self.open.is_empty()).then_some(self.open)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sequence(length: usize) -> TokenSequence {
        TokenSequence {
            ids: (0..length as u32).collect(),
            special: (0..length).map(|i| i == 0 || i + 1 == length).collect(),
            truncated: false,
        }
    }

    proptest! {
        #[test]
        fn documents_of_a_batch_are_those_packed_alone(
            lengths in prop::collection::vec(0usize..9, 1..12),
            from in 0usize..12,
            to in 0usize..12,
            pool_special: bool,
        ) {
            let pack = |lengths: &[usize]| {
                let mut batch = PackedBatch::new();
                lengths.iter().for_each(|&length| batch.push(&sequence(length), pool_special));
                batch
            };
            let to = to.min(lengths.len());
            let documents = from.min(to)..to;
            prop_assert_eq!(pack(&lengths).documents(documents.clone()), pack(&lengths[documents]));
        }

        #[test]
        fn batches_hold_the_documents_in_order_within_the_budget(
            lengths in prop::collection::vec(0usize..40, 0..60),
            budget in 1usize..100,
            pool_special: bool,
        ) {
            let sequences: Vec<TokenSequence> = lengths.iter().map(|&length| sequence(length)).collect();
            let mut packer = Packer::new(budget, pool_special);
            let mut batches: Vec<PackedBatch> =
                sequences.iter().filter_map(|sequence| packer.push(sequence)).collect();
            batches.extend(packer.finish());

            let mut unpacked = Vec::new();
            for batch in &batches {
                prop_assert!(!batch.is_empty());
                prop_assert!(batch.tokens().max(batch.len()) <= budget || batch.len() == 1);
                for document in 0..batch.len() {
                    let tokens = batch.cu_seqlens()[document] as usize..batch.cu_seqlens()[document + 1] as usize;
                    let pooled = batch.cu_pooled()[document] as usize..batch.cu_pooled()[document + 1] as usize;
                    let naive: Vec<u32> = tokens
                        .clone()
                        .filter(|row| pool_special || (*row != tokens.start && row + 1 != tokens.end))
                        .map(|row| row as u32)
                        .collect();
                    prop_assert_eq!(&batch.pooled()[pooled], naive.as_slice());
                    unpacked.push(batch.token_ids()[tokens].to_vec());
                }
            }
            let ids: Vec<Vec<u32>> = sequences.into_iter().map(|sequence| sequence.ids).collect();
            prop_assert_eq!(unpacked, ids);
        }
    }
}
