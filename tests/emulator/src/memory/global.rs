//! A device's global memory: allocations at addresses that are never given twice, with red zones between them.

use std::sync::Arc;

use super::Allocation;

/// Every allocation begins at a multiple of this, as on a GPU.
const ALIGNMENT: u64 = 256;

/// At least this many bytes behind every allocation belong to nobody.
const RED_ZONE: u64 = 256;

/// No memory left: bytes asked for and free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{asked} bytes asked for, {free} free")]
pub struct OutOfMemory {
    /// Bytes asked for.
    pub asked: u64,
    /// Bytes free.
    pub free: u64,
}

/// Why an address range is not inside one allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The range begins in an allocation and ends behind it, or begins right behind it.
    #[error("{past} bytes past the end of the allocation of {bytes} bytes at {base:#x}")]
    PastEnd {
        /// Distance of the range's end from the allocation's end.
        past: u64,
        /// The allocation.
        base: u64,
        /// Its size.
        bytes: u64,
    },
    /// The range lies in memory that was freed.
    #[error("inside the allocation of {bytes} bytes at {base:#x}, which was freed")]
    Freed {
        /// The freed allocation.
        base: u64,
        /// Its size.
        bytes: u64,
    },
    /// Nothing is or was near.
    #[error("no allocation is near this address")]
    Unmapped,
}

/// Global memory of one device.
#[derive(Debug)]
pub struct GlobalMemory {
    capacity: u64,
    used: u64,
    next: u64,
    view: View,
}

/// The allocations at one moment, sorted by address: what a launch sees.
#[derive(Clone, Debug, Default)]
pub struct View {
    live: Vec<Arc<Allocation>>,
    /// Base and size of freed allocations, sorted.
    freed: Vec<(u64, u64)>,
}

/// Indices of the allocations found last: the next access is usually to one of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hint {
    indices: [usize; 4],
    /// Which of them the next find replaces.
    oldest: usize,
}

/// An address range resolved: allocation number within the view, and offset within the allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index for [`View::allocation`].
    pub allocation: usize,
    /// Offset in bytes.
    pub offset: u64,
}

impl GlobalMemory {
    /// Memory of `capacity` bytes; its addresses begin at `base`.
    pub fn new(base: u64, capacity: u64) -> Self {
        GlobalMemory {
            capacity,
            used: 0,
            next: base,
            view: View::default(),
        }
    }

    /// Allocates `bytes` (at least one) bytes; gives the device address.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn allocate(&mut self, bytes: u64) -> Result<u64, OutOfMemory> {
        let free = self.capacity - self.used;
        if bytes > free {
            return Err(OutOfMemory { asked: bytes, free });
        }
        let base = self.next;
        self.next = (base + bytes + RED_ZONE).next_multiple_of(ALIGNMENT);
        self.used += bytes;
        self.view.live.push(Arc::new(Allocation::new(base, bytes)));
        Ok(base)
    }

    /// Frees the allocation that begins at `address`.
    ///
    /// # Errors
    /// When none begins there.
    pub fn free(&mut self, address: u64) -> Result<(), AddressError> {
        let Ok(at) = self
            .view
            .live
            .binary_search_by_key(&address, |allocation| allocation.base())
        else {
            return Err(match self.view.find(address, 1, &mut Hint::default()) {
                Err(error) => error,
                Ok(_) => AddressError::Unmapped,
            });
        };
        let freed = self.view.live.remove(at);
        self.used -= freed.bytes();
        let entry = (freed.base(), freed.bytes());
        let at = self.view.freed.partition_point(|&(base, _)| base < entry.0);
        self.view.freed.insert(at, entry);
        Ok(())
    }

    /// Total and free bytes.
    pub fn capacity(&self) -> (u64, u64) {
        (self.capacity, self.capacity - self.used)
    }

    /// The allocations as they are now.
    pub fn view(&self) -> &View {
        &self.view
    }
}

impl View {
    /// The allocation that holds the `bytes` bytes at `address`.
    ///
    /// # Errors
    /// When they are not inside one allocation.
    #[inline]
    pub fn find(&self, address: u64, bytes: u64, hint: &mut Hint) -> Result<Place, AddressError> {
        for index in hint.indices {
            if let Some(allocation) = self.live.get(index) {
                let offset = address.wrapping_sub(allocation.base());
                if offset < allocation.bytes() && bytes <= allocation.bytes() - offset {
                    return Ok(Place {
                        allocation: index,
                        offset,
                    });
                }
            }
        }
        self.search(address, bytes, hint)
    }

    /// An allocation of this view.
    #[inline]
    pub fn allocation(&self, index: usize) -> &Allocation {
        &self.live[index]
    }

    /// Number of allocations.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether there is no allocation.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    fn search(&self, address: u64, bytes: u64, hint: &mut Hint) -> Result<Place, AddressError> {
        let after = self
            .live
            .partition_point(|allocation| allocation.base() <= address);
        let mut past_end = None;
        if let Some(index) = after.checked_sub(1) {
            let allocation = &self.live[index];
            let offset = address - allocation.base();
            let end = offset.saturating_add(bytes);
            if end <= allocation.bytes() {
                hint.indices[hint.oldest] = index;
                hint.oldest = (hint.oldest + 1) % hint.indices.len();
                return Ok(Place {
                    allocation: index,
                    offset,
                });
            }
            if offset < allocation.bytes() + RED_ZONE {
                past_end = Some(AddressError::PastEnd {
                    past: end - allocation.bytes(),
                    base: allocation.base(),
                    bytes: allocation.bytes(),
                });
            }
        }
        let before = self.freed.partition_point(|&(base, _)| base <= address);
        if let Some(&(base, size)) = before.checked_sub(1).map(|index| &self.freed[index])
            && address - base < size
        {
            return Err(AddressError::Freed { base, bytes: size });
        }
        Err(past_end.unwrap_or(AddressError::Unmapped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_or_explained() {
        let mut memory = GlobalMemory::new(0x1_0000, 1 << 20);
        let first = memory.allocate(100).unwrap();
        let second = memory.allocate(1000).unwrap();
        let mut hint = Hint::default();
        let place = memory.view().find(second + 996, 4, &mut hint).unwrap();
        assert_eq!(
            place,
            Place {
                allocation: 1,
                offset: 996
            }
        );
        assert_eq!(
            memory.view().find(first + 98, 4, &mut hint),
            Err(AddressError::PastEnd {
                past: 2,
                base: first,
                bytes: 100
            })
        );
        assert_eq!(
            memory.view().find(0, 4, &mut hint),
            Err(AddressError::Unmapped)
        );
        memory.free(first).unwrap();
        assert_eq!(
            memory.view().find(first + 8, 4, &mut hint),
            Err(AddressError::Freed {
                base: first,
                bytes: 100
            })
        );
        assert!(memory.free(first).is_err() && memory.free(second + 4).is_err());
        let third = memory.allocate(100).unwrap();
        assert!(third > second);
        assert_eq!(
            memory.allocate(1 << 20),
            Err(OutOfMemory {
                asked: 1 << 20,
                free: (1 << 20) - 1100
            })
        );
    }
}
