//! Tensor maps as the host makes them.

use cudarc::driver::sys::{self, CUresult};

use crate::support::{context, ok};

/// A matrix of 64 columns and 32 rows of bf16, copied in boxes of `width` columns.
fn encode(
    map: &mut sys::CUtensorMap,
    address: usize,
    width: u32,
    swizzle: sys::CUtensorMapSwizzle,
) -> CUresult {
    let (dimensions, strides, sizes, steps) = ([64_u64, 32], [128_u64], [width, 8], [1_u32, 1]);
    // SAFETY: the lists have an entry a dimension, the strides one less.
    unsafe {
        sys::cuTensorMapEncodeTiled(
            map,
            sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
            2,
            std::ptr::without_provenance_mut(address),
            dimensions.as_ptr(),
            strides.as_ptr(),
            sizes.as_ptr(),
            steps.as_ptr(),
            sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
            swizzle,
            sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
            sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
        )
    }
}

#[test]
fn a_map_is_encoded_or_refused() {
    let _context = context();
    let mut map = sys::CUtensorMap { opaque: [0; 16] };
    let swizzle = sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_64B;
    ok(encode(&mut map, 0x1000, 32, swizzle));
    let mut same = map;
    assert_eq!(
        encode(&mut same, 0x1004, 32, swizzle),
        CUresult::CUDA_ERROR_INVALID_VALUE,
        "misaligned"
    );
    assert_eq!(
        encode(&mut same, 0x1000, 40, swizzle),
        CUresult::CUDA_ERROR_INVALID_VALUE,
        "wider than the swizzle"
    );
    assert_eq!(same.opaque, map.opaque, "a refused call writes nothing");

    let mut elsewhere = map;
    // SAFETY: it is a map.
    unsafe {
        ok(sys::cuTensorMapReplaceAddress(
            &mut elsewhere,
            0x2000 as *mut std::ffi::c_void,
        ))
    };
    ok(encode(&mut map, 0x2000, 32, swizzle));
    assert_eq!(elsewhere.opaque, map.opaque);
    let mut nothing = sys::CUtensorMap { opaque: [0; 16] };
    // SAFETY: it is 128 bytes, though no map.
    let replaced =
        unsafe { sys::cuTensorMapReplaceAddress(&mut nothing, 0x2000 as *mut std::ffi::c_void) };
    assert_eq!(replaced, CUresult::CUDA_ERROR_INVALID_VALUE);
}
