//! Compressed entries: nvcc compresses PTX unless it is told `--no-compress`.

use std::borrow::Cow;
use std::io::Read;

use super::ImageError;
use super::fatbin::{Compression, Entry};

/// More PTX than any program has: a damaged size must not ask for all memory.
const MOST_TEXT: u64 = 1 << 28;

/// The text of an entry, not yet cut at its NUL.
pub(super) fn inflate<'a>(entry: &Entry<'a>) -> Result<Cow<'a, [u8]>, ImageError> {
    if entry.compression == Compression::Plain {
        return Ok(Cow::Borrowed(entry.payload));
    }
    if entry.inflated > MOST_TEXT {
        let message = format!(
            "its PTX is said to be {} bytes long, more than {MOST_TEXT}",
            entry.inflated
        );
        return Err(ImageError::Damaged(message));
    }
    let text = match entry.compression {
        Compression::Plain => entry.payload.to_vec(),
        Compression::Lz4 => lz4_flex::block::decompress(entry.payload, entry.inflated as usize)
            .map_err(|error| failed(&error))?,
        Compression::Zstd => zstd(entry.payload, entry.inflated)?,
    };
    if text.len() as u64 != entry.inflated {
        let message = format!(
            "its PTX is {} bytes long instead of {}",
            text.len(),
            entry.inflated
        );
        return Err(ImageError::Damaged(message));
    }
    Ok(Cow::Owned(text))
}

fn zstd(payload: &[u8], inflated: u64) -> Result<Vec<u8>, ImageError> {
    let decoder =
        ruzstd::decoding::StreamingDecoder::new(payload).map_err(|error| failed(&error))?;
    let mut text = Vec::new();
    // One byte more than announced is enough to see that there is more.
    decoder
        .take(inflated + 1)
        .read_to_end(&mut text)
        .map_err(|error| failed(&error))?;
    Ok(text)
}

fn failed(error: &dyn std::error::Error) -> ImageError {
    ImageError::Damaged(format!(
        "its compressed PTX cannot be read ({error}): compile with --no-compress"
    ))
}
