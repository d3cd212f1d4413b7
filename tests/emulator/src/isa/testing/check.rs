//! One instruction against plain Rust, over the samples of its operands' types.

use std::fmt::LowerHex;

use super::{Bench, Samples, SetRegister};
use crate::isa::element::Element;

/// Runs `ptx` (`%r0`/`%rd0` = op of 1) over the samples and compares every lane's bits.
pub(crate) fn check_unary<A, D>(ptx: &str, expected: impl Fn(A) -> D)
where
    A: Samples,
    D: Element<Register: PartialEq + LowerHex>,
    Bench: SetRegister<A::Register>,
{
    for chunk in A::samples().chunks(32) {
        let got = Bench::new(ptx).set(1, chunk).run().get::<D>(0);
        for (at, &a) in chunk.iter().enumerate() {
            same(ptx, at, got[at], expected(a));
        }
    }
}

/// Runs `ptx` (0 = op of 1 and 2) over all pairs of samples and compares every lane's bits.
pub(crate) fn check_binary<A, B, D>(ptx: &str, expected: impl Fn(A, B) -> D)
where
    A: Samples,
    B: Samples,
    D: Element<Register: PartialEq + LowerHex>,
    Bench: SetRegister<A::Register> + SetRegister<B::Register>,
{
    let (first, second) = (A::samples(), B::samples());
    let pairs: Vec<(A, B)> = first
        .iter()
        .flat_map(|&a| second.iter().map(move |&b| (a, b)))
        .collect();
    for chunk in pairs.chunks(32) {
        let (a, b): (Vec<A>, Vec<B>) = chunk.iter().copied().unzip();
        let got = Bench::new(ptx).set(1, &a).set(2, &b).run().get::<D>(0);
        for (at, &(a, b)) in chunk.iter().enumerate() {
            same(ptx, at, got[at], expected(a, b));
        }
    }
}

/// Runs `ptx` (0 = op of 1, 2 and 3) over samples combined at three strides and compares every lane's bits.
pub(crate) fn check_ternary<A, B, C, D>(ptx: &str, expected: impl Fn(A, B, C) -> D)
where
    A: Samples,
    B: Samples,
    C: Samples,
    D: Element<Register: PartialEq + LowerHex>,
    Bench: SetRegister<A::Register> + SetRegister<B::Register> + SetRegister<C::Register>,
{
    let (first, second, third) = (A::samples(), B::samples(), C::samples());
    for round in 0..64 {
        let pick = |len: usize, stride: usize| {
            move |lane: usize| (lane * stride + round * (stride + 3)) % len
        };
        let a: Vec<A> = (0..32)
            .map(pick(first.len(), 1))
            .map(|at| first[at])
            .collect();
        let b: Vec<B> = (0..32)
            .map(pick(second.len(), 5))
            .map(|at| second[at])
            .collect();
        let c: Vec<C> = (0..32)
            .map(pick(third.len(), 11))
            .map(|at| third[at])
            .collect();
        let got = Bench::new(ptx)
            .set(1, &a)
            .set(2, &b)
            .set(3, &c)
            .run()
            .get::<D>(0);
        for lane in 0..32 {
            same(ptx, lane, got[lane], expected(a[lane], b[lane], c[lane]));
        }
    }
}

fn same<D: Element<Register: PartialEq + LowerHex>>(ptx: &str, at: usize, got: D, expected: D) {
    let (got, expected) = (got.to_register(), expected.to_register());
    assert!(
        got == expected,
        "{ptx} lane {at}: {got:#x}, expected {expected:#x}"
    );
}
