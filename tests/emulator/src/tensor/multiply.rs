//! The arithmetic: 8x8 tiles of accumulators from outer products of panel rows.

use super::fragments::{CORE_LINES, PanelRow};
use super::vector::Eight;
use crate::isa::Lanes;
use crate::isa::numeric::{f16_to_f32, f32_to_f16};

/// Type and layout of C and D.
///
/// A tile of 8 rows and 8 columns lies in two registers of 32-bit numbers, lane `4 g + t` of the first holding row `g`,
/// column `2 t`, of the second column `2 t + 1`; or in one register of f16 pairs, low halves first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Accumulator {
    /// `f32`.
    F32,
    /// f16, rounded once at the end.
    F16,
    /// 32-bit integers that wrap.
    S32,
    /// 32-bit integers that stop at the smallest and largest number (`.satfinite`).
    S32Saturating,
}

impl Accumulator {
    /// Registers of a tile.
    pub fn registers(self) -> usize {
        match self {
            Accumulator::F16 => 1,
            _ => 2,
        }
    }
}

/// `C + A * B` for one tile: `a` and `b` hold rows of A and columns of B for each k, `c` the registers of C (`None`: zero).
/// Of a tile that lies in one register the second is ignored. C may be f16 where D is f32, and the other way round.
#[inline(always)]
pub fn multiply<V: Eight>(
    c_type: Accumulator,
    d_type: Accumulator,
    c: Option<[&Lanes<u32>; 2]>,
    a: &[PanelRow],
    b: &[PanelRow],
) -> [Lanes<u32>; 2] {
    match (c_type, d_type) {
        (Accumulator::F16, Accumulator::F16) => tile::<V, Half, Half>(c, a, b),
        (Accumulator::F16, Accumulator::F32) => tile::<V, Half, Single>(c, a, b),
        (_, Accumulator::F16) => tile::<V, Single, Half>(c, a, b),
        (_, Accumulator::F32) => tile::<V, Single, Single>(c, a, b),
        (_, Accumulator::S32) => tile::<V, Integer<false>, Integer<false>>(c, a, b),
        (_, Accumulator::S32Saturating) => tile::<V, Integer<true>, Integer<true>>(c, a, b),
    }
}

/// How a tile lies in its registers. Columns are in the order of the panels of B: even ones, then odd ones.
trait Layout {
    /// What the sums of a row start from.
    fn start(c: [&Lanes<u32>; 2], row: usize) -> PanelRow;

    /// Puts the sums of a row into D.
    fn finish(sums: PanelRow, c: Option<[&Lanes<u32>; 2]>, row: usize, d: &mut [Lanes<u32>; 2]);
}

struct Single;
struct Half;
struct Integer<const SATURATING: bool>;

#[inline(always)]
fn tile<V: Eight, C: Layout, D: Layout>(
    c: Option<[&Lanes<u32>; 2]>,
    a: &[PanelRow],
    b: &[PanelRow],
) -> [Lanes<u32>; 2] {
    let mut rows = [V::splat(0.0); CORE_LINES];
    if let Some(c) = c {
        for (row, sums) in rows.iter_mut().enumerate() {
            *sums = V::load(&C::start(c, row));
        }
    }
    for (a, b) in a.iter().zip(b) {
        let b = V::load(b);
        for (sums, a) in rows.iter_mut().zip(a) {
            *sums = sums.add_product(V::splat(*a), b);
        }
    }
    let mut d = [[0; 32]; 2];
    for (row, sums) in rows.iter().enumerate() {
        D::finish(sums.store(), c, row, &mut d);
    }
    d
}

/// The register of the pair, and the lane, of each place in a row.
#[inline(always)]
fn places(row: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..CORE_LINES).map(move |place| (place / 4, 4 * row + place % 4))
}

impl Layout for Single {
    #[inline(always)]
    fn start(c: [&Lanes<u32>; 2], row: usize) -> PanelRow {
        let mut sums = [0.0; CORE_LINES];
        for (sum, (half, lane)) in sums.iter_mut().zip(places(row)) {
            *sum = f32::from_bits(c[half][lane]);
        }
        sums
    }

    #[inline(always)]
    fn finish(sums: PanelRow, _c: Option<[&Lanes<u32>; 2]>, row: usize, d: &mut [Lanes<u32>; 2]) {
        for (sum, (half, lane)) in sums.into_iter().zip(places(row)) {
            d[half][lane] = sum.to_bits();
        }
    }
}

impl Layout for Half {
    #[inline(always)]
    fn start(c: [&Lanes<u32>; 2], row: usize) -> PanelRow {
        let mut halves = [0; CORE_LINES];
        for (bits, (half, lane)) in halves.iter_mut().zip(places(row)) {
            *bits = c[0][lane] >> (16 * half) & 0xffff;
        }
        let mut sums = [0.0; CORE_LINES];
        for (sum, bits) in sums.iter_mut().zip(halves) {
            *sum = f16_to_f32(bits as u16);
        }
        sums
    }

    #[inline(always)]
    fn finish(sums: PanelRow, _c: Option<[&Lanes<u32>; 2]>, row: usize, d: &mut [Lanes<u32>; 2]) {
        let mut halves = [0; CORE_LINES];
        for (bits, sum) in halves.iter_mut().zip(sums) {
            *bits = u32::from(f32_to_f16(sum));
        }
        for (bits, (half, lane)) in halves.into_iter().zip(places(row)) {
            d[0][lane] |= bits << (16 * half);
        }
    }
}

/// Up to 32 products of bytes add up to less than 2^24, which `f32` holds exactly. C is added at the end.
impl<const SATURATING: bool> Layout for Integer<SATURATING> {
    #[inline(always)]
    fn start(_c: [&Lanes<u32>; 2], _row: usize) -> PanelRow {
        [0.0; CORE_LINES]
    }

    #[inline(always)]
    fn finish(sums: PanelRow, c: Option<[&Lanes<u32>; 2]>, row: usize, d: &mut [Lanes<u32>; 2]) {
        for (sum, (half, lane)) in sums.into_iter().zip(places(row)) {
            let start = c.map_or(0, |c| c[half][lane] as i32);
            let sum = sum as i32;
            d[half][lane] = if SATURATING {
                start.saturating_add(sum)
            } else {
                start.wrapping_add(sum)
            } as u32;
        }
    }
}
