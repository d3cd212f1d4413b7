//! What the opcodes and operands of memory instructions have in common.

use super::{DecodeError, Decoder, Footprint, Lanes, Space};
use crate::exec::{Order, Scope, Warp};
use crate::ptx::{Class, Operand};

/// The parts of an opcode that say how an access takes part in the memory model.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OrderParts {
    strong: bool,
    acquire: bool,
    release: bool,
    scope: Option<Scope>,
}

impl OrderParts {
    /// Takes a part of an opcode; gives whether it is one of these.
    pub(super) fn take(&mut self, part: &str) -> bool {
        match part {
            "weak" => {}
            "volatile" | "relaxed" | "mmio" => self.strong = true,
            "acquire" => (self.strong, self.acquire) = (true, true),
            "release" => (self.strong, self.release) = (true, true),
            "acq_rel" => (self.strong, self.acquire, self.release) = (true, true, true),
            "cta" => self.scope = Some(Scope::Block),
            "cluster" => self.scope = Some(Scope::Cluster),
            "gpu" | "sys" => self.scope = Some(Scope::Device),
            _ => return false,
        }
        true
    }

    /// The order of a load or store. Where no scope is named, as with `.volatile`, it is the widest.
    pub(super) fn order(self) -> Order {
        if self.strong {
            self.atomic_order()
        } else {
            Order::Plain
        }
    }

    /// The order of an atomic, which is strong without saying so.
    pub(super) fn atomic_order(self) -> Order {
        let scope = self.scope.unwrap_or(Scope::Device);
        Order::Strong {
            scope,
            acquire: self.acquire,
            release: self.release,
        }
    }
}

/// Whether a part of an opcode names a state space or is a hint to the caches.
pub(super) fn is_place_or_hint(part: &str) -> bool {
    let space = matches!(
        part,
        "global"
            | "shared"
            | "shared::cta"
            | "shared::cluster"
            | "local"
            | "param"
            | "param::entry"
            | "param::func"
            | "const"
    );
    space || part.starts_with("L1::") || part.starts_with("L2::")
}

/// The number of elements that `v2`, `v4` or `v8` stands for.
pub(super) fn vector(part: &str) -> Option<usize> {
    match part {
        "v2" => Some(2),
        "v4" => Some(4),
        "v8" => Some(8),
        _ => None,
    }
}

/// The footprint of an access of `bytes` bytes.
pub(super) fn footprint(space: Space, bytes: usize) -> Footprint {
    let bytes = bytes as u32;
    match space {
        Space::Global => Footprint {
            shared: 0,
            global: bytes,
        },
        Space::Shared | Space::Cluster => Footprint {
            shared: bytes,
            global: 0,
        },
        Space::Local | Space::Parameter => Footprint::default(),
        Space::Generic => Footprint {
            shared: bytes,
            global: bytes,
        },
    }
}

/// A register whose value goes to or comes from memory.
#[derive(Clone, Copy, Debug)]
pub(super) enum DataRegister {
    /// 32 bits and less.
    Narrow(u16),
    /// 64 bits.
    Wide(u16),
}

impl DataRegister {
    /// A register that is written to memory, for a type of `bytes` bytes.
    pub(super) fn source(
        operand: &Operand,
        bytes: usize,
        decoder: &mut Decoder<'_>,
    ) -> Result<Self, DecodeError> {
        Ok(match is_wide(operand, bytes) {
            false => DataRegister::Narrow(decoder.source32(operand)?),
            true => DataRegister::Wide(decoder.source64(operand)?),
        })
    }

    /// A register that gets a value of `bytes` bytes.
    pub(super) fn destination(
        operand: &Operand,
        bytes: usize,
        decoder: &mut Decoder<'_>,
    ) -> Result<Self, DecodeError> {
        Ok(match is_wide(operand, bytes) {
            false => DataRegister::Narrow(decoder.destination32(operand)?),
            true => DataRegister::Wide(decoder.destination64(operand)?),
        })
    }

    /// Its values, zero-extended.
    #[inline]
    pub(super) fn values(self, warp: &Warp) -> Lanes<u64> {
        match self {
            DataRegister::Narrow(register) => warp.narrow[register as usize].map(u64::from),
            DataRegister::Wide(register) => warp.wide[register as usize],
        }
    }

    /// Gives the lanes of `active` new values, cut to the register's width.
    #[inline]
    pub(super) fn set(self, warp: &mut Warp, active: u32, values: &Lanes<u64>) {
        match self {
            DataRegister::Narrow(register) => {
                warp.set_narrow(register, active, &values.map(|value| value as u32))
            }
            DataRegister::Wide(register) => warp.set_wide(register, active, values),
        }
    }
}

/// Registers may be wider than the type; constants and `_` are as wide as it.
fn is_wide(operand: &Operand, bytes: usize) -> bool {
    match operand {
        Operand::Register(register) => register.class == Class::Bits64,
        _ => bytes == 8,
    }
}
