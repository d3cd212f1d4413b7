//! Tensor maps: made by the host, read by TMA instructions.

use std::ffi::{c_uint, c_void};

use super::entry::{enter, input, inputs, out};
use super::error::{Code, Failure, misuse};
use crate::tensor_map::{
    RANK_MAX, TENSOR_MAP_ALIGNMENT, TENSOR_MAP_BYTES, TensorMap, TensorMapError, Tiled,
};

/// `CUtensorMap`.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Bytes([u8; TENSOR_MAP_BYTES]);

const _: () = assert!(align_of::<Bytes>() as u64 == TENSOR_MAP_ALIGNMENT);

fn refuse(error: TensorMapError) -> Failure {
    let code = if matches!(error, TensorMapError::Unsupported(_)) {
        Code::NotSupported
    } else {
        Code::InvalidValue
    };
    misuse(code, error.to_string())
}

/// Makes the map of a tensor that is copied in boxes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuTensorMapEncodeTiled(
    map: *mut Bytes,
    data_type: c_uint,
    rank: c_uint,
    address: *mut c_void,
    dimensions: *const u64,
    strides: *const u64,
    box_sizes: *const u32,
    element_strides: *const u32,
    interleave: c_uint,
    swizzle: c_uint,
    promotion: c_uint,
    fill: c_uint,
) -> Code {
    enter("cuTensorMapEncodeTiled", |_| {
        // SAFETY: the driver interface demands a pointer that may be written.
        let map = unsafe { out(map) }?;
        let rank = rank as usize;
        if rank == 0 || rank > RANK_MAX {
            return Err(refuse(TensorMapError::Rank(rank)));
        }
        // SAFETY: the driver interface demands lists of one entry a dimension; the strides have one less.
        let tiled = unsafe {
            Tiled {
                data_type,
                address: address.addr() as u64,
                dimensions: inputs(dimensions, rank)?,
                strides: inputs(strides, rank - 1)?,
                box_sizes: inputs(box_sizes, rank)?,
                element_strides: inputs(element_strides, rank)?,
                interleave,
                swizzle,
                promotion,
                fill,
            }
        };
        map.write(Bytes(TensorMap::encode(&tiled).map_err(refuse)?.to_bytes()));
        Ok(())
    })
}

/// Gives a map another tensor of the same shape.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuTensorMapReplaceAddress(map: *mut Bytes, address: *mut c_void) -> Code {
    enter("cuTensorMapReplaceAddress", |_| {
        // SAFETY: the driver interface demands a pointer to a map.
        let old = TensorMap::from_bytes(&unsafe { input(map) }?.0);
        let old = old.map_err(|error| misuse(Code::InvalidValue, error.to_string()))?;
        let address = address.addr() as u64;
        if !address.is_multiple_of(16) {
            return Err(refuse(TensorMapError::Address(address)));
        }
        // SAFETY: the same pointer may be written.
        unsafe { out(map) }?.write(Bytes(TensorMap { address, ..old }.to_bytes()));
        Ok(())
    })
}

/// Maps for convolutions are not supported.
#[unsafe(no_mangle)]
pub extern "C" fn cuTensorMapEncodeIm2col() -> Code {
    enter("cuTensorMapEncodeIm2col", |_| {
        Err(misuse(
            Code::NotSupported,
            "im2col tensor maps are not supported: use tiled ones",
        ))
    })
}
