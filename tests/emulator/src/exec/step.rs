//! The interpreter loop: one warp, instruction after instruction, split and rejoined as its branches demand.

use super::{Cluster, Launch, Split, Wait, Warp};
use crate::counters::Counters;
use crate::fault::{FaultKind, Stop};
use crate::isa::{Address, Flow, Lanes};
use crate::lanes::lanes;

/// One instruction about to be executed: everything that it may look at and change.
#[derive(Debug)]
pub struct Step<'a> {
    /// The warp.
    pub warp: &'a mut Warp,
    /// Its cluster.
    pub cluster: &'a mut Cluster,
    /// Its launch.
    pub launch: &'a Launch<'a>,
    /// Counters to add to.
    pub counters: &'a mut Counters,
    /// Lanes that execute: at the instruction, and the guard holds.
    pub active: u32,
    /// The instruction.
    pub pc: u32,
}

/// How many lanes a mask holds. A whole warp, the usual case, is not counted.
#[inline]
fn threads(active: u32) -> u64 {
    match active {
        u32::MAX => 32,
        some => u64::from(some.count_ones()),
    }
}

impl Step<'_> {
    /// Runs a warp for at most `slice` instructions. Gives whether the slice ended the turn (not waiting, exit or giving way).
    ///
    /// # Errors
    /// A fault after which the kernel cannot go on.
    pub(super) fn run(
        warp: &mut Warp,
        cluster: &mut Cluster,
        launch: &Launch<'_>,
        counters: &mut Counters,
        slice: u64,
    ) -> Result<bool, Stop> {
        let mut step = Step {
            warp,
            cluster,
            launch,
            counters,
            active: 0,
            pc: 0,
        };
        let mut left = slice.min(step.warp.budget);
        step.warp.budget -= left;
        let turn = step.run_splits(&mut left);
        step.warp.budget += left;
        if step.warp.budget == 0 {
            return Err(step.fault(
                FaultKind::Hang,
                0,
                "the warp's instruction budget is spent".into(),
            ));
        }
        turn
    }

    fn run_splits(&mut self, left: &mut u64) -> Result<bool, Stop> {
        while let Some(at) = self.select()? {
            let Split {
                mut pc,
                lanes: here,
                ..
            } = self.warp.splits[at];
            // Reconverge where the others wait: run at most to the next place where another split is.
            let others = (self.warp.splits.iter().enumerate())
                .filter(|&(other, _)| other != at)
                .map(|(_, split)| split.pc)
                .filter(|&other| other > pc)
                .min()
                .unwrap_or(u32::MAX);
            let divergent = self.warp.splits.len() > 1;
            loop {
                if *left == 0 {
                    return Ok(self.pause(at, pc, true));
                }
                *left -= 1;
                let instruction = &self.launch.kernel.code[pc as usize];
                let mut active = here;
                if let Some(guard) = instruction.guard {
                    let holds = self.warp.predicates[guard.predicate as usize];
                    active &= if guard.negated { !holds } else { holds };
                }
                self.counters.warp_instructions += 1;
                self.counters.thread_instructions += threads(active);
                self.counters.divergent_instructions += u64::from(divergent);
                if let Some(tracking) = &self.launch.kernel.tracking {
                    self.track(tracking, pc, here, active);
                }
                if active == 0 {
                    pc += 1;
                } else {
                    self.active = active;
                    self.pc = pc;
                    if instruction.collective && !self.together(at, here)? {
                        // Not executed yet: it is counted when all its lanes are there.
                        self.counters.warp_instructions -= 1;
                        self.counters.thread_instructions -= threads(active);
                        self.counters.divergent_instructions -= u64::from(divergent);
                        break;
                    }
                    if let Some(registers) = &instruction.watched {
                        self.touch_watched(registers);
                    }
                    match instruction.op.execute(self)? {
                        Flow::Next => pc += 1,
                        Flow::Jump(target) if active == here => {
                            pc = target;
                            if divergent {
                                self.warp.splits[at].pc = pc;
                                break;
                            }
                            continue;
                        }
                        Flow::Jump(target) => {
                            self.warp.splits[at] = Split::at(pc + 1, here & !active);
                            self.warp.splits.push(Split::at(target, active));
                            break;
                        }
                        Flow::Scatter(groups) => {
                            self.scatter(at, pc, here, &groups);
                            break;
                        }
                        Flow::Exit => {
                            self.exit(at, pc, here);
                            break;
                        }
                        Flow::Wait | Flow::Yield => return Ok(self.pause(at, pc + 1, false)),
                        Flow::Sleep => return Ok(self.pause(at, pc + 1, true)),
                        Flow::Retry => return Ok(self.pause(at, pc, false)),
                    }
                }
                if pc >= others {
                    self.warp.splits[at].pc = pc;
                    break;
                }
            }
        }
        self.warp.state = Wait::Exited;
        self.cluster.blocks[self.warp.rank].live_warps -= 1;
        self.cluster.effects += 1;
        Ok(false)
    }

    /// Ends the turn of a split; gives `ran_out` back.
    fn pause(&mut self, at: usize, pc: u32, ran_out: bool) -> bool {
        self.warp.splits[at].pc = pc;
        self.warp.splits[at].tired = true;
        ran_out
    }

    /// Merges splits at equal places and picks the runnable one that is furthest behind; `None` when the warp has ended.
    fn select(&mut self) -> Result<Option<usize>, Stop> {
        let splits = &mut self.warp.splits;
        if splits.len() <= 1 {
            if let Some(only) = splits.first_mut() {
                only.parked = false;
                return Ok(Some(0));
            }
            return Ok(None);
        }
        splits.sort_unstable_by_key(|split| split.pc);
        splits.dedup_by(|later, first| {
            let same = later.pc == first.pc;
            if same {
                first.lanes |= later.lanes;
                first.parked = false;
                first.tired &= later.tired;
            }
            same
        });
        if splits.len() == 1 {
            splits[0].parked = false;
            return Ok(Some(0));
        }
        if let Some(at) = splits
            .iter()
            .position(|split| !split.parked && !split.tired)
        {
            return Ok(Some(at));
        }
        splits.iter_mut().for_each(|split| split.tired = false);
        if let Some(at) = splits.iter().position(|split| !split.parked) {
            return Ok(Some(at));
        }
        Err(self.diverged())
    }

    /// Whether all lanes that the collective instruction needs are here; else the split is parked.
    fn together(&mut self, at: usize, here: u32) -> Result<bool, Stop> {
        let op = &self.launch.kernel.code[self.pc as usize].op;
        let Some(needed) = op.participants(self.warp, self.active) else {
            return Ok(true);
        };
        let needed = needed & self.warp.live;
        if needed & !here != 0 {
            self.warp.splits[at].pc = self.pc;
            self.warp.splits[at].parked = true;
            return Ok(false);
        }
        if needed & !self.active != 0 {
            let message = format!(
                "lanes {:08x} must execute this together, but its guard holds only for lanes {:08x}",
                needed, self.active
            );
            return Err(self.fault(
                FaultKind::Divergence,
                (needed & !self.active).trailing_zeros() as usize,
                message,
            ));
        }
        Ok(true)
    }

    fn scatter(&mut self, at: usize, pc: u32, here: u32, groups: &[(u32, u32)]) {
        let mut rest = here;
        self.warp.splits.swap_remove(at);
        for &(target, lanes) in groups {
            rest &= !lanes;
            self.warp.splits.push(Split::at(target, lanes));
        }
        if rest != 0 {
            self.warp.splits.push(Split::at(pc + 1, rest));
        }
    }

    fn exit(&mut self, at: usize, pc: u32, here: u32) {
        self.warp.live &= !self.active;
        let rest = here & !self.active;
        if rest == 0 {
            self.warp.splits.swap_remove(at);
        } else {
            self.warp.splits[at] = Split::at(pc + 1, rest);
        }
        // Lanes that waited for the ended ones may now be complete.
        for split in &mut self.warp.splits {
            split.parked = false;
        }
    }

    #[cold]
    fn diverged(&mut self) -> Stop {
        let places: Vec<String> = (self.warp.splits.iter())
            .map(|split| {
                let place = &self.launch.kernel.locations[split.pc as usize];
                format!(
                    "lanes {:08x} at {} `{}`",
                    split.lanes, place.source, place.text
                )
            })
            .collect();
        let first = self.warp.splits[0];
        self.pc = first.pc;
        let message = format!(
            "the lanes of a warp wait for each other at different places: {}",
            places.join("; ")
        );
        self.fault(
            FaultKind::Divergence,
            first.lanes.trailing_zeros() as usize,
            message,
        )
    }

    /// The active lanes, lowest first.
    pub fn lanes(&self) -> impl Iterator<Item = usize> + use<> {
        lanes(self.active)
    }

    /// A fault of this instruction that ends the launch.
    #[cold]
    pub fn fault(&self, kind: FaultKind, lane: usize, message: String) -> Stop {
        let thread = self.warp.warp_in_block * 32 + lane as u32;
        self.launch.fault(
            kind,
            message,
            self.pc,
            self.cluster.blocks[self.warp.rank].index,
            thread,
        )
    }

    /// Reports a fault of this instruction after which the kernel goes on.
    #[cold]
    pub fn report(&mut self, kind: FaultKind, lane: usize, message: String) {
        let fault = self.fault(kind, lane, message);
        self.cluster.report(*fault);
    }

    /// The addresses that the lanes name.
    #[inline]
    pub fn addresses(&self, address: Address) -> Lanes<u64> {
        match address {
            Address::Wide(register, offset) => {
                let base = &self.warp.wide[register as usize];
                std::array::from_fn(|lane| base[lane].wrapping_add_signed(offset))
            }
            Address::Narrow(register, offset) => {
                let base = &self.warp.narrow[register as usize];
                std::array::from_fn(|lane| u64::from(base[lane].wrapping_add(offset as u32)))
            }
            Address::Absolute(value) => [value; 32],
        }
    }

    /// A 32-bit value that must be the same for all active lanes.
    ///
    /// # Errors
    /// When it is not.
    pub fn uniform(&self, register: u16, what: &str) -> Result<u32, Stop> {
        let values = &self.warp.narrow[register as usize];
        let first = self.active.trailing_zeros() as usize;
        for lane in self.lanes() {
            if values[lane] != values[first] {
                let message = format!(
                    "{what} differs between lanes: {} and {}",
                    values[first], values[lane]
                );
                return Err(self.fault(FaultKind::InvalidOperand, lane, message));
            }
        }
        Ok(values[first])
    }
}
