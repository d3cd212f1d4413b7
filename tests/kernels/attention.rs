//! `kernels/attention.cu`: attention within each document of a packed batch.

use half::{bf16, f16};
use lexpeak::Category;
use lexpeak::cuda::kernels::{Attention, AttentionArgs, Cost, DeviceTiles, QueryTiles};
use standin::counters::Counters;

use crate::oracle::ops;
use crate::rig::{Rig, assert_clean_traffic};
use crate::values::{Half, Numbers, Real, download, poisoned, upload, wide};

/// Around every size at which the kernel does something else: an mma has 16 rows, a tile 64.
const LENGTHS: [usize; 12] = [1, 65, 2, 129, 15, 16, 200, 17, 63, 128, 64, 127];

/// Values before and after each operand in its buffer, which nobody may touch.
const MARGIN: usize = 64;

/// Queries, keys and values of some documents.
#[derive(Clone)]
struct Batch<T> {
    lengths: Vec<usize>,
    heads: usize,
    /// True size of a head, and the one it is padded to.
    head: usize,
    padded: usize,
    qkv: Vec<T>, // [T, 3, heads, padded]
}

/// Which of the three a value belongs to.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Query,
    Key,
    Value,
}

/// Where a value stands: token of the batch, head, place in the head.
type Place = (usize, usize, usize);

impl<T: Half> Batch<T> {
    fn new(
        lengths: &[usize],
        heads: usize,
        head: usize,
        mut value: impl FnMut(Part, Place) -> f64,
    ) -> Self {
        let padded = [32, 64, 128].into_iter().find(|&size| size >= head);
        let padded = padded.expect("a kernel has such heads");
        let tokens: usize = lengths.iter().sum();
        let mut qkv = Vec::with_capacity(tokens * 3 * heads * padded);
        for token in 0..tokens {
            for part in [Part::Query, Part::Key, Part::Value] {
                for at in 0..heads * padded {
                    let (h, d) = (at / padded, at % padded);
                    let true_value = (d < head).then(|| value(part, (token, h, d)));
                    qkv.push(T::round(true_value.unwrap_or(0.0)));
                }
            }
        }
        Self {
            lengths: lengths.to_vec(),
            heads,
            head,
            padded,
            qkv,
        }
    }

    /// Queries and keys reach `reach`: the larger, the fewer tokens get most of the weight.
    fn random(lengths: &[usize], heads: usize, head: usize, reach: f64) -> Self {
        let mut numbers = Numbers::named("attention", lengths.len() * 1000 + head);
        Self::new(lengths, heads, head, |part, _| {
            numbers.uniform(if part == Part::Value { 2.0 } else { reach })
        })
    }

    fn cu_seqlens(&self) -> Vec<u32> {
        let ends = self.lengths.iter().scan(0, |end, &length| {
            *end += length as u32;
            Some(*end)
        });
        [0].into_iter().chain(ends).collect()
    }

    /// Width of a token's context, and of its queries.
    fn width(&self) -> usize {
        self.heads * self.padded
    }

    /// The documents of these numbers, in this order.
    fn of_documents(&self, numbers: &[usize]) -> Self {
        let starts = self.cu_seqlens();
        let rows = |&number: &usize| {
            let [start, end] = [starts[number], starts[number + 1]].map(|t| t as usize);
            self.qkv[start * 3 * self.width()..end * 3 * self.width()].to_vec()
        };
        Self {
            lengths: numbers.iter().map(|&number| self.lengths[number]).collect(),
            qkv: numbers.iter().flat_map(rows).collect(),
            ..*self
        }
    }

    /// The context `[T, heads, padded]`, document by document.
    fn run(&self, rig: &Rig, kernel: &Attention<T>) -> Vec<Vec<T>> {
        let gpu = &rig.gpu;
        assert_eq!(kernel.padded(), self.padded);
        let tiles = QueryTiles::cut(&self.cu_seqlens()).unwrap();
        let margin = vec![T::nan(); MARGIN];
        let around = upload(gpu, &[&margin[..], &self.qkv, &margin].concat());
        let len = self.qkv.len() / 3;
        let mut out = poisoned::<T>(gpu, len + 2 * MARGIN);
        let words = upload(gpu, tiles.words());
        let args = AttentionArgs {
            // SAFETY: its words were copied just now.
            tiles: unsafe { DeviceTiles::new(&tiles, words.as_view()) },
            qkv: around.slice(MARGIN..MARGIN + self.qkv.len()),
            context: out.slice_mut(MARGIN..MARGIN + len),
            heads: self.heads,
        };
        kernel.launch(args).expect("the operands fit");
        let out = download(gpu, &out);
        let (before, rest) = out.split_at(MARGIN);
        let (mut context, after) = rest.split_at(len);
        assert!(
            before
                .iter()
                .chain(after)
                .all(|value| bits(value) == bits(&T::nan())),
            "written outside of the context"
        );
        let mut documents = Vec::new();
        for length in &self.lengths {
            let (document, others) = context.split_at(length * self.width());
            documents.push(document.to_vec());
            context = others;
        }
        documents
    }

    /// A token's part of one head, without the padding.
    fn values(&self, part: Part, token: usize, h: usize) -> Vec<f64> {
        let row = (token * 3 + part as usize) * self.width() + h * self.padded;
        wide(&self.qkv[row..row + self.head])
    }

    /// What `attend` makes of each document and head, `[T, head]`, put together as `run` does.
    fn by_head(&self, attend: impl Fn(Document<'_, T>) -> Vec<f64>) -> Vec<Vec<f64>> {
        let starts = self.cu_seqlens();
        let mut documents = Vec::new();
        for (number, &length) in self.lengths.iter().enumerate() {
            let mut context = vec![0.0; length * self.width()];
            for h in 0..self.heads {
                let start = starts[number] as usize;
                let part = Document {
                    batch: self,
                    start,
                    length,
                    h,
                };
                for (at, value) in attend(part).into_iter().enumerate() {
                    let (row, d) = (at / self.head, at % self.head);
                    context[row * self.width() + h * self.padded + d] = value;
                }
            }
            documents.push(context);
        }
        documents
    }

    fn exact(&self) -> Vec<Vec<f64>> {
        self.by_head(|document| {
            let all = |part| -> Vec<f64> { document.rows(part).concat() };
            let (q, k, v) = (all(Part::Query), all(Part::Key), all(Part::Value));
            ops::attention(&q, &k, &v, 1, self.head)
        })
    }
}

/// One head of a document.
struct Document<'a, T> {
    batch: &'a Batch<T>,
    start: usize,
    length: usize,
    h: usize,
}

impl<T: Half> Document<'_, T> {
    fn rows(&self, part: Part) -> Vec<Vec<f64>> {
        (self.start..self.start + self.length)
            .map(|token| self.batch.values(part, token, self.h))
            .collect()
    }

    /// Attention without any art, in f32 as far as the storage type allows: weights and results are rounded to it.
    fn plain(&self) -> Vec<f64> {
        let (keys, values) = (self.rows(Part::Key), self.rows(Part::Value));
        let scale = 1.0 / (self.batch.head as f32).sqrt();
        let mut context = Vec::new();
        for query in self.rows(Part::Query) {
            let dot = |key: &Vec<f64>| {
                let products = query.iter().zip(key).map(|(&q, &k)| q as f32 * k as f32);
                products.sum::<f32>() * scale
            };
            let scores: Vec<f32> = keys.iter().map(dot).collect();
            let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let weights: Vec<f32> = scores.iter().map(|score| (score - largest).exp()).collect();
            let total: f32 = weights.iter().sum();
            let mut sums = vec![0.0_f32; self.batch.head];
            for (weight, value) in weights.iter().zip(&values) {
                let weight = T::round(f64::from(weight / total)).value() as f32;
                for (sum, value) in sums.iter_mut().zip(value) {
                    *sum += weight * *value as f32;
                }
            }
            context.extend(sums.iter().map(|&sum| T::round(f64::from(sum)).value()));
        }
        context
    }
}

fn bits<T: Half>(value: &T) -> u32 {
    value.bits()
}

fn all_bits<T: Half>(documents: &[Vec<T>]) -> Vec<Vec<u32>> {
    let of = |document: &Vec<T>| document.iter().map(bits).collect();
    documents.iter().map(of).collect()
}

/// Largest and mean square error.
fn errors(got: &[f64], exact: &[f64]) -> (f64, f64) {
    assert_eq!(got.len(), exact.len());
    let differences = || {
        got.iter()
            .zip(exact)
            .map(|(got, exact)| (got - exact).abs())
    };
    // A NaN must not get lost, as it would in f64::max.
    let worst = differences().fold(0.0, |worst, e| if e <= worst { worst } else { e });
    let square = differences().map(|e| e * e).sum::<f64>() / got.len().max(1) as f64;
    (worst, square.sqrt())
}

/// Every document's errors are at most twice those of the plain way in the same precision.
fn assert_as_exact_as_plain<T: Half>(
    got: &[Vec<T>],
    exact: &[Vec<f64>],
    plain: &[Vec<f64>],
    what: &str,
) {
    let mut shares = (0.0_f64, 0.0_f64);
    for (number, ((got, exact), plain)) in got.iter().zip(exact).zip(plain).enumerate() {
        let (worst, mean) = errors(&wide(got), exact);
        let (plain_worst, plain_mean) = errors(plain, exact);
        let allowed = (2.0 * plain_worst + 2e-6, 2.0 * plain_mean + 1e-6);
        assert!(
            worst <= allowed.0 && mean <= allowed.1,
            "{what}: document {number} is off by {worst:e}, mean {mean:e}; allowed {allowed:?}"
        );
        shares = (
            shares.0.max(worst / allowed.0),
            shares.1.max(mean / allowed.1),
        );
    }
    println!(
        "{what}: largest error {:.2}, mean {:.2} of those allowed",
        shares.0, shares.1
    );
}

fn agrees_with_the_reference<T: Half>() {
    let rig = Rig::new();
    // (true head size, heads, reach of queries and keys)
    for (head, heads, reach) in [
        (32, 3, 2.0),
        (64, 2, 2.0),
        (64, 1, 8.0),
        (128, 1, 2.0),
        (20, 2, 2.0),
        (80, 1, 3.0),
    ] {
        let kernel = Attention::<T>::load(&rig.gpu, head).unwrap();
        let batch = Batch::<T>::random(&LENGTHS, heads, head, reach);
        let exact = batch.exact();
        let plain = batch.by_head(|document| document.plain());
        let what = format!(
            "attention {} {heads} heads of {head}, reach {reach}",
            T::NAME
        );
        rig.under_all_schedules(|| {
            assert_as_exact_as_plain(&batch.run(&rig, &kernel), &exact, &plain, &what);
        });
    }
}

#[test]
fn f16_agrees_with_the_reference() {
    agrees_with_the_reference::<f16>();
}

#[test]
fn bf16_agrees_with_the_reference() {
    agrees_with_the_reference::<bf16>();
}

#[test]
fn a_batch_of_one_token_gives_its_value() {
    let rig = Rig::new();
    let kernel = Attention::<f16>::load(&rig.gpu, 64).unwrap();
    let batch = Batch::<f16>::random(&[1], 2, 64, 2.0);
    rig.under_all_schedules(|| {
        let context = batch.run(&rig, &kernel);
        assert!(context[0] == batch.qkv[2 * batch.width()..]);
    });
}

#[test]
fn a_long_document_agrees_with_the_reference() {
    let rig = Rig::new();
    let kernel = Attention::<bf16>::load(&rig.gpu, 64).unwrap();
    let batch = Batch::<bf16>::random(&[1024], 1, 64, 2.0);
    let plain = batch.by_head(|document| document.plain());
    let got = batch.run(&rig, &kernel);
    assert_as_exact_as_plain(&got, &batch.exact(), &plain, "attention over 1,024 tokens");
}

/// Equal scores: every weight is 1, and the means of -1, 0 and 1 over a power of two are exact.
fn means_of_whole_numbers<T: Half>(lengths: &[usize]) {
    let rig = Rig::new();
    for head in [32, 64, 128] {
        let kernel = Attention::<T>::load(&rig.gpu, head).unwrap();
        let mut numbers = Numbers::named("means", head);
        let batch = Batch::<T>::new(lengths, 2, head, |part, _| match part {
            Part::Query => 0.0,
            Part::Key => numbers.uniform(4.0),
            Part::Value => numbers.below(3) as f64 - 1.0,
        });
        let expected = batch.by_head(|document| {
            let values = document.rows(Part::Value);
            let mean = |d| values.iter().map(|row| row[d]).sum::<f64>() / values.len() as f64;
            let row: Vec<f64> = (0..head).map(mean).collect();
            row.repeat(document.length)
        });
        rig.under_all_schedules(|| {
            let got = batch.run(&rig, &kernel);
            for (number, (got, expected)) in got.iter().zip(&expected).enumerate() {
                assert!(
                    wide(got) == *expected,
                    "{} {head}: document {number}",
                    T::NAME
                );
            }
        });
    }
}

#[test]
fn equal_scores_give_exact_means() {
    let lengths = [1, 64, 2, 256, 4, 128, 8, 16, 32];
    means_of_whole_numbers::<f16>(&lengths);
    means_of_whole_numbers::<bf16>(&lengths);
}

/// The longest documents: 8,192 values of which 32 are ones, elsewhere in each column.
#[test]
fn the_longest_document_gives_exact_means() {
    let rig = Rig::new();
    let kernel = Attention::<f16>::load(&rig.gpu, 32).unwrap();
    let length = 8192;
    let batch = Batch::<f16>::new(&[length], 1, 32, |part, (token, _, d)| match part {
        Part::Query => 0.0,
        Part::Key => (token % 7) as f64,
        // d + 1 ones.
        Part::Value => f64::from(token % 256 == 8 * d + 7 && token / 256 <= d),
    });
    let context = batch.run(&rig, &kernel);
    for (at, value) in context[0].iter().enumerate() {
        let (token, d) = (at / 32, at % 32);
        assert_eq!(
            value.value(),
            (d + 1) as f64 / length as f64,
            "token {token}, column {d}"
        );
    }
}

/// A query meets one key by far best: the result is that key's value, whatever the others are.
fn finds_the_key_of_a_query<T: Half>() {
    let rig = Rig::new();
    for head in [32, 64, 128] {
        let kernel = Attention::<T>::load(&rig.gpu, head).unwrap();
        // In a document of n tokens, which begins at token `start`, the one that `token` looks for.
        let starts: Vec<usize> = (0..LENGTHS.len())
            .map(|number| LENGTHS[..number].iter().sum())
            .collect();
        let target = |token: usize| {
            let number = starts.partition_point(|&start| start <= token) - 1;
            starts[number] + (5 * (token - starts[number]) + 3) % LENGTHS[number]
        };
        let code = |(token, h, d): Place| {
            let bit = Numbers::named("code", (token * 8 + h) * 128 + d).below(2);
            if bit == 0 { 1.0 } else { -1.0 }
        };
        let value = |(token, h, d): Place| {
            Numbers::named("value", (token * 8 + h) * 128 + d).below(401) as f64 / 2.0 - 100.0
        };
        let batch = Batch::<T>::new(&LENGTHS, 2, head, |part, (token, h, d)| match part {
            Part::Query => 64.0 * code((target(token), h, d)),
            Part::Key => code((token, h, d)),
            Part::Value => value((token, h, d)),
        });
        let got = batch.run(&rig, &kernel).concat();
        for (at, got) in got.iter().enumerate() {
            let (token, h, d) = (at / (2 * head), at / head % 2, at % head);
            let expected = T::round(value((target(token), h, d))).value();
            assert_eq!(
                got.value(),
                expected,
                "{} token {token}, head {h} of {head}, {d}",
                T::NAME
            );
        }
    }
}

#[test]
fn a_query_finds_its_key() {
    finds_the_key_of_a_query::<f16>();
    finds_the_key_of_a_query::<bf16>();
}

#[test]
fn a_document_does_not_depend_on_its_batch() {
    let rig = Rig::new();
    for head in [32, 64, 128] {
        let kernel = Attention::<bf16>::load(&rig.gpu, head).unwrap();
        let batch = Batch::<bf16>::random(&LENGTHS, 2, head, 2.0);
        let together = all_bits(&batch.run(&rig, &kernel));
        assert!(
            together == all_bits(&batch.run(&rig, &kernel)),
            "the same batch twice"
        );
        for (number, context) in together.iter().enumerate() {
            let alone = batch.of_documents(&[number]).run(&rig, &kernel);
            assert!(all_bits(&alone)[0] == *context, "document {number} alone");
        }
        let order: Vec<usize> = (0..LENGTHS.len()).rev().collect();
        let reversed = all_bits(&batch.of_documents(&order).run(&rig, &kernel));
        for (number, context) in order.into_iter().zip(reversed) {
            assert!(
                context == together[number],
                "document {number} in another order"
            );
        }
    }
}

#[test]
fn what_is_no_number_stays_in_its_document() {
    let rig = Rig::new();
    let kernel = Attention::<f16>::load(&rig.gpu, 64).unwrap();
    let lengths = [65, 70, 17, 1, 130];
    let clean = Batch::<f16>::random(&lengths, 2, 64, 2.0);
    let expected = all_bits(&clean.run(&rig, &kernel));
    for wrong in [f16::NAN, f16::INFINITY, f16::NEG_INFINITY] {
        let mut batch = clean.clone();
        let row = 3 * batch.width();
        batch.qkv[65 * row..135 * row].fill(wrong);
        batch.qkv[152 * row..153 * row].fill(wrong);
        let got = batch.run(&rig, &kernel);
        for number in [0, 2, 4] {
            assert!(
                all_bits(&got)[number] == expected[number],
                "document {number}"
            );
        }
        for number in [1, 3] {
            assert!(
                got[number].iter().all(|value| value.is_nan()),
                "document {number}"
            );
        }
    }
}

/// The counters of a run on the stand-in, and the cost of it.
fn counted<T: Half>(
    rig: &Rig,
    lengths: &[usize],
    heads: usize,
    head: usize,
) -> Option<(Counters, Cost)> {
    let kernel = Attention::<T>::load(&rig.gpu, head).unwrap();
    let batch = Batch::<T>::random(lengths, heads, head, 2.0);
    batch.run(rig, &kernel);
    let launch = rig.last_launch()?;
    assert_clean_traffic(&launch);
    let tiles = QueryTiles::cut(&batch.cu_seqlens()).unwrap();
    Some((launch.record.counters, kernel.cost(&tiles, heads)))
}

/// Each warp reads the three words of its tile, all lanes the same: bytes that lanes ask for, and sectors.
const TILE_TABLE: (u64, u64) = (4 * 3 * 32 * 4, 4 * 3);

#[test]
fn it_moves_each_value_once_a_block_in_whole_sectors() {
    let rig = Rig::new();
    for head in [32, 64, 128] {
        for (lengths, heads) in [(&[64, 64][..], 3), (&[200, 1, 65], 2), (&LENGTHS, 1)] {
            let Some((counters, cost)) = counted::<f16>(&rig, lengths, heads, head) else {
                return;
            };
            let row = 2 * head as u64;
            let (mut tiles, mut rows_read, mut tokens) = (0, 0, 0);
            for length in lengths.iter().map(|&length| length as u64) {
                let blocks = length.div_ceil(64);
                tiles += blocks;
                // Its queries once, keys and values once a block.
                rows_read += length + 2 * length * blocks;
                tokens += length;
            }
            let heads = heads as u64;
            assert_eq!(counters.blocks, tiles * heads);
            let read = heads * rows_read * row;
            let (table_bytes, table_sectors) = TILE_TABLE;
            assert_eq!(
                counters.global_load_bytes,
                read + tiles * heads * table_bytes
            );
            let sectors = counters.global_load_sectors - tiles * heads * table_sectors;
            assert_eq!(sectors * 32, read, "{counters:?}");
            let written = heads * tokens * row;
            assert_eq!(counters.global_store_bytes, written);
            assert_eq!(counters.global_store_sectors * 32, written);
            // What is read for the first time and what is written, as the cost has it.
            assert_eq!(cost.bytes, 4 * written + tiles * 12);
            if tiles == lengths.len() as u64 {
                assert_eq!(cost.bytes, read + written + tiles * 12);
            }
        }
    }
}

#[test]
fn it_multiplies_what_it_must_in_steps_of_16_rows() {
    let rig = Rig::new();
    for head in [32, 64, 128] {
        for lengths in [&[64, 512][..], &[1, 15, 16], &[17, 65, 200]] {
            let Some((counters, cost)) = counted::<bf16>(&rig, lengths, 1, head) else {
                return;
            };
            let squares = |step: usize| -> u64 {
                let square = |length: &usize| length.next_multiple_of(step).pow(2) as u64;
                lengths.iter().map(square).sum()
            };
            assert_eq!(
                2 * counters.tensor_multiply_adds,
                4 * head as u64 * squares(16)
            );
            assert_eq!(cost.flops, 4 * head as u64 * squares(1));
        }
    }
}

/// A lower share would say that something else than products has crept into the loop.
#[test]
fn the_share_of_matrix_products_stays() {
    let rig = Rig::new();
    for (head, floor) in [(32, 0.10), (64, 0.16), (128, 0.225)] {
        let Some((counters, _)) = counted::<f16>(&rig, &[512], 1, head) else {
            return;
        };
        let share = counters.mma as f64 / counters.warp_instructions as f64;
        println!(
            "attention, heads of {head}, 512 tokens: {:.1} % mma",
            100.0 * share
        );
        assert!(share >= floor, "{head}: {share}");
        assert_eq!(counters.divergent_instructions, 0);
    }
}

#[test]
fn tiles_cover_every_row_of_their_document_once() {
    let tiles = QueryTiles::cut(&[0, 70, 70, 75, 203]).unwrap();
    let words = [
        [0, 70, 0],
        [0, 70, 64],
        [70, 75, 70],
        [75, 203, 75],
        [75, 203, 139],
    ];
    assert_eq!(tiles.words(), words.as_flattened());
    assert_eq!(tiles.len(), 5);
    for none in [&[0][..], &[0, 0, 0]] {
        assert!(QueryTiles::cut(none).unwrap().is_empty());
    }
    for wrong in [&[][..], &[1, 2], &[0, 5, 4], &[0, 1 << 31]] {
        let error = QueryTiles::cut(wrong).unwrap_err();
        assert!(error.to_string().contains("cu_seqlens"), "{error}");
    }
}

#[test]
fn empty_documents_change_nothing_and_an_empty_batch_launches_nothing() {
    let rig = Rig::new();
    let kernel = Attention::<f16>::load(&rig.gpu, 32).unwrap();
    let mut batch = Batch::<f16>::random(&[40, 66], 1, 32, 2.0);
    let expected = batch.run(&rig, &kernel);
    batch.lengths = vec![0, 40, 0, 0, 66, 0];
    let got = batch.run(&rig, &kernel);
    assert!(got[1] == expected[0] && got[4] == expected[1]);
    let none = Batch::<f16>::random(&[0, 0], 1, 32, 2.0);
    assert!(none.run(&rig, &kernel).concat().is_empty());
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let rig = Rig::new();
    let gpu = &rig.gpu;
    for head in [0, 129, 160] {
        let error = Attention::<f16>::load(gpu, head).unwrap_err();
        assert_eq!(error.category(), Category::Unsupported);
        let text = error.to_string();
        assert!(
            text.contains(&format!("head size {head}")) && text.contains("128"),
            "{text}"
        );
    }
    let kernel = Attention::<f16>::load(gpu, 64).unwrap();
    let tiles = QueryTiles::cut(&[0, 3]).unwrap();
    let words = upload(gpu, tiles.words());
    let launch = |qkv: usize, context: usize, heads: usize| {
        kernel.launch(AttentionArgs {
            // SAFETY: its words were copied before.
            tiles: unsafe { DeviceTiles::new(&tiles, words.as_view()) },
            qkv: upload(gpu, &vec![f16::ONE; qkv]).as_view(),
            context: poisoned::<f16>(gpu, context).as_view_mut(),
            heads,
        })
    };
    launch(3 * 3 * 128, 3 * 128, 2).unwrap();
    for (qkv, context, heads, named) in [
        (3 * 3 * 128 - 1, 3 * 128, 2, "qkv has 1151 elements"),
        (3 * 3 * 128, 3 * 128 + 8, 2, "context has 392"),
        (3 * 3 * 128, 3 * 128, 1, "qkv has 1152"),
        (3 * 3 * 128, 3 * 128, 0, "0 heads"),
        (3 * 3 * 128, 3 * 128, 65536, "65536 heads"),
    ] {
        let error = launch(qkv, context, heads).unwrap_err();
        assert_eq!(error.category(), Category::Device);
        let text = error.to_string();
        assert!(
            text.contains("attention_64_f16") && text.contains(named),
            "{text}"
        );
    }
}
