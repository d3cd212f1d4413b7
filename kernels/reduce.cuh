// Reductions over a warp or a quad, in an order that is always the same: the same values give the
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

// Every lane gets `combine` over the four lanes of its quad, which have one row of what an mma
// gives. All 32 lanes call it.
template <typename Combine>
__device__ __forceinline__ float quad_reduce(float value, Combine combine) {
  value = combine(value, __shfl_xor_sync(kAllLanes, value, 1));
  return combine(value, __shfl_xor_sync(kAllLanes, value, 2));
}
