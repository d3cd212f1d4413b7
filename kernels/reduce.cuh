// Sums over threads, in an order that the number of threads alone decides: the same values give the
// same bits.
#pragma once

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

// Every lane gets the sum over the warp. All 32 lanes call it.
__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, distance);
  }
  return value;
}

// Every thread gets the sum over the block, which has whole warps; all its threads call it.
// `sums_smem` has room for a float a warp and is used for one sum only: a second use would need a
// barrier before it, for the threads that still read the first.
__device__ __forceinline__ float block_sum(float value, float* sums_smem) {
  const float of_warp = warp_sum(value);
  if (threadIdx.x % kWarp == 0) sums_smem[threadIdx.x / kWarp] = of_warp;
  // All threads wait for every warp's sum; without this they would add up what is not written yet.
  __syncthreads();
  // Each thread adds them up itself: the reads are broadcasts, and a second exchange would cost
  // another barrier.
  float sum = 0.0f;
  for (int warp = 0; warp < blockDim.x / kWarp; ++warp) sum += sums_smem[warp];
  return sum;
}
