// Running sums over threads. Whole numbers: they are exact, in whatever order.
#pragma once

#include "reduce.cuh"

// The sum over the lanes up to this one, itself included. All 32 lanes call it.
__device__ __forceinline__ unsigned warp_running_sum(unsigned value) {
  const int lane = threadIdx.x % kWarp;
#pragma unroll
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const unsigned below = __shfl_up_sync(kAllLanes, value, distance);
    if (lane >= distance) value += below;
  }
  return value;
}

struct RunningSum {
  unsigned before;  // over the threads before this one
  unsigned all;     // over the block
};

// All threads of the block call it. `sums_smem` is used again only after a barrier, for the threads
// that still read it.
template <int kWarps>
__device__ __forceinline__ RunningSum block_running_sum(unsigned value,
                                                        unsigned (&sums_smem)[kWarps]) {
  const int warp = threadIdx.x / kWarp;
  const unsigned upto = warp_running_sum(value);
  if (threadIdx.x % kWarp == kWarp - 1) sums_smem[warp] = upto;
  // All threads wait for every warp's sum; without this they would add up what is not written yet.
  __syncthreads();
  RunningSum sum = {upto - value, 0};
#pragma unroll
  for (int other = 0; other < kWarps; ++other) {
    if (other < warp) sum.before += sums_smem[other];
    sum.all += sums_smem[other];
  }
  return sum;
}
