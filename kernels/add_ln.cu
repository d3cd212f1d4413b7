// Computes: out[t, :] = LayerNorm(x[t, :] + residual[t, :]) * scale + shift, for every token t.
//
// Data: x, residual, out [T, H] in f16 or bf16; scale, shift [H] f32; all row by row, every pointer
//   aligned to 16 bytes, H a multiple of 8 and at most 8,192. `out` may be `x` or `residual`
//   itself: a thread reads its values before it writes to the same place, and reads no others.
//
// Work split: grid T, a block a token. Block of H / 8 threads, rounded up to whole warps; a thread
//   is 16 bytes of the row:
//
//     row of H values   |  8  |  8  |  8  | ...  |  8  |
//     thread               0     1     2          H/8 - 1
//
// Roof: memory. A token reads 2 H values and writes H, 6 H bytes; scale and shift stay in the
//   cache. About 12 H operations a token: none that count.
//
// Numerics: sum, mean, variance and normalisation in f32, rounded once, to the storage type. The
//   order of each sum depends on H alone, so a token's row does not depend on its neighbours, bit
//   for bit.
#include "layer_norm.cuh"

// --- launch shape ---
constexpr int kChunk = 8;          // 8 values are 16 bytes, the widest access of a thread
constexpr int kMaxThreads = 1024;  // the most of a block, which holds one row: H is at most 8,192
// --- end of launch shape ---

static_assert(kChunk == kChunkValues, "a thread holds one chunk");

using Smem = LayerNormSmem<kMaxThreads>;

template <typename Value>
__device__ __forceinline__ void add_ln(const Value* x,         // [T, H]
                                       const Value* residual,  // [T, H]
                                       const float* scale,     // [H]
                                       const float* shift,     // [H]
                                       Value* out,             // [T, H]
                                       int hidden, float eps) {
  __shared__ Smem smem;
  const size_t row = size_t{blockIdx.x} * hidden;
  const int first = threadIdx.x * kChunk;
  float values[kChunk];
  if (first < hidden) {
    float other[kChunk];
    load_chunk(x + row + first, values);
    load_chunk(residual + row + first, other);
#pragma unroll
    for (int i = 0; i < kChunk; ++i) values[i] += other[i];
  }
  layer_norm_row(values, scale, shift, out + row, hidden, eps, smem);
}

// No __restrict__ on x, residual and out: they may be the same.
extern "C" __global__ void __launch_bounds__(kMaxThreads)
    add_ln_f16(const half* x, const half* residual, const float* __restrict__ scale,
               const float* __restrict__ shift, half* out, int hidden, float eps) {
  add_ln(x, residual, scale, shift, out, hidden, eps);
}

extern "C" __global__ void __launch_bounds__(kMaxThreads)
    add_ln_bf16(const bf16* x, const bf16* residual, const float* __restrict__ scale,
                const float* __restrict__ shift, bf16* out, int hidden, float eps) {
  add_ln(x, residual, scale, shift, out, hidden, eps);
}
