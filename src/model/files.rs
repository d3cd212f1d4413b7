//! Small JSON files of a model folder.

#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::path::{Component, Path};

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Reads a JSON file that must be there.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs::read(path).map_err(|e| Error::model_io(path, "read the file", e))?;
    serde_json::from_slice(&bytes).map_err(|e| {
        if e.is_data() {
            Error::model(
                path,
                format!("unexpected content: {e}"),
                "lexpeak reads models as transformers and sentence-transformers save them",
            )
        } else {
            Error::model(
                path,
                format!("malformed JSON: {e}"),
                "get another copy of the file",
            )
        }
    })
}

/// Reads a JSON file that a model may do without.
pub(crate) fn read_optional_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::metadata(path) {
        Ok(_) => read_json(path).map(Some),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::model_io(path, "read the file", e)),
    }
}

/// `path` if it stays inside the folder it is relative to: model files are not trusted to name others.
pub(crate) fn plain_relative_path(path: &str) -> Option<&Path> {
    let path = Path::new(path);
    path.components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        .then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_folder_are_refused() {
        for path in ["../a", "/etc/passwd", "a/../../b", "./../a", ".."] {
            assert_eq!(plain_relative_path(path), None, "{path}");
        }
        for path in ["", "a", "./a", "1_SpladePooling/config.json"] {
            assert_eq!(plain_relative_path(path), Some(Path::new(path)));
        }
    }
}
