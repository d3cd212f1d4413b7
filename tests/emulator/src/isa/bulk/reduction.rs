//! The reductions of `cp.reduce.async.bulk`: those of atomics, with fewer types.

use crate::isa::DecodeError;
use crate::isa::atomic::operation::{Change, Operation, operation};
use crate::tensor_map::Element;

/// A reduction of one type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reduction {
    /// Bytes of the type.
    pub bytes: usize,
    change: Change,
}

/// The name of a reduction that a part of an opcode is.
pub(super) fn name(part: &str) -> Option<&'static str> {
    const NAMES: [&str; 8] = ["add", "min", "max", "inc", "dec", "and", "or", "xor"];
    NAMES.into_iter().find(|&name| name == part)
}

impl Reduction {
    /// A reduction in global memory.
    ///
    /// # Errors
    /// When the type does not have it.
    pub fn in_global(name: &str, kind: &str) -> Result<Self, DecodeError> {
        let exists = match name {
            "add" => matches!(kind, "u32" | "s32" | "u64" | "f16" | "bf16" | "f32" | "f64"),
            "min" | "max" => matches!(kind, "u32" | "s32" | "u64" | "s64" | "f16" | "bf16"),
            "inc" | "dec" => kind == "u32",
            _ => matches!(kind, "b32" | "b64"),
        };
        let operation = checked(exists, name, kind)?;
        Ok(Reduction {
            bytes: operation.bytes,
            change: operation.global,
        })
    }

    /// A reduction in shared memory.
    ///
    /// # Errors
    /// When the type does not have it.
    pub fn in_shared(name: &str, kind: &str) -> Result<Self, DecodeError> {
        let exists = match name {
            "add" => matches!(kind, "u32" | "s32" | "u64"),
            "min" | "max" => matches!(kind, "u32" | "s32"),
            "inc" | "dec" => kind == "u32",
            _ => kind == "b32",
        };
        let operation = checked(exists, name, kind)?;
        Ok(Reduction {
            bytes: operation.bytes,
            change: operation.shared,
        })
    }

    /// A reduction of a tensor's elements.
    ///
    /// # Errors
    /// When their type does not have it.
    pub fn of_tensor(name: &str, element: Element) -> Result<Self, DecodeError> {
        let bitwise = matches!(name, "and" | "or" | "xor");
        let kind = match element {
            Element::U32 | Element::S32 if bitwise => "b32",
            Element::U64 | Element::S64 if bitwise => "b64",
            Element::U8 => "u8",
            Element::U16 => "u16",
            Element::U32 => "u32",
            Element::S32 => "s32",
            Element::U64 => "u64",
            Element::S64 => "s64",
            Element::F16 => "f16",
            Element::Bf16 => "bf16",
            Element::F32 | Element::F32Flushed | Element::Tf32 | Element::Tf32Flushed => "f32",
            Element::F64 => "f64",
        };
        Self::in_global(name, kind)
    }

    /// The result for two elements, given as their bits; what it has above the type's bits is to be cut off.
    pub fn apply(self, old: u64, new: u64) -> u64 {
        (self.change)(old, new, 0)
    }
}

fn checked(exists: bool, name: &str, kind: &str) -> Result<Operation, DecodeError> {
    if !exists {
        return Err(DecodeError::because(format!(
            "there is no bulk reduction .{name} of .{kind} there"
        )));
    }
    operation(name, kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_those_of_ptx() {
        assert!(
            Reduction::in_global("add", "f32").is_ok()
                && Reduction::in_shared("add", "f32").is_err()
        );
        assert!(
            Reduction::in_global("min", "f32").is_err()
                && Reduction::in_global("min", "bf16").is_ok()
        );
        assert!(
            Reduction::in_global("inc", "s32").is_err()
                && Reduction::in_shared("xor", "b32").is_ok()
        );
        assert!(Reduction::in_global("add", "f16x2").is_err());
        assert!(name("cas").is_none() && name("max") == Some("max"));
    }

    #[test]
    fn tensors_reduce_in_their_type() {
        let reduced = |name: &str, element: Element, old: u64, new: u64| {
            Reduction::of_tensor(name, element).unwrap().apply(old, new) as u32
        };
        assert_eq!(reduced("min", Element::S32, 0xffff_ffff, 3), 0xffff_ffff);
        assert_eq!(reduced("min", Element::U32, 0xffff_ffff, 3), 3);
        assert_eq!(reduced("xor", Element::S32, 0b1100, 0b1010), 0b0110);
        assert_eq!(
            reduced("add", Element::F32, 0x3f80_0000, 0x4000_0000),
            0x4040_0000
        );
        assert_eq!(reduced("add", Element::F16, 0x3c00, 0x4000), 0x4200);
        assert!(Reduction::of_tensor("add", Element::U8).is_err());
        assert!(Reduction::of_tensor("and", Element::F32).is_err());
    }
}
