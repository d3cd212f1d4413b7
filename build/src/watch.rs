//! Telling cargo when to look for nvcc again.
//!
//! Cargo runs a build script anew when a path that it declared is newer than its last run, or is missing. So a
//! place that holds an nvcc is simply declared. A place that holds none must not be: missing, it would make every
//! build compile the whole crate again. Nor can the folder above it be declared in its stead, for cargo walks
//! folders to their ends, and the one above `.cuda/` holds `target/`. What cargo does bear are links that lead
//! nowhere inside a folder that it walks. So `OUT_DIR/watch/` holds one link a missing place:
//!
//! - Its folder is missing as well: the link leads through that folder, back up to `/`, and to a file dated far in
//!   the future. It leads nowhere until the folder appears, whatever the age of what is in there then.
//! - Only the file is missing: the link leads to the file, and is seen if the file is newer than the last run. A
//!   toolkit's own folder is declared besides, so that there age does not matter; a folder of `PATH` may be too
//!   large for that, so an old nvcc moved into one is not noticed before something else changes.
//!
//! Links and folder are dated far in the past: made during the run, they would themselves be newer than it.

use std::fs;
use std::io;
use std::path::{self, Path, PathBuf};

use filetime::FileTime;

use crate::error::{Error, Result};
use crate::toolchain::Search;

/// More folders than a path has: leads to `/` from anywhere, because the root is its own parent.
const LEVELS: usize = 100;

/// 1 January 2037: later than any build, and within what every file system can store.
const FUTURE: FileTime = FileTime::from_unix_time(2_114_380_800, 0);

/// The paths to declare to cargo so that it notices when `search` would find another nvcc than it did in the places
/// `tried`. Makes links for what is missing below `out_dir`.
pub(crate) fn watched_paths(
    search: &Search,
    tried: &[PathBuf],
    out_dir: &Path,
) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    let links = out_dir.join("watch");
    let future = out_dir.join("future");
    let made = || -> io::Result<()> {
        if links.exists() {
            fs::remove_dir_all(&links)?;
        }
        fs::create_dir_all(&links)?;
        fs::write(&future, "")?;
        filetime::set_file_mtime(&future, FUTURE)
    };
    made().map_err(|error| Error::io("prepare", &links, &error))?;

    let in_toolkits = search.toolkit_folders();
    for (number, place) in tried.iter().enumerate() {
        // A link is relative to its own folder, a variable to the current one.
        let place = path::absolute(place).map_err(|error| Error::io("resolve", place, &error))?;
        let Some(folder) = place.parent() else {
            continue;
        };
        if place.is_file() {
            paths.push(place);
            continue;
        }
        if in_toolkits.iter().any(|toolkit| toolkit == folder) && folder.is_dir() {
            paths.push(folder.to_path_buf());
        }
        let target = if folder.is_dir() {
            place.clone()
        } else {
            through(folder, &future)
        };
        let link = links.join(number.to_string());
        make_link(&target, &link).map_err(|error| Error::io("make", &link, &error))?;
    }
    let past = FileTime::zero();
    filetime::set_file_mtime(&links, past).map_err(|error| Error::io("date", &links, &error))?;
    paths.push(links);
    Ok(paths)
}

/// A path that leads to `target`, but only while `folder` exists.
fn through(folder: &Path, target: &Path) -> PathBuf {
    let mut path = folder.to_path_buf();
    path.extend(std::iter::repeat_n("..", LEVELS));
    path.join(target.strip_prefix("/").unwrap_or(target))
}

#[cfg(unix)]
fn make_link(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)?;
    filetime::set_symlink_file_times(link, FileTime::zero(), FileTime::zero())
}

/// Elsewhere a toolchain that appears is noticed when a variable or a kernel changes.
#[cfg(not(unix))]
fn make_link(_target: &Path, _link: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// The newest time in the links' folder, links followed: what cargo looks at.
    fn newest(paths: &[PathBuf]) -> FileTime {
        let links = paths.last().expect("the links' folder is declared");
        let mut newest = FileTime::from_last_modification_time(&fs::metadata(links).unwrap());
        for entry in fs::read_dir(links).unwrap() {
            let path = entry.unwrap().path();
            let own = fs::symlink_metadata(&path).unwrap();
            newest = newest.max(FileTime::from_last_modification_time(&own));
            if let Ok(target) = fs::metadata(&path) {
                newest = newest.max(FileTime::from_last_modification_time(&target));
            }
        }
        newest
    }

    #[test]
    fn a_folder_that_appears_is_newer_than_any_run() {
        let scratch = tempfile::tempdir().unwrap();
        let out = scratch.path().join("out");
        let search = Search {
            project: scratch.path().join("project"),
            system: scratch.path().join("system"),
            path: Some(scratch.path().join("bin").into()),
            ..Search::default()
        };
        let paths = watched_paths(&search, &search.places(), &out).unwrap();
        assert_eq!(
            paths,
            [out.join("watch")],
            "nothing that is missing is declared"
        );
        assert_eq!(newest(&paths), FileTime::zero());

        for place in search.places() {
            let folder = place.parent().unwrap();
            fs::create_dir_all(folder).unwrap();
            assert_eq!(newest(&paths), FUTURE, "{}", folder.display());
            fs::remove_dir_all(folder).unwrap();
            assert_eq!(newest(&paths), FileTime::zero());
        }
    }

    #[test]
    fn a_file_that_appears_is_seen_and_one_that_is_there_is_declared() {
        let scratch = tempfile::tempdir().unwrap();
        let (out, bin) = (scratch.path().join("out"), scratch.path().join("bin"));
        fs::create_dir(&bin).unwrap();
        let search = Search {
            project: scratch.path().join("project"),
            system: scratch.path().to_path_buf(),
            ..Search::default()
        };
        let paths = watched_paths(&search, &search.places(), &out).unwrap();
        assert_eq!(paths, [bin.clone(), out.join("watch")]);
        let nvcc = bin.join("nvcc");
        fs::write(&nvcc, "").unwrap();
        assert!(newest(&paths) > FileTime::zero() && newest(&paths) < FUTURE);

        let paths = watched_paths(&search, &search.places(), &out).unwrap();
        assert_eq!(paths, [nvcc, out.join("watch")]);
        assert_eq!(newest(&paths), FileTime::zero());
    }
}
