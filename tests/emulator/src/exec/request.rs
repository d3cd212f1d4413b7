//! Requests: what all active lanes read or write with one instruction, a [`Row`] each.

use super::{Order, Step, sectors, waves};
use crate::fault::{FaultKind, Stop};
use crate::isa::{Lanes, Space};
use crate::lanes::{lanes, lanes_where};
use crate::memory::{LOCAL_WINDOW, PARAMETER_WINDOW, Row, SHARED_WINDOW, WINDOW_BYTES};
use crate::race::COLLECTIVE;

/// One memory request of a warp.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Bytes a lane, a power of two; also the alignment that addresses must have.
    pub bytes: usize,
    /// Part in the memory model.
    pub order: Order,
    /// Whether it goes past the coherent caches (`ld.global.nc`): only what the kernel never writes may be read so.
    pub constant: bool,
    /// Whether it counts as a request here: constants, arguments of functions and texts do not, and matrices are counted one by
    /// one.
    pub counted: bool,
    /// Whether it is one access of the whole warp, so that its lanes need no order among themselves.
    pub collective: bool,
}

impl Step<'_> {
    /// Reads a row for each active lane.
    ///
    /// # Errors
    /// When an address is misaligned or in no memory.
    #[inline]
    pub fn read<const W: usize>(
        &mut self,
        space: Space,
        addresses: &Lanes<u64>,
        request: &Request,
        rows: &mut Lanes<Row<W>>,
    ) -> Result<(), Stop> {
        match space {
            Space::Global => self.read_global(addresses, request, rows),
            Space::Shared | Space::Cluster => {
                self.read_shared(self.active, addresses, request, rows)
            }
            Space::Local => self.read_local(addresses, request, rows),
            Space::Parameter => self.read_parameters(addresses, request, rows),
            Space::Generic => self.by_window(addresses, |step, space, addresses| {
                step.read(space, addresses, request, rows)
            }),
        }
    }

    /// Writes the row of each active lane.
    ///
    /// # Errors
    /// When an address is misaligned or in no memory that can be written.
    #[inline]
    pub fn write<const W: usize>(
        &mut self,
        space: Space,
        addresses: &Lanes<u64>,
        request: &Request,
        rows: &Lanes<Row<W>>,
    ) -> Result<(), Stop> {
        match space {
            Space::Global => self.write_global(addresses, request, rows),
            Space::Shared | Space::Cluster => {
                self.write_shared(self.active, addresses, request, rows)
            }
            Space::Local => self.write_local(addresses, request, rows),
            Space::Parameter => {
                let lane = self.active.trailing_zeros() as usize;
                Err(self.fault(
                    FaultKind::OutOfBounds,
                    lane,
                    "write to the kernel's parameters".into(),
                ))
            }
            Space::Generic => self.by_window(addresses, |step, space, addresses| {
                step.write(space, addresses, request, rows)
            }),
        }
    }

    /// Does `one` for the lanes of each state space that generic addresses fall into, with addresses of that space.
    ///
    /// # Errors
    /// Those of `one`.
    pub fn by_window(
        &mut self,
        addresses: &Lanes<u64>,
        mut one: impl FnMut(&mut Self, Space, &Lanes<u64>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let all = self.active;
        let mut rest = all;
        while rest != 0 {
            let (space, base) = window(addresses[rest.trailing_zeros() as usize]);
            let here = lanes_where(rest, |lane| window(addresses[lane]).0 == space);
            rest &= !here;
            self.active = here;
            let done = one(
                self,
                space,
                &addresses.map(|address| address.wrapping_sub(base)),
            );
            self.active = all;
            done?;
        }
        Ok(())
    }

    /// Reads rows of shared memory for the lanes of `active`.
    ///
    /// # Errors
    /// When an address is misaligned or outside.
    #[inline]
    pub fn read_shared<const W: usize>(
        &mut self,
        active: u32,
        addresses: &Lanes<u64>,
        request: &Request,
        rows: &mut Lanes<Row<W>>,
    ) -> Result<(), Stop> {
        let Request {
            bytes,
            order,
            counted,
            collective,
            ..
        } = *request;
        let mut rest = active;
        while rest != 0 {
            let here = self.shared_rows(rest, addresses, bytes)?;
            rest &= !here.lanes;
            self.check_shared_reads(&here, order.strength(), collective);
            self.cluster.blocks[here.rank]
                .shared
                .rows(here.lanes, &here.offsets, bytes, rows);
            if order != Order::Plain {
                for lane in lanes(here.lanes) {
                    self.hear(self.shared_cell(here.place(lane)), order);
                }
            }
        }
        if counted {
            self.count_shared(active, addresses, bytes);
        }
        Ok(())
    }

    /// Writes rows of shared memory for the lanes of `active`.
    ///
    /// # Errors
    /// When an address is misaligned or outside.
    #[inline]
    pub fn write_shared<const W: usize>(
        &mut self,
        active: u32,
        addresses: &Lanes<u64>,
        request: &Request,
        rows: &Lanes<Row<W>>,
    ) -> Result<(), Stop> {
        let Request {
            bytes,
            order,
            counted,
            collective,
            ..
        } = *request;
        let writers = self.writers(active, addresses, order, rows);
        let mut rest = active;
        while rest != 0 {
            let mut here = self.shared_rows(rest, addresses, bytes)?;
            rest &= !here.lanes;
            here.lanes &= writers;
            self.check_shared_writes(&here, order.strength(), collective);
            if order != Order::Plain {
                for lane in lanes(here.lanes) {
                    self.publish(self.shared_cell(here.place(lane)), order);
                }
            }
            self.cluster.blocks[here.rank]
                .shared
                .set_rows(here.lanes, &here.offsets, bytes, rows);
        }
        self.cluster.effects += 1;
        if counted {
            self.count_shared(active, addresses, bytes);
        }
        Ok(())
    }

    #[inline]
    fn read_global<const W: usize>(
        &mut self,
        addresses: &Lanes<u64>,
        request: &Request,
        rows: &mut Lanes<Row<W>>,
    ) -> Result<(), Stop> {
        let Request {
            bytes,
            order,
            constant,
            counted,
            collective,
        } = *request;
        let mut rest = self.active;
        while rest != 0 {
            let here = self.global_rows(rest, addresses, bytes)?;
            rest &= !here.lanes;
            self.check_global_reads(&here, order.strength(), collective);
            if constant {
                self.check_never_written(&here);
            }
            self.launch.memory.allocation(here.allocation).rows(
                here.lanes,
                &here.offsets,
                bytes,
                rows,
            );
        }
        if order != Order::Plain {
            for lane in self.lanes() {
                self.hear(addresses[lane], order);
            }
        }
        if counted {
            self.counters.global_load_requests += 1;
            self.counters.global_load_sectors += sectors(addresses, self.active);
            self.counters.global_load_bytes += self.bytes_moved(bytes);
        }
        Ok(())
    }

    #[inline]
    fn write_global<const W: usize>(
        &mut self,
        addresses: &Lanes<u64>,
        request: &Request,
        rows: &Lanes<Row<W>>,
    ) -> Result<(), Stop> {
        let Request {
            bytes,
            order,
            collective,
            ..
        } = *request;
        let writers = self.writers(self.active, addresses, order, rows);
        let mut rest = self.active;
        while rest != 0 {
            let mut here = self.global_rows(rest, addresses, bytes)?;
            rest &= !here.lanes;
            here.lanes &= writers;
            self.check_global_writes(&here, order.strength(), collective);
            if order != Order::Plain {
                for lane in lanes(here.lanes) {
                    self.publish(addresses[lane], order);
                }
            }
            self.launch.memory.allocation(here.allocation).set_rows(
                here.lanes,
                &here.offsets,
                bytes,
                rows,
            );
        }
        self.cluster.effects += 1;
        self.counters.global_store_requests += 1;
        self.counters.global_store_sectors += sectors(addresses, self.active);
        self.counters.global_store_bytes += self.bytes_moved(bytes);
        Ok(())
    }

    /// The lanes whose rows are stored: the last of those that name one address. That they write different values is a race.
    fn writers<const W: usize>(
        &mut self,
        active: u32,
        addresses: &Lanes<u64>,
        order: Order,
        rows: &Lanes<Row<W>>,
    ) -> u32 {
        let Some(last) = last_of_each(addresses, active) else {
            return active;
        };
        let mut writers = 0;
        for lane in lanes(active) {
            let writer = last[lane] as usize;
            writers |= 1 << writer;
            if order == Order::Plain && rows[lane] != rows[writer] {
                let message = format!(
                    "lanes {lane} and {writer} write different values to one address, {:#x}",
                    addresses[lane]
                );
                self.report(FaultKind::Race, lane, message);
            }
        }
        writers
    }

    /// Counts a request to shared memory.
    pub fn count_shared(&mut self, active: u32, addresses: &Lanes<u64>, bytes: usize) {
        let (needed, ideal) = waves(addresses, active, bytes as u64);
        self.counters.shared_requests += 1;
        self.counters.shared_waves += needed;
        self.counters.shared_ideal_waves += ideal;
    }

    pub(super) fn bytes_moved(&self, bytes: usize) -> u64 {
        u64::from(self.active.count_ones()) * bytes as u64
    }
}

/// State space of a generic address, and what to subtract for the address within it. Parameters keep their window.
fn window(address: u64) -> (Space, u64) {
    match address / WINDOW_BYTES * WINDOW_BYTES {
        SHARED_WINDOW => (Space::Cluster, SHARED_WINDOW),
        LOCAL_WINDOW => (Space::Local, LOCAL_WINDOW),
        PARAMETER_WINDOW => (Space::Parameter, 0),
        _ => (Space::Global, 0),
    }
}

/// For each active lane the last active one with the same address; `None` where all addresses differ.
fn last_of_each(addresses: &Lanes<u64>, active: u32) -> Option<Lanes<u8>> {
    let mut before = None;
    if lanes(active).all(|lane| {
        before
            .replace(addresses[lane])
            .is_none_or(|before| before < addresses[lane])
    }) {
        return None;
    }
    const SLOTS: usize = 64;
    let mut slots = [COLLECTIVE; SLOTS];
    let mut last = [0; 32];
    let mut repeated = false;
    let mut order = active;
    while order != 0 {
        let lane = 31 - order.leading_zeros() as usize;
        order &= !(1 << lane);
        let mut slot = (addresses[lane].wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize;
        while slots[slot] != COLLECTIVE && addresses[slots[slot] as usize] != addresses[lane] {
            slot = (slot + 1) % SLOTS;
        }
        if slots[slot] == COLLECTIVE {
            slots[slot] = lane as u8;
        } else {
            repeated = true;
        }
        last[lane] = slots[slot];
    }
    repeated.then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_addresses_are_found_in_any_order() {
        let ascending: Lanes<u64> = std::array::from_fn(|lane| 8 * lane as u64);
        assert_eq!(last_of_each(&ascending, u32::MAX), None);
        let descending: Lanes<u64> = std::array::from_fn(|lane| 800 - 8 * lane as u64);
        assert_eq!(last_of_each(&descending, u32::MAX), None);
        let pairs: Lanes<u64> = std::array::from_fn(|lane| 8 * (lane as u64 % 16));
        assert_eq!(last_of_each(&pairs, 0xffff), None);
        let last = last_of_each(&pairs, u32::MAX).unwrap();
        assert!((0..32).all(|lane| last[lane] as usize == lane % 16 + 16));
        let same = last_of_each(&[64; 32], 0b1011).unwrap();
        assert_eq!([same[0], same[1], same[3]], [3, 3, 3]);
    }
}
