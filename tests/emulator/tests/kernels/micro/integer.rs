//! Integer arithmetic and logic.

use super::{Row, check_rows};
use crate::harness::{Case, Inputs};

const FILE: &str = "micro_integer";
const ELEMENTS: usize = 200;

/// Random numbers with the awkward ones in front.
fn numbers(seed: u64) -> Vec<u32> {
    let awkward = [
        0,
        1,
        2,
        31,
        32,
        33,
        0x7f,
        0x80,
        0xff,
        0xffff,
        0x8000,
        0x7fff_ffff,
        0x8000_0000,
        u32::MAX,
        u32::MAX - 1,
    ];
    let mut all = Inputs::new(seed).words(ELEMENTS);
    for (i, slot) in all.iter_mut().take(100).enumerate() {
        *slot = awkward[(i * (seed as usize + 3) + i / 15) % awkward.len()];
    }
    all
}

fn wide_numbers(seed: u64) -> Vec<u64> {
    let (high, low) = (numbers(seed), numbers(seed + 10));
    high.iter()
        .zip(&low)
        .map(|(&high, &low)| u64::from(high) << 32 | u64::from(low))
        .collect()
}

fn bytes_of(word: u32) -> [u8; 4] {
    word.to_le_bytes()
}

fn dot<T: Copy, U: Copy>(
    a: u32,
    b: u32,
    c: i64,
    left: impl Fn(u8) -> T,
    right: impl Fn(u8) -> U,
    times: impl Fn(T, U) -> i64,
) -> u32 {
    let products = bytes_of(a)
        .into_iter()
        .zip(bytes_of(b))
        .map(|(x, y)| times(left(x), right(y)));
    (products.sum::<i64>() + c) as u32
}

/// Bytes of `u` (0 to 3) and `v` (4 to 7) as the selector's nibbles say.
fn permuted(u: u32, v: u32, selector: u32) -> u32 {
    let bytes = (u64::from(v) << 32 | u64::from(u)).to_le_bytes();
    u32::from_le_bytes(std::array::from_fn(|i| {
        let nibble = selector >> (4 * i) & 15;
        let byte = bytes[(nibble & 7) as usize];
        if nibble & 8 == 0 {
            byte
        } else {
            ((byte as i8) >> 7) as u8
        }
    }))
}

#[test]
fn on_32_bits() {
    let (a, b, c) = (numbers(1), numbers(2), numbers(3));
    let (u, v, w) = (|i: usize| a[i], |i: usize| b[i], |i: usize| c[i]);
    let (s, t, r) = (
        |i: usize| a[i] as i32,
        |i: usize| b[i] as i32,
        |i: usize| c[i] as i32,
    );
    let signed_divisor = |i: usize| !matches!(t(i), 0 | -1);
    let rows: &[Row<'_, u32>] = &[
        ("u + v * w", &|i| u(i).wrapping_add(v(i).wrapping_mul(w(i)))),
        ("u - v", &|i| u(i).wrapping_sub(v(i))),
        ("umulhi", &|i| {
            ((u64::from(u(i)) * u64::from(v(i))) >> 32) as u32
        }),
        ("mulhi", &|i| {
            ((i64::from(s(i)) * i64::from(t(i))) >> 32) as u32
        }),
        ("u / v", &|i| u(i).checked_div(v(i)).unwrap_or(0)),
        ("u % v", &|i| u(i).checked_rem(v(i)).unwrap_or(0)),
        ("s / t", &|i| {
            if signed_divisor(i) {
                s(i).wrapping_div(t(i)) as u32
            } else {
                0
            }
        }),
        ("s % t", &|i| {
            if signed_divisor(i) {
                s(i).wrapping_rem(t(i)) as u32
            } else {
                0
            }
        }),
        ("min", &|i| s(i).min(t(i)) as u32),
        ("max", &|i| u(i).max(v(i))),
        ("abs", &|i| s(i).wrapping_abs() as u32),
        ("shl", &|i| u(i) << (v(i) & 31)),
        ("shr", &|i| u(i) >> (v(i) & 31)),
        ("sar", &|i| (s(i) >> (v(i) & 31)) as u32),
        ("popc", &|i| u(i).count_ones()),
        ("clz", &|i| u(i).leading_zeros()),
        ("ffs", &|i| {
            if u(i) == 0 {
                0
            } else {
                u(i).trailing_zeros() + 1
            }
        }),
        ("brev", &|i| u(i).reverse_bits()),
        ("byte_perm", &|i| permuted(u(i), v(i), w(i) & 0x7777)),
        ("funnelshift_l", &|i| {
            ((u64::from(v(i)) << 32 | u64::from(u(i))) << (w(i) & 31) >> 32) as u32
        }),
        ("funnelshift_rc", &|i| {
            ((u64::from(v(i)) << 32 | u64::from(u(i))) >> w(i).min(32)) as u32
        }),
        ("select bits", &|i| (u(i) & v(i)) | (!u(i) & w(i))),
        ("xor", &|i| u(i) ^ v(i) ^ w(i)),
        ("usad", &|i| u(i).abs_diff(v(i)).wrapping_add(w(i))),
        ("sad", &|i| s(i).abs_diff(t(i)).wrapping_add(w(i))),
        ("dp4a signed", &|i| {
            dot(
                u(i),
                v(i),
                r(i).into(),
                |x| x as i8,
                |y| y as i8,
                |x, y| i64::from(x) * i64::from(y),
            )
        }),
        ("dp4a", &|i| {
            dot(
                u(i),
                v(i),
                w(i).into(),
                |x| x,
                |y| y,
                |x, y| i64::from(x) * i64::from(y),
            )
        }),
        ("dp2a_lo", &|i| {
            let [low, high, ..] = bytes_of(v(i)).map(|byte| i64::from(byte as i8));
            let products = i64::from(u(i) as i16) * low + i64::from((u(i) >> 16) as i16) * high;
            (products + i64::from(r(i))) as u32
        }),
        ("mul24", &|i| {
            ((s(i) << 8 >> 8).wrapping_mul(t(i) << 8 >> 8)) as u32
        }),
        ("rhadd", &|i| {
            ((i64::from(s(i)) + i64::from(t(i)) + 1) >> 1) as u32
        }),
        ("short product", &|i| {
            (i32::from(u(i) as i16) * i32::from(v(i) as i16)) as u32
        }),
        ("short quotient", &|i| {
            u32::from(u(i) as u16 / (v(i) | 1) as u16)
        }),
        ("choice", &|i| {
            if s(i) < t(i) {
                w(i)
            } else {
                u32::from(u(i) > v(i))
            }
        }),
    ];
    let mut case = Case::new(FILE, "integer_32");
    for operand in [&a, &b, &c] {
        case.input(operand);
    }
    check_rows(case, ELEMENTS, rows, |got, expected| got == expected);
}

#[test]
fn on_64_bits() {
    let (a, b) = (wide_numbers(4), wide_numbers(5));
    let (u, v) = (|i: usize| a[i], |i: usize| b[i]);
    let (s, t) = (|i: usize| a[i] as i64, |i: usize| b[i] as i64);
    let rows: &[Row<'_, u64>] = &[
        ("u + v", &|i| u(i).wrapping_add(v(i))),
        ("u * v", &|i| u(i).wrapping_mul(v(i))),
        ("umul64hi", &|i| {
            ((u128::from(u(i)) * u128::from(v(i))) >> 64) as u64
        }),
        ("u / v", &|i| u(i).checked_div(v(i)).unwrap_or(0)),
        ("u % v", &|i| u(i).checked_rem(v(i)).unwrap_or(0)),
        ("s / t", &|i| {
            if matches!(t(i), 0 | -1) {
                0
            } else {
                (s(i) / t(i)) as u64
            }
        }),
        ("shl", &|i| u(i) << (v(i) & 63)),
        ("sar", &|i| (s(i) >> (v(i) & 63)) as u64),
        ("popc", &|i| u64::from(u(i).count_ones())),
        ("clz", &|i| u64::from(u(i).leading_zeros())),
        ("brev", &|i| u(i).reverse_bits()),
        ("choice", &|i| if s(i) < t(i) { u(i) } else { v(i) }),
        ("mad.wide", &|i| {
            (u(i) & 0xffff_ffff)
                .wrapping_mul(v(i) & 0xffff_ffff)
                .wrapping_add(u(i))
        }),
    ];
    let mut case = Case::new(FILE, "integer_64");
    case.input(&a);
    case.input(&b);
    check_rows(case, ELEMENTS, rows, |got, expected| got == expected);
}

#[test]
fn instructions_without_a_name_in_cuda() {
    let (a, b, c) = (numbers(6), numbers(7), numbers(8));
    let (u, v, w) = (|i: usize| a[i], |i: usize| b[i], |i: usize| c[i]);
    let field = |i: usize| {
        let (first, length) = (v(i) & 31, w(i) & 31);
        (u64::from(u(i)) >> first & ((1 << length) - 1), length)
    };
    let signed_field = |i: usize| {
        let (first, length) = (v(i) & 31, w(i) & 31);
        // Bits past the top are copies of the sign.
        let bits = (i64::from(u(i) as i32) >> first) as u64 & ((1_u64 << length) - 1);
        let sign = if length == 0 {
            0
        } else {
            i64::from(u(i) as i32) >> (first + length - 1).min(31) & 1
        };
        if sign == 1 {
            (bits | u64::MAX << length) as u32
        } else {
            bits as u32
        }
    };
    let sum = |i: usize| u64::from(u(i)) + u64::from(v(i));
    let rows: &[Row<'_, u32>] = &[
        ("bfe.u32", &|i| field(i).0 as u32),
        ("bfe.s32", &signed_field),
        ("bfi.b32", &|i| {
            let (first, length) = (w(i) & 15, w(i) >> 4 & 15);
            let mask = ((1_u32 << length) - 1) << first;
            v(i) & !mask | u(i) << first & mask
        }),
        ("add.sat.s32", &|i| {
            (u(i) as i32).saturating_add(v(i) as i32) as u32
        }),
        ("bfind.u32", &|i| {
            if u(i) == 0 {
                u32::MAX
            } else {
                31 - u(i).leading_zeros()
            }
        }),
        ("add.cc", &|i| sum(i) as u32),
        ("addc", &|i| w(i).wrapping_add((sum(i) >> 32) as u32)),
        ("lop3", &|i| u(i) ^ v(i) ^ w(i)),
        ("prmt", &|i| permuted(u(i), v(i), 0xba98)),
    ];
    let mut case = Case::new(FILE, "integer_ptx");
    for operand in [&a, &b, &c] {
        case.input(operand);
    }
    check_rows(case, ELEMENTS, rows, |got, expected| got == expected);
}

/// An operation on each byte of two words.
fn bytewise(a: u32, b: u32, operation: impl Fn(u8, u8) -> u8) -> u32 {
    let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
    u32::from_le_bytes(std::array::from_fn(|at| operation(a[at], b[at])))
}

/// The low and the high half of a word.
fn halves(word: u32) -> [u16; 2] {
    [word as u16, (word >> 16) as u16]
}

fn pack([low, high]: [u16; 2]) -> u32 {
    u32::from(low) | u32::from(high) << 16
}

#[test]
fn simd_intrinsics() {
    let mut inputs = Inputs::new(7);
    let [a, b] = [(); 2].map(|()| inputs.words(ELEMENTS));
    let each = |i: usize, operation: fn(u8, u8) -> u8| bytewise(a[i], b[i], operation);
    let differences = |i: usize| each(i, u8::abs_diff).to_le_bytes().map(u32::from);
    let signed = |x: u8, y: u8| (x as i8).abs_diff(y as i8);
    let pairs = |i: usize| {
        let (a, b) = (halves(a[i]), halves(b[i]));
        [(a[0], b[0]), (a[1], b[1])]
    };
    let rows: &[Row<'_, u32>] = &[
        ("vabsdiffu4", &|i| each(i, u8::abs_diff)),
        ("vabsdiffs4", &|i| bytewise(a[i], b[i], signed)),
        ("vabs4", &|i| {
            bytewise(a[i], 0, |x, _| (x as i8).wrapping_abs() as u8)
        }),
        ("vsadu4", &|i| differences(i).iter().sum()),
        ("vsads4", &|i| {
            let all = bytewise(a[i], b[i], signed).to_le_bytes();
            all.map(u32::from).iter().sum()
        }),
        ("vsadu2", &|i| {
            pairs(i).map(|(x, y)| u32::from(x.abs_diff(y))).iter().sum()
        }),
        ("vabsdiffu2", &|i| {
            pack(pairs(i).map(|(x, y)| x.abs_diff(y)))
        }),
        ("vadd4", &|i| each(i, u8::wrapping_add)),
        ("vsub4", &|i| each(i, u8::wrapping_sub)),
        ("vaddus4", &|i| each(i, u8::saturating_add)),
        ("vmins4", &|i| each(i, |x, y| (x as i8).min(y as i8) as u8)),
        ("vmaxu4", &|i| each(i, u8::max)),
        ("vavgu4", &|i| {
            each(i, |x, y| (u16::from(x) + u16::from(y)).div_ceil(2) as u8)
        }),
        ("vcmpgts4", &|i| {
            each(i, |x, y| if x as i8 > y as i8 { 0xff } else { 0 })
        }),
        ("vmaxs2", &|i| {
            pack(pairs(i).map(|(x, y)| (x as i16).max(y as i16) as u16))
        }),
    ];
    let mut case = Case::new(FILE, "integer_simd");
    for operand in [&a, &b] {
        case.input(operand);
    }
    check_rows(case, ELEMENTS, rows, |got, expected| got == expected);
}
