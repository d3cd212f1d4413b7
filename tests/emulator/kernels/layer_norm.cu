// Computes  y = (x - mean) / sqrt(variance + eps) * scale + shift  per row, statistics in two
//           passes.
// Data      x, y [T, H] halves; scale, shift [H] halves; H even.
// Split     a block a row; each thread takes pairs.
// Roof      memory.
// Numerics  f32 sums, in an order that the block size alone decides.

#include "ptx.cuh"

struct Smem {
  float sums[kWarp];
};

__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2)
    value += __shfl_xor_sync(kAllLanes, value, distance);
  return value;
}

// Every thread gets the sum over the block.
__device__ __forceinline__ float block_sum(float value, Smem& smem) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  value = warp_sum(value);
  // The sums of an earlier call have been read by everybody.
  __syncthreads();
  if (lane == 0) smem.sums[warp] = value;
  // Every warp's sum is there.
  __syncthreads();
  return warp_sum(lane < blockDim.x / kWarp ? smem.sums[lane] : 0.0f);
}

extern "C" __global__ void __launch_bounds__(1024) layer_norm(const half2* x,      // [T, H / 2]
                                                              const half2* scale,  // [H / 2]
                                                              const half2* shift,  // [H / 2]
                                                              half2* y,            // [T, H / 2]
                                                              int pairs, float eps) {
  __shared__ Smem smem;
  x += static_cast<size_t>(blockIdx.x) * pairs;
  y += static_cast<size_t>(blockIdx.x) * pairs;
  float sum = 0.0f;
  for (int i = threadIdx.x; i < pairs; i += blockDim.x) {
    const float2 value = __half22float2(x[i]);
    sum += value.x + value.y;
  }
  const float mean = block_sum(sum, smem) / (2 * pairs);
  float squares = 0.0f;
  for (int i = threadIdx.x; i < pairs; i += blockDim.x) {
    const float2 value = __half22float2(x[i]);
    squares += (value.x - mean) * (value.x - mean) + (value.y - mean) * (value.y - mean);
  }
  const float inverse = rsqrtf(block_sum(squares, smem) / (2 * pairs) + eps);
  for (int i = threadIdx.x; i < pairs; i += blockDim.x) {
    const float2 value = __half22float2(x[i]), by = __half22float2(scale[i]),
                 to = __half22float2(shift[i]);
    y[i] = __floats2half2_rn((value.x - mean) * inverse * by.x + to.x,
                             (value.y - mean) * inverse * by.y + to.y);
  }
}
