//! How values lie in registers.
//!
//! A 32-bit register holds anything of up to 32 bits, a 64-bit register the rest. Bits above a value's own width are
//! unspecified: whoever reads a 16-bit value from a register ignores the upper half.

use half::{bf16, f16};

use super::{DecodeError, Decoder, Lanes};
use crate::exec::Warp;
use crate::ptx::Operand;

/// A register class: `u32` or `u64`.
pub trait Register: Copy + Default + Into<u64> + Send + Sync + 'static {
    /// Decodes a source operand.
    ///
    /// # Errors
    /// For operands of another class.
    fn source(decoder: &mut Decoder<'_>, operand: &Operand) -> Result<u16, DecodeError>;

    /// Decodes a destination operand.
    ///
    /// # Errors
    /// For operands of another class.
    fn destination(decoder: &mut Decoder<'_>, operand: &Operand) -> Result<u16, DecodeError>;

    /// As many of the low bits as fit.
    fn from_low_bits(bits: u64) -> Self;

    /// The value of every lane.
    fn read(warp: &Warp, register: u16) -> &Lanes<Self>;

    /// Writes the lanes of `active`.
    fn write(warp: &mut Warp, register: u16, active: u32, values: &Lanes<Self>);
}

impl Register for u32 {
    fn source(decoder: &mut Decoder<'_>, operand: &Operand) -> Result<u16, DecodeError> {
        decoder.source32(operand)
    }

    fn destination(decoder: &mut Decoder<'_>, operand: &Operand) -> Result<u16, DecodeError> {
        decoder.destination32(operand)
    }

    #[inline(always)]
    fn from_low_bits(bits: u64) -> Self {
        bits as u32
    }

    #[inline(always)]
    fn read(warp: &Warp, register: u16) -> &Lanes<u32> {
        &warp.narrow[register as usize]
    }

    #[inline(always)]
    fn write(warp: &mut Warp, register: u16, active: u32, values: &Lanes<u32>) {
        warp.set_narrow(register, active, values);
    }
}

impl Register for u64 {
    fn source(decoder: &mut Decoder<'_>, operand: &Operand) -> Result<u16, DecodeError> {
        decoder.source64(operand)
    }

    fn destination(decoder: &mut Decoder<'_>, operand: &Operand) -> Result<u16, DecodeError> {
        decoder.destination64(operand)
    }

    #[inline(always)]
    fn from_low_bits(bits: u64) -> Self {
        bits
    }

    #[inline(always)]
    fn read(warp: &Warp, register: u16) -> &Lanes<u64> {
        &warp.wide[register as usize]
    }

    #[inline(always)]
    fn write(warp: &mut Warp, register: u16, active: u32, values: &Lanes<u64>) {
        warp.set_wide(register, active, values);
    }
}

/// A value of one type in a register.
pub trait Element: Copy + Send + Sync + 'static {
    /// The class of register that holds it.
    type Register: Register;

    /// Reads it; bits above its width are ignored.
    fn from_register(bits: Self::Register) -> Self;

    /// Its bits, zero above its width.
    fn to_register(self) -> Self::Register;
}

/// Integers: `Element` and [`Integer`], which only their types tell apart.
macro_rules! integers {
    ($($integer:ty as $unsigned:ty, register $register:ty, product $wide:ty;)*) => {$(
        impl Element for $integer {
            type Register = $register;

            #[inline(always)]
            fn from_register(bits: $register) -> Self {
                bits as $integer
            }

            #[inline(always)]
            fn to_register(self) -> $register {
                self as $unsigned as $register
            }
        }

        impl Integer for $integer {
            const BITS: u32 = <$integer>::BITS;

            #[inline(always)]
            fn extended(self) -> u64 {
                self as u64
            }

            #[inline(always)]
            fn truncated(bits: u64) -> Self {
                bits as $integer
            }

            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self.wrapping_add(other)
            }

            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }

            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }

            #[inline(always)]
            fn mul_high(self, other: Self) -> Self {
                ((self as $wide * other as $wide) >> Self::BITS) as $integer
            }

            #[inline(always)]
            fn div(self, other: Self) -> Self {
                if other == 0 { !0 } else { self.wrapping_div(other) }
            }

            #[inline(always)]
            fn rem(self, other: Self) -> Self {
                if other == 0 { !0 } else { self.wrapping_rem(other) }
            }

            #[inline(always)]
            fn add_saturating(self, other: Self) -> Self {
                self.saturating_add(other)
            }

            #[inline(always)]
            fn sub_saturating(self, other: Self) -> Self {
                self.saturating_sub(other)
            }

            #[inline(always)]
            fn shift_left(self, by: u32) -> Self {
                self.checked_shl(by).unwrap_or(0)
            }

            #[inline(always)]
            fn shift_right(self, by: u32) -> Self {
                let sign = if self < 0 as $integer { !0 } else { 0 };
                self.checked_shr(by).unwrap_or(sign)
            }

            #[inline(always)]
            fn saturated(value: i128) -> Self {
                value.clamp(<$integer>::MIN as i128, <$integer>::MAX as i128) as $integer
            }

            #[inline(always)]
            fn exact(self) -> i128 {
                self as i128
            }

            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as $integer
            }

            #[inline(always)]
            fn to_f32(self) -> f32 {
                self as f32
            }

            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
        }
    )*};
}

integers! {
    u8 as u8, register u32, product u16;
    i8 as u8, register u32, product i16;
    u16 as u16, register u32, product u32;
    i16 as u16, register u32, product i32;
    u32 as u32, register u32, product u64;
    i32 as u32, register u32, product i64;
    u64 as u64, register u64, product u128;
    i64 as u64, register u64, product i128;
}

/// What PTX does with integers, wrapping unless said otherwise.
pub trait Integer: Element + Ord {
    /// Width.
    const BITS: u32;

    /// Sign- or zero-extended to 64 bits.
    fn extended(self) -> u64;
    /// The low bits.
    fn truncated(bits: u64) -> Self;
    /// Sum.
    fn add(self, other: Self) -> Self;
    /// Difference.
    fn sub(self, other: Self) -> Self;
    /// Low half of the product.
    fn mul(self, other: Self) -> Self;
    /// High half of the product.
    fn mul_high(self, other: Self) -> Self;
    /// Quotient; all ones for a divisor of zero, as on hardware.
    fn div(self, other: Self) -> Self;
    /// Remainder; all ones for a divisor of zero, as on hardware.
    fn rem(self, other: Self) -> Self;
    /// Sum, clamped.
    fn add_saturating(self, other: Self) -> Self;
    /// Difference, clamped.
    fn sub_saturating(self, other: Self) -> Self;
    /// Shift that loses all bits from the width on.
    fn shift_left(self, by: u32) -> Self;
    /// Shift that leaves only the sign from the width on.
    fn shift_right(self, by: u32) -> Self;
    /// The nearest value of the type.
    fn saturated(value: i128) -> Self;
    /// As a number.
    fn exact(self) -> i128;
    /// The integral value, clamped.
    fn from_f64(value: f64) -> Self;
    /// Rounded to nearest.
    fn to_f32(self) -> f32;
    /// Rounded to nearest.
    fn to_f64(self) -> f64;
}

impl Element for f32 {
    type Register = u32;

    #[inline(always)]
    fn from_register(bits: u32) -> Self {
        f32::from_bits(bits)
    }

    #[inline(always)]
    fn to_register(self) -> u32 {
        self.to_bits()
    }
}

impl Element for f64 {
    type Register = u64;

    #[inline(always)]
    fn from_register(bits: u64) -> Self {
        f64::from_bits(bits)
    }

    #[inline(always)]
    fn to_register(self) -> u64 {
        self.to_bits()
    }
}

impl Element for f16 {
    type Register = u32;

    #[inline(always)]
    fn from_register(bits: u32) -> Self {
        f16::from_bits(bits as u16)
    }

    #[inline(always)]
    fn to_register(self) -> u32 {
        u32::from(self.to_bits())
    }
}

impl Element for bf16 {
    type Register = u32;

    #[inline(always)]
    fn from_register(bits: u32) -> Self {
        bf16::from_bits(bits as u16)
    }

    #[inline(always)]
    fn to_register(self) -> u32 {
        u32::from(self.to_bits())
    }
}

/// Two 16-bit values in a 32-bit register, the first in the low half.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair<T>(pub [T; 2]);

impl<T: Element<Register = u32>> Element for Pair<T> {
    type Register = u32;

    #[inline(always)]
    fn from_register(bits: u32) -> Self {
        Pair([
            T::from_register(bits & 0xffff),
            T::from_register(bits >> 16),
        ])
    }

    #[inline(always)]
    fn to_register(self) -> u32 {
        self.0[0].to_register() | self.0[1].to_register() << 16
    }
}
