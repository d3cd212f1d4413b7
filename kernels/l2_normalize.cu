// Computes: out[r, :] = x[rows[r], :] / max(norm, 1e-12) for every row r, of the first `width`
//   values of a row of x; norm is the root of the sum of their squares.
//
// Data: x [T, stride] in f16 or f32, rows [R] u32, out [R, out_stride] f16. out_stride is `width`
//   rounded up to a multiple of 8; what a row of out has beyond `width` is zeros, and what a row of
//   x has there does not matter. x and out are aligned to 16 bytes; stride is a multiple of 8,
//   out_stride at most stride and at most what the entry point is named for. The host checks that
//   rows are below T. Nothing overlaps.
//
// Work split: a warp a row, 8 in a block. A lane holds chunks of 4 or 8 values, as warp_row.cuh
//   draws them. Rows have nothing in common that a block could keep: it takes 8 and ends.
//
// Roof: memory. A row reads and writes `width` values: 4 width bytes, or 6 width from f32. About 3
//   width operations: none that count.
//
// Numerics: the sum in f32, in an order that depends on `width` and the type alone; one reciprocal
//   a row, and each product with it rounded once, to f16. Where the sum is infinite or no number
//   the row becomes NaN: divided by an infinite norm, its values would be zeros. In f32 that is so
//   from some 1e19 on, where squares leave the range. A row of zeros stays one.
#include <math_constants.h>

#include <cstdint>

#include "warp_row.cuh"

// --- launch shape ---
constexpr int kThreads = 256;               // 8 rows
constexpr int kRows = 8;                    // a warp each
constexpr int kNarrow = 1024;               // values of a row at most: 32 a lane
constexpr int kWide = 4096;                 // for larger rows: 128 a lane
constexpr int kBlocksPerProcessor = 4;      // 64 registers: 32 rows under way
constexpr int kBlocksPerProcessorWide = 1;  // 8 rows of up to 16 KB; 164 to 233 registers
// --- end of launch shape ---

static_assert(kThreads == kRowThreads && kRows == kRowWarps, "a warp takes a row");

constexpr float kLeastNorm = 1e-12f;  // what PyTorch's normalize divides by at least

template <int kMostValues, typename Value>
__device__ __forceinline__ void l2_normalize(const Value* x,        // [T, stride]
                                             const uint32_t* rows,  // [R]
                                             half* out,             // [R, out_stride]
                                             int count, int width, int stride, int out_stride) {
  constexpr int kChunk = kRowChunk<Value, kMostValues>;
  using Row = WarpRow<kMostValues, kChunk>;
  const int number = blockIdx.x * kRows + threadIdx.x / kWarp;
  if (number >= count) return;
  const Value* row = x + size_t{rows[number]} * stride;
  half* row_out = out + size_t(number) * out_stride;

  typename Row::Values values;
  Row::for_lane_chunks(out_stride,
                       [&](int chunk, int i) { load_values(row + chunk * kChunk, values[i]); });
  float squares = 0.0f;
  Row::for_lane_chunks(out_stride, [&](int chunk, int i) {
#pragma unroll
    for (int j = 0; j < kChunk; ++j) {
      if (chunk * kChunk + j >= width) values[i][j] = 0.0f;
      squares = fmaf(values[i][j], values[i][j], squares);
    }
  });
  squares = warp_sum(squares);
  const bool finite = isfinite(squares);
  const float inverse = finite ? 1.0f / fmaxf(sqrtf(squares), kLeastNorm) : CUDART_NAN_F;

  Row::for_lane_chunks(out_stride, [&](int chunk, int i) {
#pragma unroll
    for (int j = 0; j < kChunk; ++j) {
      // Zeros behind it even where the inverse is no number.
      const bool real = chunk * kChunk + j < width;
      values[i][j] = real ? values[i][j] * inverse : 0.0f;
    }
    store_values(values[i], row_out + chunk * kChunk);
  });
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksPerProcessor)
    l2_normalize_1024_f16(const half* __restrict__ x, const uint32_t* __restrict__ rows,
                          half* __restrict__ out, int count, int width, int stride,
                          int out_stride) {
  l2_normalize<kNarrow>(x, rows, out, count, width, stride, out_stride);
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksPerProcessorWide)
    l2_normalize_4096_f16(const half* __restrict__ x, const uint32_t* __restrict__ rows,
                          half* __restrict__ out, int count, int width, int stride,
                          int out_stride) {
  l2_normalize<kWide>(x, rows, out, count, width, stride, out_stride);
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksPerProcessor)
    l2_normalize_1024_f32(const float* __restrict__ x, const uint32_t* __restrict__ rows,
                          half* __restrict__ out, int count, int width, int stride,
                          int out_stride) {
  l2_normalize<kNarrow>(x, rows, out, count, width, stride, out_stride);
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksPerProcessorWide)
    l2_normalize_4096_f32(const float* __restrict__ x, const uint32_t* __restrict__ rows,
                          half* __restrict__ out, int count, int width, int stride,
                          int out_stride) {
  l2_normalize<kWide>(x, rows, out, count, width, stride, out_stride);
}
