//! A box of a tensor in global memory: which bytes it names.

use crate::exec::Step;
use crate::fault::{FaultKind, Stop};
use crate::memory::{Hint, LOCAL_WINDOW, PARAMETER_WINDOW, SHARED_WINDOW, WINDOW_BYTES};
use crate::tensor_map::{Fill, RANK_MAX, TENSOR_MAP_ALIGNMENT, TENSOR_MAP_BYTES, TensorMap};

/// `[map, {c0, c1, ...}]`: the registers that hold the address of the map and the coordinates of the box's corner.
#[derive(Clone, Debug)]
pub(super) struct TileOperand {
    pub map: u16,
    pub corner: Vec<u16>,
}

/// A box of a tensor. The corner may lie outside the tensor, on any side.
#[derive(Clone, Debug)]
pub(super) struct Tile {
    pub map: TensorMap,
    pub corner: [i64; RANK_MAX],
}

/// A row of a box: dense in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Its first byte among those of the box.
    pub start: usize,
    /// Bytes at its begin that are outside the tensor.
    pub skipped: usize,
    /// Bytes after those that are inside; what follows is outside again.
    pub inside: usize,
    /// Device address of the bytes inside.
    pub address: u64,
}

impl Tile {
    /// The rows of the box, in the order in which they lie in shared memory.
    pub fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        let counts = self.map.counts();
        let rows = counts[1..].iter().map(|&count| count as usize).product();
        let (skipped, inside) = self.inside_of_row();
        (0..rows).map(move |row| {
            let mut rest = row;
            let mut within = true;
            let first = (self.corner[0] * self.map.element.bytes() as i64).max(0);
            let mut address = self.map.address.wrapping_add_signed(first);
            for (axis, &count) in counts.iter().enumerate().skip(1) {
                let count = count as usize;
                let step = (rest % count) as i64 * i64::from(self.map.element_strides[axis]);
                rest /= count;
                let coordinate = self.corner[axis] + step;
                within &= coordinate >= 0 && (coordinate as u64) < self.map.dimensions[axis];
                address =
                    address.wrapping_add((coordinate as u64).wrapping_mul(self.map.strides[axis]));
            }
            let inside = if within { inside } else { 0 };
            Row {
                start: row * self.map.row_bytes(),
                skipped,
                inside,
                address,
            }
        })
    }

    /// Of every row that is inside along the other dimensions: bytes outside before, and bytes inside.
    fn inside_of_row(&self) -> (usize, usize) {
        let (first, count) = (self.corner[0], i64::from(self.map.counts()[0]));
        let size = self.map.dimensions[0] as i64;
        let begin = first.clamp(0, size);
        let end = (first + count).clamp(0, size);
        let bytes = self.map.element.bytes();
        (
            (begin - first).clamp(0, count) as usize * bytes,
            (end - begin) as usize * bytes,
        )
    }

    /// The bytes of a box that is outside the tensor.
    pub fn fill(&self) -> Vec<u8> {
        let bytes = self.map.box_bytes();
        match self.map.element.nan() {
            Some(nan) if self.map.fill == Fill::Nan => {
                nan.iter().copied().cycle().take(bytes).collect()
            }
            _ => vec![0; bytes],
        }
    }
}

impl TileOperand {
    /// The box that a lane names.
    ///
    /// # Errors
    /// When the map is none, or not of the instruction's rank.
    pub fn tile(&self, step: &mut Step<'_>, lane: usize) -> Result<Tile, Stop> {
        let map = tensor_map(step, lane, step.warp.wide[self.map as usize][lane])?;
        if map.rank != self.corner.len() {
            let message = format!(
                "{} coordinates for a tensor map of rank {}",
                self.corner.len(),
                map.rank
            );
            return Err(step.fault(FaultKind::InvalidOperand, lane, message));
        }
        let mut corner = [0; RANK_MAX];
        for (axis, &register) in self.corner.iter().enumerate() {
            corner[axis] = i64::from(step.warp.narrow[register as usize][lane] as i32);
        }
        Ok(Tile { map, corner })
    }
}

/// The tensor map at a generic address: in a parameter of the kernel, or in global memory.
fn tensor_map(step: &mut Step<'_>, lane: usize, address: u64) -> Result<TensorMap, Stop> {
    if !address.is_multiple_of(TENSOR_MAP_ALIGNMENT) {
        let message =
            format!("tensor map at {address:#x}: must be aligned to {TENSOR_MAP_ALIGNMENT} bytes");
        return Err(step.fault(FaultKind::Misaligned, lane, message));
    }
    let mut bytes = [0; TENSOR_MAP_BYTES];
    if (PARAMETER_WINDOW..PARAMETER_WINDOW + WINDOW_BYTES).contains(&address) {
        let offset = (address - PARAMETER_WINDOW) as usize;
        let Some(found) = step
            .launch
            .parameters
            .get(offset..offset.saturating_add(TENSOR_MAP_BYTES))
        else {
            let message = format!(
                "tensor map at offset {offset} of {} bytes of parameters",
                step.launch.parameters.len()
            );
            return Err(step.fault(FaultKind::OutOfBounds, lane, message));
        };
        bytes.copy_from_slice(found);
    } else if (SHARED_WINDOW..LOCAL_WINDOW).contains(&address) {
        let message =
            "a tensor map in shared memory: TMA reads them from parameters and global memory only"
                .into();
        return Err(step.fault(FaultKind::InvalidOperand, lane, message));
    } else {
        let found = step
            .launch
            .memory
            .find(address, TENSOR_MAP_BYTES as u64, &mut Hint::default());
        let place =
            found.map_err(|error| step.bad_address(lane, address, TENSOR_MAP_BYTES, error))?;
        step.launch
            .memory
            .allocation(place.allocation)
            .read(place.offset, &mut bytes);
    }
    TensorMap::from_bytes(&bytes).map_err(|error| {
        step.fault(
            FaultKind::InvalidOperand,
            lane,
            format!("tensor map at {address:#x}: {error}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor_map::Tiled;

    fn tile(corner: [i64; 2]) -> Tile {
        let map = TensorMap::encode(&Tiled {
            data_type: 6,
            address: 0x1000,
            dimensions: &[20, 6],
            strides: &[64],
            box_sizes: &[16, 4],
            element_strides: &[1, 2],
            interleave: 0,
            swizzle: 0,
            promotion: 0,
            fill: 1,
        });
        let corner = [corner[0], corner[1], 0, 0, 0];
        Tile {
            map: map.unwrap(),
            corner,
        }
    }

    fn rows(corner: [i64; 2]) -> Vec<(usize, usize, u64)> {
        let used = |row: Row| {
            (
                row.skipped,
                row.inside,
                if row.inside > 0 { row.address } else { 0 },
            )
        };
        tile(corner).rows().map(used).collect()
    }

    #[test]
    fn rows_are_cut_at_all_sides_of_the_tensor() {
        assert_eq!(rows([0, 1]), [(0, 32, 0x1040), (0, 32, 0x10c0)]);
        assert_eq!(rows([12, 4]), [(0, 16, 0x1000 + 256 + 24), (0, 0, 0)]);
        assert_eq!(rows([-3, -2]), [(6, 0, 0), (6, 26, 0x1000)]);
        assert_eq!(rows([20, 0])[0].1, 0);
        assert_eq!(rows([-16, 0])[0].1, 0);
        assert_eq!(
            rows([i64::from(i32::MIN), i64::from(i32::MAX)]),
            [(32, 0, 0), (32, 0, 0)]
        );
    }

    #[test]
    fn fill_is_a_nan_of_the_type() {
        assert_eq!(tile([0, 0]).fill(), [0xff, 0x7f].repeat(32));
    }
}
