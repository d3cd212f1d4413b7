//! `kernels/add_ln.cu`: residual sum and LayerNorm.

use half::{bf16, f16};
use lexpeak::Category;
use lexpeak::cuda::kernels::{AddLn, AddLnArgs};

use crate::oracle::ops;
use crate::precision::assert_rounded_once;
use crate::rig::{Rig, assert_clean_traffic};
use crate::values::{Half, Numbers, download, poisoned, upload, wide, wide32};

/// Hidden sizes: one thread, a part of a warp, whole warps, those of real models, and the widest.
const HIDDEN: [usize; 8] = [8, 72, 256, 264, 384, 768, 1024, 8192];

const TOKENS: [usize; 4] = [1, 2, 63, 65];

const EPS: f32 = 1e-12;

struct Operands<T> {
    x: Vec<T>,
    residual: Vec<T>,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl<T: Half> Operands<T> {
    fn random(tokens: usize, hidden: usize) -> Self {
        let mut numbers = Numbers::named("add_ln", tokens * 10_000 + hidden);
        Self {
            x: numbers.many(tokens * hidden, 4.0),
            residual: numbers.many(tokens * hidden, 4.0),
            scale: numbers.floats(hidden, 2.0),
            shift: numbers.floats(hidden, 1.0),
        }
    }

    fn run(&self, rig: &Rig, kernel: &AddLn<T>, eps: f32) -> Vec<T> {
        let gpu = &rig.gpu;
        let mut out = poisoned(gpu, self.x.len());
        let args = AddLnArgs {
            x: &upload(gpu, &self.x),
            residual: &upload(gpu, &self.residual),
            scale: &upload(gpu, &self.scale),
            shift: &upload(gpu, &self.shift),
            out: &mut out,
            hidden: self.scale.len(),
            eps,
        };
        kernel.launch(args).expect("the operands fit");
        download(gpu, &out)
    }

    fn exact(&self, eps: f32) -> Vec<f64> {
        let sum = ops::add(&wide(&self.x), &wide(&self.residual));
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
            let operands = Operands::<T>::random(tokens, hidden);
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
        residual: x.iter().map(|value| f16::round(-2.0 * value)).collect(),
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
            residual: all.residual[row.clone()].to_vec(),
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
fn it_moves_whole_sectors_and_writes_each_element_once() {
    let rig = Rig::new();
    let kernel = AddLn::<f16>::load(&rig.gpu).unwrap();
    let (tokens, hidden) = (16, 768);
    Operands::<f16>::random(tokens, hidden).run(&rig, &kernel, EPS);
    let Some(launch) = rig.last_launch() else {
        return;
    };
    assert_clean_traffic(&launch);
    let counters = launch.record.counters;
    let values = (tokens * hidden) as u64;
    assert_eq!(counters.global_store_bytes, 2 * values);
    assert_eq!(counters.global_store_sectors, 2 * values / 32);
    // x and residual in f16, and a row of scale and shift in f32 for each token.
    let (rows, parameters) = (2 * 2 * values, 2 * 4 * values);
    assert_eq!(counters.global_load_bytes, rows + parameters);
    // A thread's eight parameters are one sector, and two requests of 16 bytes both touch it.
    assert_eq!(
        counters.global_load_sectors * 32,
        rows + 2 * parameters,
        "{counters:?}"
    );
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let rig = Rig::new();
    let kernel = AddLn::<f16>::load(&rig.gpu).unwrap();
    let gpu = &rig.gpu;
    let parameters = upload(gpu, &[1.0_f32; 16]);
    let launch = |x: usize, hidden: usize| {
        let mut out = poisoned::<f16>(gpu, 32);
        let x = upload(gpu, &vec![f16::ONE; x]);
        let (scale, shift) = (&parameters, &parameters);
        kernel.launch(AddLnArgs {
            x: &x,
            residual: &x,
            scale,
            shift,
            out: &mut out,
            hidden,
            eps: EPS,
        })
    };
    launch(32, 16).unwrap();
    for (x, hidden, named) in [
        (31, 16, "x has 31 elements"),
        (32, 12, "hidden size of 12"),
        (32, 8, "scale has 16"),
        (32, 0, "hidden size of 0"),
    ] {
        let error = launch(x, hidden).unwrap_err();
        assert_eq!(error.category(), Category::Device);
        let text = error.to_string();
        assert!(
            text.contains("add_ln_f16") && text.contains(named),
            "{text}"
        );
    }
}
