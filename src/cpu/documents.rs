//! The rows of a packed matrix, document by document.

#![forbid(unsafe_code)]

use std::ops::Range;

/// Cuts the rows of `x`, `[T, width]`, at the documents' borders: for each document its range of tokens
/// and its rows. They do not overlap, so threads can write them at the same time.
pub(super) fn split_by_document<'a>(
    x: &'a mut [f32],
    cu_seqlens: &[u32],
    width: usize,
) -> impl Iterator<Item = (Range<usize>, &'a mut [f32])> {
    let mut rest = x;
    cu_seqlens.windows(2).map(move |bounds| {
        let tokens = bounds[0] as usize..bounds[1] as usize;
        let (rows, after) = std::mem::take(&mut rest).split_at_mut(tokens.len() * width);
        rest = after;
        (tokens, rows)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_goes_to_its_document() {
        let mut x: Vec<f32> = (0..10).map(|i| i as f32).collect();
        let parts: Vec<_> = split_by_document(&mut x, &[0, 2, 2, 5], 2)
            .map(|(tokens, rows)| (tokens, rows.to_vec()))
            .collect();
        assert_eq!(
            parts,
            [
                (0..2, vec![0.0, 1.0, 2.0, 3.0]),
                (2..2, vec![]),
                (2..5, vec![4.0, 5.0, 6.0, 7.0, 8.0, 9.0]),
            ]
        );
    }
}
