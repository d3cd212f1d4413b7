//! The zip archive around the pickle: which bytes of the file belong to which entry.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::Cursor;
use std::ops::Range;

use zip::CompressionMethod;
use zip::read::{ArchiveOffset, Config, ZipArchive};
use zip::result::ZipError;

use super::Fault;

/// A state dict takes some 200 bytes of pickle a tensor. This is room for 20,000 of them, and keeps
/// what a hostile pickle can make the machine allocate to a few hundred megabytes.
const MAX_PICKLE_BYTES: usize = 4 << 20;

/// The entries of an archive, all uncompressed and inside the file.
pub(super) struct Archive {
    /// The folder that holds everything; torch names it after the file that was first written.
    folder: String,
    entries: BTreeMap<String, Range<usize>>,
}

impl Archive {
    pub(super) fn open(file: &[u8]) -> Result<Self, Fault> {
        recognize(file)?;
        // An archive at a known offset spares a search for its directory through the whole file.
        let config = Config {
            archive_offset: ArchiveOffset::Known(0),
        };
        let mut zip = ZipArchive::with_config(config, Cursor::new(file)).map_err(unreadable)?;
        let mut entries = BTreeMap::new();
        for index in 0..zip.len() {
            let entry = zip.by_index_raw(index).map_err(unreadable)?;
            let name = entry.name().map_err(unreadable)?.into_owned();
            if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
                return Err(Fault::resave(format!(
                    "entry {name:?} is compressed or encrypted, which torch never does"
                )));
            }
            let bytes = inside(file, entry.data_start(), entry.size()).ok_or_else(|| {
                Fault::damaged(format!("entry {name:?} reaches past the end of the file"))
            })?;
            entries.insert(name, bytes);
        }
        let folder = entries
            .keys()
            .find_map(|name| name.strip_suffix("/data.pkl"))
            .ok_or_else(|| Fault::resave("is a zip archive without the data.pkl of torch.save"))?
            .to_owned();
        Ok(Self { folder, entries })
    }

    /// The bytes of an entry, named as below the archive's folder.
    pub(super) fn entry(&self, name: &str) -> Option<Range<usize>> {
        self.entries
            .get(&format!("{}/{name}", self.folder))
            .cloned()
    }

    /// The bytes of the pickle.
    pub(super) fn pickle(&self) -> Result<Range<usize>, Fault> {
        self.entry("data.pkl")
            .filter(|bytes| bytes.len() <= MAX_PICKLE_BYTES)
            .ok_or_else(|| Fault::resave("its data.pkl is far larger than a state dict needs"))
    }
}

/// Tells the formats that came before the archive from files that are something else.
fn recognize(file: &[u8]) -> Result<(), Fault> {
    let is_pickle = file.first() == Some(&0x80);
    let is_tar = file.get(257..262) == Some(b"ustar".as_slice());
    if file.starts_with(b"PK\x03\x04") {
        Ok(())
    } else if is_pickle || is_tar {
        Err(Fault::resave(
            "is in a format of torch before 1.6, which is not read here",
        ))
    } else {
        Err(Fault::damaged(
            "is not a file of torch.save (no zip archive)",
        ))
    }
}

fn unreadable(error: ZipError) -> Fault {
    Fault::damaged(format!("its zip archive cannot be read ({error})"))
}

fn inside(file: &[u8], start: Option<u64>, len: u64) -> Option<Range<usize>> {
    let start = usize::try_from(start?).ok()?;
    let end = start.checked_add(usize::try_from(len).ok()?)?;
    (end <= file.len()).then_some(start..end)
}
