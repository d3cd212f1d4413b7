// Computes: out[t, :] = LayerNorm(words[ids[t], :] + places[positions[t], :]) * scale + shift, for
//   every token t. The row of the token type, always type 0, is added to `places` when the model is
//   loaded.
//
// Data: ids, positions [T] u32; words [V, stride], places [P, stride], out [T, stride] f16. Of
//   a row the first H values count and the others are zeros. Scale, shift [stride] f32, zeros
//   beyond H. Every pointer is aligned to 16 bytes, stride a multiple of 8, at most what the
//   entry point is named for. The host checks that ids are below V and positions below P. `out`
//   overlaps nothing.
//
// Work split: a block takes 8 tokens at a time, a warp each, and strides over the tokens with its
//   grid; the host gives it a few blocks a processor, so that scale and shift are read once for
//   many rows. A lane holds chunks of 8 values, as warp_row.cuh draws them.
//
// Roof: memory. A token reads H values of `words` from anywhere and H of `places` (0.8 MB in
//   BERT-base, which stay in the L2 cache) and writes H, 6 H bytes. About 12 H operations: none
//   that count.
//
// Numerics: sums, mean, variance and normalisation in f32, rounded once, to f16. A row
//   depends on its token alone, bit for bit.
#include <cstdint>

#include "row_norm.cuh"

// --- launch shape ---
constexpr int kThreads = 256;           // 8 rows at a time
constexpr int kRows = 8;                // a warp each
constexpr int kNarrow = 1024;           // values of a row at most: 32 a lane
constexpr int kWide = 4096;             // for larger rows: 128 a lane, 32 KB of scale and shift
constexpr int kBlocksPerProcessor = 2;  // 16 rows under way keep memory busy: 48 KB in BERT-base
constexpr int kBlocksPerProcessorWide = 1;  // 8 rows of up to 16 KB; 167 to 252 registers
// --- end of launch shape ---

static_assert(kThreads == kRowThreads && kRows == kRowWarps, "a warp takes a row");

template <int kMostValues>
__device__ __forceinline__ void embed_ln(const uint32_t* ids,        // [T]
                                         const uint32_t* positions,  // [T]
                                         const half* words,          // [V, stride]
                                         const half* places,         // [P, stride]
                                         const float* scale,         // [stride]
                                         const float* shift,         // [stride]
                                         half* out,                  // [T, stride]
                                         int tokens, int hidden, int stride, float eps) {
  using Norm = RowNorm<kMostValues, kChunkValues>;
  using Row = typename Norm::Row;
  __shared__ Norm smem;
  smem.load(scale, shift, stride);
  const int first = blockIdx.x * kRows + threadIdx.x / kWarp;
  for (int token = first; token < tokens; token += gridDim.x * kRows) {
    const half* word = words + size_t{ids[token]} * stride;
    const half* place = places + size_t{positions[token]} * stride;
    half* row_out = out + size_t(token) * stride;
    typename Row::Values values;
    Row::for_lane_chunks(stride, [&](int chunk, int i) {
      float other[kChunkValues];
      load_values(word + chunk * kChunkValues, values[i]);
      load_values(place + chunk * kChunkValues, other);
#pragma unroll
      for (int j = 0; j < kChunkValues; ++j) values[i][j] += other[j];
    });
    smem.normalize(values, hidden, stride, eps,
                   [&](int chunk, const float (&normed)[kChunkValues]) {
                     store_values(normed, row_out + chunk * kChunkValues);
                   });
  }
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksPerProcessor)
    embed_ln_1024_f16(const uint32_t* __restrict__ ids, const uint32_t* __restrict__ positions,
                      const half* __restrict__ words, const half* __restrict__ places,
                      const float* __restrict__ scale, const float* __restrict__ shift,
                      half* __restrict__ out, int tokens, int hidden, int stride, float eps) {
  embed_ln<kNarrow>(ids, positions, words, places, scale, shift, out, tokens, hidden, stride, eps);
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksPerProcessorWide)
    embed_ln_4096_f16(const uint32_t* __restrict__ ids, const uint32_t* __restrict__ positions,
                      const half* __restrict__ words, const half* __restrict__ places,
                      const float* __restrict__ scale, const float* __restrict__ shift,
                      half* __restrict__ out, int tokens, int hidden, int stride, float eps) {
  embed_ln<kWide>(ids, positions, words, places, scale, shift, out, tokens, hidden, stride, eps);
}
