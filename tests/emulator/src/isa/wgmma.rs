//! `wgmma`: four warps multiply asynchronously, operands in shared memory; and `setmaxnreg`, which moves registers to them.
//!
//! An operation belongs to a warpgroup: it is complete only after its four warps issued it. Its operands are read from
//! shared memory as late as the hardware may read them: when the first of the four warps waits for it. Each warp then adds
//! its 16 rows to its accumulators at its own wait.

mod form;
mod issue;
mod operands;
mod pool;
mod touch;
mod wait;
mod warpgroup;

use super::{DecodeError, Decoder, Execute};
use crate::exec::Step;
use crate::fault::{FaultKind, Stop};
use crate::ptx::Instruction;

pub(super) use touch::{fragments, watched};
pub use warpgroup::Warpgroup;
pub(crate) use warpgroup::left_over;

/// Warps of a warpgroup.
const WARPS: usize = 4;

/// Decodes an instruction of this family.
///
/// # Errors
/// For forms that the stand-in does not know.
pub(super) fn decode(
    instruction: &Instruction,
    decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    let parts: Vec<&str> = instruction.opcode.iter().map(String::as_str).collect();
    Ok(match parts[..] {
        ["wgmma", "fence", "sync", "aligned"] => Box::new(touch::Fence),
        ["wgmma", "commit_group", "sync", "aligned"] => Box::new(wait::Commit),
        ["wgmma", "wait_group", "sync", "aligned"] => Box::new(wait::Wait {
            newest: decoder.immediate(instruction.operand(0)?)? as usize,
        }),
        ["wgmma", "mma_async", "sync", "aligned", ref form @ ..] => {
            Box::new(issue::Issue::decode(form, instruction, decoder)?)
        }
        [
            "setmaxnreg",
            direction @ ("inc" | "dec"),
            "sync",
            "aligned",
            "u32",
        ] => Box::new(pool::SetRegisters::decode(
            direction == "inc",
            instruction,
            decoder,
        )?),
        _ => return Err(DecodeError::unsupported()),
    })
}

impl Step<'_> {
    /// The warpgroup of this warp.
    fn warpgroup(&mut self) -> &mut Warpgroup {
        let warp = self.warp.warp_in_block as usize;
        &mut self.cluster.blocks[self.warp.rank].warpgroups[warp / WARPS]
    }

    /// Which of the four this warp is.
    fn member(&self) -> usize {
        self.warp.warp_in_block as usize % WARPS
    }

    /// Checks that all threads of the warp are here, and that the block has all four warps of the warpgroup.
    fn check_warpgroup(&self) -> Result<(), Stop> {
        let first = self.warp.warp_in_block / WARPS as u32 * WARPS as u32;
        let threads = self.launch.threads_per_block();
        if (first + WARPS as u32) * 32 > threads {
            let message = format!(
                "warps {first} and up are no whole warpgroup of 128 threads: the block has {threads} threads"
            );
            return Err(self.fault(FaultKind::Divergence, 0, message));
        }
        if self.active != u32::MAX {
            let missing = (!self.active).trailing_zeros() as usize;
            let message = format!(
                "all 32 lanes must execute this, only {:08x} are here",
                self.active
            );
            return Err(self.fault(FaultKind::Divergence, missing, message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
