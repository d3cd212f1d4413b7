// Computes: out[t, :] = LayerNorm(words[ids[t], :] + places[positions[t], :]) * scale + shift, for
//   every token t. The row of the token type, always type 0, is added to `places` when the model is
//   loaded.
//
// Data: ids, positions [T] u32; words [V, H], places [P, H], out [T, H] in f16 or bf16; scale,
//   shift [H] f32; all row by row, every pointer aligned to 16 bytes, H a multiple of 8 and at most
//   8,192. The host checks that ids are below V and positions below P. `out` overlaps nothing.
//
// Work split: grid T, a block a token. Block of H / 8 threads, rounded up to whole warps; a thread
//   is 16 bytes of the row:
//
//     row of H values   |  8  |  8  |  8  | ...  |  8  |
//     thread               0     1     2          H/8 - 1
//
// Roof: memory. A token reads H values of `words` from anywhere and writes H, 4 H bytes; `places`
//   (0.8 MB in BERT-base), scale and shift stay in the L2 cache. About 12 H operations a token:
//   none that count.
//
// Numerics: sum, mean, variance and normalisation in f32, rounded once, to the storage type. The
//   order of each sum depends on H alone, so a token's row does not depend on its neighbours, bit
//   for bit.
#include <cstdint>

#include "layer_norm.cuh"

// --- launch shape ---
constexpr int kChunk = 8;          // 8 values are 16 bytes, the widest access of a thread
constexpr int kMaxThreads = 1024;  // the most of a block, which holds one row: H is at most 8,192
// --- end of launch shape ---

static_assert(kChunk == kChunkValues, "a thread holds one chunk");

using Smem = LayerNormSmem<kMaxThreads>;

template <typename Value>
__device__ __forceinline__ void embed_ln(const uint32_t* ids,        // [T]
                                         const uint32_t* positions,  // [T]
                                         const Value* words,         // [V, H]
                                         const Value* places,        // [P, H]
                                         const float* scale,         // [H]
                                         const float* shift,         // [H]
                                         Value* out,                 // [T, H]
                                         int hidden, float eps) {
  __shared__ Smem smem;
  const unsigned token = blockIdx.x;
  const int first = threadIdx.x * kChunk;
  float values[kChunk];
  if (first < hidden) {
    float place[kChunk];
    load_chunk(words + size_t{ids[token]} * hidden + first, values);
    load_chunk(places + size_t{positions[token]} * hidden + first, place);
#pragma unroll
    for (int i = 0; i < kChunk; ++i) values[i] += place[i];
  }
  layer_norm_row(values, scale, shift, out + size_t{token} * hidden, hidden, eps, smem);
}

extern "C" __global__ void __launch_bounds__(kMaxThreads)
    embed_ln_f16(const uint32_t* __restrict__ ids, const uint32_t* __restrict__ positions,
                 const half* __restrict__ words, const half* __restrict__ places,
                 const float* __restrict__ scale, const float* __restrict__ shift,
                 half* __restrict__ out, int hidden, float eps) {
  embed_ln(ids, positions, words, places, scale, shift, out, hidden, eps);
}

extern "C" __global__ void __launch_bounds__(kMaxThreads)
    embed_ln_bf16(const uint32_t* __restrict__ ids, const uint32_t* __restrict__ positions,
                  const bf16* __restrict__ words, const bf16* __restrict__ places,
                  const float* __restrict__ scale, const float* __restrict__ shift,
                  bf16* __restrict__ out, int hidden, float eps) {
  embed_ln(ids, positions, words, places, scale, shift, out, hidden, eps);
}
