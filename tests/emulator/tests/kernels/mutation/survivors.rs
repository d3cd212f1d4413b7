//! The deletions that nothing notices, each with the reason.

/// A deletion that is not found.
pub struct Survivor {
    /// The kernel.
    pub kernel: &'static str,
    /// `file.cu:line` of the outermost call.
    pub place: &'static str,
    /// Why nothing can notice, or why it does not matter.
    #[expect(dead_code, reason = "for the reader of the list")]
    pub reason: &'static str,
}

/// All of them.
pub const SURVIVORS: &[Survivor] = &[
    Survivor {
        kernel: "gemm_multicast",
        place: "gemm_multicast.cu:95",
        reason: "the lanes of the producing warp come together at the aligned cluster barrier that follows in any case: \
                 on the stand-in always, on hardware only with this",
    },
    Survivor {
        kernel: "layer_norm",
        place: "layer_norm.cu:46",
        reason: "before the first of two sums nobody has used the shared memory",
    },
    Survivor {
        kernel: "reduce_last_block",
        place: "reduce.cu:37",
        reason: "after the last round only lane 0 goes on, with what it wrote itself",
    },
    Survivor {
        kernel: "reduce_last_block",
        place: "reduce.cu:50",
        reason: "as before, in the second sum",
    },
    Survivor {
        kernel: "remote_arrival",
        place: "micro_cluster.cu:49",
        reason: "the cluster barrier that follows orders the initialisation as well; the asynchronous proxy, which \
                 needs the fence, is not used",
    },
    Survivor {
        kernel: "remote_arrival",
        place: "micro_cluster.cu:64",
        reason: "the block that is written to waits for the other's arrival and so outlives it anyway",
    },
];
