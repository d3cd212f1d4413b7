//! The largest dot product of each of some vectors with any of others: the `[D, Q]` products never exist.
//!
//! A task multiplies a block of document vectors with a block of query vectors and takes the maxima over
//! the document while the products are in the core's cache. Maxima of blocks are joined in any order: the
//! result is the same on any number of threads.

#![forbid(unsafe_code)]

use rayon::prelude::*;

use super::matrix::{Matrix, MatrixMut, Threads, Write, multiply};
use super::simd::{Loops, MultiplyAdd, vectorized};

/// Vectors a block: its products are 512 KB, about a core's L2, until their maxima are taken. The document
/// is on the long side and on the left because queries are short: with a query of 32 vectors this order
/// has twice the rate of the other (Zen 3, width 1024).
const DOCUMENT_BLOCK: usize = 512;
const QUERY_BLOCK: usize = 256;

/// For each vector of `query` `[Q, width]` its largest dot product with one of `document` `[D, width]`:
/// no number where any of its products is none, and minus infinity where the document has no vector.
pub(crate) fn max_sim(query: &[f32], document: &[f32], width: usize) -> Vec<f32> {
    assert!(
        query.len().is_multiple_of(width) && document.len().is_multiple_of(width),
        "vectors of one width. This is a bug"
    );
    let (query_block, document_block) = (QUERY_BLOCK * width, DOCUMENT_BLOCK * width);
    if query.len() <= query_block && document.len() <= document_block {
        return block_maxima(&mut Vec::new(), query, document, width);
    }
    query
        .par_chunks(query_block)
        .flat_map_iter(|query| {
            document
                .par_chunks(document_block)
                .map_init(Vec::new, |products, document| {
                    block_maxima(products, query, document, width)
                })
                .reduce(|| vec![f32::NEG_INFINITY; query.len() / width], joined)
        })
        .collect()
}

fn block_maxima(
    products: &mut Vec<f32>, // [block of D, block of Q]
    query: &[f32],
    document: &[f32],
    width: usize,
) -> Vec<f32> {
    let (rows, columns) = (document.len() / width, query.len() / width);
    products.resize(rows * columns, 0.0);
    multiply(
        MatrixMut::new(products, rows, columns, columns),
        Write::Overwrite,
        1.0,
        Matrix::new(document, rows, width, width),
        Matrix::new(query, columns, width, width).transposed(),
        Threads::One,
    );
    let mut maxima = vec![f32::NEG_INFINITY; columns];
    for products in products.chunks_exact(columns.max(1)) {
        vectorized(Raise(&mut maxima, products));
    }
    maxima
}

fn joined(mut left: Vec<f32>, right: Vec<f32>) -> Vec<f32> {
    vectorized(Raise(&mut left, &right));
    left
}

/// Raises each maximum to the number beside it, where that is larger or none.
struct Raise<'a>(&'a mut [f32], &'a [f32]);

impl Loops for Raise<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, _: MultiplyAdd) {
        for (maximum, &x) in self.0.iter_mut().zip(self.1) {
            *maximum = larger_or_nan(*maximum, x);
        }
    }
}

/// The larger of two numbers, and no number if either is none.
#[inline(always)]
fn larger_or_nan(a: f32, b: f32) -> f32 {
    if a >= b || a.is_nan() { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small integers: every product and sum is exact in f32.
    fn integers(vectors: usize, width: usize, seed: usize) -> Vec<f32> {
        (0..vectors * width)
            .map(|i| ((i * 7919 + seed * 104_729) % 31) as f32 - 15.0)
            .collect()
    }

    fn naive(query: &[f32], document: &[f32], width: usize) -> Vec<f32> {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let largest = |query| {
            let products = document.chunks(width).map(|document| dot(query, document));
            products.fold(f32::NEG_INFINITY, f32::max)
        };
        query.chunks(width).map(largest).collect()
    }

    #[test]
    fn maxima_are_exact_on_small_integers_in_ragged_blocks() {
        for (queries, documents, width) in [
            (1, 1, 1),
            (3, 31, 5),
            (1, 257, 8),
            (257, 1, 8),
            (256, 512, 3),
            (256, 513, 3),
            (257, 512, 3),
            (300, 700, 16),
            (513, 1030, 4),
            (0, 300, 4),
            (300, 0, 4),
        ] {
            let query = integers(queries, width, 1);
            let document = integers(documents, width, 2);
            assert_eq!(
                max_sim(&query, &document, width),
                naive(&query, &document, width),
                "{queries} x {documents} x {width}"
            );
        }
    }

    #[test]
    fn the_largest_is_found_wherever_it_lies_and_below_zero() {
        let documents = DOCUMENT_BLOCK + 3;
        for largest in 0..documents {
            let mut document = vec![-2.0; documents];
            document[largest] = -1.0;
            let maxima = max_sim(&[1.0, 0.5], &document, 1);
            assert_eq!(maxima, [-1.0, -0.5], "{largest}");
        }
    }

    #[test]
    fn what_is_no_number_shows_in_its_rows() {
        let documents = DOCUMENT_BLOCK + 3;
        for odd in [0, 1, DOCUMENT_BLOCK - 1, DOCUMENT_BLOCK, documents - 1] {
            let mut document = vec![1.0; documents];
            document[odd] = f32::NAN;
            let maxima = max_sim(&[1.0; 40], &document, 1);
            assert!(maxima.iter().all(|x| x.is_nan()), "{odd}");
        }
        let maxima = max_sim(&[1.0, f32::NAN, 3.0], &vec![2.0; documents], 1);
        assert!(maxima[1].is_nan());
        assert_eq!((maxima[0], maxima[2]), (2.0, 6.0));
    }
}
