//! Fences.

use super::control::Nothing;
use super::{DecodeError, Decoder, Execute, Flow};
use crate::exec::{Scope, Step};
use crate::fault::Stop;
use crate::ptx::Instruction;

/// Decodes an instruction of this family.
///
/// # Errors
/// For forms that the stand-in does not know.
pub(super) fn decode(
    instruction: &Instruction,
    _decoder: &mut Decoder<'_>,
) -> Result<Box<dyn Execute>, DecodeError> {
    Ok(match (instruction.part(0), instruction.part(1)) {
        ("membar", "cta") => Box::new(Fence(Scope::Block)),
        ("membar", "gl" | "sys") => Box::new(Fence(Scope::Device)),
        ("fence", "proxy") if instruction.part(2).starts_with("async") => Box::new(ProxyFence),
        // Alias and tensor-map proxies: launches see parameters and tensor maps as they were at launch.
        ("fence", "proxy") => Box::new(Nothing),
        ("fence", "mbarrier_init") => Box::new(ProxyFence),
        ("fence", "sc" | "acq_rel" | "acquire" | "release") => {
            let scope = match instruction.kind() {
                "cta" => Scope::Block,
                "cluster" => Scope::Cluster,
                "gpu" | "sys" => Scope::Device,
                _ => return Err(DecodeError::unsupported()),
            };
            Box::new(Fence(scope))
        }
        _ => return Err(DecodeError::unsupported()),
    })
}

/// Orders what the warp heard before what it does next, and what it did before what it tells next.
#[derive(Debug)]
struct Fence(Scope);

impl Execute for Fence {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        if let Some(heard) = step.warp.heard.take() {
            step.warp.clock.join(&heard);
        }
        step.warp.released = Some((self.0, step.warp.clock.clone()));
        step.warp.advance();
        Ok(Flow::Next)
    }
}

/// Makes what happened before visible to the asynchronous proxy: TMA and `wgmma`.
#[derive(Debug)]
struct ProxyFence;

impl Execute for ProxyFence {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        step.warp.proxy_clock.join(&step.warp.clock);
        step.warp.advance();
        Ok(Flow::Next)
    }
}
