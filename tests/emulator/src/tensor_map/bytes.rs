//! The 128 bytes of a tensor map.
//!
//! ```text
//!   0  magic            8  element, rank, swizzle, fill (1 byte each)   12  5 element strides (1 byte each)   17..24 zero
//!  24  address         32  5 dimensions - 1 (4 bytes each)              52  5 box sizes - 1 (1 byte each)     57..64 zero
//!  64  4 strides from dimension 1 on (8 bytes each)                     96..120 zero                         120  check sum
//! ```

use super::{Element, Fill, RANK_MAX, TENSOR_MAP_BYTES, TensorMap};
use crate::tensor::Swizzle;

const MAGIC: &[u8; 8] = b"standTMA";
const CHECK_SUM: usize = 120;

/// 128 bytes that no encode call wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these 128 bytes are no tensor map: only cuTensorMapEncodeTiled makes one")]
pub struct NotATensorMap;

impl TensorMap {
    /// The map as bytes.
    pub fn to_bytes(&self) -> [u8; TENSOR_MAP_BYTES] {
        let mut bytes = [0; TENSOR_MAP_BYTES];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, MAGIC);
        let swizzle = match self.swizzle {
            Swizzle::None => 0,
            Swizzle::Bytes32 => 1,
            Swizzle::Bytes64 => 2,
            Swizzle::Bytes128 => 3,
        };
        put(
            8,
            &[
                self.element as u8,
                self.rank as u8,
                swizzle,
                u8::from(self.fill == Fill::Nan),
            ],
        );
        put(24, &self.address.to_le_bytes());
        for axis in 0..RANK_MAX {
            put(12 + axis, &[self.element_strides[axis] as u8]);
            // Sizes start at 1: one less fits the field even for the largest.
            put(
                32 + 4 * axis,
                &((self.dimensions[axis] - 1) as u32).to_le_bytes(),
            );
            put(52 + axis, &[(self.box_sizes[axis] - 1) as u8]);
        }
        for axis in 1..RANK_MAX {
            put(64 + 8 * (axis - 1), &self.strides[axis].to_le_bytes());
        }
        let sum = check_sum(&bytes);
        bytes[CHECK_SUM..].copy_from_slice(&sum);
        bytes
    }

    /// The map in these bytes.
    ///
    /// # Errors
    /// When they are none.
    pub fn from_bytes(bytes: &[u8; TENSOR_MAP_BYTES]) -> Result<TensorMap, NotATensorMap> {
        if bytes[..8] != *MAGIC || bytes[CHECK_SUM..] != check_sum(bytes) {
            return Err(NotATensorMap);
        }
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let half = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let element = Element::from_number(u32::from(bytes[8])).ok_or(NotATensorMap)?;
        let swizzle = match bytes[10] {
            0 => Swizzle::None,
            1 => Swizzle::Bytes32,
            2 => Swizzle::Bytes64,
            _ => Swizzle::Bytes128,
        };
        let stride = |axis: usize| match axis {
            0 => element.bytes() as u64,
            _ => word(64 + 8 * (axis - 1)),
        };
        Ok(TensorMap {
            element,
            rank: usize::from(bytes[9]),
            address: word(24),
            dimensions: std::array::from_fn(|axis| u64::from(half(32 + 4 * axis)) + 1),
            strides: std::array::from_fn(stride),
            box_sizes: std::array::from_fn(|axis| u32::from(bytes[52 + axis]) + 1),
            element_strides: std::array::from_fn(|axis| u32::from(bytes[12 + axis])),
            swizzle,
            fill: if bytes[11] == 1 {
                Fill::Nan
            } else {
                Fill::Zero
            },
        })
    }
}

/// FNV-1a of everything before the check sum.
fn check_sum(bytes: &[u8; TENSOR_MAP_BYTES]) -> [u8; 8] {
    let hash = bytes[..CHECK_SUM]
        .iter()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    hash.to_le_bytes()
}
