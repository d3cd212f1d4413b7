//! Races in words.

use super::{Launch, Step};
use crate::fault::FaultKind;
use crate::race::{Conflict, ConflictKind};

impl Step<'_> {
    /// Reports a race of this instruction with an earlier access.
    #[cold]
    pub fn race(&mut self, lane: usize, memory: &str, conflict: Conflict) {
        let message = race_message(memory, &conflict, self.launch, self.cluster.number);
        self.report(FaultKind::Race, lane, message);
    }
}

/// What a race report says.
pub(crate) fn race_message(
    memory: &str,
    conflict: &Conflict,
    launch: &Launch<'_>,
    cluster: u32,
) -> String {
    let what = match conflict.kind {
        ConflictKind::ReadAfterWrite => "read of what another wrote",
        ConflictKind::WriteAfterWrite => "write over what another wrote",
        ConflictKind::WriteAfterRead => "write over what another reads",
    };
    let place = &launch.kernel.locations[conflict.with.pc as usize];
    let who = if conflict.within_warp {
        "another lane of the warp, with no __syncwarp between".to_owned()
    } else if conflict.with.cluster != cluster {
        format!("block or cluster {}", conflict.with.cluster)
    } else {
        launch.agents().describe(conflict.with.agent)
    };
    format!(
        "{memory} at offset {:#x}: {what} with nothing to order the two; the other: {who}, at {} `{}`",
        conflict.offset, place.source, place.text
    )
}
