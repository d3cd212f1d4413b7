//! `kernels/l2_normalize.cu`: rows divided by their norm.

use half::f16;
use lexpeak::cuda::kernels::{DeviceRows, L2Normalize, L2NormalizeArgs, RowShape};

use crate::precision::{assert_as_exact_as_plain, assert_rounded_once};
use crate::rig::{Rig, assert_clean_traffic};
use crate::values::{Numbers, PAST_THE_END, Real, download, poisoned, unpadded, upload, wide};

/// Hidden sizes, and what is taken of them: a part of a chunk, of a warp, whole warps, sizes of real models, around the
/// widest of each kernel, and less than there is.
const SHAPES: [[usize; 2]; 19] = [
    [1, 1],
    [8, 8],
    [20, 20],
    [20, 3],
    [64, 64],
    [250, 250],
    [768, 768],
    [1000, 1000],
    [1024, 1024],
    [1024, 1],
    [1024, 13],
    [1024, 512],
    [1025, 1025],
    [1032, 1032],
    [1032, 1020],
    [2050, 2050],
    [4096, 4096],
    [4096, 1024],
    [4096, 1031],
];

/// Rows of a launch: around those that a block takes at a time, and many blocks.
const ROWS: [usize; 5] = [1, 7, 8, 9, 130];

#[derive(Clone)]
struct Operands<S> {
    hidden: usize,
    width: usize,
    /// T, hidden
    x: Vec<S>,
    rows: Vec<u32>,
}

impl<S: Real> Operands<S> {
    /// Rows in any order, some of them twice, the first and the last among them.
    fn random(rows: usize, [hidden, width]: [usize; 2]) -> Self {
        let mut numbers =
            Numbers::named("l2_normalize", rows * 100_000_000 + hidden * 10_000 + width);
        let tokens = rows + 3;
        let mut wanted: Vec<u32> = (0..rows)
            .map(|_| numbers.below(tokens as u64) as u32)
            .collect();
        wanted[0] = tokens as u32 - 1;
        *wanted.last_mut().expect("there is a row") = 0;
        Self {
            hidden,
            width,
            x: numbers.many(tokens * hidden, 6.0),
            rows: wanted,
        }
    }

    /// One row that is all of `x`.
    fn one(x: Vec<S>) -> Self {
        Self {
            hidden: x.len(),
            width: x.len(),
            x,
            rows: vec![0],
        }
    }

    /// What a row has beyond the hidden size is NaN here: nobody may look at it.
    fn run(&self, rig: &Rig) -> Vec<f16> {
        let gpu = &rig.gpu;
        let row = RowShape::new(self.hidden).expect("it fits");
        let kernel = L2Normalize::<S>::load(gpu, row).expect("there is a kernel");
        let behind = vec![S::nan(); row.stride() - self.hidden];
        let x: Vec<S> = self
            .x
            .chunks_exact(self.hidden)
            .flat_map(|row| [row, &behind].concat())
            .collect();
        let (x, rows) = (upload(gpu, &x), upload(gpu, &self.rows));
        let bound = self.rows.iter().max().map_or(0, |&most| most as usize + 1);
        let out_stride = self.width.next_multiple_of(8);
        let len = self.rows.len() * out_stride;
        let mut out = poisoned::<f16>(gpu, len + PAST_THE_END);
        kernel
            .launch(L2NormalizeArgs {
                x: x.as_view(),
                // SAFETY: the bound is that of the numbers that were copied.
                rows: unsafe { DeviceRows::new(rows.as_view(), bound) },
                width: self.width,
                out: out.slice_mut(..len),
            })
            .expect("the operands fit");
        let mut out = download(gpu, &out);
        let past = out.split_off(len);
        assert!(past.iter().all(|value| value.is_nan()), "{past:?}");
        unpadded(&out, self.width, out_stride)
    }

    /// What is taken of each row that is wanted.
    fn wanted(&self) -> impl Iterator<Item = &[S]> {
        let row = |&row: &u32| &self.x[row as usize * self.hidden..][..self.width];
        self.rows.iter().map(row)
    }

    fn exact(&self) -> Vec<f64> {
        let normalized = |row: &[S]| {
            let row = wide(row);
            let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
            row.into_iter().map(move |x| x / norm)
        };
        self.wanted().flat_map(normalized).collect()
    }

    /// In f32, one value after the other, and rounded once.
    fn plain(&self) -> Vec<f64> {
        let normalized = |row: &[S]| {
            let row: Vec<f32> = row.iter().map(|x| x.value() as f32).collect();
            let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
            row.into_iter()
                .map(move |x| f16::from_f32(x / norm).value())
        };
        self.wanted().flat_map(normalized).collect()
    }
}

fn bits(values: &[f16]) -> Vec<u16> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn agrees_with_the_reference<S: Real>() {
    let rig = Rig::new();
    for shape in SHAPES {
        for rows in ROWS {
            // The wide ones take their time.
            if shape[1] > 1024 && rows > 9 {
                continue;
            }
            let operands = Operands::<S>::random(rows, shape);
            let (exact, plain) = (operands.exact(), operands.plain());
            let what = format!("l2_normalize {} {rows} x {shape:?}", S::NAME);
            rig.under_all_schedules(|| {
                let out = operands.run(&rig);
                assert_rounded_once(&out, &exact, &what);
                assert_as_exact_as_plain(&wide(&out), &plain, &exact, &what);
            });
        }
    }
}

#[test]
fn f16_agrees_with_the_reference() {
    agrees_with_the_reference::<f16>();
}

#[test]
fn f32_agrees_with_the_reference() {
    agrees_with_the_reference::<f32>();
}

/// Rows of some values c and -c, with zeros between, whose norm is a power of two: every step is exact.
fn whole_numbers_come_out_exactly<S: Real>() {
    let rig = Rig::new();
    for (hidden, width, values) in [
        (4, 4, 4),
        (20, 20, 16),
        (64, 64, 64),
        (1000, 999, 256),
        (1024, 1024, 1024),
        (1032, 1032, 256),
        (4096, 4096, 4096),
        (4096, 4093, 1024),
    ] {
        let norm_of_ones = (values as f64).sqrt();
        let size = |token: usize| [1.0, 2.0, 8.0][token % 3];
        let place = |token: usize, i: usize| (i * width / values + token) % width;
        let tokens = 9;
        let mut x = vec![S::default(); tokens * hidden];
        let mut expected = vec![0.0; tokens * width];
        for token in 0..tokens {
            for i in 0..values {
                let sign = if i % 3 == 0 { -1.0 } else { 1.0 };
                x[token * hidden + place(token, i)] = Real::round(sign * size(token));
                expected[token * width + place(token, i)] = sign / norm_of_ones;
            }
        }
        let operands = Operands {
            hidden,
            width,
            x,
            rows: (0..tokens as u32).collect(),
        };
        rig.under_all_schedules(|| {
            assert!(wide(&operands.run(&rig)) == expected, "{width} of {hidden}");
        });
    }
}

#[test]
fn f16_whole_numbers_come_out_exactly() {
    whole_numbers_come_out_exactly::<f16>();
}

#[test]
fn f32_whole_numbers_come_out_exactly() {
    whole_numbers_come_out_exactly::<f32>();
}

#[test]
fn a_row_does_not_depend_on_its_neighbours_or_on_what_is_not_taken() {
    let rig = Rig::new();
    for [hidden, width] in [[384, 384], [1024, 100], [4096, 1030]] {
        let all = Operands::<f32>::random(9, [hidden, width]);
        let together = bits(&all.run(&rig));
        for (at, row) in all.wanted().enumerate() {
            let alone = Operands::one(row.to_vec());
            let expected = &together[at * width..][..width];
            assert_eq!(bits(&alone.run(&rig)), expected, "row {at} of {width}");
        }
        let mut damaged = all.clone();
        for row in damaged.x.chunks_exact_mut(hidden) {
            row[width..].fill(f32::NAN);
        }
        assert_eq!(bits(&damaged.run(&rig)), together, "{width} of {hidden}");
    }
    rig.assert_sound();
}

#[test]
fn zeros_stay_and_rows_near_them_are_divided_by_no_less_than_the_least_norm() {
    let rig = Rig::new();
    for width in [5, 1024, 1500] {
        let zeros = Operands::one(vec![0.0_f32; width]);
        assert_eq!(bits(&zeros.run(&rig)), vec![0; width]);
    }
    // Norms of 4, 1 and 1/4 times 1e-12.
    for (value, expected) in [(4e-12, 1.0), (1e-12, 1.0), (2.5e-13, 0.25), (1e-30, 0.0)] {
        let mut row = vec![0.0_f32; 64];
        row[37] = value;
        let out = Operands::one(row).run(&rig);
        let error = (out[37].value() - expected).abs();
        assert!(error <= 1e-6, "{value}: {}", out[37]);
        assert!(out.iter().filter(|out| out.value() != 0.0).count() <= 1);
    }
    rig.assert_sound();
}

#[test]
fn a_norm_that_is_not_finite_shows_in_its_row_alone() {
    let rig = Rig::new();
    let finite_rows = |operands: &Operands<f32>, out: &[f16]| -> Vec<bool> {
        let rows = out.chunks_exact(operands.width);
        rows.map(|row| {
            let finite = row.iter().filter(|value| value.is_finite()).count();
            assert!(finite == 0 || finite == row.len());
            assert!(row.iter().all(|value| !value.is_infinite()));
            finite > 0
        })
        .collect()
    };
    for shape in [[20, 20], [1024, 1024], [1024, 13], [1032, 1030]] {
        let clean = Operands {
            rows: (0..9).collect(),
            ..Operands::<f32>::random(9, shape)
        };
        let expected = clean.run(&rig);
        assert_eq!(finite_rows(&clean, &expected), [true; 9]);
        // The last ones have a square that is infinite, or a sum that is.
        for (value, count) in [
            (f32::NAN, 1),
            (f32::INFINITY, 1),
            (f32::NEG_INFINITY, 1),
            (1e30, 1),
            (1.5e19, 2),
        ] {
            let mut damaged = clean.clone();
            let row = &mut damaged.x[4 * shape[0]..][..shape[1]];
            row[shape[1] - count..].fill(value);
            let out = damaged.run(&rig);
            let finite = finite_rows(&clean, &out);
            let only_the_fifth: Vec<bool> = (0..9).map(|row| row != 4).collect();
            assert_eq!(finite, only_the_fifth, "{value} in rows of {shape:?}");
            let (before, after) = (4 * shape[1], 5 * shape[1]);
            assert_eq!(bits(&out[..before]), bits(&expected[..before]));
            assert_eq!(bits(&out[after..]), bits(&expected[after..]));
        }
    }
    // The largest of f16 are far from it.
    let out = Operands::one(vec![f16::MAX; 4096]).run(&rig);
    assert!(wide(&out) == vec![1.0 / 64.0; 4096]);
    let out = Operands::one(vec![f16::INFINITY; 8]).run(&rig);
    assert!(out.iter().all(|value| value.is_nan()));
    rig.assert_sound();
}

#[test]
fn no_rows_are_no_launch() {
    let rig = Rig::new();
    let operands = Operands {
        rows: Vec::new(),
        ..Operands::<f16>::random(3, [64, 64])
    };
    assert!(operands.run(&rig).is_empty());
    rig.assert_sound();
}

fn moves_no_more_than_it_must<S: Real>(rows: usize, shape: [usize; 2]) {
    let rig = Rig::new();
    Operands::<S>::random(rows, shape).run(&rig);
    let Some(launch) = rig.last_launch() else {
        return;
    };
    assert_clean_traffic(&launch);
    let counters = launch.record.counters;
    let [hidden, width] = shape;
    assert_eq!(counters.global_store_bytes, (2 * rows * width) as u64);
    assert_eq!(
        counters.global_store_sectors * 32,
        counters.global_store_bytes
    );
    let sectors = counters.global_load_sectors + counters.global_store_sectors;
    let row = RowShape::new(hidden).unwrap();
    let kernel = L2Normalize::<S>::load(&rig.gpu, row).unwrap();
    // The number of a row is 4 bytes of a sector that holds those of seven others.
    let expected = kernel.cost(rows, width).bytes + 28 * rows as u64;
    assert_eq!(32 * sectors, expected);
}

#[test]
fn it_moves_no_more_than_it_must() {
    moves_no_more_than_it_must::<f16>(1000, [1024, 1024]);
    moves_no_more_than_it_must::<f16>(1000, [1024, 256]);
    moves_no_more_than_it_must::<f32>(1000, [768, 768]);
    moves_no_more_than_it_must::<f16>(1000, [2048, 2048]);
}

#[test]
fn its_cost_counts_what_is_taken() {
    let rig = Rig::new();
    let row = RowShape::new(1024).unwrap();
    let f16 = L2Normalize::<f16>::load(&rig.gpu, row).unwrap();
    let f32 = L2Normalize::<f32>::load(&rig.gpu, row).unwrap();
    assert_eq!(f16.cost(10, 60).bytes, (2 + 2) * 640 + 40);
    assert_eq!(f32.cost(10, 1024).bytes, (4 + 2) * 10_240 + 40);
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let rig = Rig::new();
    let gpu = &rig.gpu;
    let rows = upload(gpu, &[2, 0]);
    // Two of three rows of 16.
    let launch = |x: usize, bound: usize, out: usize, width: usize| {
        L2Normalize::<f16>::load(gpu, RowShape::new(16)?)?.launch(L2NormalizeArgs {
            x: poisoned::<f16>(gpu, x).as_view(),
            // SAFETY: 3 is above both, and any other bound is refused.
            rows: unsafe { DeviceRows::new(rows.as_view(), bound) },
            width,
            out: poisoned::<f16>(gpu, out).as_view_mut(),
        })
    };
    launch(48, 3, 32, 16).expect("they fit");
    launch(48, 3, 16, 8).expect("they fit");
    launch(48, 3, 32, 9).expect("they fit");
    for (x, bound, out, width, named) in [
        (47, 3, 32, 16, "l2_normalize_1024_f16: x has 47 elements"),
        (48, 3, 24, 16, "l2_normalize_1024_f16: out has 24"),
        (48, 3, 32, 8, "l2_normalize_1024_f16: out has 32"),
        (48, 4, 32, 16, "rows below 4 of 3 hidden states"),
        (32, 3, 32, 16, "rows below 3 of 2 hidden states"),
        (48, 3, 32, 0, "0 values of rows that have 16"),
        (48, 3, 48, 17, "17 values of rows that have 16"),
    ] {
        let text = launch(x, bound, out, width).unwrap_err().to_string();
        assert!(text.contains(named), "{text}");
    }
    let rows = RowShape::new(4097).unwrap_err().to_string();
    assert!(rows.contains("4097"), "{rows}");
}
