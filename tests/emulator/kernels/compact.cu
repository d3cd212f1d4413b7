// Computes  the values above a threshold, in their order, and how many there are (one pass,
//           decoupled look-back).
// Data      in [n], out [n] integers; state [blocks] zero before; ticket one word, zero before;
//           total one word.
// Split     a block takes the next 256 values; it finds where to write by looking back at the
//           blocks before it.
// Roof      memory (one read, one write).
// Numerics  exact.

#include "ptx.cuh"

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;

// State of a block: what it knows in the high word, a count in the low one.
constexpr unsigned long long kOwnCount = 1ull << 32;
constexpr unsigned long long kCountUpTo = 2ull << 32;

struct Smem {
  int before_warp[kWarps];
  int before_block;
  unsigned tile;
};

// Adds up the counts of the tiles before `tile`.
__device__ __forceinline__ int look_back(volatile unsigned long long* state, int tile) {
  int before = 0;
  for (int at = tile - 1; at >= 0; --at) {
    unsigned long long seen;
    do {
      seen = state[at];
    } while (seen == 0);
    before += static_cast<int>(seen);
    if (seen >= kCountUpTo) break;
  }
  return before;
}

extern "C" __global__ void __launch_bounds__(kThreads)
    compact(const int* in, int n, int threshold, int* out, volatile unsigned long long* state,
            unsigned* ticket, int* total) {
  __shared__ Smem smem;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  // Tiles in the order in which blocks start: a block only waits for blocks that run.
  if (threadIdx.x == 0) smem.tile = atomicAdd(ticket, 1);
  __syncthreads();
  const int tile = smem.tile;
  const int i = tile * kThreads + threadIdx.x;
  const int value = i < n ? in[i] : 0;
  const bool keeps = i < n && value > threshold;
  const unsigned votes = __ballot_sync(kAllLanes, keeps);
  if (lane == 0) smem.before_warp[warp] = __popc(votes);
  __syncthreads();
  if (warp == 0) {
    const int count = lane < kWarps ? smem.before_warp[lane] : 0;
    int upto = count;
#pragma unroll
    for (int distance = 1; distance < kWarps; distance *= 2) {
      const int left = __shfl_up_sync(kAllLanes, upto, distance);
      if (lane >= distance) upto += left;
    }
    if (lane < kWarps) smem.before_warp[lane] = upto - count;
    const int of_tile = __shfl_sync(kAllLanes, upto, kWarps - 1);
    if (lane == 0) {
      // Flag and count are one word, so no fence is needed between them.
      state[tile] = (tile == 0 ? kCountUpTo : kOwnCount) | static_cast<unsigned>(of_tile);
      const int before = look_back(state, tile);
      if (tile != 0) state[tile] = kCountUpTo | static_cast<unsigned>(before + of_tile);
      smem.before_block = before;
      if (tile == gridDim.x - 1) *total = before + of_tile;
    }
  }
  __syncthreads();
  const int at = smem.before_block + smem.before_warp[warp] + __popc(votes & ((1u << lane) - 1));
  if (keeps) out[at] = value;
}
