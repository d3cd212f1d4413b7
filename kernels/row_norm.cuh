// LayerNorm of a row that a warp holds in registers, for the blocks of 8 such warps.
//
//   out[i] = (x[i] - mean) / sqrt(variance + eps) * scale[i] + shift[i]
//
// Rows are `stride` values apart, a multiple of 8; what a row has beyond its H values is zero
// before and after. A row is cut into chunks of 4 or 8 values, which a lane reads at once:
//
//     a row       | chunk 0 | chunk 1 | ... | chunk 31 | chunk 32 | ...
//     lane             0         1      ...      31          0
//
// The order of each sum depends on H and the chunk alone.
#pragma once

#include "numeric.cuh"
#include "reduce.cuh"

constexpr int kRowWarps = 8;  // rows that a block works on at a time, a warp each
constexpr int kRowThreads = kRowWarps * kWarp;

// Scale and shift of rows of at most `kMostValues`, in shared memory for all rows of a block.
template <int kMostValues, int kChunk>
struct RowNorm {
  static_assert(kChunk == 4 || kChunk == 8, "a chunk is one or two float4 of scale and shift");
  static_assert(kMostValues % (kChunk * kWarp) == 0, "lanes hold the same number of chunks");
  static constexpr int kParts = kChunk / 4;
  static constexpr int kMostChunks = kMostValues / kChunk;
  static constexpr int kLaneChunks = kMostChunks / kWarp;
  // The first and the last four values of a chunk of 8 lie apart, half a line of banks further on:
  // lanes that write both halves of four chunks, or read one half of eight, touch different banks.
  static constexpr int kHalfLine = 4;

  // What a lane has of a row.
  using Values = float[kLaneChunks][kChunk];

  float4 scale[kParts][kMostChunks + kHalfLine];
  float4 shift[kParts][kMostChunks + kHalfLine];

  // Every thread of the block calls it before the first row.
  __device__ __forceinline__ void load(const float* all_scale,  // [stride]
                                       const float* all_shift,  // [stride]
                                       int stride) {
    for (int i = threadIdx.x; i < stride / 4; i += kRowThreads) {
      scale[i % kParts][i / kParts] = reinterpret_cast<const float4*>(all_scale)[i];
      shift[i % kParts][i / kParts] = reinterpret_cast<const float4*>(all_shift)[i];
    }
    // All warps wait for what the others have loaded: they would normalise with what is not there
    // yet.
    __syncthreads();
  }

  // Calls `use(chunk, number)` for each chunk of the row that the lane has.
  template <typename Use>
  static __device__ __forceinline__ void for_lane_chunks(int stride, Use use) {
#pragma unroll
    for (int i = 0; i < kLaneChunks; ++i) {
      const int chunk = threadIdx.x % kWarp + i * kWarp;
      if (chunk < stride / kChunk) use(chunk, i);
    }
  }

  template <typename Value>
  __device__ __forceinline__ void normalize(Values& values,
                                            Value* out,  // [stride]
                                            int hidden, int stride, float eps) const {
    float sum = 0.0f;
    for_lane_chunks(stride, [&](int, int i) {
#pragma unroll
      for (float value : values[i]) sum += value;
    });
    const float mean = warp_sum(sum) / hidden;

    // The mean first and then the distances from it: with the sum of squares instead, a row far
    // from zero would lose its variance to cancellation.
    float squares = 0.0f;
    for_lane_chunks(stride, [&](int chunk, int i) {
#pragma unroll
      for (int j = 0; j < kChunk; ++j) {
        const bool real = chunk * kChunk + j < hidden;
        values[i][j] = real ? values[i][j] - mean : 0.0f;
        squares = fmaf(values[i][j], values[i][j], squares);
      }
    });
    // rsqrtf is off by 2 ulp at most, which drowns in the rounding to 16 bits.
    const float inverse = rsqrtf(warp_sum(squares) / hidden + eps);

    for_lane_chunks(stride, [&](int chunk, int i) {
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        const float4 by = scale[part][chunk];
        const float4 to = shift[part][chunk];
        float* four = values[i] + 4 * part;
        four[0] = fmaf(four[0] * inverse, by.x, to.x);
        four[1] = fmaf(four[1] * inverse, by.y, to.y);
        four[2] = fmaf(four[2] * inverse, by.z, to.z);
        four[3] = fmaf(four[3] * inverse, by.w, to.w);
      }
      store_values(values[i], out + chunk * kChunk);
    });
  }
};
