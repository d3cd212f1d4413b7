//! The operands of an operation: reading them from shared memory, with all checks, and multiplying.

use super::super::Lanes;
use super::WARPS;
use super::form::{Form, ROWS, Source};
use super::warpgroup::{Operation, agent};
use crate::exec::{Step, race_message};
use crate::fault::{FaultKind, Stop};
use crate::memory::ByteState;
use crate::race::{Access, COLLECTIVE, Cache, Conflict, Event, EventId, Landed, Strength};
use crate::tensor::{
    CORE_LINES, Descriptor, Eight, Element, Lines, Major, PanelRow, Work, multiply, unpack,
    unpack_column, vectorised,
};

/// A and B as numbers: for each group of eight lines, k rows of a panel.
#[derive(Debug)]
pub(super) struct Operands {
    /// Empty if A is in registers.
    a: Vec<PanelRow>,
    b: Vec<PanelRow>,
}

/// Steps of 16 bytes along k.
const STEPS: usize = 2;

impl Step<'_> {
    /// Reads the operands of an operation of this warp's warpgroup. `number` is the operation's.
    ///
    /// # Errors
    /// When a descriptor is no descriptor or leads out of shared memory.
    pub(super) fn read_operands(
        &mut self,
        operation: &Operation,
        number: u64,
    ) -> Result<Operands, Stop> {
        // Reports are to name the instruction that issued the operation, not the one that waits for it.
        let waiting_at = std::mem::replace(&mut self.pc, operation.pc);
        let event = Event {
            cluster: self.cluster.number,
            agent: agent(
                self.cluster,
                self.launch,
                self.warp.rank,
                self.warp.warp_in_block as usize / WARPS,
            ),
            clock: number as u32 + 1,
            pc: operation.pc,
            strength: Strength::Plain,
        };
        let id = self.launch.log.record(event);
        let mut reader = Reader {
            operation,
            event,
            id,
            cache: Cache::default(),
        };
        let form = &*operation.form;
        let a = match form.a_source {
            Source::Registers(_) => Vec::new(),
            Source::Shared(major) => reader.read(self, 0, form.a, major, Lines::Rows, ROWS)?,
        };
        let b = reader.read(self, 1, form.b, form.b_major, Lines::Columns, form.n)?;
        self.pc = waiting_at;
        Ok(Operands { a, b })
    }
}

/// Reads shared memory in the name of a warpgroup.
struct Reader<'a> {
    operation: &'a Operation,
    event: Event,
    id: EventId,
    cache: Cache,
}

impl Reader<'_> {
    fn read(
        &mut self,
        step: &mut Step<'_>,
        which: usize,
        element: Element,
        major: Major,
        lines: Lines,
        count: usize,
    ) -> Result<Vec<PanelRow>, Stop> {
        let descriptor = Descriptor::new(self.operation.descriptors[which], major, count)
            .map_err(|error| step.fault(FaultKind::InvalidOperand, 0, error.to_string()))?;
        let groups = count / CORE_LINES;
        let mut cores = Vec::with_capacity(groups * STEPS);
        for group in 0..groups {
            for along_k in 0..STEPS {
                let mut core = [0; 32];
                for (words, address) in core
                    .chunks_exact_mut(4)
                    .zip(descriptor.core(group as u32, along_k as u32))
                {
                    words.copy_from_slice(&self.chunk(step, address)?);
                }
                cores.push(core);
            }
        }
        let negated = self.operation.form.negated && lines == Lines::Rows;
        Ok(vectorised(Unpacking {
            cores: &cores,
            element,
            major,
            lines,
            negated,
        }))
    }

    /// The 16 bytes at an address, checked.
    fn chunk(&mut self, step: &mut Step<'_>, address: u32) -> Result<[u32; 4], Stop> {
        const BYTES: usize = 16;
        let place = step.shared_place(0, u64::from(address), BYTES, BYTES)?;
        let range = place.offset..place.offset + BYTES;
        let shared = &step.cluster.blocks[place.rank].shared;
        let bytes = shared.bytes(range.clone());
        let chunk = std::array::from_fn(|word| {
            u32::from_le_bytes([
                bytes[4 * word],
                bytes[4 * word + 1],
                bytes[4 * word + 2],
                bytes[4 * word + 3],
            ])
        });
        let state = shared.irregular(range.clone());
        let access = Access {
            event: self.id,
            agent: self.event.agent,
            tick: self.event.clock,
            landed: Landed::NONE,
            cluster: self.event.cluster,
            clock: &self.operation.proxy_clock,
            lane: COLLECTIVE,
            strength: Strength::Plain,
            log: &step.launch.log,
            readers: &step.launch.readers,
        };
        let conflict = shared.shadow().read(range, &access, &mut self.cache);
        if let Some(state) = state {
            report_state(step, state, address);
        }
        if let Some(conflict) = conflict {
            self.report_race(step, &conflict);
        }
        Ok(chunk)
    }

    #[cold]
    fn report_race(&self, step: &mut Step<'_>, conflict: &Conflict) {
        let message = race_message("shared memory", conflict, step.launch, self.event.cluster);
        if self
            .operation
            .clock
            .covers(self.event.cluster, &conflict.with)
        {
            let message = format!(
                "{message}; for ordinary accesses it would be ordered: fence.proxy.async is missing between the two"
            );
            step.report(FaultKind::Asynchronous, 0, message);
        } else {
            step.report(FaultKind::Race, 0, message);
        }
    }
}

#[cold]
fn report_state(step: &mut Step<'_>, state: ByteState, address: u32) {
    let (kind, what) = match state {
        ByteState::Unwritten | ByteState::Written => {
            (FaultKind::Uninitialised, "was never written")
        }
        ByteState::InFlight => (
            FaultKind::Asynchronous,
            "is the target of an asynchronous copy that was not waited for",
        ),
        ByteState::Barrier => (FaultKind::Barrier, "belongs to an mbarrier"),
    };
    step.report(
        kind,
        0,
        format!("the operand at shared address {address:#x} {what}"),
    );
}

/// Core matrices, two along k for each group of lines, to panels.
struct Unpacking<'a> {
    cores: &'a [Lanes<u32>],
    element: Element,
    major: Major,
    lines: Lines,
    negated: bool,
}

impl Work for Unpacking<'_> {
    type Output = Vec<PanelRow>;

    #[inline(always)]
    fn run<V: Eight>(self) -> Vec<PanelRow> {
        let Unpacking {
            cores,
            element,
            major,
            lines,
            negated,
        } = self;
        let mut panels = vec![[0.0; CORE_LINES]; cores.len() * element.per_line()];
        for (core, panel) in cores
            .iter()
            .zip(panels.chunks_exact_mut(element.per_line()))
        {
            match major {
                Major::K => unpack(element, lines, core, panel),
                Major::Mn => {
                    for (column, row) in core.chunks_exact(4).zip(panel) {
                        *row = unpack_column(
                            element,
                            lines,
                            [column[0], column[1], column[2], column[3]],
                        );
                    }
                }
            }
        }
        if negated {
            negate(&mut panels);
        }
        panels
    }
}

#[inline(always)]
fn negate(panel: &mut [PanelRow]) {
    panel
        .iter_mut()
        .flatten()
        .for_each(|value| *value = -*value);
}

/// The 16 rows of one warp.
pub(super) struct WarpProduct<'a> {
    pub(super) form: &'a Form,
    pub(super) operands: &'a Operands,
    pub(super) accumulate: bool,
    /// Which warp of the warpgroup.
    pub(super) member: usize,
    pub(super) registers: &'a mut [Lanes<u32>],
}

impl Work for WarpProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Eight>(self) {
        /// The longest k of any form, and two groups of eight rows.
        const LONGEST: usize = 2 * 32;
        let WarpProduct {
            form,
            operands,
            accumulate,
            member,
            registers,
        } = self;
        let (k, per_line) = (form.k(), form.a.per_line());
        let mut fragment = [[0.0; CORE_LINES]; LONGEST];
        let rows = match form.a_source {
            Source::Shared(_) => &operands.a[2 * member * k..][..2 * k],
            Source::Registers(a) => {
                // As in the fragments of mma: registers 0 and 1 are the two groups of rows, 2 and 3 the next step of k.
                for (at, register) in a.into_iter().enumerate() {
                    let rows = &mut fragment[at % 2 * k + at / 2 * per_line..][..per_line];
                    unpack(form.a, Lines::Rows, &registers[register as usize], rows);
                }
                if form.negated {
                    negate(&mut fragment);
                }
                &fragment[..2 * k]
            }
        };
        for (columns, b) in operands.b.chunks_exact(k).enumerate() {
            for (upper, a) in rows.chunks_exact(k).enumerate() {
                let tile = form.tile(columns, upper);
                let (first, last) = (tile[0] as usize, tile[tile.len() - 1] as usize);
                let start = accumulate.then(|| [&registers[first], &registers[last]]);
                let [even, odd] = multiply::<V>(form.accumulator, form.accumulator, start, a, b);
                // Of a tile in one register the second is not looked at.
                registers[last] = odd;
                registers[first] = even;
            }
        }
    }
}
