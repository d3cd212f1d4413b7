//! Arrays as NumPy reads them, format 1.0: what the numbers are, then the numbers.

#![forbid(unsafe_code)]

use std::path::Path;

use super::OutputTarget;
use crate::error::Result;

/// Bytes before the numbers: room for any shape, and a multiple of 64, so that numbers in a mapped file
/// are aligned.
const HEADER_BYTES: usize = 128;

/// Magic, version 1.0, and the length of what follows as u16.
const PREAMBLE_BYTES: usize = 10;

/// An element as it lies in the file, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element {
    descr: &'static str,
    bytes: usize,
}

/// An array that grows by whole elements. The header says 0 rows until all are there.
#[derive(Debug)]
pub(super) struct NpyFile {
    target: OutputTarget,
    element: Element,
    width: Option<usize>,
    bytes: u64,
}

impl Element {
    pub(super) const F16: Self = Self::new("<f2", 2);
    pub(super) const F32: Self = Self::new("<f4", 4);
    pub(super) const U64: Self = Self::new("<u8", 8);

    const fn new(descr: &'static str, bytes: usize) -> Self {
        Self { descr, bytes }
    }
}

impl NpyFile {
    /// Starts an array of rows of `width` elements, or, without a width, of single elements.
    pub(super) fn create(path: &Path, element: Element, width: Option<usize>) -> Result<Self> {
        let mut target = OutputTarget::create_rewritable(path)?;
        target.write_all(&header(element, 0, width))?;
        Ok(Self {
            target,
            element,
            width,
            bytes: 0,
        })
    }

    /// Appends elements.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        self.target.write_all(bytes)
    }

    /// Makes the file whole and puts it on the disk, but leaves it its name.
    pub(super) fn complete(&mut self) -> Result<()> {
        self.write_header()?;
        self.target.sync()
    }

    /// Gives the file, [completed](Self::complete), its own name.
    pub(super) fn finish(self) -> Result<()> {
        self.target.finish()
    }

    /// Gives up, and leaves an incomplete file that can be read as far as it goes, if the disk takes it.
    pub(super) fn keep_partial(mut self) {
        // Whatever made the run end early is the error to report, not a second one from here.
        let _ = self.write_header();
        self.target.keep_partial();
    }

    fn write_header(&mut self) -> Result<()> {
        let row_bytes = self.element.bytes * self.width.unwrap_or(1);
        let rows = self.bytes / row_bytes as u64;
        self.target
            .overwrite_start(&header(self.element, rows, self.width))
    }
}

fn header(element: Element, rows: u64, width: Option<usize>) -> [u8; HEADER_BYTES] {
    let shape = match width {
        Some(width) => format!("({rows}, {width})"),
        None => format!("({rows},)"),
    };
    let descr = element.descr;
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    let mut header = [b' '; HEADER_BYTES];
    header[..8].copy_from_slice(b"\x93NUMPY\x01\x00");
    let text_bytes = (HEADER_BYTES - PREAMBLE_BYTES) as u16;
    header[8..PREAMBLE_BYTES].copy_from_slice(&text_bytes.to_le_bytes());
    header[PREAMBLE_BYTES..][..text.len()].copy_from_slice(text.as_bytes());
    header[HEADER_BYTES - 1] = b'\n';
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_shape_has_room_in_the_header() {
        let header = header(Element::F32, u64::MAX, Some(usize::MAX));
        let text = str::from_utf8(&header[PREAMBLE_BYTES..]).expect("ASCII");
        let shape = format!("'shape': ({}, {}), }} ", u64::MAX, usize::MAX);
        assert!(text.contains(&shape) && text.ends_with(" \n"), "{text}");
    }

    #[test]
    fn an_incomplete_file_says_how_far_it_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.npy");
        let mut file = NpyFile::create(&path, Element::F16, Some(2)).expect("a file");
        file.append(&[0; 10]).expect("written"); // Two rows and a half.
        file.keep_partial();
        assert!(!path.exists());
        let bytes = std::fs::read(folder.path().join("a.npy.partial")).expect("a file");
        assert_eq!(bytes[..HEADER_BYTES], header(Element::F16, 2, Some(2)));
        assert_eq!(bytes[HEADER_BYTES..], [0; 10]);
    }
}
