// Computes: C[t, n] = epilogue(sum over k of A[t, k] * B[n, k] + bias[n]), for every token t and
//   output n; the epilogue is nothing, GELU (the erf form), or adding residual[t, n].
//
// Data: A [T, K], B [N, K] in f16 or bf16, bias [N] f32, residual [T, N] f16, what LayerNorm wrote;
//   C [T, N] in f16, bf16 or, for LayerNorm to read, f32. An entry point is named for the type of
//   A and B, then C's if that is another. Row by row, every pointer aligned to 16 bytes, K and N
//   multiples of 8. Nothing overlaps.
//
// Work split: grid (N / 128, T / 128), rounded up; a block makes 128 x 128 of C with 8 warps as
//   tile_product.cuh draws them. Blocks of one row of tiles follow each other, so that their rows
//   of A stay in the L2 cache. The sums cross shared memory once more, so that a warp writes rows:
//
//     a row of the tile  | 4 | 4 | 4 | ... | 4 |   128 values, 256 bytes, or 512 of f32
//     lane                 0   1   2         31
//
// Roof: tensor cores, or the L2 cache: 2 T N K flops; a block reads (128 + 128) K values for 128 x
//   128 results, 64 flops a byte. Bytes at least 2 (T K + N K + T N); in f32 C has 4 T N, a
//   residual another 2 T N.
//
// Numerics: products of 16-bit values summed in f32 over k in order; bias, GELU (off by 4e-8) and
//   residual in f32, rounded once, to C's type. A result depends on its row of A and of B alone,
//   bit for bit.
#include "tile_product.cuh"

// --- launch shape ---
constexpr int kBlockM = 128;            // tokens of a tile
constexpr int kBlockN = 128;            // outputs of a tile
constexpr int kThreads = 256;           // 8 warps
constexpr int kBlocksPerProcessor = 2;  // one multiplies while the other writes; 128 registers
constexpr int kSmemBytes = 65536;       // the ring of stages, and after it the sums in f32
// --- end of launch shape ---

static_assert(kBlockM == kTileRows && kBlockN == kTileRows && kThreads == kTileThreads,
              "a block makes one tile");

// Values of a row that a lane writes.
constexpr int kLaneValues = kBlockN / kWarp;

template <typename Value>
union Smem {
  TileSmem<Value> ring;
  alignas(128) float sums[kBlockM][kBlockN];
};
static_assert(sizeof(Smem<half>) == kSmemBytes && sizeof(Smem<bf16>) == kSmemBytes,
              "the host asks for what a block uses");

enum class Epilogue { kBias, kBiasGelu, kBiasResidual };

// x times the normal distribution up to x, the erf form: max(x, 0) - |x| Q(|x|), where Q(a), the
// distribution beyond a, is 2 to the power of a polynomial. Fitted for a up to 5.5 where it counts,
// weighted with a Q(a): GELU is off by 4e-8 at most. Beyond, Q falls faster than it should, from
// 2e-8 to 0. With erff it was 30 instructions, this is 12.
__device__ __forceinline__ float gelu(float x) {
  constexpr float kLogQ[] = {-1.8064753e-6f, 2.6711692e-5f, -1.23778038e-4f,
                             -2.9521584e-4f, 7.2849207e-3f, -5.2666131e-2f,
                             -4.5914170e-1f, -1.1511163f,   -9.9999952e-1f};
  const float a = fabsf(x);
  float log_q = kLogQ[0];
#pragma unroll
  for (int i = 1; i < int(sizeof kLogQ / sizeof kLogQ[0]); ++i) log_q = fmaf(log_q, a, kLogQ[i]);
  return fmaf(-a, ex2_approx(log_q), fmaxf(x, 0.0f));
}

// The place of chunk `chunk` of row `row` of the sums. A warp writes 8 bytes a lane, four rows at a
// time two chunks each: the rows of one half-warp's write lie in different banks.
__device__ __forceinline__ int sums_chunk(int row, int chunk) { return chunk ^ (row % 4 * 2); }

// Puts the warp's sums where every warp finds whole rows.
__device__ __forceinline__ void spread_sums(float (&sums)[kBlockM][kBlockN],
                                            const Accumulators& acc) {
  const int lane = threadIdx.x % kWarp;
#pragma unroll
  for (int i = 0; i < kFragmentsA; ++i) {
#pragma unroll
    for (int j = 0; j < kFragmentsB; ++j) {
      const int column = warp_row_b() + 8 * j + lane % 4 * 2;
#pragma unroll
      for (int high = 0; high < 2; ++high) {
        const int row = warp_row_a() + 16 * i + lane / 4 + 8 * high;
        float* chunk = &sums[row][sums_chunk(row, column / 4) * 4];
        *reinterpret_cast<float2*>(chunk + column % 4) =
            make_float2(acc[i][j][2 * high], acc[i][j][2 * high + 1]);
      }
    }
  }
}

template <Epilogue kEpilogue, typename Value, typename Result>
__device__ __forceinline__ void gemm(const Value* a,        // [T, K]
                                     const Value* b,        // [N, K]
                                     const float* bias,     // [N]
                                     const half* residual,  // [T, N]
                                     Result* c,             // [T, N]
                                     int tokens, int outputs, int depth) {
  extern __shared__ __align__(128) unsigned char raw_smem[];
  Smem<Value>& smem = *reinterpret_cast<Smem<Value>*>(raw_smem);
  const int m = blockIdx.y * kBlockM, n = blockIdx.x * kBlockN;

  // Past the end the last row stands in: what is computed from it is not written.
  const Value* a_rows[kCopies];
  const Value* b_rows[kCopies];
#pragma unroll
  for (int copy = 0; copy < kCopies; ++copy) {
    a_rows[copy] = a + size_t(min(m + copied_row(copy), tokens - 1)) * depth;
    b_rows[copy] = b + size_t(min(n + copied_row(copy), outputs - 1)) * depth;
  }
  Accumulators acc;
  multiply_tiles(acc, TileAddresses<Value>(smem.ring), a_rows, b_rows, depth);
  // The sums lie where the ring was, which other warps may still multiply from.
  __syncthreads();
  spread_sums(smem.sums, acc);
  // A warp writes rows that all warps have computed parts of.
  __syncthreads();

  const int lane = threadIdx.x % kWarp;
  const int column = n + lane * kLaneValues;
  if (column >= outputs) return;
  const float4 shift = *reinterpret_cast<const float4*>(bias + column);
  // The warp's rows lie 8 apart, where the order of chunks is the same again.
  constexpr int kRowStep = kThreads / kWarp;
  static_assert(kRowStep % 4 == 0, "sums_chunk repeats every 4 rows");
  const int first = threadIdx.x / kWarp, rows = min(kBlockM, tokens - m);
  const float* from = &smem.sums[first][sums_chunk(first, lane) * 4];
  const size_t at = size_t(m + first) * outputs + column, row_step = size_t(kRowStep) * outputs;
  c += at;
  if (kEpilogue == Epilogue::kBiasResidual) residual += at;
  for (int row = first; row < rows; row += kRowStep) {
    const float4 sum = *reinterpret_cast<const float4*>(from);
    float values[kLaneValues] = {sum.x + shift.x, sum.y + shift.y, sum.z + shift.z,
                                 sum.w + shift.w};
    if (kEpilogue == Epilogue::kBiasGelu) {
#pragma unroll
      for (float& value : values) value = gelu(value);
    }
    if (kEpilogue == Epilogue::kBiasResidual) {
      float other[kLaneValues];
      load_values(residual, other);
#pragma unroll
      for (int i = 0; i < kLaneValues; ++i) values[i] += other[i];
      residual += row_step;
    }
    store_values(values, c);
    c += row_step;
    from += kRowStep * kBlockN;
  }
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksPerProcessor)
    gemm_bias_f16(const half* __restrict__ a, const half* __restrict__ b,
                  const float* __restrict__ bias, half* __restrict__ c, int tokens, int outputs,
                  int depth) {
  gemm<Epilogue::kBias>(a, b, bias, nullptr, c, tokens, outputs, depth);
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksPerProcessor)
    gemm_bias_f16_bf16(const half* __restrict__ a, const half* __restrict__ b,
                       const float* __restrict__ bias, bf16* __restrict__ c, int tokens,
                       int outputs, int depth) {
  gemm<Epilogue::kBias>(a, b, bias, nullptr, c, tokens, outputs, depth);
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksPerProcessor)
    gemm_bias_f16_f32(const half* __restrict__ a, const half* __restrict__ b,
                      const float* __restrict__ bias, float* __restrict__ c, int tokens,
                      int outputs, int depth) {
  gemm<Epilogue::kBias>(a, b, bias, nullptr, c, tokens, outputs, depth);
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksPerProcessor)
    gemm_bias_gelu_f16(const half* __restrict__ a, const half* __restrict__ b,
                       const float* __restrict__ bias, half* __restrict__ c, int tokens,
                       int outputs, int depth) {
  gemm<Epilogue::kBiasGelu>(a, b, bias, nullptr, c, tokens, outputs, depth);
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksPerProcessor)
    gemm_bias_gelu_f16_bf16(const half* __restrict__ a, const half* __restrict__ b,
                            const float* __restrict__ bias, bf16* __restrict__ c, int tokens,
                            int outputs, int depth) {
  gemm<Epilogue::kBiasGelu>(a, b, bias, nullptr, c, tokens, outputs, depth);
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksPerProcessor)
    gemm_bias_gelu_f16_f32(const half* __restrict__ a, const half* __restrict__ b,
                           const float* __restrict__ bias, float* __restrict__ c, int tokens,
                           int outputs, int depth) {
  gemm<Epilogue::kBiasGelu>(a, b, bias, nullptr, c, tokens, outputs, depth);
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksPerProcessor)
    gemm_bias_residual_f16(const half* __restrict__ a, const half* __restrict__ b,
                           const float* __restrict__ bias, const half* __restrict__ residual,
                           half* __restrict__ c, int tokens, int outputs, int depth) {
  gemm<Epilogue::kBiasResidual>(a, b, bias, residual, c, tokens, outputs, depth);
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksPerProcessor)
    gemm_bias_residual_bf16_f32(const bf16* __restrict__ a, const bf16* __restrict__ b,
                                const float* __restrict__ bias, const half* __restrict__ residual,
                                float* __restrict__ c, int tokens, int outputs, int depth) {
  gemm<Epilogue::kBiasResidual>(a, b, bias, residual, c, tokens, outputs, depth);
}
