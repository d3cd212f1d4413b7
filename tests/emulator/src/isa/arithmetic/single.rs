//! Single precision.

use super::approximate;
use crate::isa::element::Element;
use crate::isa::lanewise::lanewise;
use crate::isa::numeric::{CANONICAL_NAN, Rounding, f64_to_f32, flush, fma_f32, maximum, minimum};
use crate::isa::{DecodeError, Decoder, Execute};
use crate::ptx::Instruction;

/// An f32 with the modifiers of its instruction. `FTZ`: subnormals are zeros, coming and going. `SAT`: results are clamped
/// to 0..1, NaN to 0. Every NaN that results is the canonical one.
#[derive(Clone, Copy)]
struct Single<const FTZ: bool, const SAT: bool>(f32);

impl<const FTZ: bool, const SAT: bool> Element for Single<FTZ, SAT> {
    type Register = u32;

    #[inline(always)]
    fn from_register(bits: u32) -> Self {
        let value = f32::from_bits(bits);
        Single(if FTZ { flush(value) } else { value })
    }

    #[inline(always)]
    fn to_register(self) -> u32 {
        let mut value = self.0;
        if FTZ {
            value = flush(value);
        }
        if SAT {
            // Written so that NaN, which is not above 0, gives 0; so does -0.
            value = if value > 0.0 { value.min(1.0) } else { 0.0 };
        }
        if value.is_nan() {
            CANONICAL_NAN
        } else {
            value.to_bits()
        }
    }
}

pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    match (instruction.has("ftz"), instruction.has("sat")) {
        (false, false) => decode_as::<false, false>(instruction, decoder),
        (false, true) => decode_as::<false, true>(instruction, decoder),
        (true, false) => decode_as::<true, false>(instruction, decoder),
        (true, true) => decode_as::<true, true>(instruction, decoder),
    }
}

type Decoded = Result<Box<dyn Execute>, DecodeError>;

fn one<const FTZ: bool, const SAT: bool>(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
    operation: impl Fn(f32) -> f32 + Send + Sync + 'static,
) -> Decoded {
    lanewise(instruction, decoder, move |(a,): (Single<FTZ, SAT>,)| {
        Single::<FTZ, SAT>(operation(a.0))
    })
}

fn two<const FTZ: bool, const SAT: bool>(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
    operation: impl Fn(f32, f32) -> f32 + Send + Sync + 'static,
) -> Decoded {
    lanewise(
        instruction,
        decoder,
        move |(a, b): (Single<FTZ, SAT>, Single<FTZ, SAT>)| Single::<FTZ, SAT>(operation(a.0, b.0)),
    )
}

fn three<const FTZ: bool, const SAT: bool>(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
    operation: impl Fn(f32, f32, f32) -> f32 + Send + Sync + 'static,
) -> Decoded {
    type S<const FTZ: bool, const SAT: bool> = Single<FTZ, SAT>;
    lanewise(
        instruction,
        decoder,
        move |(a, b, c): (S<FTZ, SAT>, S<FTZ, SAT>, S<FTZ, SAT>)| {
            Single::<FTZ, SAT>(operation(a.0, b.0, c.0))
        },
    )
}

fn decode_as<const FTZ: bool, const SAT: bool>(i: &Instruction, d: &mut Decoder<'_>) -> Decoded {
    let rounding = Rounding::named(i).unwrap_or(Rounding::Nearest);
    let nearest = rounding == Rounding::Nearest;
    let approximate = i.has("approx") || i.has("full");
    match i.part(0) {
        "add" if nearest => two::<FTZ, SAT>(i, d, |a, b| a + b),
        "add" => two::<FTZ, SAT>(i, d, move |a, b| fma_f32(a, 1.0, b, rounding)),
        "sub" if nearest => two::<FTZ, SAT>(i, d, |a, b| a - b),
        "sub" => two::<FTZ, SAT>(i, d, move |a, b| fma_f32(b, -1.0, a, rounding)),
        "mul" if nearest => two::<FTZ, SAT>(i, d, |a, b| a * b),
        // A zero of the product's sign leaves the product alone.
        "mul" => two::<FTZ, SAT>(i, d, move |a, b| {
            fma_f32(a, b, 0f32.copysign(a * b), rounding)
        }),
        "fma" | "mad" if nearest => three::<FTZ, SAT>(i, d, f32::mul_add),
        "fma" | "mad" => three::<FTZ, SAT>(i, d, move |a, b, c| fma_f32(a, b, c, rounding)),
        "div" if i.has("approx") => two::<FTZ, SAT>(i, d, approximate::divide),
        "div" if approximate || nearest => two::<FTZ, SAT>(i, d, |a, b| a / b),
        "div" => two::<FTZ, SAT>(i, d, move |a, b| {
            f64_to_f32(f64::from(a) / f64::from(b), rounding)
        }),
        "rcp" if approximate || nearest => one::<FTZ, SAT>(i, d, |a| 1.0 / a),
        "rcp" => one::<FTZ, SAT>(i, d, move |a| f64_to_f32(1.0 / f64::from(a), rounding)),
        "sqrt" if approximate || nearest => one::<FTZ, SAT>(i, d, f32::sqrt),
        "sqrt" => one::<FTZ, SAT>(i, d, move |a| f64_to_f32(f64::from(a).sqrt(), rounding)),
        "rsqrt" => one::<FTZ, SAT>(i, d, approximate::reciprocal_root),
        "ex2" => one::<FTZ, SAT>(i, d, approximate::exp2),
        "lg2" => one::<FTZ, SAT>(i, d, approximate::log2),
        "sin" => one::<FTZ, SAT>(i, d, f32::sin),
        "cos" => one::<FTZ, SAT>(i, d, f32::cos),
        "tanh" => one::<FTZ, SAT>(i, d, approximate::tanh),
        "min" => order::<FTZ, SAT>(i, d, minimum),
        "max" => order::<FTZ, SAT>(i, d, maximum),
        // Signs change without looking at the value: a NaN keeps its bits.
        "abs" => sign::<FTZ>(i, d, |bits| bits & 0x7fff_ffff),
        "neg" => sign::<FTZ>(i, d, |bits| bits ^ 0x8000_0000),
        "copysign" => lanewise(i, d, |(a, b): (u32, u32)| a & 0x8000_0000 | b & 0x7fff_ffff),
        _ => Err(DecodeError::unsupported()),
    }
}

fn order<const FTZ: bool, const SAT: bool>(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
    pick: impl Fn(f32, f32, bool) -> f32 + Send + Sync + 'static,
) -> Decoded {
    let keep_nan = instruction.has("NaN");
    if instruction.has("xorsign") {
        return two::<FTZ, SAT>(instruction, decoder, move |a, b| {
            let sign = (a.to_bits() ^ b.to_bits()) & 0x8000_0000;
            f32::from_bits(pick(a.abs(), b.abs(), keep_nan).to_bits() & 0x7fff_ffff | sign)
        });
    }
    two::<FTZ, SAT>(instruction, decoder, move |a, b| pick(a, b, keep_nan))
}

fn sign<const FTZ: bool>(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
    operation: impl Fn(u32) -> u32 + Send + Sync + 'static,
) -> Decoded {
    lanewise(instruction, decoder, move |(bits,): (u32,)| {
        operation(if FTZ {
            flush(f32::from_bits(bits)).to_bits()
        } else {
            bits
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::testing::{Bench, check_binary, check_ternary, check_unary};

    fn canonical(value: f32) -> u32 {
        if value.is_nan() {
            CANONICAL_NAN
        } else {
            value.to_bits()
        }
    }

    #[test]
    fn arithmetic_to_nearest() {
        check_binary("add.f32 %r0, %r1, %r2;", |a: f32, b: f32| canonical(a + b));
        check_binary("add.rn.f32 %r0, %r1, %r2;", |a: f32, b: f32| {
            canonical(a + b)
        });
        check_binary("sub.f32 %r0, %r1, %r2;", |a: f32, b: f32| canonical(a - b));
        check_binary("mul.f32 %r0, %r1, %r2;", |a: f32, b: f32| canonical(a * b));
        check_binary("div.rn.f32 %r0, %r1, %r2;", |a: f32, b: f32| {
            canonical(a / b)
        });
        check_ternary(
            "fma.rn.f32 %r0, %r1, %r2, %r3;",
            |a: f32, b: f32, c: f32| canonical(a.mul_add(b, c)),
        );
        check_unary("rcp.rn.f32 %r0, %r1;", |a: f32| canonical(1.0 / a));
        check_unary("sqrt.rn.f32 %r0, %r1;", |a: f32| canonical(a.sqrt()));
        check_unary("neg.f32 %r0, %r1;", |a: f32| (-a).to_bits());
        check_unary("abs.f32 %r0, %r1;", |a: f32| a.abs().to_bits());
        check_binary("copysign.f32 %r0, %r1, %r2;", |a: f32, b: f32| {
            b.copysign(a).to_bits()
        });
    }

    #[test]
    fn modifiers() {
        let flushed = |value: f32| {
            if value.is_subnormal() {
                0f32.copysign(value)
            } else {
                value
            }
        };
        check_binary("mul.ftz.f32 %r0, %r1, %r2;", |a: f32, b: f32| {
            canonical(flushed(flushed(a) * flushed(b)))
        });
        check_unary("neg.ftz.f32 %r0, %r1;", |a: f32| (-flushed(a)).to_bits());
        let saturated = |value: f32| {
            if value.is_nan() {
                0.0
            } else {
                value.clamp(0.0, 1.0) + 0.0
            }
        };
        check_binary("add.sat.f32 %r0, %r1, %r2;", |a: f32, b: f32| {
            saturated(a + b).to_bits()
        });
        check_ternary(
            "fma.rn.ftz.sat.f32 %r0, %r1, %r2, %r3;",
            |a: f32, b: f32, c: f32| {
                saturated(flushed(flushed(a).mul_add(flushed(b), flushed(c)))).to_bits()
            },
        );
    }

    #[test]
    fn directed_rounding_encloses() {
        let one = f32::from_bits(0x3f80_0001);
        let text = "mul.rm.f32 %r4, %r1, %r2;\nmul.rp.f32 %r5, %r1, %r2;\nadd.rz.f32 %r6, %r1, %r3;\n\
                    div.rp.f32 %r7, %r1, %r2;\nsqrt.rm.f32 %r8, %r1;\nrcp.rp.f32 %r9, %r1;\nfma.rm.f32 %r10, %r1, %r2, %r3;";
        let outcome = Bench::new(text)
            .set(1, &[one])
            .set(2, &[-3.1f32])
            .set(3, &[-1e-30f32])
            .run();
        let get = |register: u16| f32::from_bits(outcome.narrow(register)[17]);
        let product = f64::from(one) * f64::from(-3.1f32);
        assert!(
            f64::from(get(4)) < product
                && f64::from(get(5)) > product
                && get(4).next_up() == get(5)
        );
        assert_eq!(get(6), 1.0);
        assert_eq!(
            get(7),
            f64_to_f32(f64::from(one) / f64::from(-3.1f32), Rounding::Up)
        );
        assert_eq!(get(8), 1.0);
        assert_eq!(get(9), 1f32.next_down());
        assert_eq!(get(10), get(4));
    }

    #[test]
    fn minima_and_maxima() {
        let smaller = |a: f32, b: f32| match (a.is_nan(), b.is_nan()) {
            (true, true) => f32::NAN,
            (true, false) => b,
            (false, true) => a,
            _ if a.total_cmp(&b).is_le() => a,
            _ => b,
        };
        check_binary("min.f32 %r0, %r1, %r2;", move |a: f32, b: f32| {
            canonical(smaller(a, b))
        });
        check_binary("max.f32 %r0, %r1, %r2;", move |a: f32, b: f32| {
            canonical(-smaller(-a, -b))
        });
        check_binary("max.NaN.f32 %r0, %r1, %r2;", move |a: f32, b: f32| {
            canonical(if a.is_nan() || b.is_nan() {
                f32::NAN
            } else {
                -smaller(-a, -b)
            })
        });
        check_binary(
            "min.xorsign.abs.f32 %r0, %r1, %r2;",
            move |a: f32, b: f32| {
                let sign = if a.is_sign_negative() != b.is_sign_negative() {
                    -1.0f32
                } else {
                    1.0
                };
                canonical(smaller(a.abs(), b.abs()).copysign(sign))
            },
        );
    }

    #[test]
    fn approximations_stay_within_two_ulp() {
        type Exact = fn(f64) -> f64;
        let cases: [(&str, Exact); 7] = [
            ("ex2.approx", f64::exp2),
            ("lg2.approx", f64::log2),
            ("rsqrt.approx", |x| 1.0 / x.sqrt()),
            ("rcp.approx", |x| 1.0 / x),
            ("sqrt.approx", f64::sqrt),
            ("sin.approx", f64::sin),
            ("tanh.approx", f64::tanh),
        ];
        for (name, exact) in cases {
            for start in -400..400 {
                let inputs: Vec<f32> = (0..32)
                    .map(|lane| (start as f32 + lane as f32 / 32.0) * 0.37)
                    .collect();
                let got = Bench::new(&format!("{name}.f32 %r0, %r1;"))
                    .set(1, &inputs)
                    .run()
                    .get::<f32>(0);
                for (input, got) in inputs.iter().zip(got) {
                    let exact = exact(f64::from(*input));
                    let nearest = exact as f32;
                    let ulp = f64::from(nearest.abs().next_up() - nearest.abs());
                    let agree = (f64::from(got) - exact).abs() <= 2.0 * ulp || got == nearest;
                    assert!(
                        agree || got.is_nan() && exact.is_nan(),
                        "{name}({input}) = {got}, exactly {exact}"
                    );
                }
            }
        }
    }

    #[test]
    fn approximations_at_the_edges() {
        let run = |text: &str, input: f32| Bench::new(text).set(1, &[input]).run().get::<f32>(0)[0];
        assert_eq!(run("rcp.approx.ftz.f32 %r0, %r1;", 1e-40), f32::INFINITY);
        assert_eq!(run("rsqrt.approx.f32 %r0, %r1;", -0.0), f32::NEG_INFINITY);
        assert_eq!(run("ex2.approx.ftz.f32 %r0, %r1;", -130.0), 0.0);
        assert_eq!(
            run("ex2.approx.f32 %r0, %r1;", -140.0),
            f32::from_bits(1 << 9)
        );
        assert_eq!(run("ex2.approx.f32 %r0, %r1;", f32::NEG_INFINITY), 0.0);
        assert_eq!(run("ex2.approx.f32 %r0, %r1;", 128.0), f32::INFINITY);
        assert_eq!(run("ex2.approx.f32 %r0, %r1;", 0.0), 1.0);
        assert_eq!(run("tanh.approx.f32 %r0, %r1;", f32::NEG_INFINITY), -1.0);
        assert!(run("tanh.approx.f32 %r0, %r1;", f32::NAN).is_nan());
        assert!(run("ex2.approx.f32 %r0, %r1;", f32::NAN).is_nan());
        assert_eq!(run("lg2.approx.f32 %r0, %r1;", 0.0), f32::NEG_INFINITY);
        assert_eq!(
            run(
                "mov.b32 %r2, 0F7F000001;\ndiv.approx.f32 %r0, %r1, %r2;",
                1e38
            ),
            0.0
        );
        assert_eq!(
            run("mov.b32 %r2, 0F7E800000;\ndiv.full.f32 %r0, %r2, %r1;", 2.0),
            f32::from_bits(0x7e00_0000)
        );
        assert!(run("lg2.approx.f32 %r0, %r1;", -1.0).is_nan());
    }
}
