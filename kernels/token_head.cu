// Computes: the last LayerNorm of an encoder whose head weighs every token, and those weights:
//
//     y[t, :]    = LayerNorm(sums[t, :]) * scale + shift
//     w[t]       = max(0, y[t, :] . weight + bias)
//     weights[u] = max over the tokens t with slots[t] = u of w[t]; a slot is an id in a document
//
//   A token whose slot is kNone goes into no maximum. `out`, unless it is null, becomes y.
//
// Data: sums [T, stride] in f16 or f32, out [T, stride] f16, slots [T] u32, weights [U] f32, zeros
//   before. Of a row the first H values count and the others are zeros. Scale, shift, weight
//   [stride] f32, zeros beyond H; bias one f32. Slots and bias are aligned to their elements, every
//   other pointer to 16 bytes; stride is a multiple of 8, at most what the entry point is named
//   for. The host checks that slots are below U. Nothing overlaps.
//
// Work split: that of layer_norm.cu: a block takes 8 rows at a time, a warp each, and strides over
//   the tokens with its grid. A lane multiplies what it has normalised while it is in registers,
//   and lane 0 of a warp raises the slot. `weight` lies in shared memory beside scale and shift: in
//   registers it would take as many as the row does, 128 a lane in wide ones.
//
// Roof: memory. A token reads H sums, 2 H or 4 H bytes, and writes H values where `out` is wanted:
//   2 H more. About 14 H operations, and one atomic a token: none that count.
//
// Numerics: as in layer_norm.cu, so that `out` has the same bits. The product is of y in f32, not
//   rounded, and depends on the row alone. Bits of numbers that are not negative are ordered as the
//   numbers are, so the maximum is exact in any order. A w that is infinite or no number becomes a
//   NaN, whose bits are above those of all weights.
#include <cstdint>

#include "row_norm.cuh"

// --- launch shape ---
constexpr int kThreads = 256;               // 8 rows at a time
constexpr int kRows = 8;                    // a warp each
constexpr int kNarrow = 1024;               // values of a row at most: 32 a lane
constexpr int kWide = 4096;                 // for larger rows: 128 a lane, 48 KB of vectors
constexpr int kBlocksPerProcessor = 2;      // 16 rows under way, as in layer_norm.cu
constexpr int kBlocksPerProcessorWide = 1;  // 8 rows of up to 16 KB; 206 to 248 registers
// --- end of launch shape ---

static_assert(kThreads == kRowThreads && kRows == kRowWarps, "a warp takes a row");

constexpr uint32_t kNone = 0xffffffff;      // the slot of a token whose weight nobody wants
constexpr unsigned kNoNumber = 0x7fffffff;  // a NaN, above all other bits without a sign

template <int kMostValues, int kChunk>
struct Smem {
  RowNorm<kMostValues, kChunk> norm;
  RowVector<kMostValues, kChunk> weight;
};

// Bits of the weight of a token.
__device__ __forceinline__ unsigned weight_bits(float product) {
  if (!isfinite(product)) return kNoNumber;
  // Not fmaxf: of the two zeros it may give the one with a sign.
  return product > 0.0f ? __float_as_uint(product) : 0;
}

template <int kMostValues, typename Sum>
__device__ __forceinline__ void token_head(const Sum* sums,        // [T, stride]
                                           const float* scale,     // [stride]
                                           const float* shift,     // [stride]
                                           const float* weight,    // [stride]
                                           const float* bias,      // [1]
                                           const uint32_t* slots,  // [T]
                                           half* out,              // [T, stride] or null
                                           unsigned* weights,      // [U] bits of f32
                                           int tokens, int hidden, int stride, float eps) {
  constexpr int kChunk = kRowChunk<Sum, kMostValues>;
  using Row = WarpRow<kMostValues, kChunk>;
  __shared__ Smem<kMostValues, kChunk> smem;
  for (int i = threadIdx.x; i < stride / 4; i += kThreads) smem.weight.load_four(weight, i);
  // All warps wait in it, for what they have loaded of `weight` as well.
  smem.norm.load(scale, shift, stride);
  const float added = *bias;
  const int first = blockIdx.x * kRows + threadIdx.x / kWarp;
  for (int token = first; token < tokens; token += gridDim.x * kRows) {
    const uint32_t slot = slots[token];
    const size_t row = size_t(token) * stride;
    typename Row::Values values;
    Row::for_lane_chunks(
        stride, [&](int chunk, int i) { load_values(sums + row + chunk * kChunk, values[i]); });
    float product = 0.0f;
    const auto use = [&](int chunk, const float (&normed)[kChunk]) {
#pragma unroll
      for (int part = 0; part < kChunk / 4; ++part) {
        const float4 by = smem.weight.parts[part][chunk];
        const float* four = normed + 4 * part;
        product = fmaf(four[0], by.x, product);
        product = fmaf(four[1], by.y, product);
        product = fmaf(four[2], by.z, product);
        product = fmaf(four[3], by.w, product);
      }
      if (out != nullptr) store_values(normed, out + row + chunk * kChunk);
    };
    smem.norm.normalize(values, hidden, stride, eps, use);
    const unsigned bits = weight_bits(warp_sum(product) + added);
    if (slot != kNone && bits > 0 && threadIdx.x % kWarp == 0) atomicMax(weights + slot, bits);
  }
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksPerProcessor)
    token_head_1024_f16(const half* __restrict__ sums, const float* __restrict__ scale,
                        const float* __restrict__ shift, const float* __restrict__ weight,
                        const float* __restrict__ bias, const uint32_t* __restrict__ slots,
                        half* __restrict__ out, unsigned* __restrict__ weights, int tokens,
                        int hidden, int stride, float eps) {
  token_head<kNarrow>(sums, scale, shift, weight, bias, slots, out, weights, tokens, hidden, stride,
                      eps);
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksPerProcessorWide)
    token_head_4096_f16(const half* __restrict__ sums, const float* __restrict__ scale,
                        const float* __restrict__ shift, const float* __restrict__ weight,
                        const float* __restrict__ bias, const uint32_t* __restrict__ slots,
                        half* __restrict__ out, unsigned* __restrict__ weights, int tokens,
                        int hidden, int stride, float eps) {
  token_head<kWide>(sums, scale, shift, weight, bias, slots, out, weights, tokens, hidden, stride,
                    eps);
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksPerProcessor)
    token_head_1024_f32(const float* __restrict__ sums, const float* __restrict__ scale,
                        const float* __restrict__ shift, const float* __restrict__ weight,
                        const float* __restrict__ bias, const uint32_t* __restrict__ slots,
                        half* __restrict__ out, unsigned* __restrict__ weights, int tokens,
                        int hidden, int stride, float eps) {
  token_head<kNarrow>(sums, scale, shift, weight, bias, slots, out, weights, tokens, hidden, stride,
                      eps);
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksPerProcessorWide)
    token_head_4096_f32(const float* __restrict__ sums, const float* __restrict__ scale,
                        const float* __restrict__ shift, const float* __restrict__ weight,
                        const float* __restrict__ bias, const uint32_t* __restrict__ slots,
                        half* __restrict__ out, unsigned* __restrict__ weights, int tokens,
                        int hidden, int stride, float eps) {
  token_head<kWide>(sums, scale, shift, weight, bias, slots, out, weights, tokens, hidden, stride,
                    eps);
}
