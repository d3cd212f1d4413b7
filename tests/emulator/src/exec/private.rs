//! Requests to memory that no other thread writes: local memory, and the kernel's parameters.

use super::{Request, Step};
use crate::fault::{FaultKind, Stop};
use crate::isa::Lanes;
use crate::memory::{PARAMETER_WINDOW, Row};

impl Step<'_> {
    pub(super) fn read_local<const W: usize>(
        &mut self,
        addresses: &Lanes<u64>,
        request: &Request,
        rows: &mut Lanes<Row<W>>,
    ) -> Result<(), Stop> {
        let bytes = request.bytes;
        let mut unwritten = None;
        for lane in self.lanes() {
            self.check_alignment(lane, "local", addresses[lane], bytes)?;
            let Some((data, written)) = self.warp.local.read(lane, addresses[lane] as usize, bytes)
            else {
                return Err(self.local_out_of_bounds(lane, addresses[lane], bytes));
            };
            let mut padded = [[0; 8]; W];
            padded.as_flattened_mut()[..bytes].copy_from_slice(data);
            rows[lane] = padded.map(u64::from_le_bytes);
            if !written {
                unwritten = unwritten.or(Some(lane));
            }
        }
        if let Some(lane) = unwritten {
            let message = format!(
                "read of {bytes} bytes of local memory at {:#x}, some of which were never written",
                addresses[lane]
            );
            self.report(FaultKind::Uninitialised, lane, message);
        }
        if request.counted {
            self.counters.local_bytes += self.bytes_moved(bytes);
        }
        Ok(())
    }

    pub(super) fn write_local<const W: usize>(
        &mut self,
        addresses: &Lanes<u64>,
        request: &Request,
        rows: &Lanes<Row<W>>,
    ) -> Result<(), Stop> {
        let bytes = request.bytes;
        for lane in self.lanes() {
            self.check_alignment(lane, "local", addresses[lane], bytes)?;
            let data = rows[lane].map(u64::to_le_bytes);
            if self
                .warp
                .local
                .write(
                    lane,
                    addresses[lane] as usize,
                    &data.as_flattened()[..bytes],
                )
                .is_none()
            {
                return Err(self.local_out_of_bounds(lane, addresses[lane], bytes));
            }
        }
        if request.counted {
            self.counters.local_bytes += self.bytes_moved(bytes);
        }
        Ok(())
    }

    pub(super) fn read_parameters<const W: usize>(
        &mut self,
        addresses: &Lanes<u64>,
        request: &Request,
        rows: &mut Lanes<Row<W>>,
    ) -> Result<(), Stop> {
        let bytes = request.bytes;
        for lane in self.lanes() {
            let offset = addresses[lane].wrapping_sub(PARAMETER_WINDOW) as usize;
            self.check_alignment(lane, "parameter", offset as u64, bytes)?;
            let Some(data) = offset
                .checked_add(bytes)
                .and_then(|end| self.launch.parameters.get(offset..end))
            else {
                let size = self.launch.parameters.len();
                let message = format!(
                    "{bytes} bytes at offset {offset:#x} of the kernel's {size} bytes of parameters"
                );
                return Err(self.fault(FaultKind::OutOfBounds, lane, message));
            };
            let mut padded = [[0; 8]; W];
            padded.as_flattened_mut()[..bytes].copy_from_slice(data);
            rows[lane] = padded.map(u64::from_le_bytes);
        }
        Ok(())
    }

    fn check_alignment(
        &self,
        lane: usize,
        space: &str,
        address: u64,
        bytes: usize,
    ) -> Result<(), Stop> {
        if address.is_multiple_of(bytes as u64) {
            return Ok(());
        }
        Err(self.fault(
            FaultKind::Misaligned,
            lane,
            format!("{space} address {address:#x} is no multiple of {bytes}"),
        ))
    }

    #[cold]
    fn local_out_of_bounds(&self, lane: usize, address: u64, bytes: usize) -> Stop {
        let size = self.warp.local.per_lane() as u64;
        let past = address.saturating_add(bytes as u64) - size;
        let message = format!(
            "{bytes} bytes at local address {address:#x}: {past} bytes past the thread's {size} bytes of local memory"
        );
        self.fault(FaultKind::OutOfBounds, lane, message)
    }
}
