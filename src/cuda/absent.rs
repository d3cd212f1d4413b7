//! What stands in for the engine in a build without kernels: an error that says so.

#![forbid(unsafe_code)]

use crate::engine::{Dtype, Engine};
use crate::error::{Error, Result};
use crate::model::Model;

/// No GPU can be used.
pub(crate) fn device_count() -> Result<usize> {
    Ok(0)
}

pub(crate) fn device_name(_number: usize) -> Result<String> {
    Err(built_without())
}

pub(crate) fn engines(
    _: usize,
    _: Dtype,
    _: &Model,
    _: usize,
) -> Result<(Vec<Box<dyn Engine>>, usize)> {
    Err(built_without())
}

fn built_without() -> Error {
    Error::unsupported(
        "this lexpeak was built without nvcc and has no CUDA engine",
        "build it where nvcc is (`make toolchain` fetches one), or choose the device cpu",
    )
}
