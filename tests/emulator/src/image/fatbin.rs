//! The fatbin container: a header, then entries of machine code and PTX, each with a header of its own.
//!
//! All numbers are little-endian. Several containers may follow each other.

use super::ImageError;
use super::target::{Portability, Target};

/// First bytes of a container.
pub(super) const MAGIC: [u8; 4] = 0xba55_ed50_u32.to_le_bytes();

/// Bytes of a container's header as far as it is read: magic, version, header size, size of the entries.
pub(super) const HEADER: usize = 16;

/// Bytes of an entry's header as far as it is read; strings may follow.
const ENTRY_HEADER: usize = 64;

const KIND_PTX: u16 = 1;

// Bits of an entry's flags.
const LZ4: u64 = 0x2000;
const ZSTD: u64 = 0x8000;
const EXACT: u64 = 0x10_0000;
const FAMILY: u64 = 0x20_0000;

/// How a payload is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Plain,
    Lz4,
    Zstd,
}

/// A PTX entry.
#[derive(Clone, Debug)]
pub(super) struct Entry<'a> {
    pub(super) target: Target,
    pub(super) compression: Compression,
    pub(super) payload: &'a [u8],
    /// Bytes of the text; of no meaning where it is stored plain.
    pub(super) inflated: u64,
}

/// All PTX entries of the containers in `image`, in order.
pub(super) fn ptx_entries(image: &[u8]) -> Result<Vec<Entry<'_>>, ImageError> {
    let mut entries = Vec::new();
    let mut rest = image;
    while rest.starts_with(&MAGIC) {
        let size = container_size(rest)?;
        let container = part(rest, 0, size, "the container")?;
        let header = usize::from(u16_at(container, 6)?);
        let mut inside = container
            .get(header..)
            .ok_or_else(|| damaged("its header is longer than the container"))?;
        // What is shorter than a header is padding.
        while inside.len() >= ENTRY_HEADER {
            let (entry, size) = entry(inside)?;
            entries.extend(entry);
            inside = &inside[size..];
        }
        rest = &rest[size..];
    }
    Ok(entries)
}

/// Bytes of the container that begins here, its header included. Only the header is read.
pub(super) fn container_size(header: &[u8]) -> Result<usize, ImageError> {
    let head = usize::from(u16_at(header, 6)?);
    if head < HEADER {
        return Err(damaged(&format!("a header of {head} bytes")));
    }
    let size = usize::try_from(u64_at(header, 8)?)
        .ok()
        .and_then(|size| size.checked_add(head));
    // What a slice may hold.
    size.filter(|&size| isize::try_from(size).is_ok())
        .ok_or_else(|| damaged("its size is no size"))
}

/// The entry that begins here, if it is PTX, and its size with its header.
fn entry(bytes: &[u8]) -> Result<(Option<Entry<'_>>, usize), ImageError> {
    let header = u32_at(bytes, 4)? as usize;
    if header < ENTRY_HEADER {
        return Err(damaged(&format!("an entry's header of {header} bytes")));
    }
    let size = usize::try_from(u64_at(bytes, 8)?).map_err(|_| damaged("the size of an entry"))?;
    let payload = part(bytes, header, size, "an entry")?;
    let end = header + size;
    if u16_at(bytes, 0)? != KIND_PTX {
        return Ok((None, end));
    }
    let flags = u64_at(bytes, 40)?;
    let portability = match (flags & EXACT != 0, flags & FAMILY != 0) {
        (true, _) => Portability::Exact,
        (false, true) => Portability::Family,
        (false, false) => Portability::Later,
    };
    let target = Target {
        arch: u32_at(bytes, 28)?,
        portability,
    };
    let compressed = u32_at(bytes, 16)? as usize;
    let (compression, payload) = match (flags & ZSTD != 0, flags & LZ4 != 0) {
        (true, _) => (
            Compression::Zstd,
            part(payload, 0, compressed, "a compressed entry")?,
        ),
        (false, true) => (
            Compression::Lz4,
            part(payload, 0, compressed, "a compressed entry")?,
        ),
        (false, false) if compressed == 0 => (Compression::Plain, payload),
        (false, false) => {
            return Err(damaged(&format!(
                "its PTX is compressed in an unknown way (flags {flags:#x}): compile with --no-compress"
            )));
        }
    };
    Ok((
        Some(Entry {
            target,
            compression,
            payload,
            inflated: u64_at(bytes, 56)?,
        }),
        end,
    ))
}

fn damaged(what: &str) -> ImageError {
    ImageError::Damaged(what.to_owned())
}

fn part<'a>(
    bytes: &'a [u8],
    start: usize,
    length: usize,
    what: &str,
) -> Result<&'a [u8], ImageError> {
    start
        .checked_add(length)
        .and_then(|end| bytes.get(start..end))
        .ok_or_else(|| {
            damaged(&format!(
                "{what} of {length} bytes reaches beyond the {} that are there",
                bytes.len()
            ))
        })
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], ImageError> {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .ok_or_else(|| damaged("it ends inside a header"))
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, ImageError> {
    array(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, ImageError> {
    array(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, ImageError> {
    array(bytes, at).map(u64::from_le_bytes)
}
