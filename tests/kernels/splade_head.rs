//! `kernels/splade_head.cu`: the vocabulary projection, pooled over the tokens of each document.

use half::f16;
use lexpeak::cuda::kernels::{
    Cost, DeviceColumns, HeadColumns, Sparsify, SpladeHead, SpladeHeadArgs,
};
use lexpeak::{Activation, Category, Pooling};
use proptest::prelude::*;

use crate::oracle::{self, Tensor, ops};
use crate::precision::{assert_as_exact_as_plain, plain_dot};
use crate::rig::{Rig, assert_clean_traffic};
use crate::values::{Numbers, PAST_THE_END, Real, download, upload, wide, wide32};

/// Documents on both sides of a group, a tile and a span, which the long one in front fills early. One has no token.
const LENGTHS: [usize; 12] = [500, 129, 127, 128, 0, 65, 64, 63, 1, 7, 8, 9];

/// Vocabulary and hidden size: on both sides of tiles of 128 and steps of 32.
const SIZES: [[usize; 2]; 6] = [
    [8, 40],
    [127, 8],
    [128, 96],
    [129, 384],
    [20, 232],
    [1000, 40],
];

const HEADS: [Head; 3] = [
    Head(Pooling::Max, Activation::Relu),
    Head(Pooling::Sum, Activation::Relu),
    Head(Pooling::Sum, Activation::Log1pRelu),
];

/// What a kernel never writes.
const POISON: f32 = f32::from_bits(0x7fc0_dead);
const NOWHERE: u32 = 0xdead_beef;

#[derive(Clone, Copy, Debug)]
struct Head(Pooling, Activation);

impl Head {
    fn load(self, rig: &Rig, positions: bool) -> SpladeHead {
        SpladeHead::load(&rig.gpu, self.0, self.1, positions).unwrap()
    }

    fn is_max(self) -> bool {
        self.0 == Pooling::Max
    }
}

/// Hidden states of documents, and those rows of them that are pooled.
#[derive(Clone)]
struct Batch {
    hidden: Vec<f16>,
    decoder: Vec<f16>,
    bias: Vec<f32>,
    depth: usize,
    documents: Vec<Vec<u32>>,
}

/// A row for each document that has a token.
#[derive(PartialEq, Debug)]
struct Pooled {
    rows: Vec<Vec<f32>>,
    positions: Vec<Vec<u32>>,
}

impl Pooled {
    fn bits(&self) -> Vec<Vec<u32>> {
        let bits = |row: &Vec<f32>| row.iter().map(|value| value.to_bits()).collect();
        self.rows.iter().map(bits).collect()
    }
}

impl Batch {
    /// Each document's first and last hidden state is dropped, as special tokens are, and is no number: it must not
    /// be found anywhere.
    fn new(
        lengths: &[usize],
        [vocabulary, depth]: [usize; 2],
        mut value: impl FnMut(&mut Numbers) -> f64,
    ) -> Self {
        let mut numbers = Numbers::named("splade_head", vocabulary * 1000 + depth);
        let mut many = |len: usize| -> Vec<f16> {
            (0..len).map(|_| f16::round(value(&mut numbers))).collect()
        };
        let (mut hidden, mut documents) = (Vec::new(), Vec::new());
        for &length in lengths {
            let first = (hidden.len() / depth) as u32 + 1;
            documents.push((first..first + length as u32).collect());
            hidden.extend(vec![f16::NAN; depth]);
            hidden.extend(many(length * depth));
            hidden.extend(vec![f16::NAN; depth]);
        }
        let decoder = many(vocabulary * depth);
        let bias = many(vocabulary).into_iter().map(|v| v.value() as f32);
        Self {
            hidden,
            decoder,
            bias: bias.collect(),
            depth,
            documents,
        }
    }

    fn random(lengths: &[usize], sizes: [usize; 2]) -> Self {
        let reach = 2.0 / (sizes[1] as f64).powf(0.25);
        Self::new(lengths, sizes, |numbers| numbers.uniform(reach))
    }

    /// Exact in every step before the logarithm, with many ties.
    fn whole_numbers(lengths: &[usize], sizes: [usize; 2]) -> Self {
        Self::new(lengths, sizes, |numbers| numbers.below(3) as f64 - 1.0)
    }

    fn host(&self) -> HeadColumns {
        let mut host = HeadColumns::new();
        self.documents.iter().for_each(|rows| host.push(rows));
        host
    }

    fn tokens(&self) -> usize {
        self.documents.iter().map(Vec::len).sum()
    }

    /// Documents that have a token.
    fn pooled_documents(&self) -> impl Iterator<Item = &Vec<u32>> {
        self.documents.iter().filter(|rows| !rows.is_empty())
    }

    /// Runs it and asserts that every element below V is written and nothing else.
    fn run(&self, rig: &Rig, kernel: &SpladeHead, want_positions: bool) -> Pooled {
        let gpu = &rig.gpu;
        let host = self.host();
        let vocabulary = self.bias.len();
        let width = Sparsify::stride(vocabulary);
        let len = host.documents() * width;
        let mut pooled = upload(gpu, &vec![POISON; len + PAST_THE_END]);
        let mut positions = upload(gpu, &vec![NOWHERE; len + PAST_THE_END]);
        let [hidden, decoder] = [&self.hidden, &self.decoder].map(|values| upload(gpu, values));
        let words = upload(gpu, &host.words().concat());
        let bias = upload(gpu, &self.bias);
        let args = SpladeHeadArgs {
            hidden: hidden.as_view(),
            decoder: decoder.as_view(),
            bias: bias.as_view(),
            // SAFETY: its words were copied just now.
            columns: unsafe { DeviceColumns::new(&host, words.as_view()) },
            pooled: pooled.slice_mut(..len),
            positions: want_positions.then(|| positions.slice_mut(..len)),
        };
        kernel.launch(args).expect("the operands fit");
        let (pooled, positions) = (download(gpu, &pooled), download(gpu, &positions));

        for (at, (value, &position)) in pooled.iter().zip(&positions).enumerate() {
            let written = at < len && at % width < vocabulary;
            let (row, column) = (at / width, at % width);
            assert_eq!(
                value.to_bits() != POISON.to_bits(),
                written,
                "pooled: row {row}, column {column}"
            );
            assert_eq!(
                position != NOWHERE,
                written && want_positions,
                "positions: row {row}, column {column}"
            );
        }
        let row = |at: usize| at * width..at * width + vocabulary;
        let documents = if want_positions { host.documents() } else { 0 };
        Pooled {
            rows: (0..host.documents())
                .map(|s| pooled[row(s)].to_vec())
                .collect(),
            positions: (0..documents).map(|s| positions[row(s)].to_vec()).collect(),
        }
    }

    /// `[document][token][term]`, exactly and without bias.
    fn logits(&self) -> Vec<Vec<Vec<f64>>> {
        let decoder = Tensor {
            shape: vec![self.bias.len(), self.depth],
            data: wide(&self.decoder),
        };
        let zeros = vec![0.0; self.bias.len()];
        let token = |&row: &u32| ops::linear(&wide(self.state(row)), &decoder, &zeros);
        self.pooled_documents()
            .map(|rows| rows.iter().map(token).collect())
            .collect()
    }

    /// The same in f32, one product after the other.
    fn plain_logits(&self) -> Vec<Vec<Vec<f64>>> {
        let token = |&row: &u32| {
            let terms = self.decoder.chunks_exact(self.depth);
            let logits = terms.map(|term| f64::from(plain_dot(self.state(row), term)));
            logits.collect()
        };
        self.pooled_documents()
            .map(|rows| rows.iter().map(token).collect())
            .collect()
    }

    fn state(&self, row: u32) -> &[f16] {
        &self.hidden[row as usize * self.depth..][..self.depth]
    }

    fn exact(&self, logits: &[Vec<Vec<f64>>], head: Head) -> Vec<f64> {
        let vocabulary = self.bias.len();
        if head.is_max() {
            return logits
                .iter()
                .flat_map(|document| largest(document, vocabulary))
                .collect();
        }
        let decoder = Tensor {
            shape: vec![vocabulary, self.depth],
            data: wide(&self.decoder),
        };
        let activation = match head.1 {
            Activation::Relu => oracle::Activation::Relu,
            _ => oracle::Activation::Log1pRelu,
        };
        let pool = |rows: &Vec<u32>| {
            let states: Vec<f64> = rows.iter().flat_map(|&row| wide(self.state(row))).collect();
            let bias = wide32(&self.bias);
            ops::splade_head(&states, &decoder, &bias, oracle::Pooling::Sum, activation).weights
        };
        self.pooled_documents().flat_map(pool).collect()
    }

    /// The plainest f32 code.
    fn plain(&self, logits: &[Vec<Vec<f64>>], head: Head) -> Vec<f64> {
        let vocabulary = self.bias.len();
        if head.is_max() {
            return logits
                .iter()
                .flat_map(|document| largest(document, vocabulary))
                .collect();
        }
        let weight = |logit: f64, bias: f32| {
            let once = (logit as f32 + bias).max(0.0).ln_1p();
            match head.1 {
                Activation::Relu => once,
                _ => once.ln_1p(),
            }
        };
        let mut sums = Vec::new();
        for document in logits {
            for (v, &bias) in self.bias.iter().enumerate() {
                let weights = document.iter().map(|token| weight(token[v], bias));
                sums.push(f64::from(weights.sum::<f32>()));
            }
        }
        sums
    }
}

fn largest(document: &[Vec<f64>], vocabulary: usize) -> Vec<f64> {
    let of_term = |v: usize| {
        document
            .iter()
            .map(|token| token[v])
            .fold(f64::NEG_INFINITY, f64::max)
    };
    (0..vocabulary).map(of_term).collect()
}

#[test]
fn it_agrees_with_the_reference() {
    let rig = Rig::new();
    for sizes in SIZES {
        let batch = Batch::random(&LENGTHS, sizes);
        let (logits, plain_logits) = (batch.logits(), batch.plain_logits());
        for head in HEADS {
            let kernel = head.load(&rig, false);
            let (exact, plain) = (batch.exact(&logits, head), batch.plain(&plain_logits, head));
            let what = format!("splade_head {head:?} {sizes:?}");
            rig.under_all_schedules(|| {
                let pooled = batch.run(&rig, &kernel, false);
                assert_as_exact_as_plain(&wide32(&pooled.rows.concat()), &plain, &exact, &what);
            });
        }
    }
}

/// Maxima exactly, sums to the precision of the logarithm, and of each term the first of the many tokens that have its
/// largest logit.
#[test]
fn whole_numbers_come_out_exactly() {
    let rig = Rig::new();
    for sizes in [[129, 8], [136, 40]] {
        let batch = Batch::whole_numbers(&LENGTHS, sizes);
        let logits = batch.logits();
        for head in HEADS {
            let kernel = head.load(&rig, true);
            let exact = batch.exact(&logits, head);
            let without = batch.run(&rig, &head.load(&rig, false), false);
            rig.under_all_schedules(|| {
                let pooled = batch.run(&rig, &kernel, true);
                assert_eq!(pooled.bits(), without.bits(), "with positions and without");
                for (at, (&value, &exact)) in pooled.rows.concat().iter().zip(&exact).enumerate() {
                    let (s, v) = (at / sizes[0], at % sizes[0]);
                    let allowed = if head.is_max() { 0.0 } else { 1e-6 * exact };
                    assert!(
                        (f64::from(value) - exact).abs() <= allowed,
                        "{head:?} {sizes:?}: row {s}, column {v}: {value}, exactly {exact}"
                    );
                    let of_term: Vec<f64> = logits[s].iter().map(|token| token[v]).collect();
                    let most = of_term.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let first = of_term.iter().position(|&logit| logit == most).unwrap();
                    assert_eq!(
                        pooled.positions[s][v], first as u32,
                        "{head:?} {sizes:?}: row {s}, column {v}"
                    );
                }
            });
        }
    }
}

#[test]
fn vocabularies_of_real_models_are_pooled_to_the_last_term() {
    let rig = Rig::new();
    for sizes in [[30_522, 16], [250_002, 8]] {
        let batch = Batch::whole_numbers(&[1, 9, 3], sizes);
        let logits = batch.logits();
        for head in HEADS {
            let exact = batch.exact(&logits, head);
            let pooled = batch.run(&rig, &head.load(&rig, false), false);
            for (at, (&value, &exact)) in pooled.rows.concat().iter().zip(&exact).enumerate() {
                let allowed = if head.is_max() { 0.0 } else { 1e-6 * exact };
                assert!(
                    (f64::from(value) - exact).abs() <= allowed,
                    "{head:?}: row {}, column {}: {value}, exactly {exact}",
                    at / sizes[0],
                    at % sizes[0]
                );
            }
        }
    }
}

#[test]
fn a_document_does_not_depend_on_its_neighbours() {
    let rig = Rig::new();
    let batch = Batch::random(&LENGTHS, [136, 40]);
    for head in HEADS {
        let kernel = head.load(&rig, true);
        let run = |documents: Vec<Vec<u32>>| {
            let batch = Batch {
                documents,
                ..batch.clone()
            };
            let pooled = batch.run(&rig, &kernel, true);
            let rows = pooled.bits().into_iter().zip(pooled.positions);
            rows.collect::<Vec<_>>()
        };
        let together = run(batch.documents.clone());
        assert!(
            together == run(batch.documents.clone()),
            "the same input twice"
        );
        let mut backwards = run(batch.documents.iter().rev().cloned().collect());
        backwards.reverse();
        assert!(together == backwards, "{head:?} in another order");
        for (document, row) in batch.pooled_documents().zip(together) {
            let alone = run(vec![document.clone()]);
            assert!(alone == [row], "{head:?}: {} tokens alone", document.len());
        }
    }
}

#[test]
fn what_is_no_number_reaches_its_document_and_no_other() {
    let rig = Rig::new();
    let lengths = [9, 1, 130, 8, 64, 5];
    for head in HEADS {
        for positions in [false, true] {
            let kernel = head.load(&rig, positions);
            let before = Batch::random(&lengths, [136, 40]);
            let clean = before.run(&rig, &kernel, positions);
            // The first token of a document, the last, which is repeated, and each place in a group.
            for (document, token) in [(0, 0), (0, 8), (1, 0), (2, 77), (2, 129), (4, 62), (5, 3)] {
                let mut batch = before.clone();
                let row = batch.documents[document][token] as usize;
                batch.hidden[row * batch.depth + token % batch.depth] = f16::NAN;
                let pooled = batch.run(&rig, &kernel, positions);
                for s in 0..lengths.len() {
                    if s == document {
                        assert!(
                            pooled.rows[s].iter().all(|value| value.is_nan()),
                            "{head:?}: token {token} of document {document} is lost"
                        );
                    } else {
                        assert_eq!(pooled.rows[s], clean.rows[s], "{head:?}: document {s}");
                    }
                }
                for (row, rows) in pooled.positions.iter().zip(batch.pooled_documents()) {
                    assert!(row.iter().all(|&position| (position as usize) < rows.len()));
                }
            }
        }
    }
}

/// Share of tensor instructions among all, at least: measured, less a little for the next compiler.
fn least_mma_share(head: Head, positions: bool) -> f64 {
    let (without, with) = match head {
        Head(Pooling::Max, _) => (0.295, 0.185),
        Head(_, Activation::Relu) => (0.082, 0.071),
        _ => (0.053, 0.047),
    };
    if positions { with } else { without }
}

#[test]
fn it_writes_pooled_rows_and_nothing_else() {
    let rig = Rig::new();
    let (vocabulary, depth) = (256, 384);
    // Full tiles without padding, whose rows would be read twice: two spans, the first of 8 tiles.
    let batch = Batch::random(&[512, 128, 64, 56, 8, 256, 120, 8], [vocabulary, depth]);
    let host = batch.host();
    assert_eq!(host.spans(), [0, 1024, 1152]);
    let tiles: u64 = host
        .spans()
        .windows(2)
        .map(|span| u64::from((span[1] - span[0]).div_ceil(128)) * (vocabulary as u64 / 128))
        .sum();
    for head in HEADS {
        for positions in [false, true] {
            batch.run(&rig, &head.load(&rig, positions), positions);
            let Some(launch) = rig.last_launch() else {
                return;
            };
            assert_clean_traffic(&launch);
            let counters = launch.record.counters;
            let a_term = if positions { 8 } else { 4 };
            let stored = a_term * (host.documents() * vocabulary) as u64;
            assert_eq!(counters.global_store_bytes, stored);
            assert_eq!(counters.global_store_sectors * 32, stored);
            assert_eq!(
                counters.mma,
                tiles * 128 * 128 * depth as u64 / (16 * 8 * 16)
            );
            // Whole sectors of both operands, each once a tile. What else is read is small: `columns`, whose sector four
            // threads of a row share, `groups` and `spans`, which a warp reads one word of, and the bias.
            let operands = tiles * 2 * 128 * depth as u64 * 2;
            let rest = counters.global_load_bytes - operands;
            let rest_sectors = counters.global_load_sectors - operands / 32;
            println!(
                "splade_head {head:?}, positions {positions}: mma is {:.1} % of all instructions; beside the operands' \
                 {operands} bytes it reads {rest} in {rest_sectors} sectors",
                100.0 * counters.mma as f64 / counters.warp_instructions as f64
            );
            assert!(rest_sectors * 32 <= rest, "{counters:?}");
            assert!(rest_sectors * 32 <= operands / 30, "{counters:?}");
            let share = counters.mma as f64 / counters.warp_instructions as f64;
            assert!(share >= least_mma_share(head, positions), "{counters:?}");
        }
    }
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let rig = Rig::new();
    let gpu = &rig.gpu;
    let mut host = HeadColumns::new();
    // The largest row is not the last.
    host.push(&[4, 9, 2]);
    host.push(&[0]);
    let words = |len: usize| upload(gpu, &vec![0_u32; len]);
    let floats = |len: usize| upload(gpu, &vec![0.0_f32; len]);
    let halves = |len: usize| upload(gpu, &vec![f16::ONE; len]);
    // Hidden states of 16, 12 terms: lengths of hidden, decoder, bias, words of columns, pooled and positions.
    let refused = |want_positions, lengths: [usize; 6], named: &str| {
        let kernel = Head(Pooling::Max, Activation::Relu).load(&rig, want_positions);
        let [hidden, decoder] = [0, 1].map(|at| halves(lengths[at]));
        let bias = floats(lengths[2]);
        let columns = words(lengths[3]);
        let mut pooled = floats(lengths[4]);
        let mut positions = (lengths[5] > 0).then(|| words(lengths[5]));
        let error = kernel
            .launch(SpladeHeadArgs {
                hidden: hidden.as_view(),
                decoder: decoder.as_view(),
                bias: bias.as_view(),
                // SAFETY: no kernel runs: each launch is refused.
                columns: unsafe { DeviceColumns::new(&host, columns.as_view()) },
                pooled: pooled.as_view_mut(),
                positions: positions.as_mut().map(|positions| positions.as_view_mut()),
            })
            .unwrap_err();
        assert_eq!(error.category(), Category::Device);
        let text = error.to_string();
        assert!(
            text.contains("splade_head_max") && text.contains(named),
            "{text}"
        );
    };
    refused(false, [161, 192, 12, 20, 32, 0], "hidden has 161");
    refused(false, [160, 193, 12, 20, 32, 0], "decoder has 193");
    refused(false, [160, 192, 12, 19, 32, 0], "columns has 19");
    refused(false, [160, 192, 12, 20, 24, 0], "pooled has 24");
    refused(false, [160, 192, 12, 20, 32, 32], "positions has 32");
    refused(true, [160, 192, 12, 20, 32, 0], "positions has 0");
    refused(false, [160, 144, 12, 20, 32, 0], "hidden size of 12");
    refused(false, [160, 8, 12, 20, 32, 0], "hidden size of 0");
    refused(false, [144, 192, 12, 20, 32, 0], "rows up to 10 of 9");
}

#[test]
fn a_batch_without_a_token_launches_nothing() {
    let rig = Rig::new();
    let head = Head(Pooling::Sum, Activation::Relu);
    let batch = Batch::random(&[0, 0], [8, 8]);
    assert_eq!(batch.tokens(), 0);
    let pooled = batch.run(&rig, &head.load(&rig, false), false);
    assert!(pooled.rows.is_empty());
}

#[test]
fn its_cost_counts_tokens_and_not_their_padding() {
    let rig = Rig::new();
    let batch = Batch::random(&[9, 0, 1], [12, 16]);
    let head = Head(Pooling::Max, Activation::Relu);
    let cost = |positions| head.load(&rig, positions).cost(&batch.host(), 12, 16);
    let (operands, flops) = (2 * (10 + 12) * 16, 2 * 10 * 12 * 16);
    let bytes = operands + 4 * 2 * 12;
    assert_eq!(cost(false), Cost { bytes, flops });
    let bytes = operands + 8 * 2 * 12;
    assert_eq!(cost(true), Cost { bytes, flops });
}

proptest! {
    /// Read back as the kernel reads them, columns are the documents that were pushed.
    #[test]
    fn columns_are_the_rows_of_their_documents(
        documents in prop::collection::vec(prop::collection::vec(0_u32..5000, 0..600), 0..12),
    ) {
        let mut host = HeadColumns::default();
        documents.iter().for_each(|rows| host.push(rows));

        let mut found = vec![Vec::new()];
        let mut ends = vec![0];
        prop_assert_eq!(host.columns().len(), 8 * host.groups().len());
        for (at, (columns, word)) in host.columns().chunks(8).zip(host.groups()).enumerate() {
            let (document, real) = (word & 0x0fff_ffff, (word >> 28 & 7) as usize + 1);
            prop_assert_eq!(document as usize, found.len() - 1);
            prop_assert!(columns[real..].iter().all(|&column| column == columns[real - 1]));
            found.last_mut().unwrap().extend_from_slice(&columns[..real]);
            if word >> 31 == 1 {
                found.push(Vec::new());
                ends.push(8 * (at as u32 + 1));
            } else {
                prop_assert_eq!(real, 8, "only a document's end is padded");
            }
        }
        prop_assert!(found.pop().unwrap().is_empty(), "the last document has an end");
        let pushed: Vec<_> = documents.into_iter().filter(|rows| !rows.is_empty()).collect();
        prop_assert_eq!(host.documents(), pushed.len());
        prop_assert_eq!(found, pushed);

        let spans = host.spans();
        prop_assert_eq!(spans[0], 0);
        prop_assert_eq!(*spans.last().unwrap() as usize, host.columns().len());
        prop_assert!(spans.iter().all(|cut| ends.contains(cut)), "cut within a document");
        let lengths: Vec<u32> = spans.windows(2).map(|span| span[1] - span[0]).collect();
        // All but the last are long, and none goes on for longer than it must.
        prop_assert!(lengths.iter().rev().skip(1).all(|&length| length >= 1024));
        prop_assert!(lengths.iter().all(|&length| 0 < length && length < 1024 + 600));
    }
}
