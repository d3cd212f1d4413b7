//! `wmma.load` and `wmma.store`: a tile between memory and registers.

use super::fragment::{Fragment, Matrix, Shape};
use crate::exec::{Order, Request, Step, Warp};
use crate::fault::{FaultKind, Stop};
use crate::isa::decoder::space;
use crate::isa::memory_operand::footprint;
use crate::isa::mma::need_all_lanes;
use crate::isa::{Address, Constant, DecodeError, Decoder, Execute, Flow, Footprint, Lanes, Space};
use crate::memory::{LOCAL_WINDOW, PARAMETER_WINDOW, Row, WINDOW_BYTES};
use crate::ptx::{Instruction, Operand};

/// Decodes a load or store.
pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    Ok(match instruction.part(1) {
        "load" => Box::new(Load(Transfer::decode(
            instruction,
            decoder,
            [1, 0],
            Decoder::destination32,
        )?)),
        _ => Box::new(Store(Transfer::decode(
            instruction,
            decoder,
            [0, 1],
            Decoder::source32,
        )?)),
    })
}

/// A tile in memory and in registers.
#[derive(Debug)]
struct Transfer {
    fragment: Fragment,
    registers: Box<[u16]>,
    space: Space,
    address: Address,
    /// Register with the elements from one row (or column) to the next.
    stride: u16,
    /// The elements of a line do not follow each other in memory: those of a depth do.
    transposed: bool,
    /// Elements that a lane moves at once.
    together: usize,
    /// Moves them.
    request: Request,
}

impl Transfer {
    /// `address` and `data` are the places of these operands; the stride, where there is one, follows both.
    fn decode<'a>(
        instruction: &Instruction,
        decoder: &mut Decoder<'a>,
        [address, data]: [usize; 2],
        register: impl Fn(&mut Decoder<'a>, &Operand) -> Result<u16, DecodeError>,
    ) -> Result<Self, DecodeError> {
        let parts: Vec<&str> = instruction.opcode.iter().map(String::as_str).collect();
        let (matrix, layout, shape, kind) = match parts[2..] {
            [matrix, "sync", "aligned", layout, shape, kind] => (matrix, layout, shape, kind),
            [
                matrix,
                "sync",
                "aligned",
                layout,
                shape,
                "global" | "shared" | "shared::cta",
                kind,
            ] => (matrix, layout, shape, kind),
            _ => return Err(DecodeError::unsupported()),
        };
        let matrix = match (parts[1], matrix) {
            ("load", "a") => Matrix::A,
            ("load", "b") => Matrix::B,
            ("load", "c") | ("store", "d") => Matrix::Accumulator,
            _ => return Err(DecodeError::unsupported()),
        };
        // The lines of B are its columns.
        let transposed = match layout {
            "row" => matrix == Matrix::B,
            "col" => matrix != Matrix::B,
            _ => return Err(DecodeError::unsupported()),
        };
        let fragment = Shape::named(shape)
            .and_then(|shape| Fragment::of(matrix, shape, kind))
            .ok_or_else(DecodeError::unsupported)?;
        let members = decoder.members(instruction.operand(data)?);
        if members.len() != fragment.registers {
            return Err(DecodeError::because(format!(
                "{} registers where {} are expected",
                members.len(),
                fragment.registers
            )));
        }
        let (lines, depth) = fragment.size();
        let dense = if transposed { lines } else { depth };
        let together = if transposed { 1 } else { fragment.run };
        Ok(Transfer {
            registers: members
                .iter()
                .map(|member| register(decoder, member))
                .collect::<Result<_, _>>()?,
            space: space(instruction),
            address: decoder.address(instruction.operand(address)?)?,
            stride: match instruction.operands.get(2) {
                Some(stride) => decoder.source32(stride)?,
                None => decoder.constant32(Constant::Value(dense as u64)),
            },
            transposed,
            together,
            request: Request {
                bytes: together * fragment.bytes,
                order: Order::Plain,
                constant: false,
                counted: true,
                collective: true,
            },
            fragment,
        })
    }

    /// Address of the tile, and bytes from one row (or column) to the next.
    fn tile(&self, step: &Step<'_>) -> Result<(u64, u64), Stop> {
        need_all_lanes(step, "wmma")?;
        let addresses = step.addresses(self.address);
        let start = addresses[0];
        if let Some(lane) = addresses.iter().position(|&other| other != start) {
            let message = format!(
                "the address of the tile differs between lanes: {start:#x} and {:#x}",
                addresses[lane]
            );
            return Err(step.fault(FaultKind::InvalidOperand, lane, message));
        }
        let private = LOCAL_WINDOW..PARAMETER_WINDOW + WINDOW_BYTES;
        if self.space == Space::Generic && private.contains(&start) {
            let message = format!("the tile at {start:#x} is neither in shared nor global memory");
            return Err(step.fault(FaultKind::InvalidOperand, 0, message));
        }
        let stride = u64::from(step.uniform(self.stride, "the stride of the tile")?);
        let stride = stride * self.fragment.bytes as u64;
        self.check_alignment(step, start, stride)?;
        Ok((start, stride))
    }

    /// The PTX ISA wants all rows (or columns) at multiples of the registers' size, the CUDA C++ guide no more than strides of 16
    /// bytes, and kernels pad by as much: what both forbid is a fault.
    fn check_alignment(&self, step: &Step<'_>, start: u64, stride: u64) -> Result<(), Stop> {
        const LEAST: u64 = 16;
        let size = 4 * self.fragment.registers as u64;
        if !start.is_multiple_of(size) {
            let message = format!("the tile at {start:#x} does not begin at a multiple of {size}");
            return Err(step.fault(FaultKind::Misaligned, 0, message));
        }
        let least = size.min(LEAST);
        if !stride.is_multiple_of(least) {
            let message = format!("a stride of {stride} bytes, which is no multiple of {least}");
            return Err(step.fault(FaultKind::Misaligned, 0, message));
        }
        Ok(())
    }

    /// Addresses of an element of each lane's run in a core.
    fn addresses(&self, (start, stride): (u64, u64), core: usize, element: usize) -> Lanes<u64> {
        std::array::from_fn(|lane| {
            let (line, at) = self.fragment.place(core, lane, element);
            let (row, column) = if self.transposed {
                (at, line)
            } else {
                (line, at)
            };
            start + row as u64 * stride + (column * self.fragment.bytes) as u64
        })
    }

    /// The first elements of what a lane moves at once, and how far up their bits are among those of its run.
    fn moves(&self) -> impl Iterator<Item = (usize, usize)> {
        let bits = 8 * self.fragment.bytes;
        (0..self.fragment.run)
            .step_by(self.together)
            .map(move |first| (first, first * bits))
    }

    /// The registers of a core, and after them those that repeat it.
    fn registers(&self, core: usize) -> impl Iterator<Item = &[u16]> {
        self.registers
            .chunks(self.fragment.core_registers())
            .skip(core)
            .step_by(self.fragment.cores())
    }

    fn footprint(&self) -> Footprint {
        footprint(self.space, self.request.bytes)
    }
}

/// `wmma.load`.
#[derive(Debug)]
struct Load(Transfer);

impl Execute for Load {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let transfer = &self.0;
        let tile = transfer.tile(step)?;
        for core in 0..transfer.fragment.cores() {
            let mut runs = [0; 32];
            for (first, up) in transfer.moves() {
                let addresses = transfer.addresses(tile, core, first);
                let mut rows: Lanes<Row<1>> = [[0]; 32];
                step.read(transfer.space, &addresses, &transfer.request, &mut rows)?;
                for (run, [bits]) in runs.iter_mut().zip(rows) {
                    *run |= bits << up;
                }
            }
            for registers in transfer.registers(core) {
                for (word, &register) in registers.iter().enumerate() {
                    let words = runs.map(|run| (run >> (32 * word)) as u32);
                    step.warp.set_narrow(register, step.active, &words);
                }
            }
        }
        Ok(Flow::Next)
    }

    fn participants(&self, _warp: &Warp, _executing: u32) -> Option<u32> {
        Some(u32::MAX)
    }

    fn footprint(&self) -> Footprint {
        self.0.footprint()
    }
}

/// `wmma.store`.
#[derive(Debug)]
struct Store(Transfer);

impl Execute for Store {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let transfer = &self.0;
        let tile = transfer.tile(step)?;
        let mask = u64::MAX >> (64 - 8 * transfer.request.bytes);
        for core in 0..transfer.fragment.cores() {
            let mut runs = [0; 32];
            for (word, &register) in transfer.registers(core).flatten().enumerate() {
                let words = &step.warp.narrow[register as usize];
                for (run, &bits) in runs.iter_mut().zip(words) {
                    *run |= u64::from(bits) << (32 * word);
                }
            }
            for (first, up) in transfer.moves() {
                let addresses = transfer.addresses(tile, core, first);
                let rows = runs.map(|run| [run >> up & mask]);
                step.write(transfer.space, &addresses, &transfer.request, &rows)?;
            }
        }
        Ok(Flow::Next)
    }

    fn participants(&self, _warp: &Warp, _executing: u32) -> Option<u32> {
        Some(u32::MAX)
    }

    fn footprint(&self) -> Footprint {
        self.0.footprint()
    }
}
