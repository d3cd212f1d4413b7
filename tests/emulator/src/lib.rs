//! A stand-in for the CUDA driver: runs the real PTX of real kernels on the CPU.
//!
//! The way of a kernel: PTX text -> [`ptx::Module`] -> [`isa::Kernel`] -> [`exec::launch`] -> [`exec::Report`].

#![deny(missing_docs)]

pub mod client;
pub mod counters;
pub mod driver;
pub mod exec;
pub mod fault;
pub mod image;
pub mod isa;
mod lanes;
pub mod memory;
pub mod ptx;
pub mod race;
pub mod tensor;
pub mod tensor_map;

/// The example in README.md is compiled with the others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
