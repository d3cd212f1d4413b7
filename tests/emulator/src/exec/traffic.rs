//! What requests cost on hardware: sectors of global memory, waves of shared memory.

use crate::isa::Lanes;
use crate::lanes::lanes;

/// Banks of shared memory, four bytes wide each.
const BANKS: usize = 32;

/// 32-byte sectors that a request touches: `bytes` bytes (at most 32, aligned) at each active lane's address.
pub fn sectors(addresses: &Lanes<u64>, active: u32) -> u64 {
    if active == u32::MAX && addresses.is_sorted() {
        // The usual case: each sector is counted where it begins.
        return 1
            + (1..32)
                .map(|lane| u64::from(addresses[lane] / 32 != addresses[lane - 1] / 32))
                .sum::<u64>();
    }
    let mut seen = [0u64; 32];
    let mut count = 0;
    let mut highest = 0;
    for lane in lanes(active) {
        // One above the sector's number, so that 0 means none.
        let sector = addresses[lane] / 32 + 1;
        if sector > highest {
            highest = sector;
        } else if sector == highest || seen[..count].contains(&sector) {
            continue;
        }
        seen[count] = sector;
        count += 1;
    }
    count as u64
}

/// Waves that a shared-memory request needs, and the fewest that its bytes could need. 8- and 16-byte accesses are served
/// by half and quarter warps; lanes that name the same word share it.
pub fn waves(addresses: &Lanes<u64>, active: u32, bytes: u64) -> (u64, u64) {
    if bytes <= 4 && within_a_wave(addresses, active) {
        return (1, 1);
    }
    let group = (128 / bytes.max(4)).min(32) as usize;
    let mask = u32::MAX >> (32 - group);
    let (mut needed, mut ideal) = (0, 0);
    for first in (0..32).step_by(group) {
        let served = active & mask << first;
        if served != 0 {
            let (here, best) = match bytes {
                4..=16 if own_banks(addresses, served, bytes) => (1, 1),
                _ => group_waves(addresses, served, bytes),
            };
            needed += here;
            ideal += best;
        }
    }
    (needed, ideal)
}

/// Whether all addresses lie within 32 neighbouring words: the usual case of coalesced and of broadcast accesses.
fn within_a_wave(addresses: &Lanes<u64>, active: u32) -> bool {
    let first = addresses[active.trailing_zeros() as usize];
    let word = |lane: usize| {
        if active >> lane & 1 == 1 {
            addresses[lane] / 4
        } else {
            first / 4
        }
    };
    let (low, high) = (0..32).fold((first / 4, first / 4), |(low, high), lane| {
        (low.min(word(lane)), high.max(word(lane)))
    });
    high - low < BANKS as u64
}

/// Whether aligned accesses of 4, 8 or 16 bytes each have banks of their own.
fn own_banks(addresses: &Lanes<u64>, served: u32, bytes: u64) -> bool {
    let slots = 128 / bytes;
    let taken = lanes(served).fold(0u32, |taken, lane| {
        taken | 1 << (addresses[lane] / bytes % slots)
    });
    taken.count_ones() == served.count_ones()
}

fn group_waves(addresses: &Lanes<u64>, served: u32, bytes: u64) -> (u64, u64) {
    let mut first_word = [0u64; BANKS];
    let mut used = 0u32;
    // Words in a bank that serves another one already: rare, and then few.
    let mut extra = [0u64; 64];
    let mut extras = 0;
    let mut per_bank = [1u8; BANKS];
    let mut most = 1;
    for lane in lanes(served) {
        for word in addresses[lane] / 4..(addresses[lane] + bytes).div_ceil(4) {
            let bank = word as usize % BANKS;
            if used >> bank & 1 == 0 {
                used |= 1 << bank;
                first_word[bank] = word;
            } else if first_word[bank] != word && !extra[..extras].contains(&word) {
                extra[extras] = word;
                extras += 1;
                per_bank[bank] += 1;
                most = most.max(per_bank[bank]);
            }
        }
    }
    let words = u64::from(used.count_ones()) + extras as u64;
    (u64::from(most), words.div_ceil(BANKS as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strided(stride: u64) -> Lanes<u64> {
        std::array::from_fn(|lane| 1024 + lane as u64 * stride)
    }

    #[test]
    fn sectors_count_distinct_ones() {
        assert_eq!(sectors(&strided(4), u32::MAX), 4);
        assert_eq!(sectors(&strided(16), u32::MAX), 16);
        assert_eq!(sectors(&strided(128), u32::MAX), 32);
        assert_eq!(sectors(&strided(0), u32::MAX), 1);
        assert_eq!(sectors(&strided(128), 0b101), 2);
        // Lanes that jump back and forth between sectors.
        assert_eq!(
            sectors(&std::array::from_fn(|lane| [0, 96, 32][lane % 3]), u32::MAX),
            3
        );
        assert_eq!(
            sectors(
                &std::array::from_fn(|lane| 4000 - 4 * lane as u64),
                u32::MAX
            ),
            5
        );
    }

    #[test]
    fn waves_are_the_fullest_bank() {
        assert_eq!(waves(&strided(4), u32::MAX, 4), (1, 1));
        assert_eq!(waves(&strided(8), u32::MAX, 4), (2, 1));
        assert_eq!(waves(&strided(128), u32::MAX, 4), (32, 1));
        assert_eq!(waves(&strided(0), u32::MAX, 4), (1, 1));
        assert_eq!(waves(&strided(1), u32::MAX, 1), (1, 1));
        assert_eq!(waves(&strided(128), 1, 4), (1, 1));
        // A padded row keeps a column free of conflicts.
        assert_eq!(waves(&strided(132), u32::MAX, 4), (1, 1));
    }

    #[test]
    fn wide_accesses_are_served_in_parts() {
        assert_eq!(waves(&strided(8), u32::MAX, 8), (2, 2));
        assert_eq!(waves(&strided(16), u32::MAX, 16), (4, 4));
        assert_eq!(waves(&strided(128), u32::MAX, 16), (32, 4));
        assert_eq!(waves(&strided(32), u32::MAX, 16), (8, 4));
        assert_eq!(waves(&strided(16), 0xff, 16), (1, 1));
        assert_eq!(waves(&strided(16), 0xff00_00ff, 16), (2, 2));
    }

    #[test]
    fn a_word_in_a_busy_bank_counts_once() {
        // Two words of bank 0, each named by sixteen lanes.
        assert_eq!(
            waves(
                &std::array::from_fn(|lane| 1024 + 128 * (lane as u64 % 2)),
                u32::MAX,
                4
            ),
            (2, 1)
        );
    }
}
