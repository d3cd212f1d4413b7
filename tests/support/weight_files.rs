//! The weight files of a random model, in each of the forms that models come in.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Map, json};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::random_model::{RandomModel, WeightFile, write_json};
use super::random_tensors::{RandomTensor, StoredType};

/// Layers that have a file of their own in a model that has them, `NAME.pt`.
const LAYER_FILES: [&str; 2] = ["sparse_linear", "colbert_linear"];

/// A tensor as its file has it.
struct Stored {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// Writes the weights of `model` into `folder`.
pub fn write(model: &RandomModel, folder: &Path) {
    let mut tensors: Vec<Stored> = model.tensors().into_iter().map(stored).collect();
    for name in LAYER_FILES {
        let prefix = format!("{name}.");
        let layer: Vec<Stored> = tensors
            .extract_if(.., |tensor| tensor.name.starts_with(&prefix))
            .collect();
        if !layer.is_empty() {
            write_layer(folder, name, &layer);
        }
    }
    if model.old_names {
        rename_as_of_old(&mut tensors);
        tensors.extend(unused(model));
    }
    match model.file {
        WeightFile::Safetensors => write_safetensors(&folder.join("model.safetensors"), &tensors),
        WeightFile::Sharded => write_shards(folder, &tensors),
        WeightFile::Bin => {
            tensors.push(position_ids(model));
            write_bin(model, &folder.join("pytorch_model.bin"), &tensors);
        }
    }
}

fn stored(tensor: RandomTensor) -> Stored {
    let RandomTensor {
        name,
        stored_type,
        shape,
        values,
    } = tensor;
    let values = values.into_iter();
    let (dtype, bytes) = match stored_type {
        StoredType::F32 => (Dtype::F32, values.flat_map(f32::to_le_bytes).collect()),
        StoredType::F16 => (
            Dtype::F16,
            values
                .flat_map(|v| f16::from_f32(v).to_le_bytes())
                .collect(),
        ),
        StoredType::BF16 => (
            Dtype::BF16,
            values
                .flat_map(|v| bf16::from_f32(v).to_le_bytes())
                .collect(),
        ),
    };
    Stored {
        name,
        dtype,
        shape,
        bytes,
    }
}

fn rename_as_of_old(tensors: &mut [Stored]) {
    for Stored { name, .. } in tensors {
        *name = name
            .replace("LayerNorm.weight", "LayerNorm.gamma")
            .replace("LayerNorm.bias", "LayerNorm.beta")
            .replace("layer_norm.weight", "layer_norm.gamma")
            .replace("layer_norm.bias", "layer_norm.beta")
            .replace("cls.predictions.bias", "cls.predictions.decoder.bias")
            .replace("lm_head.bias", "lm_head.decoder.bias");
    }
}

/// Parts of a pretrained model that the masked language model does not use.
fn unused(model: &RandomModel) -> Vec<Stored> {
    let zeros = |name: &str, shape: [usize; 2]| {
        let values = vec![0.0; shape.iter().product()];
        stored(RandomTensor {
            name: name.to_owned(),
            stored_type: model.stored_type,
            shape: shape.to_vec(),
            values,
        })
    };
    let prefix = model.architecture.prefix();
    vec![
        zeros(
            &format!("{prefix}pooler.dense.weight"),
            [model.hidden(), model.hidden()],
        ),
        zeros("cls.seq_relationship.weight", [2, model.hidden()]),
        position_ids(model),
    ]
}

/// 0, 1, 2, ... as integers: a constant that older versions of transformers saved with BERT and RoBERTa.
fn position_ids(model: &RandomModel) -> Stored {
    Stored {
        name: format!("{}embeddings.position_ids", model.architecture.prefix()),
        dtype: Dtype::I64,
        shape: vec![1, model.position_rows()],
        bytes: (0..model.position_rows() as i64)
            .flat_map(i64::to_le_bytes)
            .collect(),
    }
}

fn write_safetensors(path: &Path, tensors: &[Stored]) {
    let views = tensors.iter().map(|tensor| {
        let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes);
        (&tensor.name, view.expect("the bytes fit the shape"))
    });
    safetensors::serialize_to_file(views, None, path)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

fn write_shards(folder: &Path, tensors: &[Stored]) {
    const SHARDS: usize = 3;
    let mut weight_map = Map::new();
    for (shard, part) in tensors.chunks(tensors.len().div_ceil(SHARDS)).enumerate() {
        let file = format!("model-{:05}-of-{SHARDS:05}.safetensors", shard + 1);
        write_safetensors(&folder.join(&file), part);
        for tensor in part {
            weight_map.insert(tensor.name.clone(), json!(file));
        }
    }
    let total_size: usize = tensors.iter().map(|tensor| tensor.bytes.len()).sum();
    write_json(
        &folder.join("model.safetensors.index.json"),
        &json!({"metadata": {"total_size": total_size}, "weight_map": weight_map}),
    );
}

/// `pytorch_model.bin`, around the pickle stream that was kept for this model.
fn write_bin(model: &RandomModel, path: &Path, tensors: &[Stored]) {
    let storages: Vec<String> =
        serde_json::from_slice(&kept(&format!("{}.storages.json", model.name)))
            .expect("a list of tensor names");
    let tensor = |name: &String| {
        let tensor = tensors.iter().find(|tensor| tensor.name == *name);
        let tensor = tensor.unwrap_or_else(|| panic!("{} has no tensor {name}", model.name));
        tensor.bytes.as_slice()
    };
    let storages: Vec<&[u8]> = storages.iter().map(tensor).collect();
    let pickle = kept(&format!("{}.data.pkl", model.name));
    write_archive(path, "archive", &pickle, &storages);
}

/// A linear layer by itself, in a file that has its name.
fn write_layer(folder: &Path, name: &str, tensors: &[Stored]) {
    let [weight, bias] = tensors else {
        panic!("{name} is not a weight and a bias");
    };
    let [outputs, inputs] = weight.shape[..] else {
        panic!("{} is no matrix", weight.name);
    };
    let pickle = kept(&format!("{name}_{outputs}x{inputs}.data.pkl"));
    let path = folder.join(format!("{name}.pt"));
    write_archive(&path, name, &pickle, &[&weight.bytes, &bias.bytes]);
}

/// A file that was written once for good.
fn kept(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// An archive as `torch.save` lays it out, around the pickle stream that it wrote.
pub fn write_archive(path: &Path, root: &str, pickle: &[u8], storages: &[&[u8]]) {
    let file = File::create(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut archive = ZipWriter::new(file);
    let mut entry = |name: &str, bytes: &[u8]| {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .with_alignment(64);
        archive
            .start_file(format!("{root}/{name}"), options)
            .expect("an entry begins");
        archive.write_all(bytes).expect("an entry is written");
    };
    entry("data.pkl", pickle);
    entry(".format_version", b"1");
    entry(".storage_alignment", b"64");
    entry("byteorder", b"little");
    for (key, bytes) in storages.iter().enumerate() {
        entry(&format!("data/{key}"), bytes);
    }
    entry("version", b"3\n");
    archive.finish().expect("the archive is finished");
}
