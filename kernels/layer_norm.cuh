// LayerNorm of a row that a block holds in registers, a chunk a thread.
#pragma once

#include "numeric.cuh"
#include "reduce.cuh"

template <int kMaxThreads>
struct LayerNormSmem {
  // Apart, so that no barrier is needed between the two sums.
  float mean[kMaxThreads / kWarp];
  float variance[kMaxThreads / kWarp];
};

// out[i] = (x[i] - mean) / sqrt(variance + eps) * scale[i] + shift[i], for i below H.
// Thread i has x[8 i .. 8 i + 8] in `values`; in threads past the end of the row they are not
// looked at. All threads of the block call it.
template <typename Value, int kMaxThreads>
__device__ __forceinline__ void layer_norm_row(float (&values)[kChunkValues],
                                               const float* scale,  // [H]
                                               const float* shift,  // [H]
                                               Value* out,          // [H]
                                               int hidden, float eps,
                                               LayerNormSmem<kMaxThreads>& smem) {
  const int first = threadIdx.x * kChunkValues;
  const bool holds_values = first < hidden;

  float sum = 0.0f;
  if (holds_values) {
#pragma unroll
    for (int i = 0; i < kChunkValues; ++i) sum += values[i];
  }
  const float mean = block_sum(sum, smem.mean) / hidden;

  // The mean first and then the distances from it: with the sum of squares instead, a row far from
  // zero would lose its variance to cancellation.
  float squares = 0.0f;
  if (holds_values) {
#pragma unroll
    for (int i = 0; i < kChunkValues; ++i) {
      values[i] -= mean;
      squares = fmaf(values[i], values[i], squares);
    }
  }
  const float variance = block_sum(squares, smem.variance) / hidden;
  if (!holds_values) return;

  // Off by 2 ulp at most, which drowns in the rounding to 16 bits.
  const float inverse = rsqrtf(variance + eps);
  // A lane's 8 floats are two loads, 32 bytes apart from its neighbour's: twice the sectors of a
  // dense access, all of them in the cache.
  const float4* scales = reinterpret_cast<const float4*>(scale + first);
  const float4* shifts = reinterpret_cast<const float4*>(shift + first);
#pragma unroll
  for (int i = 0; i < kChunkValues / 4; ++i) {
    const float4 by = scales[i];
    const float4 to = shifts[i];
    values[4 * i + 0] = fmaf(values[4 * i + 0] * inverse, by.x, to.x);
    values[4 * i + 1] = fmaf(values[4 * i + 1] * inverse, by.y, to.y);
    values[4 * i + 2] = fmaf(values[4 * i + 2] * inverse, by.z, to.z);
    values[4 * i + 3] = fmaf(values[4 * i + 3] * inverse, by.w, to.w);
  }
  store_chunk(values, out + first);
}
