//! Race detection: who happened before whom.
//!
//! Every warp is an *agent* with a vector clock; asynchronous engines (`cp.async`, TMA, `wgmma`, bulk stores) are agents of
//! their own. An access becomes an [`Event`] of its agent at its clock; [`Shadow`] memory remembers, for each granule, the
//! last write and the reads since. Barriers, fences with flags, and completion mechanisms join clocks. Two accesses, one a
//! write, are a race when the later one's clock does not cover the earlier event.

mod adaptive;
mod cache;
mod clock;
mod log;
mod readers;
mod shadow;

pub use adaptive::AdaptiveShadow;
pub use cache::Cache;
pub use clock::Clock;
pub use log::{Event, EventId, EventLog, Strength};
pub use readers::{Readers, SetId};
pub use shadow::{Access, Conflict, ConflictKind, Landed, Shadow};

/// Index of an agent within its cluster (see [`crate::exec::Agents`]).
pub type Agent = u16;

/// The lane of a warp-collective access: ordered with all lanes of its warp.
pub const COLLECTIVE: u8 = 0xff;
