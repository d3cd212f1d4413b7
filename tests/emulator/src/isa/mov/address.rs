//! Conversions between address spaces, and addresses in the shared memory of other blocks.

use std::marker::PhantomData;

use crate::exec::{Step, Warp};
use crate::fault::{FaultKind, Stop};
use crate::isa::decoder::space;
use crate::isa::element::{Integer, Register};
use crate::isa::lanewise::lanewise;
use crate::isa::predicate::lanes_where;
use crate::isa::{DecodeError, Decoder, Execute, Flow, Space};
use crate::memory::{CLUSTER_STRIDE, LOCAL_WINDOW, PARAMETER_WINDOW, SHARED_WINDOW, WINDOW_BYTES};
use crate::ptx::Instruction;

/// Rank of the block that a shared-memory address belongs to: `own` below the stride.
fn rank_of(address: u64, own: usize) -> u64 {
    match address / u64::from(CLUSTER_STRIDE) {
        0 => own as u64,
        rank => rank - 1,
    }
}

/// `cvta`: where the space begins in the generic address space is added, or subtracted by `cvta.to`. Parameters are
/// addressed generically throughout; global memory has the generic addresses.
pub(super) fn decode_conversion(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    if instruction.kind() != "u64" {
        return Err(DecodeError::unsupported());
    }
    let window = match space(instruction) {
        Space::Shared | Space::Cluster => SHARED_WINDOW,
        Space::Local => LOCAL_WINDOW,
        Space::Global | Space::Parameter => 0,
        Space::Generic => return Err(DecodeError::unsupported()),
    };
    if instruction.has("to") {
        return lanewise(instruction, decoder, move |(address,): (u64,)| {
            address.wrapping_sub(window)
        });
    }
    lanewise(instruction, decoder, move |(address,): (u64,)| {
        address.wrapping_add(window)
    })
}

/// `isspacep`: whether a generic address lies in a space.
pub(super) fn decode_test(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    // `.const` has a window of its own on hardware; here constants lie among the global variables.
    if instruction.has("const") {
        return Err(DecodeError::unsupported());
    }
    Ok(Box::new(IsInSpace {
        space: space(instruction),
        destination: decoder.predicate(instruction.operand(0)?)?,
        source: decoder.source64(instruction.operand(1)?)?,
    }))
}

#[derive(Debug)]
struct IsInSpace {
    space: Space,
    destination: u16,
    source: u16,
}

impl IsInSpace {
    fn lanes(&self, warp: &Warp) -> u32 {
        let within = |address: u64, window: u64| address.wrapping_sub(window) < WINDOW_BYTES;
        let own = warp.rank as u64;
        lanes_where(warp, [self.source], |(address,): (u64,)| match self.space {
            Space::Shared => {
                within(address, SHARED_WINDOW) && rank_of(address - SHARED_WINDOW, warp.rank) == own
            }
            Space::Cluster => within(address, SHARED_WINDOW),
            Space::Local => within(address, LOCAL_WINDOW),
            Space::Parameter => within(address, PARAMETER_WINDOW),
            Space::Global | Space::Generic => ![SHARED_WINDOW, LOCAL_WINDOW, PARAMETER_WINDOW]
                .iter()
                .any(|&window| within(address, window)),
        })
    }
}

impl Execute for IsInSpace {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let lanes = self.lanes(step.warp);
        step.warp
            .set_predicate(self.destination, step.active, lanes);
        Ok(Flow::Next)
    }
}

/// `mapa`: the same place in the shared memory of another block of the cluster.
pub(super) fn decode_map(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let window = if space(instruction) == Space::Generic {
        SHARED_WINDOW
    } else {
        0
    };
    match instruction.kind() {
        "u32" if window == 0 => Map::<u32>::decode(instruction, decoder, window),
        "u64" => Map::<u64>::decode(instruction, decoder, window),
        _ => Err(DecodeError::unsupported()),
    }
}

#[derive(Debug)]
struct Map<R> {
    /// Where shared memory begins in the space of the address.
    window: u64,
    destination: u16,
    address: u16,
    rank: u16,
    class: PhantomData<R>,
}

impl<R: Integer<Register = R> + Register + std::fmt::Debug> Map<R> {
    fn decode(
        instruction: &Instruction,
        decoder: &mut Decoder<'_>,
        window: u64,
    ) -> Result<Box<dyn Execute>, DecodeError> {
        Ok(Box::new(Map::<R> {
            window,
            destination: R::destination(decoder, instruction.operand(0)?)?,
            address: R::source(decoder, instruction.operand(1)?)?,
            rank: decoder.source32(instruction.operand(2)?)?,
            class: PhantomData,
        }))
    }
}

impl<R: Integer<Register = R> + Register + std::fmt::Debug> Execute for Map<R> {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let ranks = step.warp.narrow[self.rank as usize];
        let blocks = step.cluster.blocks.len();
        if let Some(lane) = step.lanes().find(|&lane| ranks[lane] as usize >= blocks) {
            let message = format!("rank {} in a cluster of {blocks} blocks", ranks[lane]);
            return Err(step.fault(FaultKind::InvalidOperand, lane, message));
        }
        let addresses = R::read(step.warp, self.address);
        let stride = u64::from(CLUSTER_STRIDE);
        let values = std::array::from_fn(|lane| {
            let shared: u64 = addresses[lane].into();
            let offset = shared.wrapping_sub(self.window) % stride;
            R::truncated(self.window + (u64::from(ranks[lane]) + 1) * stride + offset)
        });
        R::write(step.warp, self.destination, step.active, &values);
        Ok(Flow::Next)
    }
}

/// `getctarank`: which block of the cluster an address belongs to.
pub(super) fn decode_rank(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let window = if space(instruction) == Space::Generic {
        SHARED_WINDOW
    } else {
        0
    };
    let destination = decoder.destination32(instruction.operand(0)?)?;
    let operand = instruction.operand(1)?;
    match instruction.kind() {
        "u32" if window == 0 => Ok(Box::new(Rank::<u32> {
            window,
            destination,
            address: decoder.source32(operand)?,
            class: PhantomData,
        })),
        "u64" => Ok(Box::new(Rank::<u64> {
            window,
            destination,
            address: decoder.source64(operand)?,
            class: PhantomData,
        })),
        _ => Err(DecodeError::unsupported()),
    }
}

#[derive(Debug)]
struct Rank<R> {
    window: u64,
    destination: u16,
    address: u16,
    class: PhantomData<R>,
}

impl<R: Register + std::fmt::Debug> Execute for Rank<R> {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        let addresses = R::read(step.warp, self.address);
        let values = std::array::from_fn(|lane| {
            let address: u64 = addresses[lane].into();
            rank_of(address.wrapping_sub(self.window), step.warp.rank) as u32
        });
        step.warp.set_narrow(self.destination, step.active, &values);
        Ok(Flow::Next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::testing::Bench;

    #[test]
    fn generic_addresses_and_back() {
        let text = ".shared .align 16 .b8 buffer[64];\n.local .align 8 .b8 depot[16];\n\
                    mov.u32 %r0, buffer;\nmov.u64 %rd0, buffer;\ncvta.shared.u64 %rd1, %rd0;\ncvta.to.shared.u64 %rd2, %rd1;\n\
                    mov.u64 %rd3, depot;\ncvta.local.u64 %rd4, %rd3;\ncvta.to.global.u64 %rd5, %rd6;\n\
                    isspacep.shared %p0, %rd1;\nisspacep.local %p1, %rd4;\nisspacep.global %p2, %rd6;\nisspacep.global %p3, %rd1;\n\
                    isspacep.shared::cluster %p4, %rd1;";
        let outcome = Bench::new(text).set(6, &[0x7f00_0000u64]).run();
        let shared = u64::from(outcome.narrow(0)[0]);
        assert!(shared >= u64::from(crate::isa::RESERVED_SHARED) && shared < 2048);
        assert_eq!(outcome.wide(0)[0], shared);
        assert_eq!(outcome.wide(1)[0], SHARED_WINDOW + shared);
        assert_eq!(outcome.wide(2)[0], shared);
        assert_eq!(outcome.wide(4)[0], LOCAL_WINDOW);
        assert_eq!(outcome.wide(5)[0], 0x7f00_0000);
        let tests: Vec<bool> = (0..5)
            .map(|register| outcome.predicate(register) == u32::MAX)
            .collect();
        assert_eq!(tests, [true, true, true, false, true]);
    }

    #[test]
    fn blocks_of_a_cluster() {
        let text = "mapa.shared::cluster.u32 %r1, %r0, 0;\ngetctarank.shared::cluster.u32 %r2, %r1;\n\
                    getctarank.shared::cluster.u32 %r3, %r0;\ncvta.shared.u64 %rd0, 2000;\nmapa.u64 %rd1, %rd0, 0;\n\
                    getctarank.u64 %r4, %rd1;\nisspacep.shared %p0, %rd1;\nmapa.shared::cluster.u32 %r5, %r1, 0;";
        let outcome = Bench::new(text).set(0, &[2000u32]).run();
        assert_eq!(outcome.narrow(1)[0], CLUSTER_STRIDE + 2000);
        assert_eq!(
            outcome.wide(1)[0],
            SHARED_WINDOW + u64::from(CLUSTER_STRIDE) + 2000
        );
        assert_eq!(
            [2, 3, 4].map(|register| outcome.narrow(register)[9]),
            [0, 0, 0]
        );
        assert_eq!(outcome.predicate(0), u32::MAX);
        assert_eq!(outcome.narrow(5)[0], CLUSTER_STRIDE + 2000);
    }

    #[test]
    fn a_rank_beyond_the_cluster_is_a_fault() {
        assert_eq!(
            Bench::new("mapa.shared::cluster.u32 %r1, %r0, 1;")
                .set(0, &[2000u32])
                .fault(),
            FaultKind::InvalidOperand
        );
    }
}
