//! What is dropped from a row before it is written.

#![forbid(unsafe_code)]

use std::cmp::Ordering;

use crate::sparse::{SparseRow, SparseRows};

/// Which entries of a row are kept. The rules apply in the order of the fields.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pruning {
    /// Vocabulary ids that are dropped whatever their weight, ascending.
    pub(crate) excluded: Vec<u32>,
    /// Only weights above this are kept.
    pub(crate) min_weight: f32,
    /// At most so many entries are kept: the heaviest, of equal ones those with the lowest ids.
    pub(crate) top_k: Option<usize>,
}

impl Pruning {
    /// Whether every row passes unchanged.
    pub(crate) fn keeps_everything(&self) -> bool {
        self.excluded.is_empty() && self.min_weight <= 0.0 && self.top_k.is_none()
    }

    /// The rows with what is not kept dropped.
    pub(crate) fn apply(&self, rows: SparseRows) -> SparseRows {
        if self.keeps_everything() {
            return rows;
        }
        let mut pruned = SparseRows::with_capacity(rows.len(), rows.non_zeros());
        for row in rows.iter() {
            pruned.push(self.kept(row).map(|at| (row.indices[at], row.values[at])));
        }
        pruned
    }

    /// Which entries of `row` are kept, by their place in it, ascending.
    pub(crate) fn kept(&self, row: SparseRow<'_>) -> impl Iterator<Item = usize> + use<> {
        let mut kept: Vec<usize> = (0..row.indices.len())
            .filter(|&at| {
                row.values[at] > self.min_weight
                    && self.excluded.binary_search(&row.indices[at]).is_err()
            })
            .collect();
        if let Some(top_k) = self.top_k
            && top_k < kept.len()
        {
            // Heaviest first, then lowest id; ids ascend with the place in the row.
            let order = |&a: &usize, &b: &usize| -> Ordering {
                row.values[b].total_cmp(&row.values[a]).then(a.cmp(&b))
            };
            if top_k > 0 {
                kept.select_nth_unstable_by(top_k - 1, order);
            }
            kept.truncate(top_k);
            kept.sort_unstable();
        }
        kept.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Weights from a small set, so that ties are common.
    fn rows() -> impl Strategy<Value = Vec<(u32, f32)>> {
        prop::collection::btree_map(0u32..50, 1u8..6, 0..40).prop_map(|row| {
            row.into_iter()
                .map(|(id, w)| (id, f32::from(w) / 4.0))
                .collect()
        })
    }

    fn naive(row: &[(u32, f32)], pruning: &Pruning) -> Vec<(u32, f32)> {
        let mut kept: Vec<(u32, f32)> = row
            .iter()
            .copied()
            .filter(|(id, weight)| !pruning.excluded.contains(id) && *weight > pruning.min_weight)
            .collect();
        kept.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap().then(a.0.cmp(&b.0)));
        kept.truncate(pruning.top_k.unwrap_or(usize::MAX));
        kept.sort_by_key(|(id, _)| *id);
        kept
    }

    proptest! {
        #[test]
        fn pruning_matches_sorting_the_whole_row(
            row in rows(),
            excluded in prop::collection::btree_set(0u32..50, 0..10),
            min_weight in prop::sample::select(vec![0.0f32, 0.25, 0.5, 2.0]),
            top_k in prop::option::of(0usize..45),
        ) {
            let pruning = Pruning { excluded: excluded.into_iter().collect(), min_weight, top_k };
            let mut sparse = SparseRows::new();
            sparse.push(row.iter().copied());
            sparse.push([]);
            let pruned = pruning.apply(sparse);
            prop_assert_eq!(pruned.len(), 2);
            prop_assert_eq!(pruned.row(0).entries().collect::<Vec<_>>(), naive(&row, &pruning));
            prop_assert_eq!(pruned.row(1).indices.len(), 0);
        }
    }
}
