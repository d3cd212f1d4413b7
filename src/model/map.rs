//! Read-only memory maps of weight files: the only unsafe code outside the engines.

use std::fs::File;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::error::{Error, Result};

/// A whole file as bytes, read through the page cache.
#[derive(Debug)]
pub(crate) struct MappedFile {
    path: PathBuf,
    map: Mmap,
}

impl MappedFile {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::model_io(path, "open the file", e))?;
        // SAFETY: the map is only read. As with every program that maps
        // its weights, another process that truncates the file while it is mapped ends this one by
        // SIGBUS, and one that rewrites it in place changes the numbers read; a model file that is
        // replaced the usual way (a new file renamed over it) is safe, because the map keeps the old one.
        let map = unsafe { Mmap::map(&file) }
            .map_err(|e| Error::model_io(path, "map the file into memory", e))?;
        Ok(Self {
            path: path.to_owned(),
            map,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}
