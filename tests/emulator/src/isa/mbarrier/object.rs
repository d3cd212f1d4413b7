//! One mbarrier object: counts, phase, and what its phases order.

use crate::race::{Agent, Clock};

/// Largest count of arrivals.
pub const COUNT_MAX: u32 = (1 << 20) - 1;

/// Largest amount by which the bytes under way may differ from the bytes expected.
pub const TRANSACTIONS_MAX: i64 = (1 << 20) - 1;

/// An operation against the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    /// A count of arrivals that no operation takes.
    #[error("a count of {0} arrivals: 1 to 1048575")]
    Count(u32),
    /// More arrivals than the phase waits for.
    #[error("{count} arrivals in phase {phase}, which waits for {pending} more of {expected}")]
    OverArrival {
        /// Arrivals now.
        count: u32,
        /// Arrivals still to come.
        pending: u32,
        /// Arrivals of a phase.
        expected: u32,
        /// The phase.
        phase: u64,
    },
    /// `.noComplete` with the last arrival.
    #[error("the arrival completes phase {0}, which .noComplete promises it does not")]
    Completes(u64),
    /// The bytes under way leave the range that the object can count.
    #[error("{0} bytes under way: -1048575 to 1048575")]
    Transactions(i64),
    /// More arrivals pending than can be counted.
    #[error("{0} pending arrivals: at most 1048575")]
    Pending(u32),
}

/// What an arrival releases and a wait acquires: what happened before, for ordinary accesses and for the asynchronous proxy.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    /// For ordinary accesses.
    pub clock: Clock,
    /// For the asynchronous proxy.
    pub proxy_clock: Clock,
}

/// One operation of a warp on the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// The warp.
    pub agent: Agent,
    /// When, by the warp's clock.
    pub tick: u32,
    /// The lane.
    pub lane: u8,
    /// The instruction.
    pub pc: u32,
}

/// A live mbarrier object.
#[derive(Debug)]
pub struct Mbarrier {
    /// The agent as which copies that complete on it access memory, and as which it completes phases.
    agent: Agent,
    /// The agent's clock.
    tick: u32,
    expected: u32,
    pending: u32,
    transactions: i64,
    phase: u64,
    /// Released so far in the phase under way.
    gathered: Knowledge,
    /// Released in the last completed phase.
    completed: Knowledge,
    /// The agent's clock when the last phase completed.
    completed_at: u32,
    made: Use,
    /// The last operation of every warp, the initialisation not included.
    users: Vec<Use>,
    /// The last completed phase that each warp has seen, whether or not it acquired it.
    seen: Vec<(Agent, u64)>,
}

impl Mbarrier {
    /// An object that waits for `expected` arrivals a phase. `tick` is the agent's clock so far.
    ///
    /// # Errors
    /// When the count is out of range.
    pub fn new(agent: Agent, tick: u32, expected: u32, made: Use) -> Result<Self, Misuse> {
        check_count(expected)?;
        Ok(Mbarrier {
            agent,
            tick,
            expected,
            pending: expected,
            transactions: 0,
            phase: 0,
            gathered: Knowledge::default(),
            completed: Knowledge::default(),
            completed_at: 0,
            made,
            users: Vec::new(),
            seen: Vec::new(),
        })
    }

    /// The agent as which copies that complete on it access memory.
    pub fn agent(&self) -> Agent {
        self.agent
    }

    /// The agent's clock.
    pub fn tick(&self) -> u32 {
        self.tick
    }

    /// A new moment of the agent, for one copy.
    pub fn advance(&mut self) -> u32 {
        self.tick += 1;
        self.tick
    }

    /// The phase under way; it has its parity.
    pub fn phase(&self) -> u64 {
        self.phase
    }

    /// Arrivals that the phase waits for.
    pub fn pending(&self) -> u32 {
        self.pending
    }

    /// Who initialised it.
    pub fn made(&self) -> Use {
        self.made
    }

    /// The last operation of every warp.
    pub fn users(&self) -> &[Use] {
        &self.users
    }

    /// Remembers an operation of a warp.
    pub fn note(&mut self, by: Use) {
        match self.users.iter_mut().find(|user| user.agent == by.agent) {
            Some(user) => *user = by,
            None => self.users.push(by),
        }
    }

    /// `count` threads arrive.
    ///
    /// # Errors
    /// When the phase does not wait for as many.
    pub fn arrive(&mut self, count: u32) -> Result<(), Misuse> {
        check_count(count)?;
        if count > self.pending {
            let (pending, expected, phase) = (self.pending, self.expected, self.phase);
            return Err(Misuse::OverArrival {
                count,
                pending,
                expected,
                phase,
            });
        }
        self.pending -= count;
        self.settle();
        Ok(())
    }

    /// `count` threads arrive, and the phase must not complete by it.
    ///
    /// # Errors
    /// When it does, or does not wait for as many.
    pub fn arrive_without_completing(&mut self, count: u32) -> Result<(), Misuse> {
        if count == self.pending && self.transactions == 0 {
            return Err(Misuse::Completes(self.phase));
        }
        self.arrive(count)
    }

    /// `count` threads take no part in the phases to come; they have yet to arrive in this one.
    ///
    /// # Errors
    /// When no phase waits for as many.
    pub fn drop_expected(&mut self, count: u32) -> Result<(), Misuse> {
        check_count(count)?;
        if count > self.expected {
            let (pending, expected, phase) = (self.pending, self.expected, self.phase);
            return Err(Misuse::OverArrival {
                count,
                pending,
                expected,
                phase,
            });
        }
        self.expected -= count;
        Ok(())
    }

    /// One more arrival is to come in this phase: that of copies which have been issued.
    ///
    /// # Errors
    /// When there are too many.
    pub fn expect_arrival(&mut self) -> Result<(), Misuse> {
        if self.pending == COUNT_MAX {
            return Err(Misuse::Pending(self.pending + 1));
        }
        self.pending += 1;
        Ok(())
    }

    /// `bytes` bytes are to come in this phase; negative: have come.
    ///
    /// # Errors
    /// When that cannot be counted.
    pub fn expect_bytes(&mut self, bytes: i64) -> Result<(), Misuse> {
        let transactions = self.transactions + bytes;
        if bytes.abs() > TRANSACTIONS_MAX || transactions.abs() > TRANSACTIONS_MAX {
            return Err(Misuse::Transactions(transactions));
        }
        self.transactions = transactions;
        self.settle();
        Ok(())
    }

    /// Releases what a warp knows to those who wait for the phase under way.
    pub fn release(&mut self, clock: &Clock, proxy_clock: &Clock) {
        self.gathered.clock.join(clock);
        self.gathered.proxy_clock.join(proxy_clock);
    }

    /// Releases what an agent did up to `tick` to those who wait for the phase under way.
    pub fn release_agent(&mut self, agent: Agent, tick: u32) {
        self.gathered.clock.advance(agent, tick);
        self.gathered.proxy_clock.advance(agent, tick);
    }

    /// What the last completed phase released.
    pub fn completed(&self) -> &Knowledge {
        &self.completed
    }

    /// Remembers that a warp has seen the last completed phase.
    pub fn saw(&mut self, warp: Agent) {
        let Some(last) = self.phase.checked_sub(1) else {
            return;
        };
        match self.seen.iter_mut().find(|entry| entry.0 == warp) {
            Some(entry) => entry.1 = last,
            None => self.seen.push((warp, last)),
        }
    }

    /// Whether a warp can know that the phase before the one under way is complete. Without that, a parity says nothing:
    /// the phase that it means may be two back.
    pub fn knows_last(&self, warp: Agent, clock: &Clock) -> bool {
        let Some(last) = self.phase.checked_sub(1) else {
            return true;
        };
        clock.get(self.agent) >= self.completed_at || self.seen.contains(&(warp, last))
    }

    fn settle(&mut self) {
        if self.pending > 0 || self.transactions != 0 {
            return;
        }
        self.phase += 1;
        self.pending = self.expected;
        let tick = self.advance();
        self.completed_at = tick;
        self.release_agent(self.agent, tick);
        self.completed = std::mem::take(&mut self.gathered);
    }
}

fn check_count(count: u32) -> Result<(), Misuse> {
    if count == 0 || count > COUNT_MAX {
        Err(Misuse::Count(count))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
