//! Boxes of tensors against plain loops: every rank, swizzle and type, element strides, and every side of the tensor.

use super::*;
use crate::exec::Random;
use crate::memory::POISON;
use crate::tensor_map::{Element, Fill};

/// Room for a box in shared memory.
const ROOM: usize = 3584;

/// A tensor map and the corner of a box.
#[derive(Debug)]
struct Case {
    map: TensorMap,
    corner: [i32; 5],
}

/// Room for the tensor: more than any case needs.
const TENSOR_ROOM: usize = 48 << 10;

/// A random legal case of a rank and a swizzle, for a tensor at `address`.
fn random_case(
    random: &mut Random,
    rank: usize,
    swizzle: u32,
    data_type: u32,
    address: u64,
) -> Case {
    let size = Element::from_number(data_type).unwrap().bytes();
    let widest = [256, 32, 64, 128][swizzle as usize];
    let row_bytes = 16 * (1 + random.below(widest / 16));
    let mut dimensions = vec![(1 + random.below(2 * row_bytes / size)) as u64];
    let mut strides = Vec::new();
    let mut pitch = (dimensions[0] as usize * size).next_multiple_of(16) + 16 * random.below(3);
    let mut box_sizes = vec![(row_bytes / size) as u32];
    let mut element_strides = vec![1 + random.below(8) as u32];
    for _ in 1..rank {
        let length = 1 + random.below(if rank > 3 { 3 } else { 5 });
        dimensions.push(length as u64);
        strides.push(pitch as u64);
        pitch *= length;
        box_sizes.push(1 + random.below(4) as u32);
        element_strides.push(1 + random.below(3) as u32);
    }
    let float = Element::from_number(data_type).unwrap().is_float();
    let map = TensorMap::encode(&Tiled {
        data_type,
        address,
        dimensions: &dimensions,
        strides: &strides,
        box_sizes: &box_sizes,
        element_strides: &element_strides,
        interleave: 0,
        swizzle,
        promotion: 0,
        fill: if float { random.below(2) as u32 } else { 0 },
    });
    let map = map.expect("the case is legal");
    let mut corner = [0; 5];
    for (axis, corner) in corner.iter_mut().enumerate().take(rank) {
        let (length, span) = (map.dimensions[axis] as i32, map.box_sizes[axis] as i32);
        // Half of them inside, so that boxes of many dimensions are not empty all the time.
        *corner = match random.below(2) {
            0 => random.below(length as usize) as i32,
            _ => random.below((length + span + 2) as usize) as i32 - span - 1,
        };
    }
    Case { map, corner }
}

impl Case {
    /// Calls `each` for every element of the box: its place in the shared memory of the block, from the begin of `buffer`, and
    /// its place in the tensor's memory, if it is inside.
    fn elements(&self, mut each: impl FnMut(usize, Option<usize>)) {
        let map = &self.map;
        let count = |axis: usize| map.box_sizes[axis].div_ceil(map.element_strides[axis]);
        let line_mask = [("None", 0), ("Bytes32", 1), ("Bytes64", 3), ("Bytes128", 7)]
            .into_iter()
            .find(|(name, _)| *name == format!("{:?}", map.swizzle))
            .unwrap()
            .1;
        let mut dense = BUFFER as usize;
        for j4 in 0..count(4) {
            for j3 in 0..count(3) {
                for j2 in 0..count(2) {
                    for j1 in 0..count(1) {
                        for j0 in 0..count(0) {
                            let mut inside = true;
                            let mut at = 0;
                            for (axis, j) in [j0, j1, j2, j3, j4].into_iter().enumerate() {
                                let index = i64::from(self.corner[axis])
                                    + i64::from(j * map.element_strides[axis]);
                                inside &= index >= 0 && index < map.dimensions[axis] as i64;
                                at += index * map.strides[axis] as i64;
                            }
                            let swizzled = dense ^ ((dense >> 7 & line_mask) << 4);
                            each(swizzled - BUFFER as usize, inside.then_some(at as usize));
                            dense += map.element.bytes();
                        }
                    }
                }
            }
        }
    }

    fn set_registers(&self, run: &mut Launched<'_>, map_address: u64) {
        for axis in 0..5 {
            run.set32(FIRST, 20 + axis as u16, |_| self.corner[axis] as u32);
        }
        run.set32(FIRST, 10, |_| BUFFER);
        run.set32(FIRST, 11, |_| BUFFER + OBJECT);
        run.set64(FIRST, 1, |_| map_address);
        run.set32(FIRST, 1, |_| self.map.box_bytes() as u32);
        run.set32(FIRST, 2, |_| 0);
    }
}

fn coordinates(rank: usize) -> String {
    let names: Vec<String> = (0..rank).map(|axis| format!("%r{}", 20 + axis)).collect();
    names.join(", ")
}

/// Runs `check` on random cases of every rank and swizzle and of these types.
fn for_all_cases(
    types: std::ops::Range<u32>,
    check: impl Fn(&Case, &Machine, u64, u64),
    instructions: impl Fn(usize) -> String,
) {
    let mut random = Random::new(1, types.start);
    for rank in 1..=5 {
        for swizzle in 0..4 {
            for data_type in types.clone() {
                let mut machine = machine(&instructions(rank));
                let tensor = machine.upload(&noise(TENSOR_ROOM, data_type));
                let mut case = random_case(&mut random, rank, swizzle, data_type, tensor);
                while case.map.box_bytes() > ROOM {
                    case = random_case(&mut random, rank, swizzle, data_type, tensor);
                }
                let map = machine.upload(&case.map.to_bytes());
                check(&case, &machine, tensor, map);
            }
        }
    }
}

#[test]
fn loads_are_what_plain_loops_give() {
    let load = |rank: usize| {
        format!(
            "cp.async.bulk.tensor.{rank}d.shared::cluster.global.tile.mbarrier::complete_tx::bytes \
             [%r10], [%rd1, {{{}}}], [%r11];",
            coordinates(rank)
        )
    };
    let (outside, inside) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let check = |case: &Case, machine: &Machine, tensor: u64, map: u64| {
        let mut run = start(machine, 1);
        case.set_registers(&mut run, map);
        run.execute(FIRST, EXPECT);
        run.execute(FIRST, BULK);
        assert!(!waited(&mut run, FIRST));
        run.land(0);
        assert!(
            waited(&mut run, FIRST),
            "{case:?}: the bytes are not those of the box"
        );
        assert_eq!(run.faults(), [], "{case:?}");
        assert_eq!(run.counters.bulk_load_bytes, case.map.box_bytes() as u64);
        let data = global(machine, tensor, TENSOR_ROOM);
        let size = case.map.element.bytes();
        let mut expected = vec![POISON; ROOM];
        case.elements(|to, from| {
            let element = &mut expected[to..to + size];
            match from {
                Some(from) => {
                    inside.set(inside.get() + 1);
                    element.copy_from_slice(&data[from..from + size]);
                    case.map.element.convert_loaded(element);
                }
                None if case.map.fill == Fill::Nan => {
                    element.copy_from_slice(case.map.element.nan().unwrap())
                }
                None => {
                    outside.set(outside.get() + 1);
                    element.fill(0);
                }
            }
        });
        assert!(shared(&mut run, 0, 0, ROOM) == expected, "{case:?}");
    };
    for_all_cases(0..13, check, load);
    let (outside, inside) = (outside.get(), inside.get());
    assert!(
        outside > 1000 && inside > 1000,
        "{outside} elements outside, {inside} inside"
    );
}

#[test]
fn stores_are_what_plain_loops_give() {
    let store = |rank: usize| {
        format!(
            "cp.async.bulk.tensor.{rank}d.global.shared::cta.tile.bulk_group [%rd1, {{{}}}], [%r10];\n\
             cp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;",
            coordinates(rank)
        )
    };
    let check = |case: &Case, machine: &Machine, tensor: u64, map: u64| {
        let mut expected = global(machine, tensor, TENSOR_ROOM);
        let mut run = start(machine, 1);
        case.set_registers(&mut run, map);
        let source = noise(ROOM, 99);
        put_shared(&mut run, 0, 0, &source);
        (BULK..BULK + 3).for_each(|line| run.execute(FIRST, line));
        let size = case.map.element.bytes();
        let mut written = 0;
        case.elements(|from, to| {
            if let Some(to) = to {
                expected[to..to + size].copy_from_slice(&source[from..from + size]);
                written += size as u64;
            }
        });
        assert_eq!(run.faults(), [], "{case:?}");
        assert_eq!(run.counters.bulk_store_bytes, written);
        assert!(global(machine, tensor, TENSOR_ROOM) == expected, "{case:?}");
    };
    for_all_cases(0..13, check, store);
}

#[test]
fn reductions_reduce_the_elements_inside() {
    let add = |rank: usize| {
        format!(
            "cp.reduce.async.bulk.tensor.{rank}d.global.shared::cta.add.tile.bulk_group [%rd1, {{{}}}], [%r10];\n\
             cp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;",
            coordinates(rank)
        )
    };
    let check = |case: &Case, machine: &Machine, tensor: u64, map: u64| {
        let mut run = start(machine, 1);
        case.set_registers(&mut run, map);
        let mut expected = global(machine, tensor, TENSOR_ROOM);
        let source = noise(ROOM, 99);
        put_shared(&mut run, 0, 0, &source);
        (BULK..BULK + 3).for_each(|line| run.execute(FIRST, line));
        let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
        case.elements(|from, to| {
            if let Some(to) = to {
                let sum = word(&expected[to..to + 4]).wrapping_add(word(&source[from..from + 4]));
                expected[to..to + 4].copy_from_slice(&sum.to_le_bytes());
            }
        });
        assert_eq!(run.faults(), [], "{case:?}");
        assert!(global(machine, tensor, TENSOR_ROOM) == expected, "{case:?}");
    };
    for_all_cases(2..3, check, add);
}
