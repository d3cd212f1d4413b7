//! Which lanes take part in a collective instruction.
//!
//! Every lane names the lanes that execute the instruction with it. Lanes of different groups may be at the instruction at
//! the same time; lanes of one group must name the same mask, and be in it.

use crate::exec::{Step, Warp};
use crate::fault::{FaultKind, Stop};
use crate::isa::Lanes;

/// The register that holds the member mask.
#[derive(Clone, Copy, Debug)]
pub(super) struct Members(pub u16);

impl Members {
    /// All lanes that the executing ones name: they have to come together first.
    pub fn all(self, warp: &Warp, executing: u32) -> u32 {
        let masks = &warp.narrow[self.0 as usize];
        let mask_of = |lane: usize| {
            if executing >> lane & 1 == 1 {
                masks[lane]
            } else {
                0
            }
        };
        (0..32).fold(0, |all, lane| all | mask_of(lane))
    }

    /// The groups of the active lanes.
    ///
    /// # Errors
    /// When a lane is not in its own mask, or lanes of one mask name another.
    pub fn groups(self, step: &Step<'_>) -> Result<Groups, Stop> {
        let masks = &step.warp.narrow[self.0 as usize];
        let differences = masks.iter().fold(0, |all, mask| all | (mask ^ masks[0]));
        if differences == 0 && masks[0] & step.warp.live == step.active {
            return Ok(Groups {
                masks: [step.active; 32],
                len: 1,
            });
        }
        let mut groups = Groups {
            masks: [0; 32],
            len: 0,
        };
        let mut left = step.active;
        while left != 0 {
            let first = left.trailing_zeros() as usize;
            // Lanes that have ended are no longer expected.
            let members = masks[first] & step.warp.live;
            if members >> first & 1 == 0 {
                let message = format!(
                    "the lane is not in its own member mask {:08x}",
                    masks[first]
                );
                return Err(step.fault(FaultKind::Divergence, first, message));
            }
            if let Some(other) = disagreeing(masks, first, members, left) {
                let message = format!(
                    "lane {other} of member mask {:08x} (lane {first}) names the mask {:08x}",
                    masks[first], masks[other]
                );
                return Err(step.fault(FaultKind::Divergence, other, message));
            }
            groups.masks[groups.len] = members;
            groups.len += 1;
            left &= !members;
        }
        Ok(groups)
    }
}

/// A lane of `members` that is not left over for this group, or that names another mask than its first lane.
fn disagreeing(masks: &Lanes<u32>, first: usize, members: u32, left: u32) -> Option<usize> {
    (0..32).find(|&lane| {
        members >> lane & 1 == 1 && (left >> lane & 1 == 0 || masks[lane] != masks[first])
    })
}

/// Lanes that execute a collective instruction together, group by group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Groups {
    masks: [u32; 32],
    len: usize,
}

impl Groups {
    /// The lanes of each group.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.masks[..self.len].iter().copied()
    }
}

/// The lanes of a mask, lowest first.
pub(super) fn lanes_of(mask: u32) -> impl Iterator<Item = usize> {
    (0..32).filter(move |lane| mask >> lane & 1 == 1)
}
