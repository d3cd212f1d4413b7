//! From the bare pointer of `cuModuleLoadData` to a slice.

use std::ffi::CStr;
use std::slice;

use super::{ImageError, Kind, fatbin};

/// The bytes of an image whose length its content says: a container by its header, text by its NUL.
///
/// Of a cubin only the first bytes are given: enough for [`super::module`] to say that it cannot be interpreted.
///
/// # Errors
/// The first bytes belong to no image, or the header is damaged.
///
/// # Safety
/// `image` points to a complete fatbin, cubin or NUL-terminated PTX, or at least to a NUL byte or to four readable
/// bytes; what it points to stays as it is for `'a`.
pub unsafe fn bytes<'a>(image: *const u8) -> Result<&'a [u8], ImageError> {
    let mut length = 0;
    // A text may end before its fourth byte.
    while length < fatbin::MAGIC.len() {
        length += 1;
        // SAFETY: the bytes before this one were not NUL, so the caller vouches for it.
        if unsafe { *image.add(length - 1) } == 0 {
            break;
        }
    }
    // SAFETY: each of these bytes was read above.
    let first = unsafe { slice::from_raw_parts(image, length) };
    match Kind::of(first) {
        Kind::Fatbin => {
            // SAFETY: a container begins with a header of this size.
            let header = unsafe { slice::from_raw_parts(image, fatbin::HEADER) };
            let size = fatbin::container_size(header)?;
            // SAFETY: the caller vouches for the container, and its header says this size.
            Ok(unsafe { slice::from_raw_parts(image, size) })
        }
        // SAFETY: text ends with NUL.
        Kind::Text => Ok(unsafe { CStr::from_ptr(image.cast()) }.to_bytes()),
        Kind::Cubin => Ok(first),
        Kind::Unknown => Err(ImageError::Unknown(first.to_vec())),
    }
}
