// LayerNorm of a row that a warp holds in registers, and the rows that a block takes.
//
//   out[i] = (x[i] - mean) / sqrt(variance + eps) * scale[i] + shift[i]
//
// Rows are `stride` values apart, a multiple of 8; what a row has beyond its H values is zero
// before and after. Lane l has chunks l, l + 32, ... of 8 values. The order of each sum depends on
// H alone.
#pragma once

#include "numeric.cuh"
#include "reduce.cuh"

constexpr int kRowWarps = 8;    // rows that a block works on at a time, a warp each
constexpr int kLaneChunks = 4;  // 32 values a lane: rows of up to 1,024 values
constexpr int kRowThreads = kRowWarps * kWarp;
constexpr int kMostChunks = kLaneChunks * kWarp;

using RowValues = float[kLaneChunks][kChunkValues];

// Scale and shift, for all rows of the block. The first and the last four values of each chunk lie
// apart, half a line of banks further on: lanes that write both halves of four chunks, or read one
// half of eight, touch different banks.
constexpr int kHalfLine = 4;
struct LayerNormSmem {
  float4 scale[2][kMostChunks + kHalfLine];
  float4 shift[2][kMostChunks + kHalfLine];
};

// Every thread of the block calls it before the first row.
__device__ __forceinline__ void load_parameters(LayerNormSmem& smem,
                                                const float* scale,  // [stride]
                                                const float* shift,  // [stride]
                                                int stride) {
  for (int i = threadIdx.x; i < stride / 4; i += kRowThreads) {
    smem.scale[i % 2][i / 2] = reinterpret_cast<const float4*>(scale)[i];
    smem.shift[i % 2][i / 2] = reinterpret_cast<const float4*>(shift)[i];
  }
  // All warps wait for what the others have loaded: they would normalise with what is not there
  // yet.
  __syncthreads();
}

// Calls `use(chunk, number)` for each chunk of the row that the lane has.
template <typename Use>
__device__ __forceinline__ void for_lane_chunks(int stride, Use use) {
#pragma unroll
  for (int i = 0; i < kLaneChunks; ++i) {
    const int chunk = threadIdx.x % kWarp + i * kWarp;
    if (chunk < stride / kChunkValues) use(chunk, i);
  }
}

template <typename Value>
__device__ __forceinline__ void normalize_row(RowValues& values, const LayerNormSmem& smem,
                                              Value* out,  // [stride]
                                              int hidden, int stride, float eps) {
  float sum = 0.0f;
  for_lane_chunks(stride, [&](int, int i) {
#pragma unroll
    for (float value : values[i]) sum += value;
  });
  const float mean = warp_sum(sum) / hidden;

  // The mean first and then the distances from it: with the sum of squares instead, a row far from
  // zero would lose its variance to cancellation.
  float squares = 0.0f;
  for_lane_chunks(stride, [&](int chunk, int i) {
#pragma unroll
    for (int j = 0; j < kChunkValues; ++j) {
      const bool real = chunk * kChunkValues + j < hidden;
      values[i][j] = real ? values[i][j] - mean : 0.0f;
      squares = fmaf(values[i][j], values[i][j], squares);
    }
  });
  // rsqrtf is off by 2 ulp at most, which drowns in the rounding to 16 bits.
  const float inverse = rsqrtf(warp_sum(squares) / hidden + eps);

  for_lane_chunks(stride, [&](int chunk, int i) {
#pragma unroll
    for (int part = 0; part < 2; ++part) {
      const float4 by = smem.scale[part][chunk];
      const float4 to = smem.shift[part][chunk];
      float* four = values[i] + 4 * part;
      four[0] = fmaf(four[0] * inverse, by.x, to.x);
      four[1] = fmaf(four[1] * inverse, by.y, to.y);
      four[2] = fmaf(four[2] * inverse, by.z, to.z);
      four[3] = fmaf(four[3] * inverse, by.w, to.w);
    }
    store_values(values[i], out + chunk * kChunkValues);
  });
}
