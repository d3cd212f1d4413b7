//! Tensors of a `.safetensors` file.

#![forbid(unsafe_code)]

use std::sync::Arc;

use safetensors::tensor::{Dtype, SafeTensors};

use super::checkpoint::{StoredTensor, StoredType};
use super::map::MappedFile;
use crate::error::{Error, Result};

/// Length of the little-endian header size at the start of the file, in bytes.
const LENGTH_PREFIX: usize = size_of::<u64>();

/// Lists the tensors of `file`. The header is checked against the file's size; no number is read.
pub(crate) fn read(file: Arc<MappedFile>) -> Result<Vec<StoredTensor>> {
    let (header_length, metadata) = SafeTensors::read_metadata(&file).map_err(|e| {
        Error::model(
            file.path(),
            format!("not a whole safetensors file: {e}"),
            "the download may be incomplete: fetch the file again",
        )
    })?;
    let data_start = LENGTH_PREFIX + header_length;
    let mut tensors = Vec::new();
    for (name, info) in metadata.tensors() {
        let (start, end) = info.data_offsets;
        tensors.push(StoredTensor {
            name,
            file: file.clone(),
            stored_type: stored_type(info.dtype),
            shape: info.shape.clone(),
            bytes: data_start + start..data_start + end,
        });
    }
    Ok(tensors)
}

fn stored_type(dtype: Dtype) -> StoredType {
    match dtype {
        Dtype::F32 => StoredType::F32,
        Dtype::F16 => StoredType::F16,
        Dtype::BF16 => StoredType::BF16,
        Dtype::F64 => StoredType::Other("F64"),
        Dtype::I64 => StoredType::Other("I64"),
        Dtype::I32 => StoredType::Other("I32"),
        Dtype::U8 => StoredType::Other("U8"),
        Dtype::I8 => StoredType::Other("I8"),
        Dtype::BOOL => StoredType::Other("BOOL"),
        _ => StoredType::Other("a type that is no 16- or 32-bit float"),
    }
}
