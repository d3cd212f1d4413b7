//! Tensors that are not what `config.json` calls for.

use std::fs;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::refuses;
use crate::sandbox::Sandbox;
use crate::support::random_tensors::RandomTensor;

const FILE: &str = "model.safetensors";

/// A tensor of a safetensors file, taken out to be changed.
pub struct Tensor {
    pub name: String,
    dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

impl From<RandomTensor> for Tensor {
    fn from(tensor: RandomTensor) -> Self {
        Self {
            name: tensor.name,
            dtype: Dtype::F32,
            shape: tensor.shape,
            bytes: tensor
                .values
                .into_iter()
                .flat_map(f32::to_le_bytes)
                .collect(),
        }
    }
}

impl Tensor {
    fn view(&self) -> TensorView<'_> {
        let view = TensorView::new(self.dtype, self.shape.clone(), &self.bytes);
        view.expect("type, shape and bytes agree")
    }
}

/// A model whose tensors were changed.
fn with_tensors(edit: impl FnOnce(&mut Vec<Tensor>)) -> Sandbox {
    let sandbox = Sandbox::new();
    edit_tensors(&sandbox, edit);
    sandbox
}

/// Changes the tensors of the model in `sandbox`.
pub fn edit_tensors(sandbox: &Sandbox, edit: impl FnOnce(&mut Vec<Tensor>)) {
    let path = sandbox.path("model").join(FILE);
    let file = fs::read(&path).expect("the weights are there");
    let file = SafeTensors::deserialize(&file).expect("they are whole");
    let taken = file.iter().map(|(name, view)| Tensor {
        name: name.to_owned(),
        dtype: view.dtype(),
        shape: view.shape().to_vec(),
        bytes: view.data().to_vec(),
    });
    let mut tensors: Vec<Tensor> = taken.collect();
    edit(&mut tensors);
    let views = tensors.iter().map(|tensor| (&tensor.name, tensor.view()));
    safetensors::serialize_to_file(views, None, &path).expect("they are written");
}

/// A model in which the tensor `name` was changed.
fn with_tensor(name: &str, edit: impl FnOnce(&mut Tensor)) -> Sandbox {
    with_tensors(|tensors| {
        let found = tensors.iter_mut().find(|tensor| tensor.name == name);
        edit(found.unwrap_or_else(|| panic!("the model has no {name}")));
    })
}

#[test]
fn missing() {
    for (name, named) in [
        (
            "bert.embeddings.position_embeddings.weight",
            "bert.embeddings.position_embeddings.weight",
        ),
        (
            "bert.encoder.layer.1.attention.self.value.bias",
            "bert.encoder.layer.1.attention.self.value.bias",
        ),
        (
            "bert.encoder.layer.0.output.LayerNorm.weight",
            "bert.encoder.layer.0.output.LayerNorm.weight or bert.encoder.layer.0.output.LayerNorm.gamma",
        ),
        (
            "cls.predictions.bias",
            "cls.predictions.decoder.bias or cls.predictions.bias",
        ),
    ] {
        let sandbox = with_tensors(|tensors| tensors.retain(|tensor| tensor.name != name));
        let problem = format!("tensor {named} is missing");
        let remedy = "the file does not hold a whole BertForMaskedLM: fetch it again";
        refuses(&sandbox, FILE, &problem, remedy);
    }
}

#[test]
fn no_language_model_head() {
    let sandbox = with_tensors(|tensors| tensors.retain(|tensor| !tensor.name.starts_with("cls.")));
    let problem = "tensor cls.predictions.transform.dense.weight is missing";
    let remedy = "a SPLADE model needs its masked-language-model head: save it as BertForMaskedLM";
    refuses(&sandbox, FILE, problem, remedy);
}

#[test]
fn wrong_shape() {
    for (name, shape, expected) in [
        (
            "bert.encoder.layer.0.intermediate.dense.weight",
            vec![64, 128],
            "[128, 64]",
        ),
        ("cls.predictions.bias", vec![1, 139], "[139]"),
    ] {
        let problem =
            format!("tensor {name} has shape {shape:?} where config.json calls for {expected}");
        let sandbox = with_tensor(name, |tensor| tensor.shape = shape);
        let remedy = "config.json and weights are of different models: fetch both again";
        refuses(&sandbox, FILE, &problem, remedy);
    }
}

#[test]
fn no_finite_numbers() {
    let name = "bert.encoder.layer.1.output.dense.weight";
    for (number, printed) in [
        (f32::NAN, "NaN"),
        (f32::INFINITY, "inf"),
        (f32::NEG_INFINITY, "-inf"),
    ] {
        let sandbox = with_tensor(name, |tensor| {
            tensor.bytes[4 * 1000..][..4].copy_from_slice(&number.to_le_bytes());
        });
        let problem = format!("tensor {name} holds {printed} at element 1000");
        let remedy = "the file is damaged or its training diverged: get another copy";
        refuses(&sandbox, FILE, &problem, remedy);
    }
}

#[test]
fn no_floats() {
    let sandbox = with_tensor("cls.predictions.bias", |tensor| tensor.dtype = Dtype::I32);
    let problem = "tensor cls.predictions.bias is stored as I32";
    let remedy = "weights must be F32, F16 or BF16: save the model in one of these";
    refuses(&sandbox, FILE, problem, remedy);
}
