//! `kernels/layer_norm.cu`: LayerNorm of sums.

use half::f16;
use lexpeak::cuda::kernels::{LayerNorm, LayerNormArgs, RowShape};

use crate::oracle::ops;
use crate::precision::assert_rounded_once;
use crate::rig::{Rig, assert_clean_traffic};
use crate::values::{Numbers, Real, download, padded, poisoned, unpadded, upload, wide, wide32};

/// Hidden sizes: a part of a chunk, of a warp, whole warps, those of real models, and around the widest of each kernel.
const HIDDEN: [usize; 14] = [
    1, 8, 20, 72, 250, 256, 384, 768, 1024, 1025, 1536, 2050, 4090, 4096,
];

const TOKENS: [usize; 4] = [1, 2, 63, 65];

const EPS: f32 = 1e-12;

struct Operands<S> {
    sums: Vec<S>,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl<S: Real> Operands<S> {
    fn random(tokens: usize, hidden: usize) -> Self {
        let mut numbers = Numbers::named("layer_norm", tokens * 10_000 + hidden);
        Self {
            sums: numbers.many(tokens * hidden, 6.0),
            scale: numbers.floats(hidden, 2.0),
            shift: numbers.floats(hidden, 1.0),
        }
    }

    fn run(&self, rig: &Rig, eps: f32) -> Vec<f16> {
        let (gpu, hidden) = (&rig.gpu, self.scale.len());
        let row = RowShape::new(hidden).expect("it fits");
        let kernel = LayerNorm::<S>::load(gpu, row).expect("there is a kernel");
        let stride = row.stride();
        let vector = |values: &[f32]| upload(gpu, &padded(values, hidden, stride));
        let sums = upload(gpu, &padded(&self.sums, hidden, stride));
        let mut out = poisoned::<f16>(gpu, sums.len());
        kernel
            .launch(LayerNormArgs {
                sums: sums.as_view(),
                scale: vector(&self.scale).as_view(),
                shift: vector(&self.shift).as_view(),
                out: out.as_view_mut(),
                eps,
            })
            .expect("the operands fit");
        unpadded(&download(gpu, &out), hidden, stride)
    }

    fn exact(&self, eps: f32) -> Vec<f64> {
        ops::layer_norm(
            &wide(&self.sums),
            &wide32(&self.scale),
            &wide32(&self.shift),
            f64::from(eps),
        )
    }
}

fn agrees_with_the_reference<S: Real>() {
    let rig = Rig::new();
    for hidden in HIDDEN {
        for tokens in TOKENS {
            // The wide ones take their time.
            if hidden > 1024 && tokens > 63 {
                continue;
            }
            let operands = Operands::<S>::random(tokens, hidden);
            let exact = operands.exact(EPS);
            rig.under_all_schedules(|| {
                let out = operands.run(&rig, EPS);
                assert_rounded_once(
                    &out,
                    &exact,
                    &format!("layer_norm {} {tokens} x {hidden}", S::NAME),
                );
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

/// Rows of 1 and -1 have mean 0 and variance 1: with small whole numbers for scale and shift every step is exact.
fn whole_numbers_come_out_exactly<S: Real>() {
    let rig = Rig::new();
    let tokens = 13;
    for hidden in [2, 520, 1024, 1026, 4096] {
        let sign = |at: usize| if at.is_multiple_of(2) { 1.0 } else { -1.0 };
        let sums: Vec<f64> = (0..tokens * hidden)
            .map(|at| sign(at + at / hidden))
            .collect();
        let operands = Operands::<S> {
            sums: sums.iter().map(|&sum| Real::round(sum)).collect(),
            scale: (0..hidden).map(|h| (h % 7) as f32 - 3.0).collect(),
            shift: (0..hidden).map(|h| (h % 5) as f32).collect(),
        };
        let expected = |at: usize| {
            let h = at % hidden;
            sums[at] * f64::from(operands.scale[h]) + f64::from(operands.shift[h])
        };
        rig.under_all_schedules(|| {
            for (at, value) in operands.run(&rig, 0.0).iter().enumerate() {
                let (row, column) = (at / hidden, at % hidden);
                let what = format!("{hidden} values: row {row}, column {column}");
                assert_eq!(value.value(), expected(at), "{what}");
            }
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
fn a_row_does_not_depend_on_its_neighbours() {
    let rig = Rig::new();
    let tokens = 9;
    for hidden in [384, 1030] {
        let all = Operands::<f32>::random(tokens, hidden);
        let together = all.run(&rig, EPS);
        assert!(together == all.run(&rig, EPS), "the same input twice");
        for token in [0, 4, 8] {
            let row = token * hidden..(token + 1) * hidden;
            let alone = Operands::<f32> {
                sums: all.sums[row.clone()].to_vec(),
                scale: all.scale.clone(),
                shift: all.shift.clone(),
            };
            assert!(alone.run(&rig, EPS) == together[row], "row {token}");
        }
    }
}

fn moves_little_more_than_it_must<S: Real>(tokens: usize, hidden: usize) {
    let rig = Rig::new();
    Operands::<S>::random(tokens, hidden).run(&rig, EPS);
    let Some(launch) = rig.last_launch() else {
        return;
    };
    assert_clean_traffic(&launch);
    let counters = launch.record.counters;
    assert_eq!(counters.global_store_bytes, (2 * tokens * hidden) as u64);
    assert_eq!(
        counters.global_store_sectors * 32,
        counters.global_store_bytes
    );
    assert_eq!(
        counters.global_load_sectors * 32,
        counters.global_load_bytes
    );
    let moved = counters.global_load_bytes + counters.global_store_bytes;
    let row = RowShape::new(hidden).unwrap();
    let least = LayerNorm::<S>::load(&rig.gpu, row)
        .unwrap()
        .cost(tokens)
        .bytes;
    let share = moved as f64 / least as f64;
    assert!((1.0..=1.05).contains(&share), "{share}");
}

#[test]
fn it_moves_little_more_than_it_must() {
    moves_little_more_than_it_must::<f16>(16_000, 768);
    moves_little_more_than_it_must::<f32>(12_000, 768);
    moves_little_more_than_it_must::<f16>(16_000, 2048);
}

#[test]
fn its_cost_counts_sums_in_their_own_type() {
    let rig = Rig::new();
    let row = RowShape::new(60).unwrap();
    let f16 = LayerNorm::<f16>::load(&rig.gpu, row).unwrap();
    let f32 = LayerNorm::<f32>::load(&rig.gpu, row).unwrap();
    assert_eq!(f16.cost(10).bytes, (2 + 2) * 10 * 64 + 8 * 64);
    assert_eq!(f32.cost(10).bytes, (4 + 2) * 10 * 64 + 8 * 64);
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let rig = Rig::new();
    let gpu = &rig.gpu;
    let parameters = upload(gpu, &[1.0_f32; 16]);
    let launch = |sums: usize, out: usize, hidden: usize| {
        LayerNorm::<f16>::load(gpu, RowShape::new(hidden)?)?.launch(LayerNormArgs {
            sums: poisoned::<f16>(gpu, sums).as_view(),
            scale: parameters.as_view(),
            shift: parameters.as_view(),
            out: poisoned::<f16>(gpu, out).as_view_mut(),
            eps: EPS,
        })
    };
    for (sums, out, hidden, named) in [
        (31, 31, 16, "layer_norm_1024_f16: sums has 31 elements"),
        (32, 16, 16, "layer_norm_1024_f16: out has 16"),
        (32, 32, 8, "layer_norm_1024_f16: scale has 16"),
        (1040, 1040, 1040, "layer_norm_4096_f16: scale has 16"),
        (
            32,
            32,
            0,
            "rows of 0 values are not among those of 1 to 4096",
        ),
        (32, 32, 4097, "rows of 4097 values are not among those"),
    ] {
        let text = launch(sums, out, hidden).unwrap_err().to_string();
        assert!(text.contains(named), "{text}");
    }
}
