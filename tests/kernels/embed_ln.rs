//! `kernels/embed_ln.cu`: embeddings and LayerNorm.

use half::f16;
use lexpeak::cuda::kernels::{DeviceTokens, EmbedLn, EmbedLnArgs, RowShape};

use crate::oracle::ops;
use crate::precision::assert_rounded_once;
use crate::rig::{Rig, assert_clean_traffic};
use crate::values::{Numbers, Real, download, padded, poisoned, unpadded, upload, wide, wide32};

/// A part of a chunk, of a warp, whole warps, sizes of real models, and around the widest of each kernel.
const HIDDEN: [usize; 13] = [
    1, 8, 20, 72, 250, 384, 768, 1024, 1025, 1536, 2050, 4090, 4096,
];
const VOCABULARY: usize = 101;
const PLACES: usize = 40;
const EPS: f32 = 1e-12;

struct Operands {
    ids: Vec<u32>,
    positions: Vec<u32>,
    words: Vec<f16>,
    places: Vec<f16>,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl Operands {
    /// Texts of several lengths, end to end; the first and the last row of each table are among those looked up.
    fn random(lengths: &[usize], hidden: usize) -> Self {
        let mut numbers = Numbers::named("embed_ln", hidden);
        let positions: Vec<u32> = lengths
            .iter()
            .flat_map(|&length| 0..length as u32)
            .collect();
        let mut ids: Vec<u32> = positions
            .iter()
            .map(|_| numbers.below(VOCABULARY as u64) as u32)
            .collect();
        ids[0] = VOCABULARY as u32 - 1;
        *ids.last_mut().expect("there is a token") = 0;
        Self {
            ids,
            positions,
            words: numbers.many(VOCABULARY * hidden, 2.0),
            places: numbers.many(PLACES * hidden, 1.0),
            scale: numbers.floats(hidden, 2.0),
            shift: numbers.floats(hidden, 1.0),
        }
    }

    fn run(&self, rig: &Rig) -> lexpeak::Result<Vec<f16>> {
        let (gpu, hidden) = (&rig.gpu, self.scale.len());
        let row = RowShape::new(hidden)?;
        let kernel = EmbedLn::load(gpu, row)?;
        let stride = row.stride();
        let table = |rows: &[f16]| upload(gpu, &padded(rows, hidden, stride));
        let vector = |values: &[f32]| upload(gpu, &padded(values, hidden, stride));
        let (ids, positions) = (upload(gpu, &self.ids), upload(gpu, &self.positions));
        let bound = |numbers: &[u32]| numbers.iter().max().map_or(0, |&most| most as usize + 1);
        let bounds = [bound(&self.ids), bound(&self.positions)];
        let mut out = poisoned(gpu, self.ids.len() * stride);
        // SAFETY: the bounds are those of the numbers that were copied.
        let tokens =
            unsafe { DeviceTokens::new(ids.as_view(), positions.as_view(), bounds[0], bounds[1]) };
        kernel.launch(EmbedLnArgs {
            tokens,
            words: table(&self.words).as_view(),
            places: table(&self.places).as_view(),
            scale: vector(&self.scale).as_view(),
            shift: vector(&self.shift).as_view(),
            out: out.as_view_mut(),
            eps: EPS,
        })?;
        Ok(unpadded(&download(gpu, &out), hidden, stride))
    }

    fn exact(&self) -> Vec<f64> {
        let hidden = self.scale.len();
        let rows = |table: &[f16], numbers: &[u32]| -> Vec<f64> {
            let row = |&number: &u32| wide(&table[number as usize * hidden..][..hidden]);
            numbers.iter().flat_map(row).collect()
        };
        let sum = ops::add(
            &rows(&self.words, &self.ids),
            &rows(&self.places, &self.positions),
        );
        ops::layer_norm(
            &sum,
            &wide32(&self.scale),
            &wide32(&self.shift),
            f64::from(EPS),
        )
    }
}

#[test]
fn it_agrees_with_the_reference() {
    let rig = Rig::new();
    for hidden in HIDDEN {
        for lengths in [&[1][..], &[PLACES], &[3, 1, 25, 34]] {
            // The wide ones take their time.
            if hidden > 1024 && lengths.len() > 1 {
                continue;
            }
            let operands = Operands::random(lengths, hidden);
            let exact = operands.exact();
            rig.under_all_schedules(|| {
                let out = operands.run(&rig).unwrap();
                assert_rounded_once(&out, &exact, &format!("embed_ln {lengths:?} x {hidden}"));
            });
        }
    }
}

fn moves_little_more_than_it_must(hidden: usize) {
    let rig = Rig::new();
    let kernel = EmbedLn::load(&rig.gpu, RowShape::new(hidden).unwrap()).unwrap();
    let operands = Operands::random(&[PLACES; 300], hidden);
    operands.run(&rig).unwrap();
    let Some(launch) = rig.last_launch() else {
        return;
    };
    assert_clean_traffic(&launch);
    let counters = launch.record.counters;
    let tokens = operands.ids.len();
    assert_eq!(counters.global_store_bytes, (2 * tokens * hidden) as u64);
    assert_eq!(
        counters.global_store_sectors * 32,
        counters.global_store_bytes
    );
    let moved = counters.global_load_bytes + counters.global_store_bytes;
    let least = kernel.cost(tokens).bytes;
    // An id is read by all lanes of a warp, which is one access of 4 bytes but counts for each.
    let broadcasts = (2 * 31 * 4 * tokens) as u64;
    let share = (moved - broadcasts) as f64 / least as f64;
    assert!((1.0..=1.05).contains(&share), "{share}");
}

#[test]
fn it_moves_little_more_than_it_must() {
    moves_little_more_than_it_must(768);
    moves_little_more_than_it_must(1536);
}

/// Rows of 1 and -1 have mean 0 and variance 1: with small whole numbers for scale and shift every step is exact.
#[test]
fn whole_numbers_come_out_exactly() {
    let rig = Rig::new();
    for hidden in [2, 520, 1024, 1026, 4096] {
        let mut operands = Operands::random(&[5, 8], hidden);
        let sign = |at: usize| if at.is_multiple_of(2) { 1.0 } else { -1.0 };
        let rows = |rows: usize, factor: f64| -> Vec<f16> {
            let value = |at: usize| factor * sign(at % hidden);
            (0..rows * hidden).map(|at| f16::round(value(at))).collect()
        };
        operands.words = rows(VOCABULARY, 3.0);
        operands.places = rows(PLACES, -2.0);
        operands.scale = (0..hidden).map(|h| (h % 7) as f32 - 3.0).collect();
        operands.shift = (0..hidden).map(|h| (h % 5) as f32).collect();
        rig.under_all_schedules(|| {
            // The epsilon is lost beside a variance of 1.
            let out = operands.run(&rig).unwrap();
            for (at, value) in out.iter().enumerate() {
                let (row, h) = (at / hidden, at % hidden);
                let expected =
                    sign(h) * f64::from(operands.scale[h]) + f64::from(operands.shift[h]);
                assert_eq!(
                    value.value(),
                    expected,
                    "{hidden} values: row {row}, column {h}"
                );
            }
        });
    }
}

#[test]
fn ids_and_positions_outside_their_tables_are_refused() {
    let rig = Rig::new();
    let mut operands = Operands::random(&[5], 64);
    operands.ids[3] = VOCABULARY as u32;
    let text = operands.run(&rig).unwrap_err().to_string();
    assert!(
        text.contains("embed_ln_1024_f16") && text.contains("words") && text.contains("row 101"),
        "{text}"
    );
    operands.ids[3] = 0;
    operands.positions[2] = u32::MAX;
    let text = operands.run(&rig).unwrap_err().to_string();
    assert!(text.contains("places"), "{text}");
    operands.positions.pop();
    let text = operands.run(&rig).unwrap_err().to_string();
    assert!(text.contains("positions has 4"), "{text}");
}

#[test]
fn a_batch_without_a_token_launches_nothing() {
    let rig = Rig::new();
    let mut operands = Operands::random(&[1], 64);
    operands.ids.clear();
    operands.positions.clear();
    assert!(operands.run(&rig).unwrap().is_empty());
}
