//! Where the real model lies that `make model` fetches.

use std::path::{Path, PathBuf};

/// The folder of the demo model.
///
/// # Panics
///
/// If it is not there: a test of the real model that is passed over has tested nothing.
pub fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/splade-tiny");
    assert!(
        folder.join("model.safetensors").is_file(),
        "{} holds no model.safetensors: run `make model`, which fetches it",
        folder.display()
    );
    folder
}
