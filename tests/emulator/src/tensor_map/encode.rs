//! `cuTensorMapEncodeTiled`: its arguments and everything it checks.

use super::{Element, Fill, RANK_MAX, TensorMap};
use crate::tensor::Swizzle;

/// Most elements of a dimension.
const DIMENSION_MAX: u64 = 1 << 32;
/// Strides are less than this.
const STRIDE_LIMIT: u64 = 1 << 40;
/// Most elements that a box spans along a dimension.
const BOX_MAX: u32 = 256;
/// Largest element stride.
const ELEMENT_STRIDE_MAX: u32 = 8;
/// Addresses, strides and rows of boxes are multiples of this.
const GRAIN: u64 = 16;

/// The arguments of `cuTensorMapEncodeTiled`, enumerations as their numbers. The arrays have one entry a dimension, the
/// strides one less.
#[derive(Clone, Copy, Debug)]
pub struct Tiled<'a> {
    /// `CUtensorMapDataType`.
    pub data_type: u32,
    /// `globalAddress`.
    pub address: u64,
    /// `globalDim`; its length is the rank.
    pub dimensions: &'a [u64],
    /// `globalStrides`, in bytes, of the dimensions from 1 on.
    pub strides: &'a [u64],
    /// `boxDim`.
    pub box_sizes: &'a [u32],
    /// `elementStrides`.
    pub element_strides: &'a [u32],
    /// `CUtensorMapInterleave`.
    pub interleave: u32,
    /// `CUtensorMapSwizzle`.
    pub swizzle: u32,
    /// `CUtensorMapL2promotion`.
    pub promotion: u32,
    /// `CUtensorMapFloatOOBfill`.
    pub fill: u32,
}

/// Why a tensor map cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorMapError {
    /// A rank that no tensor map has.
    #[error("tensor rank {0}: 1 to 5")]
    Rank(usize),
    /// An array whose length is not that of the rank.
    #[error("the array {name} has {found} entries, {wanted} for this rank")]
    Length {
        /// Its name in cuda.h.
        name: &'static str,
        /// Its length.
        found: usize,
        /// The length wanted.
        wanted: usize,
    },
    /// The address of the tensor is misaligned.
    #[error("globalAddress {0:#x} is no multiple of 16")]
    Address(u64),
    /// A dimension is empty or too large.
    #[error("globalDim[{axis}] is {size}: 1 to 2^32")]
    Dimension {
        /// Which.
        axis: usize,
        /// Its size.
        size: u64,
    },
    /// A stride is misaligned or too large.
    #[error("globalStrides[{index}] is {stride} bytes: a multiple of 16 below 2^40")]
    Stride {
        /// Which.
        index: usize,
        /// The stride.
        stride: u64,
    },
    /// The box is empty or too large.
    #[error("boxDim[{axis}] is {size}: 1 to 256")]
    Box {
        /// Which dimension.
        axis: usize,
        /// Its size.
        size: u32,
    },
    /// A row of the box is no multiple of 16 bytes.
    #[error("boxDim[0] is {bytes} bytes: a multiple of 16")]
    Row {
        /// Its bytes.
        bytes: usize,
    },
    /// A row of the box is longer than the swizzle's.
    #[error("boxDim[0] is {bytes} bytes, more than the {most} of the swizzle")]
    SwizzledRow {
        /// Its bytes.
        bytes: usize,
        /// The swizzle's bytes.
        most: u32,
    },
    /// An element stride is 0 or too large.
    #[error("elementStrides[{axis}] is {stride}: 1 to 8")]
    ElementStride {
        /// Which dimension.
        axis: usize,
        /// The stride.
        stride: u32,
    },
    /// NaN fill for a type without a NaN.
    #[error("oobFill asks for NaN, but the elements are {0:?}")]
    NanFill(Element),
    /// A number that is none of its enumeration.
    #[error("{name} {number} does not exist")]
    Unknown {
        /// The enumeration's argument in cuda.h.
        name: &'static str,
        /// The number.
        number: u32,
    },
    /// A feature that the stand-in does not have.
    #[error("the stand-in does not support {0}")]
    Unsupported(&'static str),
}

impl TensorMap {
    /// Makes a tensor map of a tiled tensor.
    ///
    /// The strides may come in any order and may overlap: cuda.h describes nested ones, but does not demand them.
    ///
    /// # Errors
    /// When an argument breaks a rule of `cuTensorMapEncodeTiled`, or asks for what the stand-in does not have.
    pub fn encode(tiled: &Tiled<'_>) -> Result<TensorMap, TensorMapError> {
        let rank = tiled.dimensions.len();
        if rank == 0 || rank > RANK_MAX {
            return Err(TensorMapError::Rank(rank));
        }
        let lengths = [
            ("globalStrides", tiled.strides.len(), rank - 1),
            ("boxDim", tiled.box_sizes.len(), rank),
            ("elementStrides", tiled.element_strides.len(), rank),
        ];
        for (name, found, wanted) in lengths {
            if found != wanted {
                return Err(TensorMapError::Length {
                    name,
                    found,
                    wanted,
                });
            }
        }
        check_interleave(tiled.interleave)?;
        if tiled.promotion > 3 {
            return Err(TensorMapError::Unknown {
                name: "l2Promotion",
                number: tiled.promotion,
            });
        }
        let element = element(tiled.data_type)?;
        let swizzle = swizzle(tiled.swizzle)?;
        let fill = fill(tiled.fill, element)?;
        if !tiled.address.is_multiple_of(GRAIN) {
            return Err(TensorMapError::Address(tiled.address));
        }
        check_tensor(tiled)?;
        check_box(tiled, element, swizzle)?;

        let mut strides = padded(tiled.strides, 0);
        strides.rotate_right(1);
        strides[0] = element.bytes() as u64;
        let mut element_strides = padded(tiled.element_strides, 1);
        // TMA has no stride along dimension 0: the entry is ignored.
        element_strides[0] = 1;
        Ok(TensorMap {
            element,
            rank,
            address: tiled.address,
            dimensions: padded(tiled.dimensions, 1),
            strides,
            box_sizes: padded(tiled.box_sizes, 1),
            element_strides,
            swizzle,
            fill,
        })
    }
}

fn padded<T: Copy>(values: &[T], rest: T) -> [T; RANK_MAX] {
    std::array::from_fn(|axis| values.get(axis).copied().unwrap_or(rest))
}

fn check_interleave(interleave: u32) -> Result<(), TensorMapError> {
    match interleave {
        0 => Ok(()),
        1 | 2 => Err(TensorMapError::Unsupported("interleaved layouts")),
        number => Err(TensorMapError::Unknown {
            name: "interleave",
            number,
        }),
    }
}

fn element(data_type: u32) -> Result<Element, TensorMapError> {
    match data_type {
        13..=15 => Err(TensorMapError::Unsupported(
            "packed 4- and 6-bit elements, which begin with sm_100",
        )),
        number => Element::from_number(number).ok_or(TensorMapError::Unknown {
            name: "tensorDataType",
            number,
        }),
    }
}

fn swizzle(number: u32) -> Result<Swizzle, TensorMapError> {
    match number {
        0 => Ok(Swizzle::None),
        1 => Ok(Swizzle::Bytes32),
        2 => Ok(Swizzle::Bytes64),
        3 => Ok(Swizzle::Bytes128),
        4..=6 => Err(TensorMapError::Unsupported(
            "swizzles of 32- and 64-byte atoms, which begin with sm_100",
        )),
        _ => Err(TensorMapError::Unknown {
            name: "swizzle",
            number,
        }),
    }
}

fn fill(number: u32, element: Element) -> Result<Fill, TensorMapError> {
    match number {
        0 => Ok(Fill::Zero),
        1 if element.is_float() => Ok(Fill::Nan),
        1 => Err(TensorMapError::NanFill(element)),
        _ => Err(TensorMapError::Unknown {
            name: "oobFill",
            number,
        }),
    }
}

fn check_tensor(tiled: &Tiled<'_>) -> Result<(), TensorMapError> {
    for (axis, &size) in tiled.dimensions.iter().enumerate() {
        if size == 0 || size > DIMENSION_MAX {
            return Err(TensorMapError::Dimension { axis, size });
        }
    }
    for (index, &stride) in tiled.strides.iter().enumerate() {
        if !stride.is_multiple_of(GRAIN) || stride >= STRIDE_LIMIT {
            return Err(TensorMapError::Stride { index, stride });
        }
    }
    Ok(())
}

fn check_box(tiled: &Tiled<'_>, element: Element, swizzle: Swizzle) -> Result<(), TensorMapError> {
    for (axis, &size) in tiled.box_sizes.iter().enumerate() {
        if size == 0 || size > BOX_MAX {
            return Err(TensorMapError::Box { axis, size });
        }
    }
    for (axis, &stride) in tiled.element_strides.iter().enumerate() {
        if stride == 0 || stride > ELEMENT_STRIDE_MAX {
            return Err(TensorMapError::ElementStride { axis, stride });
        }
    }
    let bytes = tiled.box_sizes[0] as usize * element.bytes();
    if !(bytes as u64).is_multiple_of(GRAIN) {
        return Err(TensorMapError::Row { bytes });
    }
    if swizzle != Swizzle::None && bytes > swizzle.row_bytes() as usize {
        return Err(TensorMapError::SwizzledRow {
            bytes,
            most: swizzle.row_bytes(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
