//! A strict reader of NumPy's arrays, format 1.0.

use std::fs;
use std::path::Path;

use half::f16;

/// An array as its file describes it.
#[derive(Debug, PartialEq)]
pub struct Npy {
    /// The type of an element, such as `<f4`.
    pub descr: String,
    pub shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Npy {
    /// # Panics
    ///
    /// If the file is not as NumPy writes it: header padded to a multiple of 64 bytes, the numbers of all rows
    /// and nothing behind them.
    #[track_caller]
    pub fn read(path: &Path) -> Self {
        let file = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let rest = file
            .strip_prefix(b"\x93NUMPY\x01\x00")
            .expect("magic and version");
        let (length, rest) = rest.split_at(2);
        let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
        assert_eq!(
            (10 + length) % 64,
            0,
            "numbers of a mapped file are aligned"
        );
        let (header, bytes) = rest.split_at(length);
        let header = str::from_utf8(header).expect("ASCII");
        let header = header
            .strip_suffix('\n')
            .expect("a line")
            .trim_end_matches(' ');
        let header = header
            .strip_prefix("{'descr': '")
            .expect("its type is the first");
        let (descr, header) = header.split_once('\'').expect("the end of its type");
        let shape = header
            .strip_prefix(", 'fortran_order': False, 'shape': (")
            .and_then(|header| header.strip_suffix("), }"))
            .unwrap_or_else(|| panic!("{header}"));
        // (3, 4) or (3,)
        let extents = shape
            .split(',')
            .map(str::trim)
            .filter(|extent| !extent.is_empty());
        let shape: Vec<usize> = extents
            .map(|extent| extent.parse().expect("an extent"))
            .collect();
        let found = Self {
            descr: descr.to_owned(),
            shape,
            bytes: bytes.to_vec(),
        };
        let count: usize = found.shape.iter().product();
        assert_eq!(found.bytes.len(), count * found.element_bytes());
        found
    }

    fn element_bytes(&self) -> usize {
        match self.descr.as_str() {
            "<f2" => 2,
            "<f4" => 4,
            "<u8" => 8,
            other => panic!("{other} is no type of ours"),
        }
    }

    pub fn f32(&self) -> Vec<f32> {
        assert_eq!(self.descr, "<f4");
        let (numbers, _) = self.bytes.as_chunks();
        numbers.iter().copied().map(f32::from_le_bytes).collect()
    }

    pub fn f16(&self) -> Vec<f16> {
        assert_eq!(self.descr, "<f2");
        let (numbers, _) = self.bytes.as_chunks();
        numbers.iter().copied().map(f16::from_le_bytes).collect()
    }

    pub fn u64(&self) -> Vec<u64> {
        assert_eq!(self.descr, "<u8");
        let (numbers, _) = self.bytes.as_chunks();
        numbers.iter().copied().map(u64::from_le_bytes).collect()
    }
}
