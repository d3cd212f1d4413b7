//! `model.safetensors` as a file.

use std::fs;

use super::refuses;
use crate::sandbox::Sandbox;

/// The model is refused when its weight file has this content.
#[track_caller]
fn refuses_content(sandbox: &Sandbox, content: impl AsRef<[u8]>) {
    sandbox.write("model/model.safetensors", content);
    let problem = "not a whole safetensors file: ";
    let remedy = "the download may be incomplete: fetch the file again";
    refuses(sandbox, "model.safetensors", problem, remedy);
}

/// A model, and the bytes of its weight file.
fn with_weights() -> (Sandbox, Vec<u8>) {
    let sandbox = Sandbox::new();
    let whole = fs::read(sandbox.path("model/model.safetensors")).expect("the weights are there");
    (sandbox, whole)
}

#[test]
fn truncated() {
    let (sandbox, whole) = with_weights();
    let header: [u8; 8] = *whole.first_chunk().expect("the header's length");
    let data = 8 + u64::from_le_bytes(header) as usize;
    for cut in [0, 1, 7, 8, data / 2, data, data + 1] {
        refuses_content(&sandbox, &whole[..cut]);
    }
    refuses_content(&sandbox, &whole[..whole.len() / 2]);
    refuses_content(&sandbox, &whole[..whole.len() - 1]);
}

#[test]
fn header_larger_than_the_file() {
    let (sandbox, whole) = with_weights();
    for length in [whole.len() as u64 - 7, 99_000_000, 1 << 40, u64::MAX] {
        refuses_content(&sandbox, [&length.to_le_bytes(), &whole[8..]].concat());
    }
}

#[test]
fn something_else() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
    refuses_content(&Sandbox::new(), pointer);
}
