//! What a state dict is made of.

#![forbid(unsafe_code)]

use super::super::checkpoint::StoredType;

/// A value on the machine's stack.
///
/// Small and `Copy`: whatever has parts lies in the [`Heap`] and is named by its place there. So a
/// value that a pickle puts in a thousand places exists once, and no nesting, however deep, makes
/// anything recurse.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'p> {
    /// `None`, a boolean, a float, a list: allowed in the file, but it says nothing about a tensor.
    Opaque,
    Int(i64),
    Str(&'p str),
    Tuple(TupleId),
    Dict(DictId),
    Global(Global),
    Storage(StorageId),
    Tensor(TensorId),
}

/// The names that a pickle may refer to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    /// `torch.FloatStorage` and its kin.
    StorageClass(NumberType),
}

/// The type of the numbers in a storage.
#[derive(Clone, Copy, Debug)]
pub(super) struct NumberType {
    pub(super) stored_type: StoredType,
    pub(super) bytes: usize,
}

/// The numbers of one or more tensors: an entry `data/<key>` of the archive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storage<'p> {
    pub(super) numbers: NumberType,
    pub(super) key: &'p str,
    /// How many numbers the pickle says it holds.
    pub(super) len: usize,
}

/// A view of a storage; offset and strides count numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tensor {
    pub(super) storage: StorageId,
    pub(super) offset: usize,
    pub(super) shape: TupleId,
    pub(super) strides: TupleId,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct TupleId {
    start: usize,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct DictId(usize);

#[derive(Clone, Copy, Debug)]
pub(super) struct StorageId(usize);

#[derive(Clone, Copy, Debug)]
pub(super) struct TensorId(usize);

/// The parts of all values that have parts.
#[derive(Debug, Default)]
pub(super) struct Heap<'p> {
    /// Tuples end to end.
    items: Vec<Value<'p>>,
    dicts: Vec<Vec<(Value<'p>, Value<'p>)>>,
    storages: Vec<Storage<'p>>,
    tensors: Vec<Tensor>,
}

impl<'p> Heap<'p> {
    pub(super) fn new_tuple(&mut self, items: impl IntoIterator<Item = Value<'p>>) -> TupleId {
        let start = self.items.len();
        self.items.extend(items);
        TupleId {
            start,
            len: self.items.len() - start,
        }
    }

    pub(super) fn tuple(&self, id: TupleId) -> &[Value<'p>] {
        &self.items[id.start..][..id.len]
    }

    pub(super) fn new_dict(&mut self) -> DictId {
        self.dicts.push(Vec::new());
        DictId(self.dicts.len() - 1)
    }

    pub(super) fn dict(&self, id: DictId) -> &[(Value<'p>, Value<'p>)] {
        &self.dicts[id.0]
    }

    pub(super) fn insert(&mut self, id: DictId, key: Value<'p>, value: Value<'p>) {
        self.dicts[id.0].push((key, value));
    }

    pub(super) fn new_storage(&mut self, storage: Storage<'p>) -> StorageId {
        self.storages.push(storage);
        StorageId(self.storages.len() - 1)
    }

    pub(super) fn storage(&self, id: StorageId) -> Storage<'p> {
        self.storages[id.0]
    }

    pub(super) fn new_tensor(&mut self, tensor: Tensor) -> TensorId {
        self.tensors.push(tensor);
        TensorId(self.tensors.len() - 1)
    }

    pub(super) fn tensor(&self, id: TensorId) -> Tensor {
        self.tensors[id.0]
    }
}
