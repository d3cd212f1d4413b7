//! Sets of registers as bits.

use crate::ptx::{Class, Entry, Register};

/// Gives each register of a kernel one number, whatever its class.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbering {
    /// Registers of the classes: predicates, 32-bit, 64-bit.
    counts: [usize; 3],
}

impl Numbering {
    pub(super) fn new(entry: &Entry) -> Self {
        let [predicates, narrow, wide, _] = entry.registers;
        Numbering {
            counts: [predicates, narrow, wide],
        }
    }

    /// Registers in all.
    pub(super) fn len(self) -> usize {
        self.counts.iter().sum()
    }

    /// The register's number; `None` for 128-bit registers, which kernels cannot use.
    pub(super) fn number(self, register: Register) -> Option<usize> {
        let before = match register.class {
            Class::Predicate => 0,
            Class::Bits32 => self.counts[0],
            Class::Bits64 => self.counts[0] + self.counts[1],
            Class::Bits128 => return None,
        };
        Some(before + register.index as usize)
    }

    /// The register of a number.
    pub(super) fn register(self, number: usize) -> Register {
        let [predicates, narrow, _] = self.counts;
        let (class, index) = if number < predicates {
            (Class::Predicate, number)
        } else if number < predicates + narrow {
            (Class::Bits32, number - predicates)
        } else {
            (Class::Bits64, number - predicates - narrow)
        };
        Register {
            class,
            index: index as u16,
        }
    }
}

/// A set of register numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Set(Vec<u64>);

impl Set {
    pub(super) fn empty(len: usize) -> Self {
        Set(vec![0; len.div_ceil(64)])
    }

    pub(super) fn full(len: usize) -> Self {
        Set(vec![u64::MAX; len.div_ceil(64)])
    }

    pub(super) fn insert(&mut self, number: usize) {
        self.0[number / 64] |= 1 << (number % 64);
    }

    pub(super) fn remove(&mut self, number: usize) {
        self.0[number / 64] &= !(1 << (number % 64));
    }

    pub(super) fn contains(&self, number: usize) -> bool {
        self.0[number / 64] >> (number % 64) & 1 == 1
    }

    /// Adds the members of `other`; gives whether there were new ones.
    pub(super) fn unite(&mut self, other: &Set) -> bool {
        let mut grew = false;
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            grew |= *theirs & !*mine != 0;
            *mine |= theirs;
        }
        grew
    }

    /// Keeps the members of `other` only; gives whether any went.
    pub(super) fn intersect(&mut self, other: &Set) -> bool {
        let mut shrank = false;
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            shrank |= *mine & !*theirs != 0;
            *mine &= theirs;
        }
        shrank
    }

    pub(super) fn members(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(at, &word)| {
            (0..64)
                .filter(move |bit| word >> bit & 1 == 1)
                .map(move |bit| at * 64 + bit)
        })
    }
}
