//! `kernels/sparsify.cu`: pooled logits or weights to sparse rows.

use lexpeak::cuda::kernels::{Positions, Sparsify, SparsifyArgs};
use lexpeak::{Activation, Category, Pooling, SpladeHead};

use crate::rig::Rig;
use crate::values::{Numbers, download, upload};

/// One term, parts of a word and of a group, whole ones, and two vocabularies that no power of two divides.
const TERMS: [usize; 9] = [1, 31, 32, 33, 127, 129, 1000, 30_522, 250_002];

const HEADS: [SpladeHead; 3] = [
    head(Pooling::Max, Activation::Relu),
    head(Pooling::Max, Activation::Log1pRelu),
    head(Pooling::Sum, Activation::Relu),
];

/// What nobody may have written, and what nobody may take from the padding.
const POISON: u32 = 0xdead_beef;

const fn head(pooling: Pooling, activation: Activation) -> SpladeHead {
    SpladeHead {
        pooling,
        activation,
    }
}

struct Operands {
    head: SpladeHead,
    terms: usize,
    pooled: Vec<Vec<f32>>, // [S, V]
    bias: Vec<f32>,        // [V]
    threshold: f32,
    /// Entries of earlier launches.
    earlier: u32,
    capacity: usize,
    positions: bool,
}

/// What a launch leaves.
struct Output {
    /// Entries of its own.
    total: u32,
    starts: Vec<u32>,
    counts: Vec<u32>,
    damaged: Vec<u32>,
    ids: Vec<u32>,
    values: Vec<f32>,
    positions: Vec<u32>,
}

/// An entry with the bits of its weight.
type Entry = (u32, u32, u32);

impl Operands {
    /// Rows of which a share of about `shares[s]` of the terms is kept.
    fn random(head: SpladeHead, terms: usize, shares: &[f64]) -> Self {
        let mut numbers = Numbers::named("sparsify", terms);
        let bias = numbers.floats(terms, 0.5);
        let mut pooled_value = |share: f64, bias: f32| {
            let kept = (numbers.uniform(1.0) + 1.0) / 2.0 < share;
            let size = (8.0 * numbers.uniform(1.0).abs()).max(1e-3) as f32;
            match head.pooling {
                Pooling::Max if kept => size - bias,
                Pooling::Max => -size - bias,
                _ if kept => size,
                _ => 0.0,
            }
        };
        let row = |&share: &f64| bias.iter().map(|&bias| pooled_value(share, bias)).collect();
        let pooled: Vec<Vec<f32>> = shares.iter().map(row).collect();
        Self {
            head,
            terms,
            capacity: shares.len() * terms + 5,
            pooled,
            bias,
            threshold: 0.0,
            earlier: 0,
            positions: true,
        }
    }

    /// The rows one after the other, each with its padding.
    fn padded<T: Copy>(&self, rows: impl Iterator<Item = Vec<T>>, padding: T) -> Vec<T> {
        rows.flat_map(|mut row| {
            row.resize(Sparsify::stride(self.terms), padding);
            row
        })
        .collect()
    }

    /// Another number for every place.
    fn position(&self, row: usize, term: usize) -> u32 {
        (row * self.terms + term) as u32 ^ 0x5555
    }

    fn run(&self, rig: &Rig, kernel: &Sparsify) -> Output {
        let gpu = &rig.gpu;
        let rows = self.pooled.len();
        let pooled = upload(gpu, &self.padded(self.pooled.iter().cloned(), f32::NAN));
        let bias = upload(gpu, &self.padded([self.bias.clone()].into_iter(), f32::NAN));
        let all = |row| {
            (0..self.terms)
                .map(|term| self.position(row, term))
                .collect()
        };
        let pooled_positions = upload(gpu, &self.padded((0..rows).map(all), POISON));
        let poisoned = |len| upload(gpu, &vec![POISON; len]);
        let mut total = upload(gpu, &[self.earlier]);
        let (mut starts, mut counts) = (poisoned(rows), poisoned(rows));
        let (mut damaged, mut ids) = (poisoned(rows), poisoned(self.capacity));
        let mut kept_positions = poisoned(self.capacity);
        let mut values = upload(gpu, &vec![f32::NAN; self.capacity]);
        let args = SparsifyArgs {
            pooled: pooled.as_view(),
            bias: bias.as_view(),
            positions: self.positions.then(|| Positions {
                pooled: pooled_positions.as_view(),
                kept: kept_positions.as_view_mut(),
            }),
            terms: self.terms,
            threshold: self.threshold,
            total: total.as_view_mut(),
            starts: starts.as_view_mut(),
            counts: counts.as_view_mut(),
            damaged: damaged.as_view_mut(),
            ids: ids.as_view_mut(),
            values: values.as_view_mut(),
        };
        kernel.launch(args).expect("the operands fit");
        Output {
            total: download(gpu, &total)[0] - self.earlier,
            starts: download(gpu, &starts),
            counts: download(gpu, &counts),
            damaged: download(gpu, &damaged),
            ids: download(gpu, &ids),
            values: download(gpu, &values),
            positions: download(gpu, &kept_positions),
        }
    }

    fn weight(&self, row: usize, term: usize) -> f64 {
        let pooled = f64::from(self.pooled[row][term]);
        if self.head.pooling == Pooling::Sum {
            return pooled;
        }
        let weight = (pooled + f64::from(self.bias[term])).max(0.0).ln_1p();
        match self.head.activation {
            Activation::Relu => weight,
            _ => weight.ln_1p(),
        }
    }

    /// Asserts that the rows are those of the reference and that nothing else was written.
    fn check(&self, output: &Output) {
        let what = format!("{} of {} terms", self.head, self.terms);
        let rows = self.pooled.len();
        for row in 0..rows {
            self.check_row(output, row, &format!("{what}, row {row}"));
        }
        // The segments lie end to end, and what nobody owns is as it was.
        let mut segments: Vec<_> = (0..rows).map(|row| output.segment(row)).collect();
        segments.sort_by_key(|segment| (segment.start, segment.end));
        let mut end = self.earlier as usize;
        for segment in &segments {
            assert_eq!(segment.start, end, "{what}: {segments:?}");
            end = segment.end;
        }
        assert_eq!((output.total + self.earlier) as usize, end, "{what}");
        let written = |at| {
            segments
                .iter()
                .any(|s| s.contains(&at) && s.end <= self.capacity)
        };
        for at in (0..self.capacity).filter(|&at| at >= end || !written(at)) {
            let values = (
                output.ids[at],
                output.values[at].is_nan(),
                output.positions[at],
            );
            assert_eq!(values, (POISON, true, POISON), "{what}: entry {at}");
        }
    }

    fn check_row(&self, output: &Output, row: usize, what: &str) {
        let segment = output.segment(row);
        let threshold = f64::from(self.threshold.max(0.0));
        // The kernel's weight may lie on the other side of a threshold that the exact one nearly hits.
        let near = |weight: f64| threshold > 0.0 && (weight / threshold - 1.0).abs() < 1e-6;
        let surely =
            |&term: &usize| self.weight(row, term) > threshold && !near(self.weight(row, term));
        if segment.end > self.capacity {
            let expected = (0..self.terms).filter(surely).count();
            assert_eq!(segment.len(), expected, "{what}: not written, but counted");
            return;
        }
        let mut expected = (0..self.terms).filter(surely).peekable();
        for at in segment {
            let term = output.ids[at] as usize;
            assert!(term < self.terms, "{what}: entry {at} is term {term}");
            let exact = self.weight(row, term);
            if expected.peek() == Some(&term) {
                expected.next();
            } else {
                assert!(
                    near(exact),
                    "{what}: term {term} of weight {exact}, not {:?}",
                    expected.peek()
                );
            }
            let (value, error) = (
                output.values[at],
                (f64::from(output.values[at]) / exact - 1.0).abs(),
            );
            let allowed = if self.head.pooling == Pooling::Sum {
                0.0
            } else {
                4.0 * f64::from(f32::EPSILON)
            };
            assert!(
                error <= allowed,
                "{what}: term {term} is {value}, exactly {exact}"
            );
            let position = if self.positions {
                self.position(row, term)
            } else {
                POISON
            };
            assert_eq!(output.positions[at], position, "{what}: term {term}");
        }
        assert_eq!(expected.next(), None, "{what}: a term is missing");
    }
}

impl Output {
    fn segment(&self, row: usize) -> std::ops::Range<usize> {
        let start = self.starts[row] as usize;
        start..start + self.counts[row] as usize
    }

    fn row(&self, row: usize) -> Vec<Entry> {
        self.segment(row)
            .map(|at| (self.ids[at], self.values[at].to_bits(), self.positions[at]))
            .collect()
    }
}

/// Rows of no term, of all, of some; then with one term alone: the first, the last, one between.
fn agrees_with_the_reference(head: SpladeHead, threshold: f32) {
    let rig = Rig::new();
    let kernel = Sparsify::load(&rig.gpu, head).unwrap();
    for terms in TERMS {
        let mut operands = Operands::random(head, terms, &[0.0, 1.0, 0.01, 0.5, 0.0, 0.0, 0.0]);
        operands.threshold = threshold;
        for (row, term) in [(4, 0), (5, terms - 1), (6, terms / 2)] {
            operands.pooled[row][term] = 3.0;
        }
        rig.under_all_schedules(|| {
            let output = operands.run(&rig, &kernel);
            operands.check(&output);
            assert_eq!(output.counts[0], 0);
            assert_eq!(output.counts[4..], [1; 3]);
            assert_eq!(output.damaged, [0; 7]);
        });
    }
}

#[test]
fn max_pooling_agrees_with_the_reference() {
    agrees_with_the_reference(HEADS[0], 0.0);
}

#[test]
fn max_pooling_of_a_double_logarithm_agrees_with_the_reference() {
    agrees_with_the_reference(HEADS[1], 0.0);
}

#[test]
fn sum_pooling_agrees_with_the_reference() {
    agrees_with_the_reference(HEADS[2], 0.0);
}

#[test]
fn only_weights_above_the_threshold_are_kept() {
    for head in HEADS {
        agrees_with_the_reference(head, 0.7);
    }
    let rig = Rig::new();
    let kernel = Sparsify::load(&rig.gpu, HEADS[2]).unwrap();
    let mut operands = Operands::random(HEADS[2], 6, &[0.0]);
    operands.pooled[0] = vec![
        0.25,
        0.25_f32.next_up(),
        0.25_f32.next_down(),
        f32::MAX,
        0.0,
        -0.0,
    ];
    // The smallest float there is counts as a weight; a threshold below 0 keeps no weight of 0.
    for (threshold, kept) in [
        (0.25, [1, 3].as_slice()),
        (0.0, &[0, 1, 2, 3]),
        (-1.0, &[0, 1, 2, 3]),
    ] {
        operands.threshold = threshold;
        let output = operands.run(&rig, &kernel);
        assert_eq!(output.ids[..kept.len()], *kept);
        assert_eq!((output.total as usize, output.damaged[0]), (kept.len(), 0));
    }
    operands.pooled[0] = vec![f32::from_bits(1); 6];
    operands.threshold = 0.0;
    assert_eq!(operands.run(&rig, &kernel).total, 6);
}

/// The smallest logits keep a weight as small, the largest keep a finite one.
#[test]
fn weights_are_right_from_the_smallest_logit_to_the_largest() {
    let rig = Rig::new();
    for head in &HEADS[..2] {
        let kernel = Sparsify::load(&rig.gpu, *head).unwrap();
        let logits: Vec<f32> = (0..2048)
            .map(|i| f32::from_bits(1 + i * (f32::MAX.to_bits() / 2048)))
            .collect();
        let mut operands = Operands::random(*head, logits.len(), &[0.0]);
        operands.bias.fill(0.0);
        operands.pooled = vec![logits];
        let output = operands.run(&rig, &kernel);
        operands.check(&output);
        assert_eq!((output.total, output.damaged[0]), (2048, 0));
    }
}

#[test]
fn positions_are_left_alone_where_there_are_none() {
    let rig = Rig::new();
    let kernel = Sparsify::load(&rig.gpu, HEADS[0]).unwrap();
    let mut operands = Operands::random(HEADS[0], 1000, &[0.1, 0.3]);
    operands.positions = false;
    rig.under_all_schedules(|| operands.check(&operands.run(&rig, &kernel)));
}

#[test]
fn what_is_not_finite_is_flagged_and_not_kept() {
    let rig = Rig::new();
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    // A largest dot product of -inf is that of no position at all.
    let max = [
        (nan, 1),
        (-nan, 1),
        (inf, 1),
        (f32::MAX, 1),
        (-inf, 0),
        (f32::MIN, 0),
        (0.0, 0),
    ];
    let sum = [
        (nan, 1),
        (-nan, 1),
        (inf, 1),
        (-inf, 1),
        (-1.0, 1),
        (0.0, 0),
        (-0.0, 0),
    ];
    for (head, cases) in HEADS.into_iter().zip([max, max, sum]) {
        let kernel = Sparsify::load(&rig.gpu, head).unwrap();
        let terms = 1001;
        for (term, (value, damaged)) in [0, 31, 32, 127, 128, 500, 1000].into_iter().zip(cases) {
            let mut operands = Operands::random(head, terms, &[0.1, 0.1, 0.1]);
            // Of this size the largest float and the bias pass the largest.
            operands.bias[term] = if value == f32::MAX { f32::MAX } else { 0.0 };
            for row in &mut operands.pooled {
                row[term] = if head.pooling == Pooling::Sum {
                    0.0
                } else {
                    -f32::MAX
                };
            }
            let sound = operands.run(&rig, &kernel);
            operands.pooled[1][term] = value;
            rig.under_all_schedules(|| {
                let output = operands.run(&rig, &kernel);
                assert_eq!(output.damaged, [0, damaged, 0], "{head}: {value} at {term}");
                for row in 0..3 {
                    assert_eq!(
                        output.row(row),
                        sound.row(row),
                        "{head}: {value} at {term}, row {row}"
                    );
                }
            });
        }
    }
    let mut operands = Operands::random(HEADS[0], 33, &[0.1, 0.1]);
    operands.bias[32] = nan;
    let kernel = Sparsify::load(&rig.gpu, HEADS[0]).unwrap();
    assert_eq!(operands.run(&rig, &kernel).damaged, [1, 1]);
}

#[test]
fn rows_past_the_capacity_are_counted_and_not_written() {
    let rig = Rig::new();
    let kernel = Sparsify::load(&rig.gpu, HEADS[0]).unwrap();
    let mut operands = Operands::random(HEADS[0], 1000, &[0.1, 0.9, 0.0, 0.2, 0.05, 0.3]);
    let needed = operands.run(&rig, &kernel).total as usize;
    for capacity in [0, 1, 150, 700, needed - 1, needed, needed + 1] {
        operands.capacity = capacity;
        rig.under_all_schedules(|| {
            let output = operands.run(&rig, &kernel);
            operands.check(&output);
            assert_eq!(output.total as usize, needed);
        });
    }
}

#[test]
fn rows_are_written_behind_those_of_earlier_launches() {
    let rig = Rig::new();
    let kernel = Sparsify::load(&rig.gpu, HEADS[0]).unwrap();
    let mut operands = Operands::random(HEADS[0], 1000, &[0.1, 0.0, 0.3]);
    operands.earlier = 5;
    let needed = operands.run(&rig, &kernel).total as usize;
    for capacity in [operands.capacity, needed + 5, needed + 4] {
        operands.capacity = capacity;
        rig.under_all_schedules(|| operands.check(&operands.run(&rig, &kernel)));
    }
}

#[test]
fn a_row_is_the_same_bits_in_every_run_and_company() {
    let rig = Rig::new();
    let kernel = Sparsify::load(&rig.gpu, HEADS[1]).unwrap();
    let mut operands = Operands::random(HEADS[1], 4099, &[0.01, 0.2, 0.7, 0.01]);
    operands.positions = false;
    let once = operands.run(&rig, &kernel);
    rig.under_all_schedules(|| {
        let again = operands.run(&rig, &kernel);
        for row in 0..4 {
            assert_eq!(again.row(row), once.row(row), "row {row}");
        }
    });
    operands.pooled.swap(0, 2);
    operands.pooled.truncate(1);
    assert_eq!(operands.run(&rig, &kernel).row(0), once.row(2));
}

/// As a real encoder's output: 200 of 30,522 terms.
const REAL: (usize, f64) = (30_522, 200.0 / 30_522.0);

#[test]
fn it_reads_a_row_once_and_writes_little() {
    let rig = Rig::new();
    let (terms, share) = REAL;
    let rows = 8;
    for head in HEADS {
        let kernel = Sparsify::load(&rig.gpu, head).unwrap();
        for positions in [false, true] {
            let mut operands = Operands::random(head, terms, &vec![share; rows]);
            operands.positions = positions;
            let kept = u64::from(operands.run(&rig, &kernel).total);
            let Some(launch) = rig.last_launch() else {
                return;
            };
            let counters = launch.record.counters;
            println!("{head}, {kept} kept, positions {positions}: {counters:?}");
            // Whole accesses of four, of which the last reaches into the padding.
            let (rows, read) = (rows as u64, terms.next_multiple_of(4) as u64);
            assert!((190 * rows..210 * rows).contains(&kept), "{kept}");
            // The bias is one row for all; here it counts every time.
            let bias = if head.pooling == Pooling::Max {
                rows * 4 * read + 4 * kept
            } else {
                0
            };
            let rereads = kept * if positions { 8 } else { 4 };
            assert_eq!(counters.global_load_bytes, rows * 4 * read + rereads + bias);
            let row = 12; // start, count, flag
            let entry = if positions { 12 } else { 8 };
            assert_eq!(counters.global_store_bytes, rows * row + kept * entry);
            let moved = counters.global_load_bytes - bias + counters.global_store_bytes;
            let least = rows * 4 * terms as u64 + kept * entry;
            assert!(moved as f64 <= 1.05 * least as f64, "{moved} of {least}");
            let cost = kernel.cost(rows as usize, terms, kept as usize, positions);
            assert!(
                cost.bytes >= least && cost.bytes as f64 <= 1.2 * least as f64,
                "{cost:?}"
            );
            assert_eq!(
                counters.shared_waves, counters.shared_ideal_waves,
                "{counters:?}"
            );
            assert_eq!(
                (counters.global_atomics, counters.shared_atomics),
                (rows, 0)
            );
            assert_eq!(counters.local_bytes, 0);
        }
    }
}

#[test]
fn it_reads_whole_sectors() {
    let rig = Rig::new();
    // Rows of whole sectors; the last group is in part past the end.
    let (terms, rows) = (30_520, 3);
    for head in HEADS {
        let kernel = Sparsify::load(&rig.gpu, head).unwrap();
        Operands::random(head, terms, &vec![0.0; rows]).run(&rig, &kernel);
        let Some(launch) = rig.last_launch() else {
            return;
        };
        let counters = launch.record.counters;
        assert_eq!(
            counters.global_load_sectors * 32,
            counters.global_load_bytes,
            "{counters:?}"
        );
    }
}

/// Neighbouring entries are written together: a request of the whole warp, few sectors.
#[test]
fn entries_are_written_densely() {
    let rig = Rig::new();
    let (terms, share) = REAL;
    let kernel = Sparsify::load(&rig.gpu, HEADS[2]).unwrap();
    let operands = Operands::random(HEADS[2], terms, &[share; 8]);
    let kept = u64::from(operands.run(&rig, &kernel).total);
    let Some(launch) = rig.last_launch() else {
        return;
    };
    let counters = launch.record.counters;
    // Ids, values and positions: a sector holds 8 of each, and a warp has about 6 of its 32 words in a request.
    assert!(
        counters.global_store_sectors < 3 * kept / 2,
        "{kept} kept: {counters:?}"
    );
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let rig = Rig::new();
    let gpu = &rig.gpu;
    let kernel = Sparsify::load(gpu, HEADS[0]).unwrap();
    let floats = |len| upload(gpu, &vec![0.0_f32; len]);
    let words = |len| upload(gpu, &vec![0_u32; len]);
    // Lengths of: pooled, bias, starts, values, positions before and after; then V.
    let launch = |lens: [usize; 6], terms: usize| {
        let [pooled, bias, starts, values, before, after] = lens;
        kernel.launch(SparsifyArgs {
            pooled: floats(pooled).as_view(),
            bias: floats(bias).as_view(),
            positions: Some(Positions {
                pooled: words(before).as_view(),
                kept: words(after).as_view_mut(),
            }),
            terms,
            threshold: 0.0,
            total: words(1).as_view_mut(),
            starts: words(starts).as_view_mut(),
            counts: words(2).as_view_mut(),
            damaged: words(2).as_view_mut(),
            ids: words(10).as_view_mut(),
            values: floats(values).as_view_mut(),
        })
    };
    launch([16, 8, 2, 10, 16, 10], 6).unwrap();
    for (lens, terms, named) in [
        ([12, 8, 2, 10, 16, 10], 6, "pooled has 12 elements"),
        ([16, 6, 2, 10, 16, 10], 6, "bias has 6"),
        ([16, 8, 3, 10, 16, 10], 6, "starts has 3"),
        ([16, 8, 2, 9, 16, 10], 6, "values has 9"),
        ([16, 8, 2, 10, 12, 10], 6, "pooled positions has 12"),
        ([16, 8, 2, 10, 16, 9], 6, "kept positions has 9"),
        ([16, 8, 2, 10, 16, 10], 0, "vocabulary of 0 terms"),
        (
            [16, 8, 2, 10, 16, 10],
            262_145,
            "vocabulary of 262145 terms",
        ),
    ] {
        let error = launch(lens, terms).unwrap_err();
        assert_eq!(error.category(), Category::Device);
        let text = error.to_string();
        assert!(
            text.contains("sparsify_max_relu") && text.contains(named),
            "{text}"
        );
    }
}
