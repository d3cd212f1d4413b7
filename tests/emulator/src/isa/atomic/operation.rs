//! What atomics do to a value. Values are in the low bits of a `u64`; what a result has above them is cut off.

use half::{bf16, f16};

use crate::isa::DecodeError;

/// From the old value and the operands `b` and `c` to the new value.
pub(in crate::isa) type Change = fn(u64, u64, u64) -> u64;

/// An operation on one type.
#[derive(Clone, Copy, Debug)]
pub(in crate::isa) struct Operation {
    /// Bytes of the type.
    pub(in crate::isa) bytes: usize,
    /// In shared memory.
    pub(in crate::isa) shared: Change,
    /// In global memory.
    pub(in crate::isa) global: Change,
}

/// The operation of a name and a type.
pub(in crate::isa) fn operation(name: &str, kind: &str) -> Result<Operation, DecodeError> {
    let bytes = match kind {
        "b16" | "f16" | "bf16" => 2,
        "b32" | "u32" | "s32" | "f32" | "f16x2" | "bf16x2" => 4,
        "b64" | "u64" | "s64" | "f64" => 8,
        _ => return Err(DecodeError::unsupported()),
    };
    let change: Change = match (name, kind) {
        ("exch", "b32" | "b64") => |_, b, _| b,
        ("cas", "b16" | "b32" | "b64") => |old, b, c| if old == b { c } else { old },
        ("and", "b32" | "b64") => |old, b, _| old & b,
        ("or", "b32" | "b64") => |old, b, _| old | b,
        ("xor", "b32" | "b64") => |old, b, _| old ^ b,
        ("inc", "u32") => |old, b, _| if old >= b { 0 } else { old + 1 },
        ("dec", "u32") => |old, b, _| if old == 0 || old > b { b } else { old - 1 },
        ("add", "u32" | "s32" | "u64" | "s64") => |old, b, _| old.wrapping_add(b),
        ("min", "u32" | "u64") => |old, b, _| old.min(b),
        ("max", "u32" | "u64") => |old, b, _| old.max(b),
        ("min", "s32") => |old, b, _| (old as i32).min(b as i32) as u64,
        ("max", "s32") => |old, b, _| (old as i32).max(b as i32) as u64,
        ("min", "s64") => |old, b, _| (old as i64).min(b as i64) as u64,
        ("max", "s64") => |old, b, _| (old as i64).max(b as i64) as u64,
        ("add", "f64") => |old, b, _| (f64::from_bits(old) + f64::from_bits(b)).to_bits(),
        ("add", "f32") => {
            // Global memory's own adders flush subnormals, those of the multiprocessor do not.
            let global: Change =
                |old, b, _| add_f32(flushed(float(old)), flushed(float(b)), flushed);
            return Ok(Operation {
                bytes,
                shared: |old, b, _| add_f32(float(old), float(b), |sum| sum),
                global,
            });
        }
        ("add", "f16") => |old, b, _| half(old, b, |x, y| x + y),
        ("min", "f16") => |old, b, _| half(old, b, f32::min),
        ("max", "f16") => |old, b, _| half(old, b, f32::max),
        ("add", "bf16") => |old, b, _| brain(old, b, |x, y| x + y),
        ("min", "bf16") => |old, b, _| brain(old, b, f32::min),
        ("max", "bf16") => |old, b, _| brain(old, b, f32::max),
        ("add", "f16x2") => |old, b, _| pair(old, b, |x, y| half(x, y, |x, y| x + y)),
        ("min", "f16x2") => |old, b, _| pair(old, b, |x, y| half(x, y, f32::min)),
        ("max", "f16x2") => |old, b, _| pair(old, b, |x, y| half(x, y, f32::max)),
        ("add", "bf16x2") => |old, b, _| pair(old, b, |x, y| brain(x, y, |x, y| x + y)),
        ("min", "bf16x2") => |old, b, _| pair(old, b, |x, y| brain(x, y, f32::min)),
        ("max", "bf16x2") => |old, b, _| pair(old, b, |x, y| brain(x, y, f32::max)),
        _ => return Err(DecodeError::unsupported()),
    };
    Ok(Operation {
        bytes,
        shared: change,
        global: change,
    })
}

fn float(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

fn flushed(value: f32) -> f32 {
    if value.is_subnormal() {
        0f32.copysign(value)
    } else {
        value
    }
}

fn add_f32(x: f32, y: f32, finish: impl Fn(f32) -> f32) -> u64 {
    const NAN: u32 = 0x7fff_ffff;
    let sum = finish(x + y);
    u64::from(if sum.is_nan() { NAN } else { sum.to_bits() })
}

// An f32 has more than twice the digits of either half type: rounding twice rounds right.
fn half(x: u64, y: u64, combine: impl Fn(f32, f32) -> f32) -> u64 {
    let value = combine(
        f16::from_bits(x as u16).to_f32(),
        f16::from_bits(y as u16).to_f32(),
    );
    u64::from(if value.is_nan() {
        0x7fff
    } else {
        f16::from_f32(value).to_bits()
    })
}

fn brain(x: u64, y: u64, combine: impl Fn(f32, f32) -> f32) -> u64 {
    let value = combine(
        bf16::from_bits(x as u16).to_f32(),
        bf16::from_bits(y as u16).to_f32(),
    );
    u64::from(if value.is_nan() {
        0x7fff
    } else {
        bf16::from_f32(value).to_bits()
    })
}

fn pair(x: u64, y: u64, one: impl Fn(u64, u64) -> u64) -> u64 {
    one(x & 0xffff, y & 0xffff) | one(x >> 16 & 0xffff, y >> 16 & 0xffff) << 16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(name: &str, kind: &str, old: u64, b: u64, c: u64) -> u64 {
        let operation = operation(name, kind).unwrap();
        (operation.shared)(old, b, c) & (u64::MAX >> (64 - 8 * operation.bytes))
    }

    #[test]
    fn integers_wrap_and_compare_by_their_sign() {
        let minus_two = u64::from(-2i32 as u32);
        assert_eq!(apply("add", "u32", 0xffff_ffff, 2, 0), 1);
        assert_eq!(apply("add", "s64", u64::MAX, 2, 0), 1);
        assert_eq!(apply("max", "s32", minus_two, 1, 0), 1);
        assert_eq!(apply("max", "u32", minus_two, 1, 0), minus_two);
        assert_eq!(apply("min", "s32", minus_two, 1, 0), minus_two);
        assert_eq!(apply("min", "s64", -2i64 as u64, 1, 0), -2i64 as u64);
        assert_eq!(apply("max", "u64", -2i64 as u64, 1, 0), -2i64 as u64);
        assert_eq!(
            [4, 5, 6].map(|old| apply("inc", "u32", old, 5, 0)),
            [5, 0, 0]
        );
        assert_eq!(
            [0, 5, 6].map(|old| apply("dec", "u32", old, 5, 0)),
            [5, 4, 5]
        );
        assert_eq!([7, 8].map(|old| apply("cas", "b16", old, 7, 9)), [9, 8]);
        assert_eq!(
            [("and", 0b1000), ("or", 0b1110), ("xor", 0b0110)]
                .map(|(name, _)| apply(name, "b32", 0b1100, 0b1010, 0)),
            [0b1000, 0b1110, 0b0110]
        );
        assert_eq!(apply("exch", "b64", 3, 4, 0), 4);
    }

    #[test]
    fn floats_round_and_keep_nan() {
        let bits = |value: f32| u64::from(value.to_bits());
        assert_eq!(apply("add", "f32", bits(1.5), bits(2.25), 0), bits(3.75));
        assert_eq!(
            apply(
                "add",
                "f32",
                bits(f32::INFINITY),
                bits(f32::NEG_INFINITY),
                0
            ),
            0x7fff_ffff
        );
        assert_eq!(
            apply("add", "f64", 1.5f64.to_bits(), 2.25f64.to_bits(), 0),
            3.75f64.to_bits()
        );
        let tiny = f32::MIN_POSITIVE / 2.0;
        assert_eq!(apply("add", "f32", bits(tiny), bits(0.0), 0), bits(tiny));
        assert_eq!(
            (operation("add", "f32").unwrap().global)(bits(-tiny), bits(-0.0), 0),
            bits(-0.0)
        );
        let halves = |x: f32, y: f32| {
            u64::from(f16::from_f32(x).to_bits()) | u64::from(f16::from_f32(y).to_bits()) << 16
        };
        assert_eq!(
            apply("add", "f16x2", halves(1.0, -2.0), halves(2048.0, 0.5), 0),
            halves(2048.0, -1.5)
        );
        assert_eq!(
            apply("max", "f16x2", halves(f32::NAN, -2.0), halves(3.0, -1.0), 0),
            halves(3.0, -1.0)
        );
        let brains = |x: f32, y: f32| {
            u64::from(bf16::from_f32(x).to_bits()) | u64::from(bf16::from_f32(y).to_bits()) << 16
        };
        assert_eq!(
            apply("add", "bf16x2", brains(1.0, 256.0), brains(2.0, 1.0), 0),
            brains(3.0, 256.0)
        );
        assert_eq!(
            apply("min", "bf16", brains(1.0, 0.0), brains(-2.0, 0.0), 0),
            brains(-2.0, 0.0)
        );
    }

    #[test]
    fn pairs_that_do_not_exist_are_refused() {
        for (name, kind) in [
            ("inc", "s32"),
            ("add", "b32"),
            ("min", "f32"),
            ("exch", "b128"),
            ("cas", "u32"),
        ] {
            assert!(operation(name, kind).is_err(), "{name}.{kind}");
        }
    }
}
