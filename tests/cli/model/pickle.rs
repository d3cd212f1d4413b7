//! `pytorch_model.bin`

use std::fs::{self, File};
use std::io::Write;

use zip::write::{SimpleFileOptions, ZipWriter};

use super::{refuses, without};
use crate::sandbox::Sandbox;
use crate::support::random_model::RandomModel;

const FILE: &str = "pytorch_model.bin";

#[test]
fn truncated() {
    let sandbox = Sandbox::with(&RandomModel::named("bert_bin"));
    let whole = fs::read(sandbox.path("model").join(FILE)).expect("the weights are there");
    let remedy = "the file is damaged: download it again, best as model.safetensors";
    for cut in [0, 4, 100, whole.len() / 2, whole.len() - 1] {
        sandbox.write("model/pytorch_model.bin", &whole[..cut]);
        refuses(&sandbox, FILE, "", remedy);
    }
}

#[test]
fn forbidden_global() {
    for (module, name) in [
        ("posix", "system"),
        ("os", "system"),
        ("builtins", "eval"),
        ("torch", "load"),
    ] {
        let sandbox = without("model.safetensors");
        // In Python, loading the first of these files runs `touch executed`.
        let call = format!("\x02c{module}\n{name}\nX\x0e\0\0\0touch executed");
        write_bin(&sandbox, &[b"\x80", call.as_bytes(), b"\x85R."].concat());
        let problem = format!("wants to run code, \"{module}.{name}\", and was refused");
        let remedy = "use the model.safetensors of this model";
        refuses(&sandbox, FILE, &problem, remedy);
        assert!(!sandbox.has("executed"));
    }
}

/// An archive as of `torch.save` around `pickle`.
fn write_bin(sandbox: &Sandbox, pickle: &[u8]) {
    let file = File::create(sandbox.path("model").join(FILE)).expect("a file");
    let mut archive = ZipWriter::new(file);
    let entry = archive.start_file("archive/data.pkl", SimpleFileOptions::default());
    entry.expect("an entry begins");
    archive.write_all(pickle).expect("it is written");
    archive.finish().expect("the archive is whole");
}
