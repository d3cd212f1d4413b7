//! What torch puts into a pickle: names, storages, and how to rebuild a tensor from them.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::super::checkpoint::StoredType;
use super::Fault;
use super::archive::Archive;
use super::value::{Global, Heap, NumberType, Storage, Tensor, TupleId, Value};

/// `torch.<name>`, the type of its numbers and their size in bytes.
const STORAGE_CLASSES: [(&str, StoredType, usize); 10] = [
    ("FloatStorage", StoredType::F32, 4),
    ("HalfStorage", StoredType::F16, 2),
    ("BFloat16Storage", StoredType::BF16, 2),
    ("DoubleStorage", StoredType::Other("F64"), 8),
    ("LongStorage", StoredType::Other("I64"), 8),
    ("IntStorage", StoredType::Other("I32"), 4),
    ("ShortStorage", StoredType::Other("I16"), 2),
    ("CharStorage", StoredType::Other("I8"), 1),
    ("ByteStorage", StoredType::Other("U8"), 1),
    ("BoolStorage", StoredType::Other("BOOL"), 1),
];

/// A tensor as it lies in the file, row-major.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) stored_type: StoredType,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Range<usize>,
}

/// The only names that are known; any other is refused.
pub(super) fn global(module: &str, name: &str) -> Result<Global, Fault> {
    match (module, name) {
        ("collections", "OrderedDict") => Ok(Global::OrderedDict),
        ("torch._utils", "_rebuild_tensor_v2") => Ok(Global::RebuildTensor),
        ("torch._utils", "_rebuild_parameter") => Ok(Global::RebuildParameter),
        ("torch", _) => STORAGE_CLASSES
            .iter()
            .find(|(class, ..)| *class == name)
            .map(|&(_, stored_type, bytes)| Global::StorageClass(NumberType { stored_type, bytes }))
            .ok_or_else(|| Fault::refused(module, name)),
        _ => Err(Fault::refused(module, name)),
    }
}

/// What calling `function` gives.
pub(super) fn call<'p>(
    function: Global,
    args: TupleId,
    heap: &mut Heap<'p>,
) -> Result<Value<'p>, Fault> {
    match (function, heap.tuple(args)) {
        (Global::OrderedDict, []) => Ok(Value::Dict(heap.new_dict())),
        // (storage, offset, shape, strides, requires_grad, backward_hooks[, metadata])
        (
            Global::RebuildTensor,
            &[
                Value::Storage(storage),
                Value::Int(offset),
                Value::Tuple(shape),
                Value::Tuple(strides),
                ..,
            ],
        ) => {
            let tensor = Tensor {
                storage,
                offset: count(offset)?,
                shape,
                strides,
            };
            Ok(Value::Tensor(heap.new_tensor(tensor)))
        }
        // (tensor, requires_grad, backward_hooks)
        (Global::RebuildParameter, &[tensor @ Value::Tensor(_), ..]) => Ok(tensor),
        _ => Err(Fault::damaged(
            "its pickle calls a function with arguments that make no sense",
        )),
    }
}

/// The storage that a persistent id names: `("storage", class, key, device, length)`. The device is
/// where it once lay and means nothing here.
pub(super) fn storage<'p>(id: Value<'p>, heap: &mut Heap<'p>) -> Result<Value<'p>, Fault> {
    if let Value::Tuple(parts) = id
        && let &[
            Value::Str("storage"),
            Value::Global(Global::StorageClass(numbers)),
            Value::Str(key),
            Value::Str(_),
            Value::Int(len),
        ] = heap.tuple(parts)
    {
        let len = count(len)?;
        let storage = heap.new_storage(Storage { numbers, key, len });
        Ok(Value::Storage(storage))
    } else {
        Err(Fault::damaged(
            "its pickle describes a storage in an unknown way",
        ))
    }
}

/// Finds the bytes of `tensor` and checks that they are there and in row-major order.
pub(super) fn layout(tensor: Tensor, heap: &Heap<'_>, archive: &Archive) -> Result<Layout, Fault> {
    let Storage { numbers, key, len } = heap.storage(tensor.storage);
    let entry = archive
        .entry(&format!("data/{key}"))
        .ok_or_else(|| Fault::damaged(format!("its numbers, entry data/{key}, are missing")))?;
    if len.checked_mul(numbers.bytes) != Some(entry.len()) {
        return Err(Fault::damaged(format!(
            "entry data/{key} has {} bytes, which are not {len} numbers of type {}",
            entry.len(),
            numbers.stored_type
        )));
    }

    let shape = counts(tensor.shape, heap)?;
    let strides = counts(tensor.strides, heap)?;
    let number_count = row_major(&shape, &strides)?;
    let bytes = tensor
        .offset
        .checked_add(number_count)
        .filter(|&end| end <= len)
        // No overflow from here on: all of it lies inside the entry.
        .map(|end| entry.start + tensor.offset * numbers.bytes..entry.start + end * numbers.bytes)
        .ok_or_else(|| {
            Fault::damaged(format!(
                "shape {shape:?} from number {} on reaches past its {len} numbers",
                tensor.offset
            ))
        })?;
    Ok(Layout {
        stored_type: numbers.stored_type,
        shape,
        bytes,
    })
}

/// How many numbers a tensor has, if they lie one after the other with the last index fastest.
fn row_major(shape: &[usize], strides: &[usize]) -> Result<usize, Fault> {
    if shape.len() != strides.len() {
        return Err(Fault::damaged(format!(
            "shape {shape:?} and strides {strides:?} differ in length"
        )));
    }
    let mut count = 1usize;
    let mut in_order = true;
    for (&extent, &stride) in shape.iter().zip(strides).rev() {
        // The stride of a dimension of one is never taken.
        in_order &= extent == 1 || stride == count;
        // An extent of zero must not hide that the others overflow: whoever multiplies them in
        // another order would find out.
        count = count
            .checked_mul(extent.max(1))
            .ok_or_else(|| Fault::damaged(format!("shape {shape:?} overflows")))?;
    }
    if shape.contains(&0) {
        // Without numbers there is no order to be out of.
        Ok(0)
    } else if in_order {
        Ok(count)
    } else {
        Err(Fault::resave(format!(
            "shape {shape:?} with strides {strides:?} is a view that is not contiguous"
        )))
    }
}

fn counts(tuple: TupleId, heap: &Heap<'_>) -> Result<Vec<usize>, Fault> {
    /// As many as torch allows.
    const MAX_DIMENSIONS: usize = 64;
    let items = heap.tuple(tuple);
    if items.len() > MAX_DIMENSIONS {
        return Err(Fault::damaged(format!("has {} dimensions", items.len())));
    }
    items
        .iter()
        .map(|item| match item {
            &Value::Int(int) => count(int),
            _ => Err(Fault::damaged("a shape or stride is not a number")),
        })
        .collect()
}

fn count(int: i64) -> Result<usize, Fault> {
    usize::try_from(int).map_err(|_| Fault::damaged(format!("{int} where a count was expected")))
}
