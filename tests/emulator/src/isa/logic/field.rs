//! Counting, finding, extracting and inserting bits.

use crate::isa::element::Integer;
use crate::isa::lanewise::lanewise;
use crate::isa::{DecodeError, Decoder, Execute};
use crate::ptx::Instruction;

pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let (i, d) = (instruction, decoder);
    let clamps = i.has("clamp");
    match (i.part(0), i.kind()) {
        ("popc", "b32") => lanewise(i, d, |(a,): (u32,)| a.count_ones()),
        ("popc", "b64") => lanewise(i, d, |(a,): (u64,)| a.count_ones()),
        ("clz", "b32") => lanewise(i, d, |(a,): (u32,)| a.leading_zeros()),
        ("clz", "b64") => lanewise(i, d, |(a,): (u64,)| a.leading_zeros()),
        ("brev", "b32") => lanewise(i, d, |(a,): (u32,)| a.reverse_bits()),
        ("brev", "b64") => lanewise(i, d, |(a,): (u64,)| a.reverse_bits()),
        ("bfind", "u32") => find::<u32>(i, d),
        ("bfind", "s32") => find::<i32>(i, d),
        ("bfind", "u64") => find::<u64>(i, d),
        ("bfind", "s64") => find::<i64>(i, d),
        ("bfe", "u32") => extract::<u32>(i, d),
        ("bfe", "s32") => extract::<i32>(i, d),
        ("bfe", "u64") => extract::<u64>(i, d),
        ("bfe", "s64") => extract::<i64>(i, d),
        ("bfi", "b32") => insert::<u32>(i, d),
        ("bfi", "b64") => insert::<u64>(i, d),
        ("fns", "b32") => lanewise(i, d, |(mask, base, offset): (u32, u32, i32)| {
            nth_set(mask, base, offset)
        }),
        ("bmsk", "b32") => lanewise(i, d, move |(first, count): (u32, u32)| {
            mask(first, count, clamps)
        }),
        ("szext", "u32") => resize::<u32>(i, d),
        ("szext", "s32") => resize::<i32>(i, d),
        _ => Err(DecodeError::unsupported()),
    }
}

/// `szext`: the low `width` bits, extended; `.wrap` takes the width modulo 32.
fn resize<T: Integer>(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let clamps = instruction.has("clamp");
    lanewise(instruction, decoder, move |(a, width): (T, u32)| {
        let unused = if clamps {
            32u32.saturating_sub(width)
        } else {
            32 - (width & 31)
        };
        a.shift_left(unused).shift_right(unused)
    })
}

/// `bmsk`: `count` ones from bit `first` on.
fn mask(first: u32, count: u32, clamps: bool) -> u32 {
    let (low, width) = (first & 31, count & 31);
    let below = if clamps && first >= 32 {
        0
    } else {
        u32::MAX << low
    };
    let overflows = low + width >= 32 || clamps && (first >= 32 || count >= 32);
    let above = if overflows {
        0
    } else {
        u32::MAX << (low + width)
    };
    below & !above
}

/// Position of the most significant bit that differs from the sign; all ones where there is none.
fn find<T: Integer>(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let from_top = instruction.has("shiftamt");
    lanewise(instruction, decoder, move |(a,): (T,)| {
        let bits = if a < T::truncated(0) {
            !a.extended()
        } else {
            a.extended()
        };
        match bits {
            0 => u32::MAX,
            _ if from_top => bits.leading_zeros() - (64 - T::BITS),
            _ => 63 - bits.leading_zeros(),
        }
    })
}

/// `bfe`: positions and lengths beyond the word are cut off; the sign fills what is missing.
fn extract<T: Integer>(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    lanewise(
        instruction,
        decoder,
        |(a, position, length): (T, u32, u32)| {
            let (position, length) = (position & 0xff, length & 0xff);
            if length == 0 {
                return T::truncated(0);
            }
            let shifted = a.shift_right(position);
            if length >= T::BITS {
                return shifted;
            }
            shifted
                .shift_left(T::BITS - length)
                .shift_right(T::BITS - length)
        },
    )
}

/// `bfi`: the low bits of a, put into b.
fn insert<T: Integer>(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    lanewise(
        instruction,
        decoder,
        |(a, b, position, length): (T, T, u32, u32)| {
            let (position, length) = (position & 0xff, length & 0xff);
            let ones = u64::MAX
                .checked_shl(length)
                .map_or(u64::MAX, |above| !above);
            let field = T::truncated(ones).shift_left(position).extended();
            T::truncated(b.extended() & !field | a.shift_left(position).extended() & field)
        },
    )
}

/// `fns`: position of the n-th set bit from `base` upwards, or downwards for a negative `offset`.
fn nth_set(mask: u32, base: u32, offset: i32) -> u32 {
    let set = |position: &i64| mask >> position & 1 == 1;
    let base = i64::from(base);
    let count = offset.unsigned_abs() as usize;
    let found = match offset {
        0 => (base..32).take(1).find(set),
        1.. => (base..32).filter(set).nth(count - 1),
        _ => (0..=base.min(31)).rev().filter(set).nth(count - 1),
    };
    found.map_or(u32::MAX, |position| position as u32)
}

#[cfg(test)]
mod tests {
    use crate::isa::testing::{Bench, check_binary, check_ternary, check_unary};

    #[test]
    fn counting_and_finding() {
        check_unary("popc.b64 %r0, %rd1;", |a: u64| a.count_ones());
        check_unary("clz.b32 %r0, %r1;", |a: u32| a.leading_zeros());
        check_unary("brev.b64 %rd0, %rd1;", |a: u64| a.reverse_bits());
        check_unary("bfind.u32 %r0, %r1;", |a: u32| {
            31u32.wrapping_sub(a.leading_zeros())
        });
        check_unary("bfind.shiftamt.u32 %r0, %r1;", |a: u32| {
            if a == 0 { u32::MAX } else { a.leading_zeros() }
        });
        check_unary("bfind.s32 %r0, %r1;", |a: i32| {
            31u32.wrapping_sub((if a < 0 { !a } else { a }).leading_zeros())
        });
        check_unary("bfind.s64 %r0, %rd1;", |a: i64| {
            63u32.wrapping_sub((if a < 0 { !a } else { a }).leading_zeros())
        });
    }

    /// The definition, bit by bit.
    fn field(a: i128, bits: u32, position: u32, length: u32, signed: bool) -> u64 {
        let (position, length) = (position & 0xff, length & 0xff);
        let bit = |at: u32| (a >> at & 1) as u64;
        let sign = if signed && length > 0 {
            bit((position + length - 1).min(bits - 1))
        } else {
            0
        };
        (0..bits).fold(0, |sum, at| {
            let inside = at < length && position + at < bits;
            sum | (if inside { bit(position + at) } else { sign }) << at
        })
    }

    #[test]
    fn fields_are_extracted_as_defined() {
        check_ternary(
            "bfe.u32 %r0, %r1, %r2, %r3;",
            |a: u32, at: u32, len: u32| field(a.into(), 32, at, len, false) as u32,
        );
        check_ternary(
            "bfe.s32 %r0, %r1, %r2, %r3;",
            |a: i32, at: u32, len: u32| field(a.into(), 32, at, len, true) as u32,
        );
        check_ternary(
            "bfe.u64 %rd0, %rd1, %r2, %r3;",
            |a: u64, at: u32, len: u32| field(a.into(), 64, at, len, false),
        );
        check_ternary(
            "bfe.s64 %rd0, %rd1, %r2, %r3;",
            |a: i64, at: u32, len: u32| field(a.into(), 64, at, len, true),
        );
    }

    #[test]
    fn fields_are_inserted_as_defined() {
        for (position, length) in [(0, 8), (4, 40), (31, 1), (32, 5), (63, 2), (5, 0), (300, 8)] {
            let text = format!("bfi.b32 %r0, %r1, %r2, {position}, {length};");
            check_binary(&text, |a: u32, b: u32| {
                (0..32).fold(b, |word, at: u32| {
                    let (position, length) = (position & 0xff, length & 0xff);
                    let inside = at >= position && at - position < length;
                    if inside {
                        word & !(1 << at) | (a >> (at - position) & 1) << at
                    } else {
                        word
                    }
                })
            });
        }
        check_binary("bfi.b64 %rd0, %rd1, %rd2, 32, 32;", |a: u64, b: u64| {
            b & 0xffff_ffff | a << 32
        });
    }

    #[test]
    fn the_nth_set_bit() {
        let run = |mask: u32, base: u32, offset: i32| {
            let bench = Bench::new("fns.b32 %r0, %r1, %r2, %r3;");
            bench
                .set(1, &[mask])
                .set(2, &[base])
                .set(3, &[offset])
                .run()
                .narrow(0)[0]
        };
        assert_eq!(run(0b1011_0100, 0, 1), 2);
        assert_eq!(run(0b1011_0100, 3, 2), 5);
        assert_eq!(run(0b1011_0100, 7, -3), 4);
        assert_eq!(run(0b1011_0100, 4, 0), 4);
        assert_eq!(run(0b1011_0100, 3, 0), u32::MAX);
        assert_eq!(run(0b1011_0100, 0, 5), u32::MAX);
    }

    #[test]
    fn masks_and_extensions() {
        check_binary("bmsk.clamp.b32 %r0, %r1, %r2;", |a: u32, b: u32| {
            (0..32u32)
                .filter(|&at| at >= a && u64::from(at) < u64::from(a) + u64::from(b))
                .fold(0, |mask, at| mask | 1 << at)
        });
        check_binary(
            "szext.clamp.s32 %r0, %r1, %r2;",
            |a: i32, width: u32| match width {
                0 => 0,
                1..32 => a << (32 - width) >> (32 - width),
                _ => a,
            },
        );
        check_binary("szext.wrap.u32 %r0, %r1, %r2;", |a: u32, width: u32| {
            a & ((1 << (width & 31)) - 1)
        });
    }
}
