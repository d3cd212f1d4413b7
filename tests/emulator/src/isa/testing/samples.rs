//! Values to try instructions with.

use crate::isa::element::Element;

/// Values at the edges of a type, and random ones.
pub(crate) trait Samples: Element {
    /// The samples.
    fn samples() -> Vec<Self>;
}

fn bit_samples<T: Element>(edges: &[u64], from_bits: impl Fn(u64) -> T) -> Vec<T> {
    let mut state = 0x1234_5678_9abc_def1u64;
    let random = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    });
    edges
        .iter()
        .copied()
        .chain(random.take(12))
        .map(from_bits)
        .collect()
}

/// Integers of all widths: zero, ones, small numbers, and both sides of every sign bit.
const INTEGER_EDGES: [u64; 16] = [
    0,
    1,
    2,
    3,
    7,
    31,
    32,
    0x7f,
    0x80,
    0x7fff,
    0x8000,
    0x7fff_ffff,
    0x8000_0000,
    i64::MAX as u64,
    i64::MIN as u64,
    u64::MAX,
];

impl Samples for u16 {
    fn samples() -> Vec<Self> {
        bit_samples(&INTEGER_EDGES, |bits| bits as u16)
    }
}

impl Samples for i16 {
    fn samples() -> Vec<Self> {
        bit_samples(&INTEGER_EDGES, |bits| bits as i16)
    }
}

impl Samples for u32 {
    fn samples() -> Vec<Self> {
        bit_samples(&INTEGER_EDGES, |bits| bits as u32)
    }
}

impl Samples for i32 {
    fn samples() -> Vec<Self> {
        bit_samples(&INTEGER_EDGES, |bits| bits as i32)
    }
}

impl Samples for u64 {
    fn samples() -> Vec<Self> {
        bit_samples(&INTEGER_EDGES, |bits| bits)
    }
}

impl Samples for i64 {
    fn samples() -> Vec<Self> {
        bit_samples(&INTEGER_EDGES, |bits| bits as i64)
    }
}

impl Samples for f32 {
    fn samples() -> Vec<Self> {
        let values = [
            0.0,
            0.5,
            1.0,
            1.5,
            2.5,
            3.0,
            100.25,
            1e-3,
            1e-40,
            1e20,
            f32::MAX,
            f32::MIN_POSITIVE,
            f32::INFINITY,
        ];
        let signed = values
            .iter()
            .flat_map(|&value| [value, -value])
            .chain([f32::NAN]);
        signed
            .chain(bit_samples(&[], |bits| f32::from_bits(bits as u32)))
            .collect()
    }
}

impl Samples for f64 {
    fn samples() -> Vec<Self> {
        let values = [
            0.0,
            0.5,
            1.0,
            1.5,
            2.5,
            3.0,
            100.25,
            1e-3,
            1e-310,
            1e200,
            f64::MAX,
            f64::INFINITY,
        ];
        let signed = values
            .iter()
            .flat_map(|&value| [value, -value])
            .chain([f64::NAN]);
        signed.chain(bit_samples(&[], f64::from_bits)).collect()
    }
}

impl Samples for half::f16 {
    fn samples() -> Vec<Self> {
        let edges = [
            0, 0x8000, 0x3c00, 0xbc00, 0x0001, 0x83ff, 0x0400, 0x7bff, 0xfbff, 0x7c00, 0xfc00,
            0x7e00, 0x3555,
        ];
        bit_samples(&edges, |bits| half::f16::from_bits(bits as u16))
    }
}

impl Samples for half::bf16 {
    fn samples() -> Vec<Self> {
        let edges = [
            0, 0x8000, 0x3f80, 0xbf80, 0x0001, 0x807f, 0x0080, 0x7f7f, 0xff7f, 0x7f80, 0xff80,
            0x7fc0, 0x3eab,
        ];
        bit_samples(&edges, |bits| half::bf16::from_bits(bits as u16))
    }
}
