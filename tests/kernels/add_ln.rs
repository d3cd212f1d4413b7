//! `kernels/add_ln.cu`: residual sum and LayerNorm.

use half::{bf16, f16};
use lexpeak::cuda::kernels::{AddLn, AddLnArgs, RowShape};

use crate::oracle::ops;
use crate::precision::assert_rounded_once;
use crate::rig::{Rig, assert_clean_traffic};
use crate::values::{Half, Numbers, download, padded, poisoned, unpadded, upload, wide, wide32};

/// Hidden sizes: a part of a chunk, of a warp, whole warps, those of real models up to the widest.
const HIDDEN: [usize; 9] = [1, 8, 20, 72, 250, 256, 384, 768, 1024];

const TOKENS: [usize; 4] = [1, 2, 63, 65];

const EPS: f32 = 1e-12;

struct Operands<T> {
    x: Vec<T>,
    residual: Option<Vec<T>>,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl<T: Half> Operands<T> {
    fn random(tokens: usize, hidden: usize) -> Self {
        let mut numbers = Numbers::named("add_ln", tokens * 10_000 + hidden);
        Self {
            x: numbers.many(tokens * hidden, 4.0),
            residual: Some(numbers.many(tokens * hidden, 4.0)),
            scale: numbers.floats(hidden, 2.0),
            shift: numbers.floats(hidden, 1.0),
        }
    }

    fn run(&self, rig: &Rig, kernel: &AddLn<T>, eps: f32) -> Vec<T> {
        let (gpu, hidden) = (&rig.gpu, self.scale.len());
        let row = RowShape::new(hidden).expect("it fits");
        let stride = row.stride();
        let vector = |values: &[f32]| upload(gpu, &padded(values, hidden, stride));
        let mut x = upload(gpu, &padded(&self.x, hidden, stride));
        let residual = self.residual.as_ref();
        let residual = residual.map(|values| upload(gpu, &padded(values, hidden, stride)));
        kernel
            .launch(AddLnArgs {
                x: x.as_view_mut(),
                residual: residual.as_ref().map(|residual| residual.as_view()),
                scale: vector(&self.scale).as_view(),
                shift: vector(&self.shift).as_view(),
                row,
                eps,
            })
            .expect("the operands fit");
        unpadded(&download(gpu, &x), hidden, stride)
    }

    fn exact(&self, eps: f32) -> Vec<f64> {
        let sum = match &self.residual {
            Some(residual) => ops::add(&wide(&self.x), &wide(residual)),
            None => wide(&self.x),
        };
        ops::layer_norm(
            &sum,
            &wide32(&self.scale),
            &wide32(&self.shift),
            f64::from(eps),
        )
    }
}

fn agrees_with_the_reference<T: Half>() {
    let rig = Rig::new();
    let kernel = AddLn::<T>::load(&rig.gpu).unwrap();
    for hidden in HIDDEN {
        for tokens in TOKENS {
            let mut operands = Operands::<T>::random(tokens, hidden);
            // Every other shape without a residual, as behind the head's transform.
            operands.residual = operands.residual.filter(|_| tokens % 2 == 1);
            let exact = operands.exact(EPS);
            rig.under_all_schedules(|| {
                let out = operands.run(&rig, &kernel, EPS);
                assert_rounded_once(
                    &out,
                    &exact,
                    &format!("add_ln {} {tokens} x {hidden}", T::NAME),
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
fn bf16_agrees_with_the_reference() {
    agrees_with_the_reference::<bf16>();
}

/// Rows of 1 and -1 have mean 0 and variance 1: with small whole numbers for scale and shift every step is exact.
#[test]
fn whole_numbers_come_out_exactly() {
    let rig = Rig::new();
    let kernel = AddLn::<f16>::load(&rig.gpu).unwrap();
    let (tokens, hidden) = (5, 520);
    let sign = |at: usize| if at.is_multiple_of(2) { 1.0 } else { -1.0 };
    let x: Vec<f64> = (0..tokens * hidden)
        .map(|at| sign(at + at / hidden))
        .collect();
    let operands = Operands {
        x: x.iter().map(|value| f16::round(3.0 * value)).collect(),
        residual: Some(x.iter().map(|value| f16::round(-2.0 * value)).collect()),
        scale: (0..hidden).map(|h| (h % 7) as f32 - 3.0).collect(),
        shift: (0..hidden).map(|h| (h % 5) as f32).collect(),
    };
    let out = operands.run(&rig, &kernel, 0.0);
    for (at, value) in out.iter().enumerate() {
        let h = at % hidden;
        let expected = x[at] * f64::from(operands.scale[h]) + f64::from(operands.shift[h]);
        assert_eq!(value.value(), expected, "row {}, column {h}", at / hidden);
    }
}

#[test]
fn a_row_does_not_depend_on_its_neighbours() {
    let rig = Rig::new();
    let kernel = AddLn::<bf16>::load(&rig.gpu).unwrap();
    let (tokens, hidden) = (9, 384);
    let all = Operands::<bf16>::random(tokens, hidden);
    let together = all.run(&rig, &kernel, EPS);
    assert!(
        together == all.run(&rig, &kernel, EPS),
        "the same input twice"
    );
    for token in [0, 4, 8] {
        let row = token * hidden..(token + 1) * hidden;
        let alone = Operands {
            x: all.x[row.clone()].to_vec(),
            residual: all
                .residual
                .as_ref()
                .map(|residual| residual[row.clone()].to_vec()),
            scale: all.scale.clone(),
            shift: all.shift.clone(),
        };
        assert!(
            alone.run(&rig, &kernel, EPS) == together[row],
            "row {token}"
        );
    }
}

#[test]
fn it_moves_little_more_than_it_must() {
    let rig = Rig::new();
    let kernel = AddLn::<f16>::load(&rig.gpu).unwrap();
    let (tokens, hidden) = (12_000, 768);
    Operands::<f16>::random(tokens, hidden).run(&rig, &kernel, EPS);
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
    let least = kernel
        .cost(tokens, RowShape::new(hidden).unwrap(), true)
        .bytes;
    let share = moved as f64 / least as f64;
    assert!((1.0..=1.05).contains(&share), "{share}");
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let rig = Rig::new();
    let kernel = AddLn::<f16>::load(&rig.gpu).unwrap();
    let gpu = &rig.gpu;
    let parameters = upload(gpu, &[1.0_f32; 16]);
    let launch = |x: usize, residual: usize, hidden: usize| {
        kernel.launch(AddLnArgs {
            x: poisoned::<f16>(gpu, x).as_view_mut(),
            residual: Some(poisoned::<f16>(gpu, residual).as_view()),
            scale: parameters.as_view(),
            shift: parameters.as_view(),
            row: RowShape::new(hidden)?,
            eps: EPS,
        })
    };
    for (x, residual, hidden, named) in [
        (31, 31, 16, "add_ln_f16: x has 31 elements"),
        (32, 16, 16, "add_ln_f16: residual has 16"),
        (32, 32, 8, "add_ln_f16: scale has 16"),
        (32, 32, 0, "hidden size of 0"),
        (32, 32, 1025, "hidden size of 1025"),
    ] {
        let text = launch(x, residual, hidden).unwrap_err().to_string();
        assert!(text.contains(named), "{text}");
    }
}
