//! Half precision and brain float, one value or two in a register.

use crate::isa::element::Element;
use crate::isa::lanewise::lanewise;
use crate::isa::numeric::{maximum, minimum};
use crate::isa::small::{Halves, Small};
use crate::isa::{DecodeError, Decoder, Execute};
use crate::ptx::Instruction;

/// What the opcode asks for besides the operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Modifiers {
    /// Subnormals are zeros, coming and going.
    flush: bool,
    /// Results are clamped to 0..1, NaN to 0.
    saturate: bool,
    /// Negative results become 0.
    relu: bool,
}

impl Modifiers {
    #[inline(always)]
    fn source<T: Small>(self, value: T) -> f32 {
        if self.flush {
            value.flushed()
        } else {
            value.widen()
        }
    }

    /// Rounding keeps the order of numbers, so the bounds may come after it.
    #[inline(always)]
    fn result<T: Small>(self, value: T) -> T {
        let mut wide = self.source(value);
        if self.saturate {
            wide = if wide > 0.0 { wide.min(1.0) } else { 0.0 };
        }
        if self.relu {
            wide = maximum(wide, 0.0, true);
        }
        T::narrow(wide)
    }
}

type Decoded = Result<Box<dyn Execute>, DecodeError>;

fn one<T: Halves>(
    i: &Instruction,
    d: &mut Decoder<'_>,
    modifiers: Modifiers,
    operation: impl Fn(f32) -> f32 + Send + Sync + 'static,
) -> Decoded {
    lanewise(i, d, move |(a,): (T,)| {
        T::each([a], |[a]| {
            modifiers.result(T::Item::narrow(operation(modifiers.source(a))))
        })
    })
}

/// An operation on two values. Rounded to f32 first and then to 16 bits, sums and products of two come out as if rounded
/// once: an f32 has more than twice the bits, and where it has fewer, among its subnormals, these results are exact.
fn two<T: Halves>(
    i: &Instruction,
    d: &mut Decoder<'_>,
    modifiers: Modifiers,
    operation: impl Fn(f32, f32) -> f32 + Send + Sync + 'static,
) -> Decoded {
    if modifiers == Modifiers::default() {
        return lanewise(i, d, move |(a, b): (T, T)| {
            T::each([a, b], |[a, b]| {
                T::Item::narrow(operation(a.widen(), b.widen()))
            })
        });
    }
    lanewise(i, d, move |(a, b): (T, T)| {
        T::each([a, b], |values| {
            let [a, b] = values.map(|value| modifiers.source(value));
            modifiers.result(T::Item::narrow(operation(a, b)))
        })
    })
}

fn fma<T: Halves>(i: &Instruction, d: &mut Decoder<'_>, modifiers: Modifiers) -> Decoded {
    if modifiers == Modifiers::default() {
        return lanewise(i, d, |(a, b, c): (T, T, T)| {
            T::each([a, b, c], |[a, b, c]| {
                T::Item::fma(a.widen(), b.widen(), c.widen())
            })
        });
    }
    lanewise(i, d, move |(a, b, c): (T, T, T)| {
        T::each([a, b, c], |values| {
            let [a, b, c] = values.map(|value| modifiers.source(value));
            modifiers.result(T::Item::fma(a, b, c))
        })
    })
}

pub(super) fn decode<T: Halves>(i: &Instruction, d: &mut Decoder<'_>) -> Decoded {
    let modifiers = Modifiers {
        flush: i.has("ftz"),
        saturate: i.has("sat"),
        relu: i.has("relu"),
    };
    match i.part(0) {
        "add" => two::<T>(i, d, modifiers, |a, b| a + b),
        "sub" => two::<T>(i, d, modifiers, |a, b| a - b),
        "mul" => two::<T>(i, d, modifiers, |a, b| a * b),
        "fma" => fma::<T>(i, d, modifiers),
        "min" => order::<T>(i, d, modifiers, minimum),
        "max" => order::<T>(i, d, modifiers, maximum),
        "ex2" => one::<T>(i, d, modifiers, super::approximate::exp2),
        "tanh" => one::<T>(i, d, modifiers, super::approximate::tanh),
        "abs" => sign::<T>(i, d, modifiers, |value| value & 0x7fff),
        "neg" => sign::<T>(i, d, modifiers, |value| value ^ 0x8000),
        _ => Err(DecodeError::unsupported()),
    }
}

fn order<T: Halves>(
    i: &Instruction,
    d: &mut Decoder<'_>,
    modifiers: Modifiers,
    pick: impl Fn(f32, f32, bool) -> f32 + Send + Sync + 'static,
) -> Decoded {
    let (keep_nan, xor_sign) = (i.has("NaN"), i.has("xorsign"));
    lanewise(i, d, move |(a, b): (T, T)| {
        T::each([a, b], |values| {
            let [a, b] = values.map(|value| modifiers.source(value));
            if !xor_sign {
                return T::Item::narrow(pick(a, b, keep_nan));
            }
            let sign = if a.is_sign_negative() == b.is_sign_negative() {
                1.0f32
            } else {
                -1.0
            };
            T::Item::narrow(pick(a.abs(), b.abs(), keep_nan).copysign(sign))
        })
    })
}

/// Signs change without looking at the value: a NaN keeps its bits.
fn sign<T: Halves>(
    i: &Instruction,
    d: &mut Decoder<'_>,
    modifiers: Modifiers,
    operation: impl Fn(u32) -> u32 + Send + Sync + 'static,
) -> Decoded {
    lanewise(i, d, move |(a,): (T,)| {
        T::each([a], |[a]| {
            let bits = a.to_register();
            let flushed = modifiers.flush && a.flushed() == 0.0;
            T::Item::from_register(operation(if flushed { bits & 0x8000 } else { bits }))
        })
    })
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use crate::isa::numeric::{BF16, F16, Format, Rounding, bf16_to_f32, f32_to_f16};
    use crate::isa::testing::{Bench, check_binary, check_ternary, check_unary};

    /// Products of two small floats are exact in f64; here sums are as well.
    fn rounded(format: Format, exact: f64) -> u32 {
        format.encode(exact, Rounding::Nearest, false)
    }

    #[test]
    fn one_value_a_register() {
        let f = |value: f16| value.to_f64();
        check_binary("add.f16 %r0, %r1, %r2;", |a: f16, b: f16| {
            rounded(F16, f(a) + f(b))
        });
        check_binary("sub.f16 %r0, %r1, %r2;", |a: f16, b: f16| {
            rounded(F16, f(a) - f(b))
        });
        check_binary("mul.f16 %r0, %r1, %r2;", |a: f16, b: f16| {
            rounded(F16, f(a) * f(b))
        });
        check_ternary(
            "fma.rn.f16 %r0, %r1, %r2, %r3;",
            |a: f16, b: f16, c: f16| rounded(F16, f(a) * f(b) + f(c)),
        );
        check_ternary(
            "fma.rn.relu.f16 %r0, %r1, %r2, %r3;",
            |a: f16, b: f16, c: f16| {
                let exact = f(a) * f(b) + f(c);
                rounded(F16, if exact <= 0.0 { 0.0 } else { exact })
            },
        );
        let b = |value: bf16| value.to_f64();
        check_binary("mul.bf16 %r0, %r1, %r2;", |x: bf16, y: bf16| {
            rounded(BF16, b(x) * b(y))
        });
        check_unary("neg.f16 %r0, %r1;", |a: f16| {
            u32::from(a.to_bits() ^ 0x8000)
        });
        check_unary("abs.bf16 %r0, %r1;", |a: bf16| {
            u32::from(a.to_bits() & 0x7fff)
        });
        check_unary("tanh.approx.f16 %r0, %r1;", |a: f16| {
            rounded(F16, f(a).tanh())
        });
    }

    #[test]
    fn a_tiny_addend_breaks_a_tie() {
        // 1.00000001b is the middle of two bf16 values; the product is exactly there, 2^-100 moves it up.
        let product = [0x3f88u32, 0x3f88]; // 17/16 squared = 289/256
        let middle = 289.0 / 256.0;
        assert_eq!(f64::from(bf16_to_f32(0x3f88)).powi(2), middle);
        let run = |addend: u32| {
            let bench = Bench::new("fma.rn.bf16 %r0, %r1, %r2, %r3;");
            bench
                .set(1, &[product[0]])
                .set(2, &[product[1]])
                .set(3, &[addend])
                .run()
                .narrow(0)[0]
        };
        assert_eq!(run(0x0d80), 0x3f91);
        assert_eq!(run(0x8d80), 0x3f90);
        assert_eq!(run(0), 0x3f90);
    }

    #[test]
    fn two_values_a_register() {
        let pack =
            |low: f32, high: f32| u32::from(f32_to_f16(low)) | u32::from(f32_to_f16(high)) << 16;
        let run = |text: &str| {
            let bench = Bench::new(text)
                .set(1, &[pack(1.5, -2.0)])
                .set(2, &[pack(0.25, f32::NAN)]);
            bench.set(3, &[pack(-10.0, 1.0)]).run().narrow(0)[3]
        };
        assert_eq!(run("add.f16x2 %r0, %r1, %r3;"), pack(-8.5, -1.0));
        assert_eq!(run("fma.rn.f16x2 %r0, %r1, %r3, %r3;"), pack(-25.0, -1.0));
        assert_eq!(run("max.f16x2 %r0, %r1, %r2;"), pack(1.5, -2.0));
        assert_eq!(
            run("min.NaN.f16x2 %r0, %r1, %r2;"),
            pack(0.25, 0.0) | 0x7fff_0000
        );
        assert_eq!(run("add.sat.f16x2 %r0, %r1, %r1;"), pack(1.0, 0.0));
        assert_eq!(run("neg.f16x2 %r0, %r1;"), pack(-1.5, 2.0));
        assert_eq!(
            run("ex2.approx.f16x2 %r0, %r3;"),
            pack(0.5f32.powi(10), 2.0)
        );
        assert_eq!(
            run("min.xorsign.abs.f16x2 %r0, %r1, %r3;"),
            pack(-1.5, -1.0)
        );
    }

    #[test]
    fn subnormals_are_flushed_where_asked() {
        let outcome =
            Bench::new("add.ftz.f16 %r0, %r1, %r2;\nadd.f16 %r3, %r1, %r2;\nabs.ftz.f16 %r4, %r1;")
                .set(1, &[0x8001u32])
                .set(2, &[0u32])
                .run();
        assert_eq!(outcome.narrow(0)[0] & 0x7fff, 0);
        assert_eq!(outcome.narrow(3)[0], 0x8001);
        assert_eq!(outcome.narrow(4)[0] & 0x7fff, 0);
    }
}
