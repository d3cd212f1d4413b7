//! Loads, stores, and hints to the caches.

use super::control::Nothing;
use super::decoder::space;
use super::memory_operand::{DataRegister, OrderParts, footprint, is_place_or_hint, vector};
use super::{Address, DecodeError, Decoder, Execute, Flow, Footprint, Lanes, Space};
use crate::exec::{Request, Step};
use crate::fault::Stop;
use crate::memory::Row;
use crate::ptx::{Instruction, Operand};

/// Decodes an instruction of this family.
///
/// # Errors
/// For forms that the stand-in does not know.
pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    match instruction.part(0) {
        // Hints: on hardware they do not fault either.
        "prefetch" | "prefetchu" | "applypriority" => Ok(Box::new(Nothing)),
        "createpolicy" => Ok(Box::new(Policy(
            decoder.destination64(instruction.operand(0)?)?,
        ))),
        "st" => {
            let form = Form::of(
                instruction,
                decoder,
                instruction.operand(0)?,
                instruction.operand(1)?,
            )?;
            Ok(match form.request.bytes {
                ..=8 => Box::new(Store::<1>(form)),
                16 => Box::new(Store::<2>(form)),
                _ => Box::new(Store::<4>(form)),
            })
        }
        _ => {
            let form = Form::of(
                instruction,
                decoder,
                instruction.operand(1)?,
                instruction.operand(0)?,
            )?;
            Ok(match form.request.bytes {
                ..=8 => Box::new(Load::<1>(form)),
                16 => Box::new(Load::<2>(form)),
                _ => Box::new(Load::<4>(form)),
            })
        }
    }
}

/// What the opcode of a load or store says.
#[derive(Debug)]
struct Form {
    space: Space,
    address: Address,
    request: Request,
    element: Element,
    registers: Vec<DataRegister>,
}

/// The type of a load or store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Element {
    bytes: usize,
    signed: bool,
}

impl Form {
    fn of(
        instruction: &Instruction,
        decoder: &mut Decoder<'_>,
        address: &Operand,
        data: &Operand,
    ) -> Result<Self, DecodeError> {
        let mut order = OrderParts::default();
        let mut count = 1;
        let Some((kind, modifiers)) = instruction.opcode[1..].split_last() else {
            return Err(DecodeError::unsupported());
        };
        for part in modifiers {
            let cache = matches!(
                part.as_str(),
                "nc" | "ca" | "cg" | "cs" | "cv" | "lu" | "wb" | "wt"
            );
            if let Some(elements) = vector(part) {
                count = elements;
            } else if !cache && !order.take(part) && !is_place_or_hint(part) {
                return Err(DecodeError::unsupported());
            }
        }
        let element = element(kind)?;
        let members = decoder.members(data);
        if members.len() != count || element.bytes * count > 32 {
            return Err(DecodeError::because(format!(
                "a vector of {} where {count} are expected",
                members.len()
            )));
        }
        let register = match instruction.part(0) {
            "st" => DataRegister::source,
            _ => DataRegister::destination,
        };
        Ok(Form {
            space: space(instruction),
            address: decoder.address(address)?,
            request: Request {
                bytes: element.bytes * count,
                order: order.order(),
                constant: instruction.has("nc"),
                counted: !instruction.has("const") && !instruction.has("param::func"),
                collective: false,
            },
            element,
            registers: members
                .iter()
                .map(|member| register(member, element.bytes, decoder))
                .collect::<Result<_, _>>()?,
        })
    }
}

fn element(kind: &str) -> Result<Element, DecodeError> {
    let bytes = match kind.trim_start_matches(|c: char| c.is_ascii_lowercase()) {
        "8" => 1,
        "16" => 2,
        "32" => 4,
        "64" => 8,
        _ => return Err(DecodeError::unsupported()),
    };
    match kind.trim_end_matches(|c: char| c.is_ascii_digit()) {
        "b" | "u" | "f" => Ok(Element {
            bytes,
            signed: false,
        }),
        "s" => Ok(Element {
            bytes,
            signed: true,
        }),
        _ => Err(DecodeError::unsupported()),
    }
}

/// `createpolicy`: a cache policy, which nothing here looks at.
#[derive(Debug)]
struct Policy(u16);

impl Execute for Policy {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        step.warp.set_wide(self.0, step.active, &[0; 32]);
        Ok(Flow::Next)
    }
}

/// A load whose rows have `W` words.
#[derive(Debug)]
struct Load<const W: usize>(Form);

impl<const W: usize> Execute for Load<W> {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let Form {
            space,
            address,
            ref request,
            element,
            ref registers,
        } = self.0;
        let mut rows = [[0; W]; 32];
        step.read(space, &step.addresses(address), request, &mut rows)?;
        for (index, &register) in registers.iter().enumerate() {
            let word = index * element.bytes / 8;
            let down = (index * element.bytes % 8 * 8) as u32;
            let unused = 64 - 8 * element.bytes as u32;
            match register {
                DataRegister::Narrow(register) => {
                    let mut values = [0; 32];
                    for (value, row) in values.iter_mut().zip(&rows) {
                        *value = extended(row[word] >> down, unused, element.signed) as u32;
                    }
                    step.warp.set_narrow(register, step.active, &values);
                }
                DataRegister::Wide(register) => {
                    let mut values = [0; 32];
                    for (value, row) in values.iter_mut().zip(&rows) {
                        *value = extended(row[word] >> down, unused, element.signed);
                    }
                    step.warp.set_wide(register, step.active, &values);
                }
            }
        }
        Ok(Flow::Next)
    }

    fn footprint(&self) -> Footprint {
        footprint(self.0.space, self.0.request.bytes)
    }
}

/// The number in all but the `unused` highest bits of `bits`.
fn extended(bits: u64, unused: u32, signed: bool) -> u64 {
    let high = bits << unused;
    if signed {
        (high as i64 >> unused) as u64
    } else {
        high >> unused
    }
}

/// A store whose rows have `W` words.
#[derive(Debug)]
struct Store<const W: usize>(Form);

impl<const W: usize> Execute for Store<W> {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let Form {
            space,
            address,
            ref request,
            element,
            ref registers,
        } = self.0;
        let mut rows: Lanes<Row<W>> = [[0; W]; 32];
        let mask = u64::MAX >> (64 - 8 * element.bytes);
        for (index, &register) in registers.iter().enumerate() {
            let word = index * element.bytes / 8;
            let up = index * element.bytes % 8 * 8;
            match register {
                DataRegister::Narrow(register) => {
                    let values = &step.warp.narrow[register as usize];
                    rows.iter_mut()
                        .zip(values)
                        .for_each(|(row, &value)| row[word] |= (u64::from(value) & mask) << up);
                }
                DataRegister::Wide(register) => {
                    let values = &step.warp.wide[register as usize];
                    rows.iter_mut()
                        .zip(values)
                        .for_each(|(row, &value)| row[word] |= (value & mask) << up);
                }
            }
        }
        step.write(space, &step.addresses(address), request, &rows)?;
        Ok(Flow::Next)
    }

    fn footprint(&self) -> Footprint {
        footprint(self.0.space, self.0.request.bytes)
    }
}

#[cfg(test)]
mod tests;
