//! TMA: boxes of every rank, swizzle and type, inside and outside of their tensor.

use standin::tensor_map::Element;

use crate::harness::{Case, Inputs, Swizzle, Tensor, equal};
use crate::workloads;

const FILE: &str = "micro_tma";

/// As the kernels take coordinates.
type Coordinates = [i32; 5];

fn coordinates(at: &[i32]) -> Coordinates {
    std::array::from_fn(|axis| at.get(axis).copied().unwrap_or(0))
}

/// Every element of a box: its offset in the dense box and the element of the tensor, `None` outside.
fn elements(tensor: &Tensor, at: &[i32]) -> Vec<(usize, Option<usize>)> {
    let counts: Vec<usize> = tensor
        .tile
        .iter()
        .zip(&tensor.steps)
        .map(|(size, step)| size.div_ceil(*step) as usize)
        .collect();
    (0..counts.iter().product())
        .map(|number| {
            let (mut rest, mut place, mut pitch, mut inside) = (number, 0, 1, true);
            for axis in 0..counts.len() {
                let coordinate = i64::from(at[axis])
                    + (rest % counts[axis]) as i64 * i64::from(tensor.steps[axis]);
                rest /= counts[axis];
                inside &= (0..tensor.dimensions[axis] as i64).contains(&coordinate);
                place += coordinate * pitch;
                pitch *= tensor.dimensions[axis] as i64;
            }
            (number, inside.then_some(place as usize))
        })
        .collect()
}

/// The bytes of the tensor, and those of the box in shared memory.
fn sizes(tensor: &Tensor) -> (usize, usize) {
    let counts = tensor
        .tile
        .iter()
        .zip(&tensor.steps)
        .map(|(size, step)| size.div_ceil(*step) as usize);
    let size = tensor.element.bytes();
    (
        tensor.dimensions.iter().product::<u64>() as usize * size,
        counts.product::<usize>() * size,
    )
}

/// A launch of a block that has room for the tile.
fn case(kernel: &'static str, tile_bytes: usize) -> Case {
    Case::new(FILE, kernel)
        .block(64)
        .shared(tile_bytes.next_multiple_of(1024) as u32)
}

#[track_caller]
fn check_load(tensor: &Tensor, at: &[i32]) {
    let (bytes, tile_bytes) = sizes(tensor);
    let size = tensor.element.bytes();
    let data: Vec<u8> = bytemuck::cast_slice(&Inputs::new(1).words(bytes.div_ceil(4))).to_vec();
    let mut expected = vec![0; tile_bytes];
    for (number, from) in elements(tensor, at) {
        let to = tensor.swizzle.place(number * size);
        match from {
            Some(from) => {
                expected[to..to + size].copy_from_slice(&data[from * size..(from + 1) * size])
            }
            None if tensor.nan_fill => {
                expected[to..to + size]
                    .copy_from_slice(tensor.element.nan().expect("a type with NaN"));
            }
            None => {}
        }
    }
    let mut case = case("tma_load", tile_bytes);
    let buffer = case.buffer(&data);
    case.pass_map(buffer, tensor.clone());
    let y = case.output::<u8>(tile_bytes);
    case.value(tensor.dimensions.len() as i32);
    case.value(tile_bytes as i32);
    case.value(coordinates(at));
    let run = case.check();
    equal(&run.get(y), &expected).unwrap_or_else(|wrong| panic!("{tensor:?} at {at:?}: {wrong}"));
    assert_eq!(run.report.counters.bulk_load_bytes, tile_bytes as u64);
}

#[track_caller]
fn check_store(tensor: &Tensor, at: &[i32]) {
    let (bytes, tile_bytes) = sizes(tensor);
    let size = tensor.element.bytes();
    let tile: Vec<u8> = bytemuck::cast_slice(&Inputs::new(2).words(tile_bytes / 4)).to_vec();
    let before = vec![0xa5_u8; bytes];
    let mut expected = before.clone();
    for (number, to) in elements(tensor, at) {
        let from = tensor.swizzle.place(number * size);
        if let Some(to) = to {
            expected[to * size..(to + 1) * size].copy_from_slice(&tile[from..from + size]);
        }
    }
    let mut case = case("tma_store", tile_bytes);
    let buffer = case.buffer(&before);
    case.pass_map(buffer, tensor.clone());
    case.input(&tile);
    case.value(tensor.dimensions.len() as i32);
    case.value(tile_bytes as i32);
    case.value(coordinates(at));
    let run = case.check();
    equal(&run.get(buffer), &expected)
        .unwrap_or_else(|wrong| panic!("{tensor:?} at {at:?}: {wrong}"));
}

/// A matrix of 40 rows of halves whose boxes are as wide as the swizzle.
fn matrix(swizzle: Swizzle) -> Tensor {
    let columns = if swizzle == Swizzle::None {
        32
    } else {
        swizzle.width() as u32 / 2
    };
    Tensor::matrix(Element::F16, (40, 96), (24, columns), swizzle)
}

#[test]
fn every_swizzle() {
    for swizzle in Swizzle::ALL {
        check_load(&matrix(swizzle), &[8, 5]);
        check_store(&matrix(swizzle), &[8, 5]);
    }
}

#[test]
fn outside_on_every_side() {
    for at in [[-3, 2], [90, 2], [4, -7], [4, 30], [-40, -40], [200, 3]] {
        check_load(&matrix(Swizzle::Bytes64), &at);
        check_store(&matrix(Swizzle::Bytes64), &at);
    }
    let nan = Tensor {
        nan_fill: true,
        ..matrix(Swizzle::Bytes64)
    };
    check_load(&nan, &[-3, 30]);
}

#[test]
fn every_rank() {
    let dimensions = [32_u64, 6, 5, 4, 3];
    let tile = [16_u32, 4, 3, 2, 2];
    let at = [4, 1, 3, 1, 2];
    for rank in 1..=5 {
        let tensor = Tensor {
            element: Element::U32,
            dimensions: dimensions[..rank].to_vec(),
            tile: tile[..rank].to_vec(),
            steps: vec![1; rank],
            swizzle: if rank == 3 {
                Swizzle::Bytes64
            } else {
                Swizzle::None
            },
            nan_fill: false,
        };
        check_load(&tensor, &at[..rank]);
        check_store(&tensor, &at[..rank]);
    }
}

#[test]
fn every_size_of_element() {
    for element in [Element::U8, Element::Bf16, Element::F32, Element::F64] {
        let columns = (64 / element.bytes()) as u32;
        check_load(
            &Tensor::matrix(element, (20, 64), (9, columns), Swizzle::Bytes64),
            &[columns as i32 / 2, 14],
        );
    }
}

#[test]
fn elements_apart() {
    let tensor = Tensor {
        steps: vec![1, 3],
        ..Tensor::matrix(Element::F32, (40, 32), (24, 16), Swizzle::Bytes64)
    };
    check_load(&tensor, &[2, 11]);
}

#[test]
fn maps_in_global_memory() {
    let data: Vec<f32> = Inputs::new(3).floats(16 * 16);
    let mut case = case("tma_load_by_pointer", 16 * 16 * 4);
    let buffer = case.buffer(&data);
    let map = Tensor::matrix(Element::F32, (16, 16), (16, 16), Swizzle::None);
    case.input_with(buffer, move |address| map.map(address));
    let y = case.output::<f32>(data.len());
    case.value(16 * 16 * 4);
    equal(&case.check().get(y), &data).unwrap();
}

#[test]
fn sums_of_many_blocks() {
    const BLOCKS: usize = 6;
    let counters = workloads::bulk_sum(BLOCKS).check().report.counters;
    assert_eq!(counters.bulk_load_bytes, (BLOCKS * 512) as u64);
    assert_eq!(counters.bulk_store_bytes, (BLOCKS * 512) as u64);
}
