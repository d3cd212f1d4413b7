//! Numbers as the hardware computes them: rounding directions, small formats, exactness.

mod double;
mod format;
mod half_precision;
mod odd;
mod single;

pub use double::{div_f64, fma_f64, sqrt_f64};
pub use format::{BF16, E4M3, E5M2, F16, F32, Format, TF32};
pub use half_precision::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};
pub use odd::{double_to_odd, fma_to_odd, half_fma_to_odd, integer_to_odd};
pub use single::{CANONICAL_NAN, f64_to_f32, flush, fma_f32, maximum, minimum};

use crate::ptx::Instruction;

/// Direction of rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// `.rn`: to nearest, ties to even.
    Nearest,
    /// `.rna`: to nearest, ties away from zero.
    Away,
    /// `.rz`: towards zero.
    Zero,
    /// `.rm`: towards minus infinity.
    Down,
    /// `.rp`: towards plus infinity.
    Up,
}

impl Rounding {
    /// The direction that an opcode names: to a number (`.rn`) or to an integer (`.rni`).
    pub fn named(instruction: &Instruction) -> Option<Rounding> {
        instruction
            .opcode
            .iter()
            .find_map(|part| match part.as_str() {
                "rn" | "rni" => Some(Rounding::Nearest),
                "rna" => Some(Rounding::Away),
                "rz" | "rzi" => Some(Rounding::Zero),
                "rm" | "rmi" => Some(Rounding::Down),
                "rp" | "rpi" => Some(Rounding::Up),
                _ => None,
            })
    }

    /// Whether an inexact magnitude, cut off, has to grow: for directed roundings.
    fn grows(self, negative: bool) -> bool {
        match self {
            Rounding::Down => negative,
            Rounding::Up => !negative,
            Rounding::Nearest | Rounding::Away | Rounding::Zero => false,
        }
    }

    /// The integral value in this direction.
    #[inline(always)]
    pub fn integral(self, value: f64) -> f64 {
        match self {
            Rounding::Nearest => value.round_ties_even(),
            Rounding::Away => value.round(),
            Rounding::Zero => value.trunc(),
            Rounding::Down => value.floor(),
            Rounding::Up => value.ceil(),
        }
    }
}
