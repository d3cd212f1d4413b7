// Computes: out[t, :] = LayerNorm(sums[t, :]) * scale + shift, for every token t. gemm.cu makes the
//   sums, of a linear layer's products and its residual.
//
// Data: sums [T, stride] in f16 or f32, out [T, stride] f16. Of a row the first H values count and
//   the others are zeros. Scale, shift [stride] f32, zeros beyond H. Every pointer is aligned to 16
//   bytes, stride a multiple of 8, at most what the entry point is named for. Nothing overlaps.
//
// Work split: a block takes 8 rows at a time, a warp each, and strides over the tokens with its
//   grid; the host gives it a few blocks a processor, so that scale and shift are read once for
//   many rows. A lane holds chunks of 4 or 8 values, as warp_row.cuh draws them.
//
// Roof: memory. A token reads H sums and writes H values: 4 H bytes, or 6 H from f32. About 12 H
//   operations: none that count.
//
// Numerics: mean, variance and normalisation in f32, rounded once, to f16. A row
//   depends on itself alone, bit for bit.
#include "row_norm.cuh"

// --- launch shape ---
constexpr int kThreads = 256;               // 8 rows at a time
constexpr int kRows = 8;                    // a warp each
constexpr int kNarrow = 1024;               // values of a row at most: 32 a lane
constexpr int kWide = 4096;                 // for larger rows: 128 a lane, 32 KB of scale and shift
constexpr int kBlocksPerProcessor = 2;      // 16 rows under way: 24 or 48 KB in BERT-base
constexpr int kBlocksPerProcessorWide = 1;  // 8 rows of up to 16 KB; 202 to 241 registers
// --- end of launch shape ---

static_assert(kThreads == kRowThreads && kRows == kRowWarps, "a warp takes a row");

template <int kMostValues, typename Sum>
__device__ __forceinline__ void layer_norm(const Sum* sums,     // [T, stride]
                                           const float* scale,  // [stride]
                                           const float* shift,  // [stride]
                                           half* out,           // [T, stride]
                                           int tokens, int hidden, int stride, float eps) {
  constexpr int kChunk = kRowChunk<Sum, kMostValues>;
  using Norm = RowNorm<kMostValues, kChunk>;
  using Row = typename Norm::Row;
  __shared__ Norm smem;
  smem.load(scale, shift, stride);
  const int first = blockIdx.x * kRows + threadIdx.x / kWarp;
  for (int token = first; token < tokens; token += gridDim.x * kRows) {
    const Sum* row = sums + size_t(token) * stride;
    half* row_out = out + size_t(token) * stride;
    typename Row::Values values;
    Row::for_lane_chunks(stride,
                         [&](int chunk, int i) { load_values(row + chunk * kChunk, values[i]); });
    smem.normalize(values, hidden, stride, eps, [&](int chunk, const float (&normed)[kChunk]) {
      store_values(normed, row_out + chunk * kChunk);
    });
  }
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksPerProcessor)
    layer_norm_1024_f16(const half* __restrict__ sums, const float* __restrict__ scale,
                        const float* __restrict__ shift, half* __restrict__ out, int tokens,
                        int hidden, int stride, float eps) {
  layer_norm<kNarrow>(sums, scale, shift, out, tokens, hidden, stride, eps);
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksPerProcessorWide)
    layer_norm_4096_f16(const half* __restrict__ sums, const float* __restrict__ scale,
                        const float* __restrict__ shift, half* __restrict__ out, int tokens,
                        int hidden, int stride, float eps) {
  layer_norm<kWide>(sums, scale, shift, out, tokens, hidden, stride, eps);
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksPerProcessor)
    layer_norm_1024_f32(const float* __restrict__ sums, const float* __restrict__ scale,
                        const float* __restrict__ shift, half* __restrict__ out, int tokens,
                        int hidden, int stride, float eps) {
  layer_norm<kNarrow>(sums, scale, shift, out, tokens, hidden, stride, eps);
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksPerProcessorWide)
    layer_norm_4096_f32(const float* __restrict__ sums, const float* __restrict__ scale,
                        const float* __restrict__ shift, half* __restrict__ out, int tokens,
                        int hidden, int stride, float eps) {
  layer_norm<kWide>(sums, scale, shift, out, tokens, hidden, stride, eps);
}
