//! `kernels/embed_ln.cu`: embeddings and LayerNorm.

use half::{bf16, f16};
use lexpeak::cuda::kernels::{DeviceTokens, EmbedLn, EmbedLnArgs, RowShape};

use crate::oracle::ops;
use crate::precision::assert_rounded_once;
use crate::rig::{Rig, assert_clean_traffic};
use crate::values::{Half, Numbers, download, padded, poisoned, unpadded, upload, wide, wide32};

/// A part of a chunk, of a warp, whole warps, and sizes of real models up to the widest.
const HIDDEN: [usize; 8] = [1, 8, 20, 72, 250, 384, 768, 1024];
const VOCABULARY: usize = 101;
const PLACES: usize = 40;
const EPS: f32 = 1e-12;

struct Operands<T> {
    ids: Vec<u32>,
    positions: Vec<u32>,
    words: Vec<T>,
    places: Vec<T>,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl<T: Half> Operands<T> {
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

    fn run(&self, rig: &Rig, kernel: &EmbedLn<T>) -> lexpeak::Result<Vec<T>> {
        let (gpu, hidden) = (&rig.gpu, self.scale.len());
        let row = RowShape::new(hidden)?;
        let stride = row.stride();
        let table = |rows: &[T]| upload(gpu, &padded(rows, hidden, stride));
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
            row,
            eps: EPS,
        })?;
        Ok(unpadded(&download(gpu, &out), hidden, stride))
    }

    fn exact(&self) -> Vec<f64> {
        let hidden = self.scale.len();
        let rows = |table: &[T], numbers: &[u32]| -> Vec<f64> {
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

fn agrees_with_the_reference<T: Half>() {
    let rig = Rig::new();
    let kernel = EmbedLn::<T>::load(&rig.gpu).unwrap();
    for hidden in HIDDEN {
        for lengths in [&[1][..], &[PLACES], &[3, 1, 25, 34]] {
            let operands = Operands::<T>::random(lengths, hidden);
            let exact = operands.exact();
            rig.under_all_schedules(|| {
                let out = operands.run(&rig, &kernel).unwrap();
                assert_rounded_once(
                    &out,
                    &exact,
                    &format!("embed_ln {} {lengths:?} x {hidden}", T::NAME),
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

#[test]
fn it_moves_little_more_than_it_must() {
    let rig = Rig::new();
    let kernel = EmbedLn::<f16>::load(&rig.gpu).unwrap();
    let (hidden, row) = (768, RowShape::new(768).unwrap());
    let operands = Operands::<f16>::random(&[PLACES; 300], hidden);
    operands.run(&rig, &kernel).unwrap();
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
    let least = kernel.cost(tokens, row).bytes;
    // An id is read by all lanes of a warp, which is one access of 4 bytes but counts for each.
    let broadcasts = (2 * 31 * 4 * tokens) as u64;
    let share = (moved - broadcasts) as f64 / least as f64;
    assert!((1.0..=1.05).contains(&share), "{share}");
}

#[test]
fn ids_and_positions_outside_their_tables_are_refused() {
    let rig = Rig::new();
    let kernel = EmbedLn::<f16>::load(&rig.gpu).unwrap();
    let mut operands = Operands::<f16>::random(&[5], 64);
    operands.ids[3] = VOCABULARY as u32;
    let text = operands.run(&rig, &kernel).unwrap_err().to_string();
    assert!(
        text.contains("embed_ln_f16") && text.contains("words") && text.contains("row 101"),
        "{text}"
    );
    operands.ids[3] = 0;
    operands.positions[2] = u32::MAX;
    let text = operands.run(&rig, &kernel).unwrap_err().to_string();
    assert!(text.contains("places"), "{text}");
    operands.positions.pop();
    let text = operands.run(&rig, &kernel).unwrap_err().to_string();
    assert!(text.contains("positions has 4"), "{text}");
}

#[test]
fn a_batch_without_a_token_launches_nothing() {
    let rig = Rig::new();
    let kernel = EmbedLn::<bf16>::load(&rig.gpu).unwrap();
    let mut operands = Operands::<bf16>::random(&[1], 64);
    operands.ids.clear();
    operands.positions.clear();
    assert!(operands.run(&rig, &kernel).unwrap().is_empty());
}
