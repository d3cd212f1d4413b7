//! Predicates as sources: a register, its negation or a constant.

use super::lanewise::{Sources, vectorised};
use super::{DecodeError, Decoder};
use crate::exec::Warp;
use crate::ptx::Operand;

/// A predicate operand.
#[derive(Clone, Copy, Debug)]
pub struct Condition {
    /// `None`: false in all lanes before `inverted` is applied.
    register: Option<u16>,
    /// All ones where the operand is negated.
    inverted: u32,
}

impl Condition {
    /// `%p`, `!%p` or an immediate.
    ///
    /// # Errors
    /// For any other operand.
    pub fn decode(decoder: &mut Decoder<'_>, operand: &Operand) -> Result<Self, DecodeError> {
        if let Operand::Immediate(value) = operand {
            return Ok(Condition {
                register: None,
                inverted: if *value == 0 { 0 } else { u32::MAX },
            });
        }
        let (register, negated) = decoder.signed_predicate(operand)?;
        Ok(Condition {
            register: Some(register),
            inverted: if negated { u32::MAX } else { 0 },
        })
    }

    /// The lanes in which it holds.
    #[inline(always)]
    pub fn lanes(self, warp: &Warp) -> u32 {
        self.register
            .map_or(0, |register| warp.predicates[register as usize])
            ^ self.inverted
    }
}

/// The lanes whose sources pass a test. Inactive lanes are tested as well.
#[inline(always)]
pub fn lanes_where<S: Sources>(
    warp: &Warp,
    registers: S::Registers,
    test: impl Fn(S) -> bool,
) -> u32 {
    vectorised(|| {
        let sources = S::values(warp, registers);
        let mut mask = 0;
        for lane in 0..32 {
            mask |= u32::from(test(S::lane(&sources, lane))) << lane;
        }
        mask
    })
}
