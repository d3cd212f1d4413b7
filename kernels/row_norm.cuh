// LayerNorm of a row that a warp holds in registers, as warp_row.cuh draws it.
//
//   out[i] = (x[i] - mean) / sqrt(variance + eps) * scale[i] + shift[i]
//
// Rows are `stride` values apart; what a row has beyond its H values is zero before and after. The
// order of each sum depends on H and the chunk alone.
#pragma once

#include "warp_row.cuh"

// As many values as a row has at most, in shared memory for all rows of a block.
template <int kMostValues, int kChunk>
struct RowVector {
  static_assert(kChunk == 4 || kChunk == 8, "a chunk is one or two float4");
  static constexpr int kParts = kChunk / 4;
  // The first and the last four values of a chunk of 8 lie apart, half a line of banks further on:
  // lanes that write both halves of four chunks, or read one half of eight, touch different banks.
  static constexpr int kHalfLine = kParts > 1 ? 4 : 0;

  float4 parts[kParts][kMostValues / kChunk + kHalfLine];

  // The values from 4 i on; threads share out the i, and who reads them waits.
  __device__ __forceinline__ void load_four(const float* values,  // [stride]
                                            int i) {
    parts[i % kParts][i / kParts] = reinterpret_cast<const float4*>(values)[i];
  }
};

// Scale and shift of rows of at most `kMostValues`.
template <int kMostValues, int kChunk>
struct RowNorm {
  using Row = WarpRow<kMostValues, kChunk>;
  using Vector = RowVector<kMostValues, kChunk>;

  Vector scale;
  Vector shift;

  // Every thread of the block calls it before the first row.
  __device__ __forceinline__ void load(const float* all_scale,  // [stride]
                                       const float* all_shift,  // [stride]
                                       int stride) {
    for (int i = threadIdx.x; i < stride / 4; i += kRowThreads) {
      scale.load_four(all_scale, i);
      shift.load_four(all_shift, i);
    }
    // All warps wait for what the others have loaded: they would normalise with what is not there
    // yet.
    __syncthreads();
  }

  // Calls `use(chunk, values)` for each chunk of the row that the lane has, once it is normalised.
  template <typename Use>
  __device__ __forceinline__ void normalize(typename Row::Values& values, int hidden, int stride,
                                            float eps, Use use) const {
    float sum = 0.0f;
    Row::for_lane_chunks(stride, [&](int, int i) {
#pragma unroll
      for (float value : values[i]) sum += value;
    });
    const float mean = warp_sum(sum) / hidden;

    // The mean first and then the distances from it: with the sum of squares instead, a row far
    // from zero would lose its variance to cancellation.
    float squares = 0.0f;
    Row::for_lane_chunks(stride, [&](int chunk, int i) {
#pragma unroll
      for (int j = 0; j < kChunk; ++j) {
        const bool real = chunk * kChunk + j < hidden;
        values[i][j] = real ? values[i][j] - mean : 0.0f;
        squares = fmaf(values[i][j], values[i][j], squares);
      }
    });
    // rsqrtf is off by 2 ulp at most, which drowns in the rounding to 16 bits.
    const float inverse = rsqrtf(warp_sum(squares) / hidden + eps);

    Row::for_lane_chunks(stride, [&](int chunk, int i) {
#pragma unroll
      for (int part = 0; part < Vector::kParts; ++part) {
        const float4 by = scale.parts[part][chunk];
        const float4 to = shift.parts[part][chunk];
        float* four = values[i] + 4 * part;
        four[0] = fmaf(four[0] * inverse, by.x, to.x);
        four[1] = fmaf(four[1] * inverse, by.y, to.y);
        four[2] = fmaf(four[2] * inverse, by.z, to.z);
        four[3] = fmaf(four[3] * inverse, by.w, to.w);
      }
      use(chunk, values[i]);
    });
  }
};
