//! Registers of `wgmma`: nobody else may touch them while an operation is under way, and `wgmma.fence` must stand between
//! an ordinary access and the operation.

use std::collections::HashSet;

use super::super::registers::{multiplies_asynchronously, reads, writes};
use super::super::{Execute, Flow};
use super::form::{Form, Source};
use crate::exec::{Step, Warp};
use crate::fault::{FaultKind, Stop};
use crate::ptx::{Class, Entry, Instruction, Register};

/// Who used a register since the warp's last `wgmma.fence`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Use {
    /// Nobody.
    #[default]
    Fenced,
    /// An ordinary instruction.
    Ordinary,
    /// `wgmma`, as A.
    Fragment,
    /// `wgmma` of this shape, as D. More of the same shape may follow without a fence.
    Accumulator { n: usize, k: usize },
}

/// How one warp has used its 32-bit registers.
#[derive(Debug, Default)]
pub(super) struct Touches {
    /// By register; empty before the first fence.
    uses: Vec<Use>,
    /// By register: the number of operations up to and with the last one that uses it.
    busy_until: Vec<u64>,
}

/// The 32-bit registers that `wgmma` uses anywhere in the kernel.
pub(in crate::isa) fn fragments(entry: &Entry) -> HashSet<u16> {
    entry
        .instructions
        .iter()
        .filter(|instruction| multiplies_asynchronously(instruction))
        .flat_map(narrow)
        .collect()
}

/// The 32-bit registers that an instruction reads or writes.
fn narrow(instruction: &Instruction) -> impl Iterator<Item = u16> {
    let all = reads(instruction).into_iter().chain(writes(instruction));
    all.filter(|register: &Register| register.class == Class::Bits32)
        .map(|register| register.index)
}

/// Those of them that an ordinary instruction touches; `None` for most instructions.
pub(in crate::isa) fn watched(
    instruction: &Instruction,
    fragments: &HashSet<u16>,
) -> Option<Box<[u16]>> {
    if instruction.part(0) == "wgmma" {
        return None;
    }
    let mut touched: Vec<u16> = narrow(instruction)
        .filter(|register| fragments.contains(register))
        .collect();
    touched.sort_unstable();
    touched.dedup();
    (!touched.is_empty()).then(|| touched.into())
}

/// `wgmma.fence`.
#[derive(Debug)]
pub(super) struct Fence;

impl Execute for Fence {
    fn execute(&self, step: &mut Step<'_>) -> Result<Flow, Stop> {
        step.check_warpgroup()?;
        let registers = step.warp.narrow.len();
        let touches = step.touches();
        touches.uses.clear();
        touches.uses.resize(registers, Use::Fenced);
        touches.busy_until.resize(registers, 0);
        Ok(Flow::Next)
    }

    fn participants(&self, _warp: &Warp, _executing: u32) -> Option<u32> {
        Some(u32::MAX)
    }
}

impl Step<'_> {
    fn touches(&mut self) -> &mut Touches {
        let member = self.member();
        &mut self.warpgroup().members[member].touches
    }

    /// An ordinary instruction is about to touch registers that `wgmma` uses elsewhere.
    pub(crate) fn touch_watched(&mut self, registers: &[u16]) {
        let member = self.member();
        let member = &mut self.warpgroup().members[member];
        let (finished, touches) = (member.finished, &mut member.touches);
        if touches.uses.is_empty() {
            return;
        }
        let mut busy = false;
        for &register in registers {
            busy |= touches.busy_until[register as usize] > finished;
            touches.uses[register as usize] = Use::Ordinary;
        }
        if busy {
            let message = "this touches a register of a wgmma that was not waited for (wgmma.commit_group, wgmma.wait_group)";
            self.report(FaultKind::Asynchronous, 0, message.into());
        }
    }

    /// An operation is about to be issued.
    pub(super) fn touch_operands(&mut self, form: &Form) {
        let registers = self.warp.narrow.len();
        let member = self.member();
        let member = &mut self.warpgroup().members[member];
        let (until, touches) = (member.issued + 1, &mut member.touches);
        let mut fenced = !touches.uses.is_empty();
        touches.uses.resize(registers, Use::Fenced);
        touches.busy_until.resize(registers, 0);
        let accumulator = Use::Accumulator {
            n: form.n,
            k: form.k(),
        };
        let fragment = match &form.a_source {
            Source::Registers(a) => &a[..],
            Source::Shared(_) => &[],
        };
        let all = form.d.iter().map(|&register| (register, accumulator));
        for (register, now) in all.chain(fragment.iter().map(|&register| (register, Use::Fragment)))
        {
            let before = &mut touches.uses[register as usize];
            fenced &= *before == Use::Fenced || *before == now;
            *before = now;
            touches.busy_until[register as usize] = until;
        }
        if !fenced {
            let message = "wgmma.fence is missing between an earlier access to one of these registers and this; only accumulators of wgmmas of one shape need none";
            self.report(FaultKind::Asynchronous, 0, message.into());
        }
    }
}
