//! Instructions that compute one value a lane from registers alone.

use std::fmt;
use std::marker::PhantomData;

use super::element::{Element, Register};
use super::{DecodeError, Decoder, Execute, Flow, Lanes};
use crate::exec::{Step, Warp};
use crate::fault::Stop;
use crate::ptx::Instruction;

/// Runs `work` compiled for the vector instructions of this machine. What it calls must be inlined into it to gain.
#[inline(always)]
pub fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
        fn with_avx2<R>(work: impl FnOnce() -> R) -> R {
            work()
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the machine has AVX2 and FMA; every such machine has the bit-manipulation extensions as well.
            return unsafe { with_avx2(work) };
        }
    }
    work()
}

/// The sources of an instruction, as a tuple of [`Element`]s.
pub trait Sources: Sized + 'static {
    /// The registers that hold them.
    type Registers: Copy + Send + Sync + fmt::Debug + 'static;
    /// Their values in all lanes.
    type Values<'w>;

    /// Decodes the operands from `first` on.
    ///
    /// # Errors
    /// When one is missing or of another class.
    fn decode(
        instruction: &Instruction,
        first: usize,
        decoder: &mut Decoder<'_>,
    ) -> Result<Self::Registers, DecodeError>;

    /// Looks the registers up.
    fn values(warp: &Warp, registers: Self::Registers) -> Self::Values<'_>;

    /// The sources of one lane.
    fn lane(values: &Self::Values<'_>, lane: usize) -> Self;
}

/// A source operand's register.
fn source<T: Element>(
    instruction: &Instruction,
    index: usize,
    decoder: &mut Decoder<'_>,
) -> Result<u16, DecodeError> {
    T::Register::source(decoder, instruction.operand(index)?)
}

impl<A: Element> Sources for (A,) {
    type Registers = [u16; 1];
    type Values<'w> = &'w Lanes<A::Register>;

    fn decode(
        instruction: &Instruction,
        first: usize,
        decoder: &mut Decoder<'_>,
    ) -> Result<[u16; 1], DecodeError> {
        Ok([source::<A>(instruction, first, decoder)?])
    }

    #[inline(always)]
    fn values(warp: &Warp, [a]: [u16; 1]) -> Self::Values<'_> {
        A::Register::read(warp, a)
    }

    #[inline(always)]
    fn lane(a: &Self::Values<'_>, lane: usize) -> Self {
        (A::from_register(a[lane]),)
    }
}

impl<A: Element, B: Element> Sources for (A, B) {
    type Registers = [u16; 2];
    type Values<'w> = (&'w Lanes<A::Register>, &'w Lanes<B::Register>);

    fn decode(
        instruction: &Instruction,
        first: usize,
        decoder: &mut Decoder<'_>,
    ) -> Result<[u16; 2], DecodeError> {
        Ok([
            source::<A>(instruction, first, decoder)?,
            source::<B>(instruction, first + 1, decoder)?,
        ])
    }

    #[inline(always)]
    fn values(warp: &Warp, [a, b]: [u16; 2]) -> Self::Values<'_> {
        (A::Register::read(warp, a), B::Register::read(warp, b))
    }

    #[inline(always)]
    fn lane((a, b): &Self::Values<'_>, lane: usize) -> Self {
        (A::from_register(a[lane]), B::from_register(b[lane]))
    }
}

impl<A: Element, B: Element, C: Element> Sources for (A, B, C) {
    type Registers = [u16; 3];
    type Values<'w> = (
        &'w Lanes<A::Register>,
        &'w Lanes<B::Register>,
        &'w Lanes<C::Register>,
    );

    fn decode(
        instruction: &Instruction,
        first: usize,
        decoder: &mut Decoder<'_>,
    ) -> Result<[u16; 3], DecodeError> {
        let [a, b] = <(A, B)>::decode(instruction, first, decoder)?;
        Ok([a, b, source::<C>(instruction, first + 2, decoder)?])
    }

    #[inline(always)]
    fn values(warp: &Warp, [a, b, c]: [u16; 3]) -> Self::Values<'_> {
        (
            A::Register::read(warp, a),
            B::Register::read(warp, b),
            C::Register::read(warp, c),
        )
    }

    #[inline(always)]
    fn lane((a, b, c): &Self::Values<'_>, lane: usize) -> Self {
        (
            A::from_register(a[lane]),
            B::from_register(b[lane]),
            C::from_register(c[lane]),
        )
    }
}

impl<A: Element, B: Element, C: Element, D: Element> Sources for (A, B, C, D) {
    type Registers = [u16; 4];
    type Values<'w> = (
        <(A, B) as Sources>::Values<'w>,
        <(C, D) as Sources>::Values<'w>,
    );

    fn decode(
        instruction: &Instruction,
        first: usize,
        decoder: &mut Decoder<'_>,
    ) -> Result<[u16; 4], DecodeError> {
        let [a, b] = <(A, B)>::decode(instruction, first, decoder)?;
        let [c, d] = <(C, D)>::decode(instruction, first + 2, decoder)?;
        Ok([a, b, c, d])
    }

    #[inline(always)]
    fn values(warp: &Warp, [a, b, c, d]: [u16; 4]) -> Self::Values<'_> {
        (
            <(A, B)>::values(warp, [a, b]),
            <(C, D)>::values(warp, [c, d]),
        )
    }

    #[inline(always)]
    fn lane((first, second): &Self::Values<'_>, lane: usize) -> Self {
        let (a, b) = <(A, B)>::lane(first, lane);
        let (c, d) = <(C, D)>::lane(second, lane);
        (a, b, c, d)
    }
}

/// `destination = operation(sources)` in every active lane.
struct Lanewise<S: Sources, D, F> {
    operation: F,
    destination: u16,
    sources: S::Registers,
    result: PhantomData<fn() -> D>,
}

impl<S: Sources, D, F> fmt::Debug for Lanewise<S, D, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lanewise({} <- {:?})", self.destination, self.sources)
    }
}

impl<S, D, F> Execute for Lanewise<S, D, F>
where
    S: Sources,
    D: Element,
    F: Fn(S) -> D + Send + Sync + 'static,
{
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let values = vectorised(|| {
            let sources = S::values(step.warp, self.sources);
            let mut values = [D::Register::default(); 32];
            for (lane, value) in values.iter_mut().enumerate() {
                *value = (self.operation)(S::lane(&sources, lane)).to_register();
            }
            values
        });
        D::Register::write(step.warp, self.destination, step.active, &values);
        Ok(Flow::Next)
    }
}

/// An instruction `op destination, sources...` whose result depends on nothing but its sources. Inactive lanes are
/// computed as well and thrown away, so `operation` must not panic for any input.
///
/// # Errors
/// When the operands do not fit the types.
pub fn lanewise<S, D, F>(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
    operation: F,
) -> Result<Box<dyn Execute>, DecodeError>
where
    S: Sources,
    D: Element,
    F: Fn(S) -> D + Send + Sync + 'static,
{
    let destination = D::Register::destination(decoder, instruction.operand(0)?)?;
    let sources = S::decode(instruction, 1, decoder)?;
    Ok(lanewise_of::<S, D, F>(destination, sources, operation))
}

/// As [`lanewise`], from registers that are decoded already.
pub fn lanewise_of<S, D, F>(
    destination: u16,
    sources: S::Registers,
    operation: F,
) -> Box<dyn Execute>
where
    S: Sources,
    D: Element,
    F: Fn(S) -> D + Send + Sync + 'static,
{
    Box::new(Lanewise::<S, D, F> {
        operation,
        destination,
        sources,
        result: PhantomData,
    })
}
