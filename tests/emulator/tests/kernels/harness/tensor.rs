//! Tensor maps of buffers.

use standin::tensor_map::{Element, TensorMap, Tiled};

use super::{Buffer, Case};

/// Swizzles by their `CUtensorMapSwizzle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swizzle {
    /// Rows as they come.
    None = 0,
    /// Rows of 32 bytes.
    Bytes32 = 1,
    /// Rows of 64 bytes.
    Bytes64 = 2,
    /// Rows of 128 bytes.
    Bytes128 = 3,
}

impl Swizzle {
    /// All of them.
    pub const ALL: [Swizzle; 4] = [
        Swizzle::None,
        Swizzle::Bytes32,
        Swizzle::Bytes64,
        Swizzle::Bytes128,
    ];

    /// Bytes of a row of the pattern; 16 without one.
    pub fn width(self) -> usize {
        16 << self as usize
    }

    /// Where the byte at an address lies: chunks of 16 bytes change places by the number of the 128-byte line.
    pub fn place(self, address: usize) -> usize {
        let chunks = self.width() / 16;
        address ^ (((address / 128 % 8) & (chunks - 1)) * 16)
    }
}

/// A dense tensor and the box that one instruction moves; dimension 0 is the innermost.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Type of its elements.
    pub element: Element,
    /// Its size.
    pub dimensions: Vec<u64>,
    /// The box.
    pub tile: Vec<u32>,
    /// Every how many elements one is moved.
    pub steps: Vec<u32>,
    /// How the box lies in shared memory.
    pub swizzle: Swizzle,
    /// NaN outside the tensor, instead of zero.
    pub nan_fill: bool,
}

impl Tensor {
    /// A matrix with boxes, both as (rows, columns).
    pub fn matrix(
        element: Element,
        size: (usize, usize),
        tile: (u32, u32),
        swizzle: Swizzle,
    ) -> Self {
        Tensor {
            element,
            dimensions: vec![size.1 as u64, size.0 as u64],
            tile: vec![tile.1, tile.0],
            steps: vec![1; 2],
            swizzle,
            nan_fill: false,
        }
    }

    /// The 128 bytes for a tensor at an address.
    pub fn map(&self, address: u64) -> Vec<u8> {
        let mut strides = Vec::new();
        let mut stride = self.element.bytes() as u64;
        for size in &self.dimensions[..self.dimensions.len() - 1] {
            stride *= size;
            strides.push(stride);
        }
        let tiled = Tiled {
            data_type: self.element as u32,
            address,
            dimensions: &self.dimensions,
            strides: &strides,
            box_sizes: &self.tile,
            element_strides: &self.steps,
            interleave: 0,
            swizzle: self.swizzle as u32,
            promotion: 0,
            fill: u32::from(self.nan_fill),
        };
        TensorMap::encode(&tiled)
            .unwrap_or_else(|error| panic!("{self:?}: {error}"))
            .to_bytes()
            .to_vec()
    }
}

impl Case {
    /// Passes a tensor map of a buffer.
    pub fn pass_map<T>(&mut self, buffer: Buffer<T>, tensor: Tensor) {
        self.pass_with(buffer, move |address| tensor.map(address));
    }
}
