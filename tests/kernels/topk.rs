//! `kernels/topk.cu`: the k heaviest entries of each sparse row.

use lexpeak::Category;
use lexpeak::cuda::kernels::{TopK, TopKArgs};

use crate::rig::Rig;
use crate::values::{Numbers, download, upload};

/// Entries of the rows: around warps, around blocks, and many of them.
const COUNTS: [usize; 15] = [
    1, 2, 0, 31, 32, 33, 255, 256, 257, 511, 513, 1000, 3, 4097, 5000,
];

/// Whatever the relation of k and count: every count, one less, one more.
const KS: [usize; 12] = [1, 2, 3, 32, 33, 256, 257, 999, 1000, 4999, 5000, 250_002];

/// What nobody may touch.
const POISON: u32 = 0xdead_beef;

/// An entry with the bits of its weight.
type Entry = (u32, u32, u32);

/// Sparse rows as sparsify leaves them, with gaps between and behind.
#[derive(Clone, PartialEq)]
struct Rows {
    starts: Vec<u32>,
    counts: Vec<u32>,
    ids: Vec<u32>,
    values: Vec<u32>,
    positions: Vec<u32>,
}

impl Rows {
    /// Rows of so many entries, the last row first; `weight` says the bits of a weight.
    fn new(counts: &[usize], mut weight: impl FnMut(&mut Numbers) -> u32) -> Self {
        let mut numbers = Numbers::named("topk", counts.len());
        let mut rows = Self {
            starts: vec![0; counts.len()],
            counts: counts.iter().map(|&count| count as u32).collect(),
            ids: Vec::new(),
            values: Vec::new(),
            positions: Vec::new(),
        };
        for row in (0..counts.len()).rev() {
            rows.starts[row] = rows.ids.len() as u32;
            let mut id = 0;
            for _ in 0..counts[row] {
                id += 1 + numbers.below(40) as u32;
                let weight = weight(&mut numbers);
                rows.push((id, weight, id ^ 0x5555));
            }
            for _ in 0..row % 3 {
                rows.push((POISON, POISON, POISON));
            }
        }
        rows
    }

    fn push(&mut self, (id, weight, position): Entry) {
        self.ids.push(id);
        self.values.push(weight);
        self.positions.push(position);
    }

    fn entry(&self, at: usize) -> Entry {
        (self.ids[at], self.values[at], self.positions[at])
    }

    fn segment(&self, row: usize) -> std::ops::Range<usize> {
        let start = self.starts[row] as usize;
        start..start + self.counts[row] as usize
    }

    fn row(&self, row: usize) -> Vec<Entry> {
        self.segment(row).map(|at| self.entry(at)).collect()
    }

    fn run(&self, rig: &Rig, kernel: &TopK, k: usize, positions: bool) -> Self {
        let gpu = &rig.gpu;
        let floats: Vec<f32> = self
            .values
            .iter()
            .map(|&bits| f32::from_bits(bits))
            .collect();
        let (starts, mut counts) = (upload(gpu, &self.starts), upload(gpu, &self.counts));
        let (mut ids, mut values) = (upload(gpu, &self.ids), upload(gpu, &floats));
        let mut moved = upload(gpu, &self.positions);
        let args = TopKArgs {
            starts: starts.as_view(),
            counts: counts.as_view_mut(),
            ids: ids.as_view_mut(),
            values: values.as_view_mut(),
            positions: positions.then(|| moved.as_view_mut()),
            k,
        };
        kernel.launch(args).expect("the operands fit");
        Self {
            starts: download(gpu, &starts),
            counts: download(gpu, &counts),
            ids: download(gpu, &ids),
            values: download(gpu, &values)
                .iter()
                .map(|value| value.to_bits())
                .collect(),
            positions: download(gpu, &moved),
        }
    }

    /// Asserts that `output` is this with the k heaviest entries of every row kept, and nothing else touched.
    fn check(&self, output: &Self, k: usize, what: &str) {
        for row in 0..self.counts.len() {
            let before = self.row(row);
            assert_eq!(
                output.row(row),
                heaviest(before, k),
                "{what}, k = {k}, row {row}"
            );
        }
        let owned = |at: &usize| {
            (0..self.counts.len())
                .any(|row| self.counts[row] as usize > k && self.segment(row).contains(at))
        };
        for at in (0..self.ids.len()).filter(|at| !owned(at)) {
            assert_eq!(
                output.entry(at),
                self.entry(at),
                "{what}, k = {k}, entry {at}"
            );
        }
    }
}

/// By sorting: heaviest first, then lowest id.
fn heaviest(mut row: Vec<Entry>, k: usize) -> Vec<Entry> {
    row.sort_by(|a, b| {
        f32::from_bits(b.1)
            .total_cmp(&f32::from_bits(a.1))
            .then(a.0.cmp(&b.0))
    });
    row.truncate(k);
    row.sort_unstable();
    row
}

fn agrees_with_sorting(what: &str, weight: impl FnMut(&mut Numbers) -> u32) {
    let rig = Rig::new();
    let kernel = TopK::load(&rig.gpu).unwrap();
    let rows = Rows::new(&COUNTS, weight);
    for k in KS {
        rig.under_all_schedules(|| rows.check(&rows.run(&rig, &kernel, k, true), k, what));
    }
}

#[test]
fn real_weights_agree_with_sorting() {
    agrees_with_sorting("weights up to 3", |numbers| {
        (numbers.uniform(1.5) as f32 + 1.5).max(1e-6).to_bits()
    });
}

#[test]
fn of_equal_weights_the_lowest_ids_stay() {
    agrees_with_sorting("four weights", |numbers| {
        (1.0 + numbers.below(4) as f32 / 4.0).to_bits()
    });
    agrees_with_sorting("one weight", |_| 0.75_f32.to_bits());
}

/// Every digit decides: from the smallest float to the largest, and neighbours that differ in the last bits alone.
#[test]
fn every_bit_of_a_weight_counts() {
    let largest = u64::from(f32::MAX.to_bits());
    agrees_with_sorting("all floats", |numbers| 1 + numbers.below(largest) as u32);
    let close = 1.5_f32.to_bits();
    agrees_with_sorting("neighbours", |numbers| {
        close - 300 + numbers.below(600) as u32
    });
}

#[test]
fn every_k_of_a_small_row_agrees_with_sorting() {
    let rig = Rig::new();
    let kernel = TopK::load(&rig.gpu).unwrap();
    let rows = Rows::new(&[40, 39, 70], |numbers| {
        (1.0 + numbers.below(9) as f32).to_bits()
    });
    for k in 1..=71 {
        rows.check(&rows.run(&rig, &kernel, k, true), k, "nine weights");
    }
}

#[test]
fn positions_are_left_alone_where_there_are_none() {
    let rig = Rig::new();
    let kernel = TopK::load(&rig.gpu).unwrap();
    let rows = Rows::new(&[300, 10], |numbers| 1 + numbers.below(1 << 30) as u32);
    rig.under_all_schedules(|| {
        let output = rows.run(&rig, &kernel, 100, false);
        assert!(output.positions == rows.positions);
        let with = rows.run(&rig, &kernel, 100, true);
        assert!((output.ids, output.values, output.counts) == (with.ids, with.values, with.counts));
    });
}

/// sparsify counts a row that it had no room for; nothing of it is there.
#[test]
fn rows_that_were_not_written_are_left_alone() {
    let rig = Rig::new();
    let kernel = TopK::load(&rig.gpu).unwrap();
    let mut rows = Rows::new(&[20, 400, 30], |numbers| 1 + numbers.below(1 << 30) as u32);
    let end = rows.ids.len() as u32;
    rows.starts[1] = end - 399;
    rows.starts[0] = u32::MAX - 10;
    rig.under_all_schedules(|| {
        let output = rows.run(&rig, &kernel, 5, true);
        assert_eq!(output.counts, [20, 400, 5]);
        assert_eq!(output.row(2), heaviest(rows.row(2), 5));
        let after = rows.segment(2).end;
        assert!(
            output.ids[after..] == rows.ids[after..]
                && output.values[after..] == rows.values[after..]
        );
    });
}

#[test]
fn the_same_rows_give_the_same_bits() {
    let rig = Rig::new();
    let kernel = TopK::load(&rig.gpu).unwrap();
    let rows = Rows::new(&COUNTS, |numbers| {
        (1.0 + numbers.below(50) as f32).to_bits()
    });
    let once = rows.run(&rig, &kernel, 200, true);
    rig.under_all_schedules(|| assert!(rows.run(&rig, &kernel, 200, true) == once));
}

#[test]
fn it_moves_a_row_few_times() {
    let rig = Rig::new();
    let kernel = TopK::load(&rig.gpu).unwrap();
    let (entries, k) = (200, 100);
    let rows = Rows::new(&[entries; 8], |numbers| 1 + numbers.below(1 << 30) as u32);
    rows.run(&rig, &kernel, k, true);
    let Some(launch) = rig.last_launch() else {
        return;
    };
    let counters = launch.record.counters;
    println!("8 rows of {entries}, k = {k}: {counters:?}");
    let (entries, k) = (entries as u64, k as u64);
    // Start and count; the weights four times, then all there is of an entry.
    // Every thread asks for start and count, one address a warp.
    let asked = 8 * 256 * 8;
    assert_eq!(
        counters.global_load_bytes,
        asked + 8 * entries * (4 * 4 + 12)
    );
    assert_eq!(counters.global_store_bytes, 8 * (k * 12 + 4));
    assert_eq!((counters.global_atomics, counters.local_bytes), (0, 0));
    let cost = kernel.cost(8, 8 * entries as usize, 8 * k as usize, true);
    assert_eq!(cost.bytes, 8 * (12 + 12 * (entries + k)));
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let rig = Rig::new();
    let gpu = &rig.gpu;
    let kernel = TopK::load(gpu).unwrap();
    let words = |len| upload(gpu, &vec![0_u32; len]);
    let launch = |starts: usize, values: usize, positions: usize, k: usize| {
        kernel.launch(TopKArgs {
            starts: words(starts).as_view(),
            counts: words(2).as_view_mut(),
            ids: words(10).as_view_mut(),
            values: upload(gpu, &vec![1.0_f32; values]).as_view_mut(),
            positions: Some(words(positions).as_view_mut()),
            k,
        })
    };
    launch(2, 10, 10, 1).unwrap();
    for (starts, values, positions, k, named) in [
        (3, 10, 10, 1, "starts has 3 elements"),
        (2, 9, 10, 1, "values has 9"),
        (2, 10, 11, 1, "positions has 11"),
        (2, 10, 10, 0, "the 0 heaviest"),
    ] {
        let error = launch(starts, values, positions, k).unwrap_err();
        assert_eq!(error.category(), Category::Device);
        let text = error.to_string();
        assert!(text.contains("topk") && text.contains(named), "{text}");
    }
}
