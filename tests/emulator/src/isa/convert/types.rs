//! The floating-point types that conversions know, and what their opcodes ask for.

use half::{bf16, f16};

use crate::isa::element::Element;
use crate::isa::numeric::{BF16, CANONICAL_NAN, F16, F32, Rounding, TF32, bf16_to_f32, f16_to_f32};
use crate::ptx::Instruction;

/// A floating-point type of at most 64 bits.
pub(super) trait Float: Element {
    /// The value, exact.
    fn wide(self) -> f64;

    /// Rounds to this type. `finite`: what is beyond the largest number becomes it.
    fn rounded(value: f64, rounding: Rounding, finite: bool) -> Self;
}

impl Float for f64 {
    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }

    #[inline(always)]
    fn rounded(value: f64, _rounding: Rounding, _finite: bool) -> Self {
        value
    }
}

impl Float for f32 {
    #[inline(always)]
    fn wide(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn rounded(value: f64, rounding: Rounding, finite: bool) -> Self {
        f32::from_bits(F32.encode(value, rounding, finite))
    }
}

impl Float for f16 {
    #[inline(always)]
    fn wide(self) -> f64 {
        f64::from(f16_to_f32(self.to_bits()))
    }

    #[inline(always)]
    fn rounded(value: f64, rounding: Rounding, finite: bool) -> Self {
        f16::from_bits(F16.encode(value, rounding, finite) as u16)
    }
}

impl Float for bf16 {
    #[inline(always)]
    fn wide(self) -> f64 {
        f64::from(bf16_to_f32(self.to_bits()))
    }

    #[inline(always)]
    fn rounded(value: f64, rounding: Rounding, finite: bool) -> Self {
        bf16::from_bits(BF16.encode(value, rounding, finite) as u16)
    }
}

/// 19 bits in the upper part of a register, the rest zero.
#[derive(Clone, Copy)]
pub(super) struct Tf32(u32);

impl Element for Tf32 {
    type Register = u32;

    #[inline(always)]
    fn from_register(bits: u32) -> Self {
        Tf32(bits)
    }

    #[inline(always)]
    fn to_register(self) -> u32 {
        self.0
    }
}

impl Float for Tf32 {
    #[inline(always)]
    fn wide(self) -> f64 {
        f64::from(f32::from_bits(self.0))
    }

    #[inline(always)]
    fn rounded(value: f64, rounding: Rounding, finite: bool) -> Self {
        let bits = TF32.encode(value, rounding, finite) << 13;
        Tf32(if value.is_nan() { CANONICAL_NAN } else { bits })
    }
}

/// What the opcode asks for besides the types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Modifiers {
    /// `None`: the conversion is exact, or to an integral value.
    pub rounding: Option<Rounding>,
    /// To an integral value first (`.rni` and its like).
    pub integral: Option<Rounding>,
    /// f32 subnormals are zeros.
    pub flush: bool,
    /// Clamped to 0..1, NaN to 0.
    pub saturate: bool,
    /// Negative values become 0.
    pub relu: bool,
    /// What is beyond the largest number becomes it.
    pub finite: bool,
}

impl Modifiers {
    pub fn of(i: &Instruction) -> Self {
        let named = Rounding::named(i);
        let integral = ["rni", "rzi", "rmi", "rpi"].iter().any(|part| i.has(part));
        Modifiers {
            rounding: if integral { None } else { named },
            integral: if integral { named } else { None },
            flush: i.has("ftz"),
            saturate: i.has("sat"),
            relu: i.has("relu"),
            finite: i.has("satfinite"),
        }
    }

    /// Whether rounding to nearest is all there is.
    pub fn is_plain(self) -> bool {
        self == Modifiers {
            rounding: Some(Rounding::Nearest),
            ..Modifiers::default()
        }
    }

    /// Converts one value.
    #[inline(always)]
    pub fn apply<T: Float>(self, value: f64) -> T {
        let mut value = value;
        if let Some(rounding) = self.integral {
            value = rounding.integral(value);
        }
        if self.saturate {
            value = if value > 0.0 { value.min(1.0) } else { 0.0 };
        }
        if self.relu && value <= 0.0 {
            value = 0.0;
        }
        T::rounded(
            value,
            self.rounding.unwrap_or(Rounding::Nearest),
            self.finite,
        )
    }
}
