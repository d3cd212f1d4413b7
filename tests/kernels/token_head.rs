//! `kernels/token_head.cu`: the last LayerNorm, and the weight of every token.

use half::f16;
use lexpeak::cuda::kernels::{
    DeviceSlots, LayerNorm, LayerNormArgs, RowShape, TokenHead, TokenHeadArgs,
};

use crate::oracle::ops;
use crate::precision::{assert_as_exact_as_plain, assert_rounded_once};
use crate::rig::Rig;
use crate::values::{
    Numbers, PAST_THE_END, Real, download, padded, poisoned, unpadded, upload, wide, wide32,
};

/// Hidden sizes: a part of a chunk, of a warp, whole warps, those of real models, and around the widest of each kernel.
const HIDDEN: [usize; 12] = [1, 8, 20, 64, 250, 768, 1000, 1024, 1025, 1032, 2050, 4096];

/// Around the rows that a block takes at a time, and many blocks.
const TOKENS: [usize; 5] = [1, 7, 8, 9, 130];

const NONE: u32 = DeviceSlots::NONE;

/// What the kernel leaves where a weight is not finite.
const NO_NUMBER: u32 = 0x7fff_ffff;

#[derive(Clone)]
struct Operands<S> {
    sums: Vec<S>,
    scale: Vec<f32>,
    shift: Vec<f32>,
    weight: Vec<f32>,
    bias: f32,
    slots: Vec<u32>,
    /// U; weights before the launch.
    weights: Vec<f32>,
    eps: f32,
}

impl<S: Real> Operands<S> {
    /// About two tokens a slot, some without one, and a slot that none has.
    fn random(tokens: usize, hidden: usize) -> Self {
        let mut numbers = Numbers::named("token_head", tokens * 10_000 + hidden);
        let terms = tokens / 2 + 2;
        let mut slot = || match numbers.below(8) {
            0 => NONE,
            _ => numbers.below(terms as u64 - 1) as u32,
        };
        let slots = (0..tokens).map(|_| slot()).collect();
        Self {
            sums: numbers.many(tokens * hidden, 6.0),
            scale: numbers.floats(hidden, 2.0),
            shift: numbers.floats(hidden, 1.0),
            weight: numbers.floats(hidden, 0.5),
            bias: 0.25,
            slots,
            weights: vec![0.0; terms],
            eps: 1e-5,
        }
    }

    /// Rows of 1 and -1 have mean 0 and variance 1: with small whole numbers for the rest every step is exact.
    fn whole(tokens: usize, hidden: usize) -> Self {
        let sign = |at: usize| if at.is_multiple_of(2) { 1.0 } else { -1.0 };
        let random = Self::random(tokens, hidden);
        let sum = |at: usize| Real::round(sign(at + at / hidden));
        Self {
            sums: (0..tokens * hidden).map(sum).collect(),
            scale: (0..hidden).map(|h| (h % 7) as f32 - 3.0).collect(),
            shift: (0..hidden).map(|h| (h % 5) as f32 - 2.0).collect(),
            weight: (0..hidden).map(|h| (h % 4) as f32 - 1.0).collect(),
            bias: 3.0,
            eps: 0.0,
            ..random
        }
    }

    fn hidden(&self) -> usize {
        self.scale.len()
    }

    /// The normalised rows and the weights.
    fn run(&self, rig: &Rig) -> (Vec<f16>, Vec<f32>) {
        let (out, weights) = self.launch(rig, true);
        (out.expect("it was passed"), weights)
    }

    fn launch(&self, rig: &Rig, stored: bool) -> (Option<Vec<f16>>, Vec<f32>) {
        let (gpu, hidden) = (&rig.gpu, self.hidden());
        let row = RowShape::new(hidden).expect("it fits");
        let kernel = TokenHead::<S>::load(gpu, row).expect("there is a kernel");
        let stride = row.stride();
        let vector = |values: &[f32]| upload(gpu, &padded(values, hidden, stride));
        let sums = upload(gpu, &padded(&self.sums, hidden, stride));
        let slots = upload(gpu, &self.slots);
        let terms = self.weights.len();
        assert!(
            self.slots
                .iter()
                .all(|&slot| slot == NONE || (slot as usize) < terms)
        );
        let mut weights = upload(
            gpu,
            &[&self.weights[..], &[f32::NAN; PAST_THE_END]].concat(),
        );
        let mut out = stored.then(|| poisoned::<f16>(gpu, sums.len()));
        kernel
            .launch(TokenHeadArgs {
                sums: sums.as_view(),
                scale: vector(&self.scale).as_view(),
                shift: vector(&self.shift).as_view(),
                weight: vector(&self.weight).as_view(),
                bias: upload(gpu, &[self.bias]).as_view(),
                // SAFETY: they were looked at just now.
                slots: unsafe { DeviceSlots::new(slots.as_view(), terms) },
                out: out.as_mut().map(|out| out.as_view_mut()),
                weights: weights.slice_mut(..terms),
                eps: self.eps,
            })
            .expect("the operands fit");
        let mut weights = download(gpu, &weights);
        let past = weights.split_off(terms);
        assert!(past.iter().all(|value| value.is_nan()), "{past:?}");
        (
            out.map(|out| unpadded(&download(gpu, &out), hidden, stride)),
            weights,
        )
    }

    /// What LayerNorm's own kernel makes of it.
    fn layer_norm(&self, rig: &Rig) -> Vec<f16> {
        let (gpu, hidden) = (&rig.gpu, self.hidden());
        let row = RowShape::new(hidden).expect("it fits");
        let stride = row.stride();
        let vector = |values: &[f32]| upload(gpu, &padded(values, hidden, stride));
        let sums = upload(gpu, &padded(&self.sums, hidden, stride));
        let mut out = poisoned::<f16>(gpu, sums.len());
        LayerNorm::<S>::load(gpu, row)
            .expect("there is a kernel")
            .launch(LayerNormArgs {
                sums: sums.as_view(),
                scale: vector(&self.scale).as_view(),
                shift: vector(&self.shift).as_view(),
                out: out.as_view_mut(),
                eps: self.eps,
            })
            .expect("the operands fit");
        unpadded(&download(gpu, &out), hidden, stride)
    }

    /// Rows and weights in f64.
    fn exact(&self) -> (Vec<f64>, Vec<f64>) {
        let [scale, shift, weight] = [&self.scale, &self.shift, &self.weight].map(|v| wide32(v));
        let rows = ops::layer_norm(&wide(&self.sums), &scale, &shift, f64::from(self.eps));
        let products: Vec<f64> = rows
            .chunks_exact(self.hidden())
            .map(|row| row.iter().zip(&weight).map(|(y, w)| y * w).sum::<f64>())
            .map(|product| product + f64::from(self.bias))
            .collect();
        let weights = self.largest(&products);
        (rows, weights)
    }

    /// Weights in f32, every sum one value after the other.
    fn plain(&self) -> Vec<f64> {
        let count = self.hidden() as f32;
        let product = |row: &[S]| {
            let row: Vec<f32> = row.iter().map(|x| x.value() as f32).collect();
            let mean = row.iter().sum::<f32>() / count;
            let squares = row.iter().map(|x| (x - mean) * (x - mean));
            let inverse = 1.0 / (squares.sum::<f32>() / count + self.eps).sqrt();
            let mut product = 0.0;
            for (h, x) in row.iter().enumerate() {
                let y = (x - mean) * inverse * self.scale[h] + self.shift[h];
                product += y * self.weight[h];
            }
            f64::from(product + self.bias)
        };
        let rows = self.sums.chunks_exact(self.hidden());
        self.largest(&rows.map(product).collect::<Vec<f64>>())
    }

    /// The largest product of each slot, at least 0.
    fn largest(&self, products: &[f64]) -> Vec<f64> {
        let mut weights = vec![0.0; self.weights.len()];
        for (&slot, &product) in self.slots.iter().zip(products) {
            if slot != NONE {
                let weight: &mut f64 = &mut weights[slot as usize];
                *weight = weight.max(product);
            }
        }
        weights
    }
}

fn bits(weights: &[f32]) -> Vec<u32> {
    weights.iter().map(|weight| weight.to_bits()).collect()
}

fn agrees_with_the_reference<S: Real>() {
    let rig = Rig::new();
    for hidden in HIDDEN {
        // The wide ones take their time.
        let most = if hidden > 1024 { 9 } else { usize::MAX };
        let batches: Vec<_> = TOKENS
            .into_iter()
            .filter(|&tokens| tokens <= most)
            .map(|tokens| Operands::<S>::random(tokens, hidden))
            .collect();
        let exact: Vec<_> = batches.iter().map(Operands::exact).collect();
        let plain: Vec<f64> = batches.iter().flat_map(Operands::plain).collect();
        rig.under_all_schedules(|| {
            let (mut weights, mut exact_weights) = (Vec::new(), Vec::new());
            for (operands, (exact_rows, exact)) in batches.iter().zip(&exact) {
                let what = format!("token_head {} {hidden} values", S::NAME);
                let (out, got) = operands.run(&rig);
                assert_rounded_once(&out, exact_rows, &what);
                weights.extend(wide32(&got));
                exact_weights.extend(exact);
            }
            let what = format!("weights {} {hidden} values", S::NAME);
            assert_as_exact_as_plain(&weights, &plain, &exact_weights, &what);
        });
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

fn whole_numbers_come_out_exactly<S: Real>() {
    let rig = Rig::new();
    for hidden in [2, 20, 64, 520, 1000, 1024, 1032, 4096] {
        let operands = Operands::<S>::whole(13, hidden);
        let products: Vec<f64> = operands
            .sums
            .chunks_exact(hidden)
            .map(|row| {
                let term = |h: usize| {
                    let y = row[h].value() * f64::from(operands.scale[h]);
                    (y + f64::from(operands.shift[h])) * f64::from(operands.weight[h])
                };
                (0..hidden).map(term).sum::<f64>() + f64::from(operands.bias)
            })
            .collect();
        let expected = operands.largest(&products);
        assert!(expected.iter().any(|&weight| weight > 0.0));
        rig.under_all_schedules(|| {
            let (_, weights) = operands.run(&rig);
            assert_eq!(wide32(&weights), expected, "{hidden} values");
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

fn rows_are_those_of_layer_norm<S: Real>() {
    let rig = Rig::new();
    for hidden in HIDDEN {
        let operands = Operands::<S>::random(9, hidden);
        let (out, weights) = operands.run(&rig);
        assert!(out == operands.layer_norm(&rig), "{hidden} values");
        let (none, alone) = operands.launch(&rig, false);
        assert!(none.is_none());
        assert_eq!(bits(&weights), bits(&alone), "{hidden} values");
    }
    rig.assert_sound();
}

#[test]
fn f16_rows_are_those_of_layer_norm() {
    rows_are_those_of_layer_norm::<f16>();
}

#[test]
fn f32_rows_are_those_of_layer_norm() {
    rows_are_those_of_layer_norm::<f32>();
}

/// Each token has a slot of its own, so that the weights are those of the tokens.
fn one_slot_each<S: Real>(tokens: usize, hidden: usize) -> Operands<S> {
    Operands {
        slots: (0..tokens as u32).collect(),
        weights: vec![0.0; tokens],
        bias: 2.0,
        ..Operands::random(tokens, hidden)
    }
}

#[test]
fn a_token_does_not_depend_on_its_neighbours() {
    let rig = Rig::new();
    for hidden in [384, 1030] {
        let all = one_slot_each::<f32>(9, hidden);
        let (_, together) = all.run(&rig);
        for token in [0, 4, 8] {
            let alone = Operands {
                sums: all.sums[token * hidden..(token + 1) * hidden].to_vec(),
                slots: vec![0],
                weights: vec![0.0],
                ..all.clone()
            };
            let (_, alone) = alone.run(&rig);
            assert_eq!(
                bits(&alone),
                bits(&together[token..=token]),
                "token {token}"
            );
        }
    }
    rig.assert_sound();
}

/// The maximum over many blocks that raise it at the same time, and more tokens than all blocks take at once.
#[test]
fn the_largest_of_many_tokens_is_exact_in_any_order() {
    let rig = Rig::new();
    let (tokens, hidden) = (2500, 64);
    let each = one_slot_each::<f16>(tokens, hidden);
    let (_, weights) = each.run(&rig);
    let (_, exact) = each.exact();
    assert_as_exact_as_plain(&wide32(&weights), &each.plain(), &exact, "many tokens");
    let largest = |slot: u32| {
        let mine = weights.iter().skip(slot as usize).step_by(3);
        mine.copied().fold(0.0, f32::max)
    };
    let shared = Operands {
        slots: (0..tokens as u32).map(|token| token % 3).collect(),
        weights: vec![0.0; 3],
        ..each
    };
    let expected = [0, 1, 2].map(largest);
    assert!(expected.iter().all(|&weight| weight > 0.0));
    rig.under_all_schedules(|| {
        let (_, weights) = shared.launch(&rig, false);
        assert_eq!(bits(&weights), bits(&expected));
    });
}

#[test]
fn a_weight_is_raised_and_never_lowered() {
    let rig = Rig::new();
    let operands = Operands {
        slots: vec![0, 1, NONE, 0, 1, NONE, 0, 1, 1],
        weights: vec![0.0, 1e6, 0.0, 0.5],
        ..one_slot_each::<f16>(9, 64)
    };
    let (_, weights) = operands.launch(&rig, false);
    assert!(weights[0] > 0.0 && weights[0] < 1e6, "{weights:?}");
    assert_eq!(bits(&weights[1..]), bits(&[1e6, 0.0, 0.5]));
    rig.assert_sound();
}

#[test]
fn what_is_not_above_zero_leaves_zeros() {
    let rig = Rig::new();
    let hidden = 64;
    let scale = vec![0.0; hidden];
    // Rows are the shift, 1 everywhere, and the product is the sum of `weight`.
    for (each, bias) in [
        (-1.0, 0.0),
        (1.0, -64.0),
        (0.0, 0.0),
        (-0.0, -0.0),
        (0.0, -1e-30),
    ] {
        let operands = Operands {
            scale: scale.clone(),
            shift: vec![1.0; hidden],
            weight: vec![each; hidden],
            bias,
            ..one_slot_each::<f32>(9, hidden)
        };
        let (_, weights) = operands.launch(&rig, false);
        assert_eq!(bits(&weights), vec![0; 9], "{each} and {bias}");
        if let Some(launch) = rig.last_launch() {
            assert_eq!(launch.record.counters.global_atomics, 0);
        }
    }
    rig.assert_sound();
}

#[test]
fn what_is_not_finite_shows() {
    let rig = Rig::new();
    let hidden = 64;
    let clean = Operands {
        slots: vec![0, 1, 2, NONE, 2, 3, 1, 0, 3],
        weights: vec![0.0; 4],
        ..one_slot_each::<f32>(9, hidden)
    };
    let (_, expected) = clean.launch(&rig, false);
    assert!(expected.iter().all(|weight| weight.is_finite()));

    // One value of a token: its slot has NaN whatever its other token weighs, and the other slots are as before.
    for value in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for token in [4, 3] {
            let mut damaged = clean.clone();
            damaged.sums[token * hidden + 17] = value;
            let mut shown = bits(&expected);
            if clean.slots[token] != NONE {
                shown[2] = NO_NUMBER;
            }
            rig.under_all_schedules(|| {
                let (_, weights) = damaged.launch(&rig, false);
                assert_eq!(bits(&weights), shown, "{value} in token {token}");
            });
        }
    }

    // Rows of 1: products that leave the range of f32 upwards and downwards, and biases that are no numbers.
    let ones = |weight: f32, bias: f32| Operands {
        scale: vec![0.0; hidden],
        shift: vec![1.0; hidden],
        weight: vec![weight; hidden],
        bias,
        ..clean.clone()
    };
    for (weight, bias) in [
        (3e38, 0.0),
        (-3e38, 0.0),
        (1.0, f32::INFINITY),
        (1.0, f32::NEG_INFINITY),
        (1.0, f32::NAN),
    ] {
        let (_, weights) = ones(weight, bias).launch(&rig, false);
        assert_eq!(bits(&weights), [NO_NUMBER; 4], "{weight} and {bias}");
    }
    rig.assert_sound();
}

#[test]
fn a_batch_without_a_slot_or_a_token_weighs_nothing() {
    let rig = Rig::new();
    let without_slots = Operands {
        slots: vec![NONE; 9],
        weights: Vec::new(),
        ..one_slot_each::<f16>(9, 64)
    };
    let (out, weights) = without_slots.run(&rig);
    assert!(out == without_slots.layer_norm(&rig));
    assert!(weights.is_empty());
    if let Some(launch) = rig.last_launch() {
        assert_eq!(launch.record.counters.global_atomics, 0);
    }
    let without_tokens = Operands {
        sums: Vec::new(),
        slots: Vec::new(),
        weights: vec![0.0; 3],
        ..without_slots
    };
    let (out, weights) = without_tokens.run(&rig);
    assert!(out.is_empty());
    assert_eq!(bits(&weights), [0; 3]);
    rig.assert_sound();
}

fn moves_little_more_than_it_must<S: Real>(tokens: usize, hidden: usize, stored: bool) {
    let rig = Rig::new();
    let operands = one_slot_each::<S>(tokens, hidden);
    operands.launch(&rig, stored);
    let Some(launch) = rig.last_launch() else {
        return;
    };
    let counters = launch.record.counters;
    assert_eq!(counters.shared_waves, counters.shared_ideal_waves);
    assert_eq!(counters.shared_atomics + counters.local_bytes, 0);
    assert!((1..=tokens as u64).contains(&counters.global_atomics));
    let written = if stored { 2 * tokens * hidden } else { 0 };
    assert_eq!(counters.global_store_bytes, written as u64);
    assert_eq!(
        counters.global_store_sectors * 32,
        counters.global_store_bytes
    );
    let sectors = counters.global_load_sectors + counters.global_store_sectors;
    let row = RowShape::new(hidden).unwrap();
    let kernel = TokenHead::<S>::load(&rig.gpu, row).unwrap();
    // A slot is 4 bytes of a sector that holds those of seven others, and a weight is raised beside these counters.
    let least = kernel.cost(tokens, 0, stored).bytes + 28 * tokens as u64;
    let share = (32 * sectors) as f64 / least as f64;
    // Each block reads the three vectors.
    assert!((1.0..=1.07).contains(&share), "{share}");
}

#[test]
fn it_moves_little_more_than_it_must() {
    moves_little_more_than_it_must::<f16>(16_000, 768, true);
    moves_little_more_than_it_must::<f16>(24_000, 768, false);
    moves_little_more_than_it_must::<f32>(12_000, 768, true);
    moves_little_more_than_it_must::<f16>(16_000, 2048, true);
}

#[test]
fn its_cost_counts_what_is_asked_for() {
    let rig = Rig::new();
    let row = RowShape::new(60).unwrap();
    let f16 = TokenHead::<f16>::load(&rig.gpu, row).unwrap();
    let f32 = TokenHead::<f32>::load(&rig.gpu, row).unwrap();
    let vectors = 12 * 64 + 4;
    assert_eq!(f16.cost(10, 7, false).bytes, 2 * 640 + vectors + 40 + 28);
    assert_eq!(f16.cost(10, 7, true).bytes, 4 * 640 + vectors + 40 + 28);
    assert_eq!(f32.cost(10, 7, true).bytes, 6 * 640 + vectors + 40 + 28);
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let rig = Rig::new();
    let gpu = &rig.gpu;
    struct Lengths {
        sums: usize,
        scale: usize,
        shift: usize,
        weight: usize,
        bias: usize,
        out: usize,
        weights: usize,
    }
    // Two tokens of 16 values and three slots.
    let fitting = || Lengths {
        sums: 32,
        scale: 16,
        shift: 16,
        weight: 16,
        bias: 1,
        out: 32,
        weights: 3,
    };
    let slots = upload(gpu, &[2, 0]);
    let launch = |lengths: Lengths| {
        let floats = |len: usize| upload(gpu, &vec![1.0_f32; len]);
        TokenHead::<f16>::load(gpu, RowShape::new(16)?)?.launch(TokenHeadArgs {
            sums: poisoned::<f16>(gpu, lengths.sums).as_view(),
            scale: floats(lengths.scale).as_view(),
            shift: floats(lengths.shift).as_view(),
            weight: floats(lengths.weight).as_view(),
            bias: floats(lengths.bias).as_view(),
            // SAFETY: both are below 3.
            slots: unsafe { DeviceSlots::new(slots.as_view(), 3) },
            out: Some(poisoned::<f16>(gpu, lengths.out).as_view_mut()),
            weights: floats(lengths.weights).as_view_mut(),
            eps: 1e-5,
        })
    };
    launch(fitting()).expect("they fit");
    for (wrong, named) in [
        (
            Lengths {
                sums: 31,
                ..fitting()
            },
            "sums has 31 elements",
        ),
        (
            Lengths {
                scale: 8,
                ..fitting()
            },
            "scale has 8",
        ),
        (
            Lengths {
                shift: 24,
                ..fitting()
            },
            "shift has 24",
        ),
        (
            Lengths {
                weight: 15,
                ..fitting()
            },
            "weight has 15",
        ),
        (
            Lengths {
                bias: 2,
                ..fitting()
            },
            "bias has 2",
        ),
        (
            Lengths {
                out: 16,
                ..fitting()
            },
            "out has 16",
        ),
        (
            Lengths {
                weights: 2,
                ..fitting()
            },
            "weights has 2",
        ),
    ] {
        let text = launch(wrong).unwrap_err().to_string();
        assert!(text.contains(named), "{text}");
        assert!(text.contains("token_head_1024_f16"), "{text}");
    }
}
