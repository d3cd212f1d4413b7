//! Copies and fills, and how they are done when the stream gets there.

use std::sync::Arc;

use super::entry::HostPointer;
use super::error::{Code, Failure, misuse};
use super::state::Driver;
use crate::memory::Allocation;

/// A copy of `height` rows of `width` bytes.
#[derive(Clone, Debug)]
pub struct Copy {
    /// From.
    pub from: Source,
    /// To.
    pub to: Target,
    /// Bytes of a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// Where a copy reads.
#[derive(Clone, Debug)]
pub enum Source {
    /// Device address of the first row, and bytes from row to row.
    Device(u64, usize),
    /// Host memory, read when the copy runs.
    Host(HostRows),
    /// The packed rows as they were at the call.
    Staged(Arc<Vec<u8>>),
}

/// Where a copy writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Device address of the first row, and bytes from row to row.
    Device(u64, usize),
    /// Host memory.
    Host(HostRows),
}

/// Rows of host memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostRows {
    /// The first row.
    pub first: HostPointer,
    /// Bytes from row to row.
    pub pitch: usize,
    /// Page-locked at the call: it must still be when the copy runs.
    pub locked: bool,
}

impl HostRows {
    /// A row.
    ///
    /// # Safety
    /// The rows may be read, and nothing changes them during the call.
    pub unsafe fn row<'a>(&self, number: usize, width: usize) -> &'a [u8] {
        let row = self.first.0.wrapping_byte_add(number * self.pitch);
        // SAFETY: as promised by the caller.
        unsafe { std::slice::from_raw_parts(row.cast(), width) }
    }
}

/// Bytes of `height` rows from the first to the last.
pub fn extent(pitch: usize, width: usize, height: usize) -> Result<usize, Failure> {
    if height > 1 && pitch < width {
        let message = format!("rows of {width} bytes, only {pitch} bytes apart");
        return Err(misuse(Code::InvalidValue, message));
    }
    let before = height.saturating_sub(1).checked_mul(pitch);
    let extent = before.and_then(|before| before.checked_add(width));
    extent.ok_or_else(|| {
        let message = format!("{height} rows of {width} bytes, {pitch} apart, fit into no memory");
        misuse(Code::InvalidValue, message)
    })
}

/// The device memory of a row; it was there at the call, and may be gone now.
fn locate(driver: &Driver, address: u64, bytes: usize) -> Result<(&Allocation, u64), Failure> {
    driver.locate(address, bytes as u64).map_err(|error| {
        let message = format!("{bytes} bytes at {address:#x} when the stream gets there: {error}");
        misuse(Code::IllegalAddress, message)
    })
}

impl Copy {
    /// Its two sides in host memory.
    fn host_sides(&self) -> impl Iterator<Item = HostRows> {
        let from = if let Source::Host(rows) = self.from {
            Some(rows)
        } else {
            None
        };
        let to = if let Target::Host(rows) = self.to {
            Some(rows)
        } else {
            None
        };
        from.into_iter().chain(to)
    }

    /// Whether it reads or writes any of the `bytes` bytes of host memory at `first`.
    pub fn uses_host(&self, first: usize, bytes: usize) -> bool {
        self.host_sides().any(|rows| {
            let begin = rows.first.0.addr();
            let extent = extent(rows.pitch, self.width, self.height).unwrap_or(usize::MAX);
            begin < first + bytes && first < begin.saturating_add(extent)
        })
    }

    /// Copies.
    pub fn execute(&self, driver: &Driver) -> Result<(), Failure> {
        for rows in self.host_sides().filter(|rows| rows.locked) {
            let bytes = extent(rows.pitch, self.width, self.height)?;
            if driver.host_memory.is_locked(rows.first.0, bytes) != Ok(true) {
                let message = format!(
                    "{bytes} bytes at {:?} are not page-locked any more",
                    rows.first.0
                );
                return Err(misuse(Code::IllegalAddress, message));
            }
        }
        (0..self.height).try_for_each(|row| self.copy_row(row, driver))
    }

    fn copy_row(&self, row: usize, driver: &Driver) -> Result<(), Failure> {
        let device_row =
            |base, pitch: usize| locate(driver, base + (row * pitch) as u64, self.width);
        match (&self.from, self.to) {
            (&Source::Device(from, from_pitch), Target::Device(to, to_pitch)) => {
                let (from, from_offset) = device_row(from, from_pitch)?;
                let (to, offset) = device_row(to, to_pitch)?;
                to.copy_from(offset, from, from_offset, self.width as u64);
            }
            (&Source::Device(from, pitch), Target::Host(to)) => {
                let (from, offset) = device_row(from, pitch)?;
                let mut bytes = vec![0; self.width];
                from.read(offset, &mut bytes);
                self.write_to_host(to, row, &bytes);
            }
            (from, Target::Device(to, pitch)) => {
                let (to, offset) = device_row(to, pitch)?;
                to.write(offset, self.row_of_host(from, row));
            }
            (from, Target::Host(to)) => self.write_to_host(to, row, self.row_of_host(from, row)),
        }
        Ok(())
    }

    /// A row of a source that is no device memory.
    fn row_of_host<'a>(&self, from: &'a Source, row: usize) -> &'a [u8] {
        match from {
            // SAFETY: the program passed this source to be read when the stream gets here, and keeps it until then.
            Source::Host(rows) => unsafe { rows.row(row, self.width) },
            Source::Staged(bytes) => &bytes[row * self.width..][..self.width],
            Source::Device(..) => unreachable!("device memory is read through its allocation"),
        }
    }

    fn write_to_host(&self, to: HostRows, row: usize, bytes: &[u8]) {
        let target = to.first.0.wrapping_byte_add(row * to.pitch).cast();
        // SAFETY: the program passed this target to be written when the stream gets here, and keeps it until then. Source
        // and target may overlap: the program may copy within host memory.
        unsafe { std::ptr::copy(bytes.as_ptr(), target, self.width) };
    }
}

/// Fills device memory with a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// First byte.
    pub address: u64,
    /// The repeated value.
    pub pattern: u32,
    /// Its size: 1, 2 or 4 bytes.
    pub pattern_bytes: usize,
    /// Bytes to fill.
    pub bytes: usize,
}

impl Fill {
    /// Bytes written at once.
    const CHUNK: usize = 1 << 16;

    /// Fills.
    pub fn execute(&self, driver: &Driver) -> Result<(), Failure> {
        let pattern = &self.pattern.to_le_bytes()[..self.pattern_bytes];
        let chunk = pattern.repeat(self.bytes.min(Self::CHUNK).div_ceil(self.pattern_bytes));
        let (memory, offset) = locate(driver, self.address, self.bytes)?;
        for at in (0..self.bytes).step_by(chunk.len()) {
            memory.write(
                offset + at as u64,
                &chunk[..chunk.len().min(self.bytes - at)],
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_knows_the_host_memory_it_touches() {
        let first = HostPointer(std::ptr::without_provenance_mut(0x1000));
        let rows = HostRows {
            first,
            pitch: 0x100,
            locked: true,
        };
        let copy = Copy {
            from: Source::Device(0, 0),
            to: Target::Host(rows),
            width: 0x10,
            height: 3,
        };
        assert_eq!(extent(0x100, 0x10, 3).unwrap(), 0x210);
        for (first, bytes, used) in [
            (0x0, 0x1000, false),
            (0x0, 0x1001, true),
            (0x120f, 1, true),
            (0x1210, 9, false),
        ] {
            assert_eq!(copy.uses_host(first, bytes), used, "{first:#x} {bytes:#x}");
        }
        assert!(extent(8, 16, 2).is_err() && extent(0, 16, 1).is_ok());
        assert!(extent(usize::MAX, 16, 3).is_err());
    }
}
