// Computes: x[t, :] = LayerNorm(x[t, :] + residual[t, :]) * scale + shift, in place, for every
// token t;
//   without a residual where there is none.
//
// Data: x, residual [T, stride] in f16 or bf16, of which a row's first H values count and the
// others are zeros;
//   scale, shift [stride] f32, zeros beyond H; every pointer aligned to 16 bytes, stride a multiple
//   of 8 and at most 1,024.
//
// Work split: a block takes 8 rows at a time, a warp each, and strides over the tokens with its
// grid; the
//   host gives it a few blocks a processor, so that scale and shift are read once for many rows. A
//   lane holds chunks of 8 values:
//
//     a row       |  8  |  8  | ... |  8  |  8  | ...
//     lane           0     1    ...   31     0
//
// Roof: memory. A token reads 2 H values and writes H, 6 H bytes. About 12 H operations: none that
// count.
//
// Numerics: the sum, mean, variance and normalisation in f32, rounded once, to the storage type. A
// row
//   depends on itself alone, bit for bit.
#include "layer_norm.cuh"

// --- launch shape ---
constexpr int kThreads = 256;           // 8 rows at a time
constexpr int kRows = 8;                // a warp each
constexpr int kMaxHidden = 1024;        // 32 values a lane
constexpr int kBlocksPerProcessor = 2;  // 16 rows under way keep memory busy: 24 KB in BERT-base
// --- end of launch shape ---

static_assert(kThreads == kRowThreads && kRows == kRowWarps, "a warp takes a row");
static_assert(kMaxHidden == kMostChunks * kChunkValues, "a warp holds a row");

template <typename Value>
__device__ __forceinline__ void add_ln(Value* x,               // [T, stride]
                                       const Value* residual,  // [T, stride] or null
                                       const float* scale,     // [stride]
                                       const float* shift,     // [stride]
                                       int tokens, int hidden, int stride, float eps) {
  __shared__ LayerNormSmem smem;
  load_parameters(smem, scale, shift, stride);
  const int first = blockIdx.x * kRows + threadIdx.x / kWarp;
  for (int token = first; token < tokens; token += gridDim.x * kRows) {
    Value* row = x + size_t(token) * stride;
    RowValues values;
    for_lane_chunks(stride, [&](int chunk, int i) {
      load_values(row + chunk * kChunkValues, values[i]);
      if (residual == nullptr) return;
      float other[kChunkValues];
      load_values(residual + size_t(token) * stride + chunk * kChunkValues, other);
#pragma unroll
      for (int j = 0; j < kChunkValues; ++j) values[i][j] += other[j];
    });
    normalize_row(values, smem, row, hidden, stride, eps);
  }
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksPerProcessor)
    add_ln_f16(half* x, const half* __restrict__ residual, const float* __restrict__ scale,
               const float* __restrict__ shift, int tokens, int hidden, int stride, float eps) {
  add_ln(x, residual, scale, shift, tokens, hidden, stride, eps);
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksPerProcessor)
    add_ln_bf16(bf16* x, const bf16* __restrict__ residual, const float* __restrict__ scale,
                const float* __restrict__ shift, int tokens, int hidden, int stride, float eps) {
  add_ln(x, residual, scale, shift, tokens, hidden, stride, eps);
}
