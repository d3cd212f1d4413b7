//! Hardware counters of one launch, as plain numbers.

/// What one launch did. All counts are sums over its blocks; "request" is one warp instruction with at least one active lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counters {
    /// Instructions issued, per warp.
    pub warp_instructions: u64,
    /// Instructions executed, per thread.
    pub thread_instructions: u64,
    /// Warp instructions issued while the warp was split by a branch.
    pub divergent_instructions: u64,
    /// Global loads (`ld`, `cp.async`): requests.
    pub global_load_requests: u64,
    /// 32-byte sectors these requests touch, each counted once a request.
    pub global_load_sectors: u64,
    /// Bytes asked for by threads in global loads.
    pub global_load_bytes: u64,
    /// Global stores: requests.
    pub global_store_requests: u64,
    /// 32-byte sectors these requests touch.
    pub global_store_sectors: u64,
    /// Bytes written by threads in global stores.
    pub global_store_bytes: u64,
    /// Global atomics and reductions, per thread.
    pub global_atomics: u64,
    /// Shared-memory requests (`ld`, `st`, atomics; one a matrix for `ldmatrix` and `stmatrix`; not asynchronous copies).
    pub shared_requests: u64,
    /// Waves these requests need: 1 without bank conflict for up to 128 bytes, more where lanes hit one bank in different rows.
    pub shared_waves: u64,
    /// Waves that the same requests would need without any bank conflict.
    pub shared_ideal_waves: u64,
    /// Shared-memory atomics, per thread.
    pub shared_atomics: u64,
    /// Bytes of local memory moved: spills and arrays with run-time index.
    pub local_bytes: u64,
    /// 8x8 matrices moved by `ldmatrix` and `stmatrix`.
    pub matrices_moved: u64,
    /// `mma.sync` instructions, per warp; a `wmma.mma` counts as the two that it amounts to.
    pub mma: u64,
    /// `wgmma.mma_async` instructions, per warpgroup.
    pub wgmma: u64,
    /// Multiply-adds done by `mma.sync`, `wmma.mma` and `wgmma`.
    pub tensor_multiply_adds: u64,
    /// Bytes brought in by TMA and other bulk copies (a multicast counts once).
    pub bulk_load_bytes: u64,
    /// Bytes written to global memory by TMA and other bulk copies.
    pub bulk_store_bytes: u64,
    /// Barriers completed (`bar`, `barrier.cluster`), per block.
    pub barriers: u64,
    /// Blocks run.
    pub blocks: u64,
}

impl Counters {
    /// Adds the counts of another part of the same launch.
    pub fn add(&mut self, other: &Counters) {
        let Counters {
            warp_instructions,
            thread_instructions,
            divergent_instructions,
            global_load_requests,
            global_load_sectors,
            global_load_bytes,
            global_store_requests,
            global_store_sectors,
            global_store_bytes,
            global_atomics,
            shared_requests,
            shared_waves,
            shared_ideal_waves,
            shared_atomics,
            local_bytes,
            matrices_moved,
            mma,
            wgmma,
            tensor_multiply_adds,
            bulk_load_bytes,
            bulk_store_bytes,
            barriers,
            blocks,
        } = other;
        self.warp_instructions += warp_instructions;
        self.thread_instructions += thread_instructions;
        self.divergent_instructions += divergent_instructions;
        self.global_load_requests += global_load_requests;
        self.global_load_sectors += global_load_sectors;
        self.global_load_bytes += global_load_bytes;
        self.global_store_requests += global_store_requests;
        self.global_store_sectors += global_store_sectors;
        self.global_store_bytes += global_store_bytes;
        self.global_atomics += global_atomics;
        self.shared_requests += shared_requests;
        self.shared_waves += shared_waves;
        self.shared_ideal_waves += shared_ideal_waves;
        self.shared_atomics += shared_atomics;
        self.local_bytes += local_bytes;
        self.matrices_moved += matrices_moved;
        self.mma += mma;
        self.wgmma += wgmma;
        self.tensor_multiply_adds += tensor_multiply_adds;
        self.bulk_load_bytes += bulk_load_bytes;
        self.bulk_store_bytes += bulk_store_bytes;
        self.barriers += barriers;
        self.blocks += blocks;
    }
}
