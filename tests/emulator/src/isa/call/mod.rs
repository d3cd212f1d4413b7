//! Calls of the functions that CUDA brings along: `__assertfail` behind `assert`, `vprintf` behind `printf`. All other
//! calls were replaced by what they call.

mod format;

use format::{Arguments, format};

use super::{DecodeError, Decoder, Execute, Flow, Footprint, Space};
use crate::exec::{Order, Request, Step};
use crate::fault::{FaultKind, Stop};
use crate::ptx::Instruction;

/// Longer texts are cut.
const MOST_TEXT: u64 = 4096;

/// Decodes an instruction of this family: results, then arguments, all of them registers.
///
/// # Errors
/// For other functions.
pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    Ok(match instruction.part(1) {
        "__assertfail" => Box::new(AssertFail {
            message: decoder.source64(instruction.operand(0)?)?,
            file: decoder.source64(instruction.operand(1)?)?,
            line: decoder.source32(instruction.operand(2)?)?,
            function: decoder.source64(instruction.operand(3)?)?,
        }),
        "vprintf" => Box::new(Print {
            result: decoder.destination32(instruction.operand(0)?)?,
            format: decoder.source64(instruction.operand(1)?)?,
            arguments: decoder.source64(instruction.operand(2)?)?,
        }),
        _ => return Err(DecodeError::unsupported()),
    })
}

#[derive(Debug)]
struct AssertFail {
    message: u16,
    file: u16,
    line: u16,
    function: u16,
}

impl Execute for AssertFail {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let lane = step.active.trailing_zeros() as usize;
        let [message, file, function] = [self.message, self.file, self.function]
            .map(|register| step.warp.wide[register as usize][lane]);
        let line = step.warp.narrow[self.line as usize][lane];
        let message = format!(
            "{}:{line}: {}: assertion `{}` failed",
            text(step, lane, file)?,
            text(step, lane, function)?,
            text(step, lane, message)?
        );
        Err(step.fault(FaultKind::Assert, lane, message))
    }

    fn footprint(&self) -> Footprint {
        TEXTS
    }
}

#[derive(Debug)]
struct Print {
    result: u16,
    format: u16,
    arguments: u16,
}

impl Execute for Print {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let mut counts = [0; 32];
        for lane in step.lanes() {
            let format_at = step.warp.wide[self.format as usize][lane];
            let template = text(step, lane, format_at)?;
            let mut arguments = InMemory {
                next: step.warp.wide[self.arguments as usize][lane],
                step,
                lane,
                count: 0,
            };
            let printed = format(&template, &mut arguments)?;
            counts[lane] = arguments.count;
            step.launch.printed.add(step.cluster.number, printed);
        }
        step.warp.set_narrow(self.result, step.active, &counts);
        Ok(Flow::Next)
    }

    fn footprint(&self) -> Footprint {
        TEXTS
    }
}

/// Texts are read byte by byte. They lie in global memory; elsewhere a race of one is seen in larger pieces.
const TEXTS: Footprint = Footprint {
    shared: 0,
    global: 1,
};

/// The arguments of `printf` as the caller left them: one after the other, each aligned to its size.
struct InMemory<'s, 'l> {
    step: &'s mut Step<'l>,
    lane: usize,
    next: u64,
    count: u32,
}

impl Arguments for InMemory<'_, '_> {
    type Error = Stop;

    fn number(&mut self, bytes: usize) -> Result<u64, Stop> {
        let at = self.next.next_multiple_of(bytes as u64);
        self.next = at.wrapping_add(bytes as u64);
        self.count += 1;
        load(self.step, self.lane, at, bytes)
    }

    fn text(&mut self, address: u64) -> Result<String, Stop> {
        text(self.step, self.lane, address)
    }
}

/// The text at a generic address, up to its zero byte.
fn text(step: &mut Step<'_>, lane: usize, address: u64) -> Result<String, Stop> {
    let mut bytes = Vec::new();
    for offset in 0..MOST_TEXT {
        match load(step, lane, address.wrapping_add(offset), 1)? {
            0 => break,
            byte => bytes.push(byte as u8),
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads for one lane, with all checks.
fn load(step: &mut Step<'_>, lane: usize, address: u64, bytes: usize) -> Result<u64, Stop> {
    let request = Request {
        bytes,
        order: Order::Plain,
        constant: false,
        counted: false,
        collective: false,
    };
    let all = std::mem::replace(&mut step.active, 1 << lane);
    let mut rows = [[0]; 32];
    let done = step.read::<1>(Space::Generic, &[address; 32], &request, &mut rows);
    step.active = all;
    done?;
    Ok(rows[lane][0])
}
