//! Models named by their id on the Hugging Face hub.

#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::ApiBuilder;
use hf_hub::{Cache, Repo};

use super::checkpoint::{
    PICKLE, PICKLE_INDEX, SAFETENSORS, SAFETENSORS_INDEX, ShardIndex, layer_file_name,
};
use super::files::{plain_relative_path, read_json};
use super::layout::Module;
use super::spec::{Architecture, Config};
use crate::error::{Error, Result};

/// Files that describe a model; each may be absent. The configurations of its modules lie one folder down.
const DESCRIPTIONS: [&str; 5] = [
    "config.json",
    "tokenizer_config.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
];

/// Files of the layers that have their own. They are small: wherever they are they are fetched.
fn layer_files(architecture: Architecture) -> impl Iterator<Item = String> {
    let layers = architecture.layers_in_files().iter();
    layers.map(|layer| layer_file_name(layer))
}

/// The tokeniser in each of its forms, in order of preference: with one of them there, none of those after it is needed.
const TOKENIZERS: [&[&str]; 4] = [
    &["tokenizer.json"],
    &["vocab.txt"],
    &["sentencepiece.bpe.model"],
    &["vocab.json", "merges.txt"],
];

/// Files of the tokeniser's forms up to the first that is whole, of which `has` tells; of all if none is.
fn tokenizer_files(has: impl Fn(&str) -> bool) -> impl Iterator<Item = &'static str> {
    let whole = |form: &&[&str]| form.iter().all(|name| has(name));
    let needed = TOKENIZERS.iter().position(whole);
    let needed = needed.map_or(TOKENIZERS.len(), |last| last + 1);
    TOKENIZERS[..needed].iter().copied().flatten().copied()
}

/// Whether `name` has the form of a hub id, `owner/model` or `model`.
pub(super) fn is_hub_id(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    match name.split_once('/') {
        Some((owner, model)) => part(owner) && part(model),
        None => part(name),
    }
}

/// The folder that holds model `id`: from the hub's local cache where it is complete, else downloaded.
///
/// `HF_HOME` (cache), `HF_ENDPOINT` (server) and `HF_TOKEN` (gated and private models) are honoured.
pub(super) fn fetch(id: &str) -> Result<PathBuf> {
    match cached(id) {
        Some(folder) => Ok(folder),
        None => download(id),
    }
}

/// The model's folder in the cache, if all of it is there. Other programs share the cache and fetch
/// what they need: a description counts only as present or as known to be absent from the hub.
fn cached(id: &str) -> Option<PathBuf> {
    let config = Cache::from_env()
        .repo(Repo::model(id.to_owned()))
        .get("config.json")?;
    let folder = config.parent()?;
    let has = |name: &str| folder.join(name).is_file();
    let known =
        |name: &str| has(name) || absence_note(folder, name).is_some_and(|note| note.is_file());
    let has_shards = |index_name: &str| {
        read_json::<ShardIndex>(&folder.join(index_name))
            .is_ok_and(|index| index.weight_map.values().all(|shard| has(shard)))
    };
    let weights = [SAFETENSORS, PICKLE].into_iter().any(has)
        || [SAFETENSORS_INDEX, PICKLE_INDEX]
            .into_iter()
            .any(has_shards);
    let modules: Vec<Module> = match has("modules.json") {
        true => read_json(&folder.join("modules.json")).ok()?,
        false => Vec::new(),
    };
    let modules_known = modules
        .iter()
        .filter(|module| module.has_settings() && !module.path.is_empty())
        .all(|module| known(&format!("{}/config.json", module.path)));
    // A config.json of which nothing is known here is an error later on.
    let architecture = Config::read(folder).and_then(|config| config.architecture());
    let layers_known = (architecture.ok())
        .is_none_or(|architecture| layer_files(architecture).all(|file| known(&file)));
    let descriptions_known = DESCRIPTIONS
        .into_iter()
        .chain(tokenizer_files(has))
        .all(known);
    (weights && layers_known && modules_known && descriptions_known).then(|| folder.to_owned())
}

/// Where the cache notes that the hub has no file `name` in the commit of the snapshot `folder`: its
/// convention is an empty file of that name under `.no_exist/COMMIT`.
fn absence_note(folder: &Path, name: &str) -> Option<PathBuf> {
    let (snapshots, commit) = (folder.parent()?, folder.file_name()?);
    Some(
        snapshots
            .parent()?
            .join(".no_exist")
            .join(commit)
            .join(name),
    )
}

fn note_absence(folder: &Path, name: &str) {
    // Without the note the next run asks the hub again, and that is all.
    if let Some(note) = absence_note(folder, name)
        && let Some(parent) = note.parent()
        && fs::create_dir_all(parent).is_ok()
    {
        let _ = fs::write(note, "");
    }
}

fn download(id: &str) -> Result<PathBuf> {
    let failed = |e: hf_hub::api::sync::ApiError| {
        Error::model(
            id,
            format!("not a folder here, and the hub did not give it: {e}"),
            "without network, copy the model's files to this machine and name their folder instead \
             (a gated model wants HF_TOKEN in the environment)",
        )
    };
    let token = std::env::var("HF_TOKEN")
        .ok()
        .filter(|token| !token.is_empty());
    let mut builder = ApiBuilder::from_env();
    if token.is_some() {
        builder = builder.with_token(token);
    }
    let repo = builder.build().map_err(failed)?.model(id.to_owned());
    let listing = repo.info().map_err(failed)?;
    let files: Vec<&str> = listing
        .siblings
        .iter()
        .map(|file| file.rfilename.as_str())
        .collect();
    if !files.contains(&"config.json") {
        return Err(Error::model(
            id,
            "this hub repository has no config.json",
            "name a repository in the Hugging Face transformers format",
        ));
    }

    // What the cache has of an older commit is taken for the file until the first download moves the
    // cache to the newest one. The second pass then fetches those again, and does nothing otherwise.
    for _ in 0..2 {
        for name in wanted(&files) {
            repo.get(name).map_err(failed)?;
        }
    }
    let config = repo.get("config.json").map_err(failed)?;
    let folder = config.parent().map(PathBuf::from).unwrap_or_default();
    let known = DESCRIPTIONS
        .into_iter()
        .chain(tokenizer_files(|name| files.contains(&name)))
        .map(str::to_owned)
        .chain(layer_files(Architecture::BgeM3));
    for name in known.filter(|name| !files.contains(&name.as_str())) {
        note_absence(&folder, &name);
    }
    Ok(folder)
}

/// Descriptions first, then the weights, in the format preferred among those that the repository has.
fn wanted<'a>(files: &[&'a str]) -> Vec<&'a str> {
    let has = |name: &str| files.contains(&name);
    let (stem, extension) = if has(SAFETENSORS) || has(SAFETENSORS_INDEX) {
        ("model", ".safetensors")
    } else {
        ("pytorch_model", ".bin")
    };
    let is_description = |name: &str| {
        DESCRIPTIONS.contains(&name)
            || layer_files(Architecture::BgeM3).any(|file| file == name)
            || tokenizer_files(has).any(|needed| needed == name)
            || matches!(name.split_once('/'), Some((_, "config.json")))
            || name == format!("{stem}{extension}.index.json")
    };
    let is_weight = |name: &str| {
        name == format!("{stem}{extension}")
            || (name.starts_with(&format!("{stem}-")) && name.ends_with(extension))
    };
    let inside = || {
        files
            .iter()
            .copied()
            .filter(|name| plain_relative_path(name).is_some())
    };
    inside()
        .filter(|name| is_description(name))
        .chain(inside().filter(|name| is_weight(name)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hub_ids_are_told_from_paths() {
        for id in ["naver/splade-v3", "bert-base-uncased", "a/b.c_d-e"] {
            assert!(is_hub_id(id), "{id}");
        }
        for path in [
            "./model",
            "/model",
            "a/b/c",
            "../a",
            "a/",
            "",
            "models/../x",
            "a b/c",
        ] {
            assert!(!is_hub_id(path), "{path}");
        }
    }

    #[test]
    fn one_weight_format_is_fetched_and_comes_last() {
        let files = [
            "model.safetensors",
            "config.json",
            "pytorch_model.bin",
            "onnx/model.onnx",
            "tf_model.h5",
            "training_args.bin",
            "1_SpladePooling/config.json",
            "../config.json",
        ];
        assert_eq!(
            wanted(&files),
            [
                "config.json",
                "1_SpladePooling/config.json",
                "model.safetensors"
            ]
        );
        let files = [
            "pytorch_model-00001-of-00002.bin",
            "pytorch_model-00002-of-00002.bin",
            "pytorch_model.bin.index.json",
        ];
        assert_eq!(wanted(&files), [files[2], files[0], files[1]]);
    }

    #[test]
    fn of_the_tokenizer_only_the_preferred_form_is_fetched() {
        let weights = "model.safetensors";
        let [json, words, pieces] = ["tokenizer.json", "vocab.txt", "sentencepiece.bpe.model"];
        let [tokens, merges] = ["vocab.json", "merges.txt"];
        for (files, fetched) in [
            (&[json, words, pieces, tokens, merges][..], &[json][..]),
            (&[words, tokens, merges], &[words]),
            (&[pieces, tokens, merges], &[pieces]),
            (&[tokens, merges], &[tokens, merges]),
        ] {
            let listing = [files, &[weights]].concat();
            assert_eq!(wanted(&listing), [fetched, &[weights]].concat());
        }
    }
}
