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

__device__ __forceinline__ float shuffled_xor(float value, int distance) {
  return __shfl_xor_sync(kAllLanes, value, distance);
}

// Lane q of each quad gets `combine` over the quad of values[q], in the order of quad_reduce: 3
// exchanges where that takes 8. `combine` does not mind the order of its operands. All 32 lanes
// call it.
template <typename Value, typename Combine>
__device__ __forceinline__ Value quad_spread(const Value (&values)[4], Combine combine) {
  const bool odd = threadIdx.x & 1, high = threadIdx.x & 2;
  // Neighbours exchange two values each, and then one with the other pair.
  const Value low_half =
      combine(odd ? values[1] : values[0], shuffled_xor(odd ? values[0] : values[1], 1));
  const Value high_half =
      combine(odd ? values[3] : values[2], shuffled_xor(odd ? values[2] : values[3], 1));
  return combine(high ? high_half : low_half, shuffled_xor(high ? low_half : high_half, 2));
}
