//! Runs a few instructions on one warp in tests: registers in, registers out.

mod check;
mod samples;

use std::collections::HashMap;

pub(crate) use check::{check_binary, check_ternary, check_unary};
pub(crate) use samples::Samples;

use super::Lanes;
use super::element::{Element, Register};
use super::kernel::decode_as_written;
use crate::counters::Counters;
use crate::exec::testing::run_cluster;
use crate::exec::{Dimensions, Warp};
use crate::fault::{Fault, FaultKind};
use crate::memory::View;
use crate::ptx::Module;

/// Declarations before the instructions of a test. Registers of one class are numbered in this order, so `%r3` is
/// `narrow[3]`.
const REGISTERS: &str = ".reg .pred %p<16>;\n.reg .b32 %r<32>;\n.reg .b64 %rd<32>;\n";

/// Instructions to be run by one warp, the registers set before.
#[derive(Debug, Default)]
pub(crate) struct Bench {
    text: String,
    narrow: Vec<(u16, Lanes<u32>)>,
    wide: Vec<(u16, Lanes<u64>)>,
    predicates: Vec<(u16, u32)>,
}

/// The warp afterwards.
#[derive(Debug)]
pub(crate) struct Outcome {
    warp: Warp,
    /// What the checks found.
    pub faults: Vec<Fault>,
    /// What it cost; the `ret` at the end counts.
    pub counters: Counters,
}

impl Bench {
    /// PTX that may name `%p0` to `%p15`, `%r0` to `%r31` (16-bit values as well) and `%rd0` to `%rd31`.
    pub fn new(text: &str) -> Self {
        Bench {
            text: text.to_owned(),
            ..Bench::default()
        }
    }

    /// Sets `%r<register>`.
    pub fn narrow(mut self, register: u16, values: Lanes<u32>) -> Self {
        self.narrow.push((register, values));
        self
    }

    /// Sets `%rd<register>`.
    pub fn wide(mut self, register: u16, values: Lanes<u64>) -> Self {
        self.wide.push((register, values));
        self
    }

    /// Sets `%p<register>`.
    pub fn predicate(mut self, register: u16, lanes: u32) -> Self {
        self.predicates.push((register, lanes));
        self
    }

    /// Sets a register of the class that holds the type.
    pub fn set<T: Element>(self, register: u16, values: &[T]) -> Self
    where
        Self: SetRegister<T::Register>,
    {
        let bits = std::array::from_fn(|lane| values[lane % values.len()].to_register());
        self.set_register(register, bits)
    }

    /// Runs one warp of `threads` threads.
    ///
    /// # Errors
    /// When an instruction is unknown.
    pub fn try_run(self, threads: u32) -> Result<Outcome, String> {
        let text = format!(
            ".version 9.0\n.target sm_90a\n.address_size 64\n.visible .entry bench() {{\n{REGISTERS}{}\nret;\n}}\n",
            self.text
        );
        let module = Module::parse(&text).map_err(|error| error.to_string())?;
        let globals = HashMap::new();
        let mut kernel = decode_as_written(&module, &module.entries[0], &globals)
            .map_err(|error| error.to_string())?;
        // Registers are set from outside here: nothing that is read counts as undefined.
        kernel.tracking = None;
        let dimensions = Dimensions {
            grid: [1; 3],
            block: [threads, 1, 1],
            cluster: None,
            dynamic_shared: 0,
        };
        let prepare = |warps: &mut [Warp]| {
            let warp = &mut warps[0];
            self.narrow
                .iter()
                .for_each(|&(register, values)| warp.narrow[register as usize] = values);
            self.wide
                .iter()
                .for_each(|&(register, values)| warp.wide[register as usize] = values);
            self.predicates
                .iter()
                .for_each(|&(register, lanes)| warp.predicates[register as usize] = lanes);
        };
        let mut outcome = run_cluster(&kernel, &View::default(), dimensions, &[], prepare);
        Ok(Outcome {
            warp: outcome.warps.remove(0),
            faults: outcome.faults,
            counters: outcome.counters,
        })
    }

    /// Runs a full warp that must end without a fault.
    pub fn run(self) -> Outcome {
        let text = self.text.clone();
        let outcome = self
            .try_run(32)
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        assert!(outcome.faults.is_empty(), "{text}: {:?}", outcome.faults);
        outcome
    }

    /// Runs a full warp that must end with exactly one fault.
    pub fn fault(self) -> FaultKind {
        let text = self.text.clone();
        let outcome = self
            .try_run(32)
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(outcome.faults.len(), 1, "{text}: {:?}", outcome.faults);
        outcome.faults[0].kind
    }
}

/// A bench that can set registers of a class.
pub(crate) trait SetRegister<R: Register> {
    /// Sets a register of the class.
    fn set_register(self, register: u16, values: Lanes<R>) -> Self;
}

impl SetRegister<u32> for Bench {
    fn set_register(self, register: u16, values: Lanes<u32>) -> Self {
        self.narrow(register, values)
    }
}

impl SetRegister<u64> for Bench {
    fn set_register(self, register: u16, values: Lanes<u64>) -> Self {
        self.wide(register, values)
    }
}

impl Outcome {
    /// `%r<register>`.
    pub fn narrow(&self, register: u16) -> Lanes<u32> {
        self.warp.narrow[register as usize]
    }

    /// `%rd<register>`.
    pub fn wide(&self, register: u16) -> Lanes<u64> {
        self.warp.wide[register as usize]
    }

    /// `%p<register>`.
    pub fn predicate(&self, register: u16) -> u32 {
        self.warp.predicates[register as usize]
    }

    /// A register of the class that holds the type.
    pub fn get<T: Element>(&self, register: u16) -> Vec<T> {
        T::Register::read(&self.warp, register)
            .iter()
            .map(|&bits| T::from_register(bits))
            .collect()
    }
}
