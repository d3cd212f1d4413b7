//! 8x8 matrices of 16-bit elements between registers and shared memory (`ldmatrix`, `stmatrix`) and within registers (`movmatrix`).
//!
//! A matrix in registers is 32 words: lane `4 r + c` holds elements `2 c` and `2 c + 1` of row `r`. In shared memory a row
//! is 16 bytes; lane `8 m + r` names row `r` of matrix `m`.

use super::{Address, DecodeError, Decoder, Execute, Flow, Footprint, Lanes};
use crate::exec::{Order, Request, Step, Warp, waves};
use crate::fault::Stop;
use crate::memory::Row;
use crate::ptx::{Instruction, Operand};

/// Bytes of a row.
const ROW: usize = 16;

/// A row is one access of the warp.
const REQUEST: Request = Request {
    bytes: ROW,
    order: Order::Plain,
    constant: false,
    counted: false,
    collective: true,
};

/// Decodes an instruction of this family.
///
/// # Errors
/// For forms that the stand-in does not know.
pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let known = |part: &String| {
        matches!(
            part.as_str(),
            "sync"
                | "aligned"
                | "m8n8"
                | "x1"
                | "x2"
                | "x4"
                | "trans"
                | "shared"
                | "shared::cta"
                | "b16"
        )
    };
    if !instruction.opcode[1..].iter().all(known) || !instruction.has("m8n8") {
        return Err(DecodeError::unsupported());
    }
    let transposed = instruction.has("trans");
    match instruction.part(0) {
        "ldmatrix" => {
            let registers = matrices(
                instruction,
                instruction.operand(0)?,
                decoder,
                Decoder::destination32,
            )?;
            Ok(Box::new(LoadMatrices {
                address: decoder.address(instruction.operand(1)?)?,
                transposed,
                registers,
            }))
        }
        "stmatrix" => {
            let registers = matrices(
                instruction,
                instruction.operand(1)?,
                decoder,
                Decoder::source32,
            )?;
            Ok(Box::new(StoreMatrices {
                address: decoder.address(instruction.operand(0)?)?,
                transposed,
                registers,
            }))
        }
        _ if transposed => Ok(Box::new(TransposeMatrix {
            destination: decoder.destination32(instruction.operand(0)?)?,
            source: decoder.source32(instruction.operand(1)?)?,
        })),
        _ => Err(DecodeError::unsupported()),
    }
}

/// The registers of one, two or four matrices.
fn matrices<'a>(
    instruction: &Instruction,
    operand: &Operand,
    decoder: &mut Decoder<'a>,
    register: impl Fn(&mut Decoder<'a>, &Operand) -> Result<u16, DecodeError>,
) -> Result<Vec<u16>, DecodeError> {
    let count = match () {
        () if instruction.has("x1") => 1,
        () if instruction.has("x2") => 2,
        () if instruction.has("x4") => 4,
        () => return Err(DecodeError::unsupported()),
    };
    let members = decoder.members(operand);
    if members.len() != count {
        return Err(DecodeError::because(format!(
            "{} registers for {count} matrices",
            members.len()
        )));
    }
    members
        .iter()
        .map(|member| register(decoder, member))
        .collect()
}

/// Lanes that name the rows of `count` matrices.
fn row_lanes(count: usize) -> u32 {
    u32::MAX >> (32 - 8 * count)
}

/// Counts the matrices of a request: each is served by itself.
fn count(step: &mut Step<'_>, addresses: &Lanes<u64>, matrices: usize) {
    for (matrix, rows) in addresses.chunks_exact(8).enumerate().take(matrices) {
        let groups = rows.iter().fold(0u8, |groups, address| {
            groups | 1 << (*address as u32 / ROW as u32 % 8)
        });
        let (needed, ideal) = match groups {
            u8::MAX => (1, 1),
            _ => waves(addresses, step.active & 0xff << (8 * matrix), ROW as u64),
        };
        step.counters.shared_waves += needed;
        step.counters.shared_ideal_waves += ideal;
    }
    step.counters.shared_requests += matrices as u64;
    step.counters.matrices_moved += matrices as u64;
}

/// `ldmatrix`.
#[derive(Debug)]
struct LoadMatrices {
    address: Address,
    transposed: bool,
    registers: Vec<u16>,
}

impl Execute for LoadMatrices {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let addresses = step.addresses(self.address);
        let mut rows: Lanes<Row<2>> = [[0; 2]; 32];
        step.read_shared(
            step.active & row_lanes(self.registers.len()),
            &addresses,
            &REQUEST,
            &mut rows,
        )?;
        count(step, &addresses, self.registers.len());
        for (&register, rows) in self.registers.iter().zip(rows.chunks_exact(8)) {
            let words = std::array::from_fn(|lane| {
                (rows[lane / 4][lane % 4 / 2] >> (lane % 2 * 32)) as u32
            });
            let words = if self.transposed {
                transpose(&words)
            } else {
                words
            };
            step.warp.set_narrow(register, step.active, &words);
        }
        Ok(Flow::Next)
    }

    fn participants(&self, _warp: &Warp, _executing: u32) -> Option<u32> {
        Some(u32::MAX)
    }

    fn footprint(&self) -> Footprint {
        Footprint {
            shared: ROW as u32,
            global: 0,
        }
    }
}

/// `stmatrix`.
#[derive(Debug)]
struct StoreMatrices {
    address: Address,
    transposed: bool,
    registers: Vec<u16>,
}

impl Execute for StoreMatrices {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let addresses = step.addresses(self.address);
        let mut rows: Lanes<Row<2>> = [[0; 2]; 32];
        for (&register, rows) in self.registers.iter().zip(rows.chunks_exact_mut(8)) {
            let words = &step.warp.narrow[register as usize];
            let words = if self.transposed {
                transpose(words)
            } else {
                *words
            };
            for (row, words) in rows.iter_mut().zip(words.as_chunks::<4>().0) {
                let [a, b, c, d] = words.map(u64::from);
                *row = [a | b << 32, c | d << 32];
            }
        }
        step.write_shared(
            step.active & row_lanes(self.registers.len()),
            &addresses,
            &REQUEST,
            &rows,
        )?;
        count(step, &addresses, self.registers.len());
        Ok(Flow::Next)
    }

    fn participants(&self, _warp: &Warp, _executing: u32) -> Option<u32> {
        Some(u32::MAX)
    }

    fn footprint(&self) -> Footprint {
        Footprint {
            shared: ROW as u32,
            global: 0,
        }
    }
}

/// `movmatrix`.
#[derive(Debug)]
struct TransposeMatrix {
    destination: u16,
    source: u16,
}

impl Execute for TransposeMatrix {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let words = transpose(&step.warp.narrow[self.source as usize]);
        step.warp.set_narrow(self.destination, step.active, &words);
        Ok(Flow::Next)
    }

    fn participants(&self, _warp: &Warp, _executing: u32) -> Option<u32> {
        Some(u32::MAX)
    }
}

/// The transposed matrix.
fn transpose(words: &Lanes<u32>) -> Lanes<u32> {
    let element =
        |row: usize, column: usize| words[4 * row + column / 2] >> (column % 2 * 16) & 0xffff;
    std::array::from_fn(|lane| {
        let (row, pair) = (lane / 4, lane % 4);
        element(2 * pair, row) | element(2 * pair + 1, row) << 16
    })
}

#[cfg(test)]
mod tests;
