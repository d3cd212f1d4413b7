//! State tokens: what an arrival returns and a wait takes.

use super::object::Mbarrier;

/// The state of an mbarrier object before an arrival. On a GPU the 64 bits are opaque.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// The object: its agent.
    pub object: u16,
    /// The phase of the arrival, modulo 2^28.
    pub phase: u32,
    /// Arrivals that the phase waited for.
    pub pending: u32,
}

const PENDING_BITS: u32 = 20;
const PHASE_BITS: u32 = 28;

impl Token {
    pub fn of(object: &Mbarrier) -> Self {
        let phase = (object.phase() & ((1 << PHASE_BITS) - 1)) as u32;
        Token {
            object: object.agent(),
            phase,
            pending: object.pending(),
        }
    }

    pub fn to_bits(self) -> u64 {
        u64::from(self.object) << (PHASE_BITS + PENDING_BITS)
            | u64::from(self.phase) << PENDING_BITS
            | u64::from(self.pending)
    }

    pub fn from_bits(bits: u64) -> Self {
        Token {
            object: (bits >> (PHASE_BITS + PENDING_BITS)) as u16,
            phase: (bits >> PENDING_BITS) as u32 & ((1 << PHASE_BITS) - 1),
            pending: bits as u32 & ((1 << PENDING_BITS) - 1),
        }
    }
}
