//! Matrix units: number formats, operand layouts and the arithmetic of `mma.sync` and `wgmma`, on plain data.
//!
//! Whatever the type, operands come in *core matrices*: eight lines (rows of A, columns of B) of 16
//! bytes that follow each other along k. A register of a warp's fragment is one core matrix, and so
//! is the unit in which a shared-memory [`Descriptor`] addresses a tile. A core matrix is unpacked
//! into panel rows: for each k, its eight lines as `f32`. [`multiply()`] then adds outer products of
//! panel rows onto 8x8 tiles of the accumulators.
//!
//! Every sum is taken in the order of k, each product and each sum rounded to `f32`. Products of all
//! these types fit into an `f32`, so that is what a chain of fused multiply-adds gives, and it is
//! the same on every machine. Tensor cores sum blocks of k with less care; the difference is about
//! `1e-6 * sum |a b|`.

mod descriptor;
mod formats;
mod fragments;
mod multiply;
#[cfg(test)]
pub(crate) mod reference;
mod swizzle;
mod vector;

pub use descriptor::{Descriptor, DescriptorError, Major};
pub use formats::Element;
pub use fragments::{CORE_LINES, Lines, PanelRow, unpack, unpack_column};
pub use multiply::{Accumulator, multiply};
pub use swizzle::Swizzle;
pub use vector::{Eight, Work, vectorised};
