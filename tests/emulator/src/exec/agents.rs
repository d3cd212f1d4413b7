//! Who may access memory on its own account: warps, and the asynchronous engines that work for them.

use crate::race::Agent;

/// The agents of a cluster: its warps by index, then the engines.
#[derive(Clone, Copy, Debug)]
pub struct Agents {
    blocks: usize,
    /// Warps of a block.
    per_block: usize,
}

impl Agents {
    /// Agents of a cluster of `blocks` blocks with `per_block` warps each.
    pub(super) fn new(blocks: usize, per_block: usize) -> Self {
        Agents { blocks, per_block }
    }

    fn warps(self) -> usize {
        self.blocks * self.per_block
    }

    fn warpgroups(self) -> usize {
        self.blocks * self.per_block.div_ceil(4)
    }

    /// `cp.async` copies of a warp.
    pub fn copies(self, warp: usize) -> Agent {
        (self.warps() + warp) as Agent
    }

    /// Bulk copies of a warp that are tracked by groups.
    pub fn bulk(self, warp: usize) -> Agent {
        (2 * self.warps() + warp) as Agent
    }

    /// The same copies once they have read their sources: what they write to global memory is known later than that.
    pub fn bulk_writes(self, warp: usize) -> Agent {
        (3 * self.warps() + warp) as Agent
    }

    /// `wgmma` of the warpgroup that the warp belongs to.
    pub fn warpgroup(self, warp: usize) -> Agent {
        let (rank, in_block) = (warp / self.per_block, warp % self.per_block);
        (4 * self.warps() + rank * self.per_block.div_ceil(4) + in_block / 4) as Agent
    }

    /// Bulk copies that complete on the mbarrier with this number.
    pub fn mbarrier(self, number: usize) -> Agent {
        (4 * self.warps() + self.warpgroups() + number) as Agent
    }

    /// The agent in the words of a report.
    pub(super) fn describe(self, agent: Agent) -> String {
        let (agent, warps) = (agent as usize, self.warps());
        let warp = || {
            let (rank, in_block) = (
                agent % warps / self.per_block,
                agent % warps % self.per_block,
            );
            match self.blocks {
                1 => format!("warp {in_block}"),
                _ => format!("warp {in_block} of the cluster's block {rank}"),
            }
        };
        match agent / warps {
            0 => warp(),
            1 => format!("cp.async of {}", warp()),
            2 | 3 => format!("a bulk copy of {}", warp()),
            _ if agent - 4 * warps < self.warpgroups() => {
                format!(
                    "wgmma of warpgroup {}",
                    (agent - 4 * warps) % self.per_block.div_ceil(4)
                )
            }
            _ => "a bulk copy that completes on an mbarrier".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_distinct_and_described() {
        let agents = Agents::new(2, 6);
        let mut all: Vec<Agent> = (0..12).collect();
        for warp in 0..12 {
            all.extend([
                agents.copies(warp),
                agents.bulk(warp),
                agents.bulk_writes(warp),
            ]);
        }
        // A warpgroup never spans two blocks.
        let groups: Vec<Agent> = (0..12).map(|warp| agents.warpgroup(warp)).collect();
        assert!(groups[..4].iter().all(|&group| group == groups[0]));
        assert!(groups[6..10].iter().all(|&group| group == groups[6]));
        assert!(groups[0] != groups[4] && groups[4] != groups[6] && groups[6] != groups[10]);
        all.extend([
            groups[0],
            groups[4],
            groups[6],
            groups[10],
            agents.mbarrier(0),
            agents.mbarrier(1),
        ]);
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        assert_eq!(agents.describe(7), "warp 1 of the cluster's block 1");
        assert_eq!(
            agents.describe(agents.copies(3)),
            "cp.async of warp 3 of the cluster's block 0"
        );
        assert_eq!(agents.describe(groups[4]), "wgmma of warpgroup 1");
        assert_eq!(
            agents.describe(agents.mbarrier(3)),
            "a bulk copy that completes on an mbarrier"
        );
        assert_eq!(Agents::new(1, 4).describe(2), "warp 2");
    }
}
