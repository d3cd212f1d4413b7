//! Tensor maps: what `cuTensorMapEncodeTiled` writes and TMA instructions read.
//!
//! On a GPU the 128 bytes are opaque. Here they hold the fields of [`TensorMap`] in an order of their own, between a magic
//! number and a check sum, so that an instruction that is given anything else says so.

mod bytes;
mod element;
mod encode;

pub use bytes::NotATensorMap;
pub use element::Element;
pub use encode::{TensorMapError, Tiled};

use crate::tensor::Swizzle;

/// Bytes of a tensor map.
pub const TENSOR_MAP_BYTES: usize = 128;

/// A tensor map must begin at a multiple of this.
pub const TENSOR_MAP_ALIGNMENT: u64 = 64;

/// Most dimensions of a tensor.
pub const RANK_MAX: usize = 5;

/// A tensor in global memory and the box that one instruction copies. Dimension 0 is the innermost; dimensions beyond the
/// rank have size 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorMap {
    /// Type of the elements.
    pub element: Element,
    /// Number of dimensions.
    pub rank: usize,
    /// Device address of element (0, 0, ...).
    pub address: u64,
    /// Elements along each dimension.
    pub dimensions: [u64; RANK_MAX],
    /// Distance in bytes between neighbours along each dimension; of dimension 0 the size of an element.
    pub strides: [u64; RANK_MAX],
    /// Elements that the box spans along each dimension.
    pub box_sizes: [u32; RANK_MAX],
    /// Every how many elements one is copied, along each dimension.
    pub element_strides: [u32; RANK_MAX],
    /// How the box lies in shared memory.
    pub swizzle: Swizzle,
    /// What stands for elements outside the tensor.
    pub fill: Fill,
}

/// What a load delivers for elements outside the tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Zeros.
    Zero,
    /// Not-a-number.
    Nan,
}

impl TensorMap {
    /// Elements that one instruction copies along each dimension.
    pub fn counts(&self) -> [u32; RANK_MAX] {
        std::array::from_fn(|axis| self.box_sizes[axis].div_ceil(self.element_strides[axis]))
    }

    /// Bytes of a row of the box: along dimension 0, dense.
    pub fn row_bytes(&self) -> usize {
        self.counts()[0] as usize * self.element.bytes()
    }

    /// Bytes of the box in shared memory: what a load adds to an mbarrier, elements outside the tensor included.
    pub fn box_bytes(&self) -> usize {
        self.counts()
            .iter()
            .map(|&count| count as usize)
            .product::<usize>()
            * self.element.bytes()
    }
}
