// Computes  O = softmax(Q K^T * scale) V  for one head of 64, streaming over K and V (flash
//           attention, forward).
// Data      Q, K, V, O [H, S, 64] halves, S of any length.
// Split     grid (ceil(S / 64), H); a block makes 64 rows of O with 4 warps of 16 rows; K and V in
//           tiles of 64 rows, two buffers filled by cp.async one tile ahead.
// Roof      tensor cores; chunks are swizzled so that ldmatrix meets no bank conflict.
// Numerics  f32 sums and statistics; probabilities as halves for the second product.

#include "ptx.cuh"

constexpr int kHead = 64;
constexpr int kTile = 64;
constexpr int kThreads = 128;
constexpr int kChunk = 8;

using Tile = half[kTile][kHead];

struct Smem {
  alignas(128) Tile q;
  alignas(128) Tile k[2];
  alignas(128) Tile v[2];
};

__device__ __forceinline__ half* chunk_at(Tile& tile, int row, int chunk) {
  return &tile[row][(chunk ^ (row % 8)) * kChunk];
}

// Rows past the end become zeros.
__device__ __forceinline__ void load_tile(Tile& tile, const half* rows, int first, int length) {
  for (int i = threadIdx.x; i < kTile * kHead / kChunk; i += kThreads) {
    const int row = i / (kHead / kChunk), chunk = i % (kHead / kChunk);
    const bool valid = first + row < length;
    const half* from = rows + static_cast<size_t>(first + row) * kHead + chunk * kChunk;
    cp_async_16(chunk_at(tile, row, chunk), valid ? from : rows, valid);
  }
}

// The largest or the sum over the four lanes that share a row of an accumulator.
__device__ __forceinline__ float row_max(float value) {
  value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, 1));
  return fmaxf(value, __shfl_xor_sync(kAllLanes, value, 2));
}

__device__ __forceinline__ float row_sum(float value) {
  value += __shfl_xor_sync(kAllLanes, value, 1);
  return value + __shfl_xor_sync(kAllLanes, value, 2);
}

// scores[16 x 64] = Q K^T.
__device__ __forceinline__ void multiply_keys(float (&scores)[8][4], const uint32_t (&q_regs)[4][4],
                                              Tile& keys) {
  const int lane = threadIdx.x % kWarp;
#pragma unroll
  for (int k = 0; k < kHead / 16; ++k) {
#pragma unroll
    for (int n = 0; n < kTile / 16; ++n) {
      uint32_t k_regs[4];
      ldmatrix_x4(k_regs, chunk_at(keys, n * 16 + lane / 16 * 8 + lane % 8, k * 2 + lane / 8 % 2));
      mma_m16n8k16(scores[2 * n], q_regs[k], k_regs[0], k_regs[1]);
      mma_m16n8k16(scores[2 * n + 1], q_regs[k], k_regs[2], k_regs[3]);
    }
  }
}

// out[16 x 64] += P V.
__device__ __forceinline__ void multiply_values(float (&out)[8][4], const float (&p)[8][4],
                                                Tile& values) {
  const int lane = threadIdx.x % kWarp;
#pragma unroll
  for (int k = 0; k < kTile / 16; ++k) {
    const uint32_t p_regs[4] = {
        pack_half2(p[2 * k][0], p[2 * k][1]), pack_half2(p[2 * k][2], p[2 * k][3]),
        pack_half2(p[2 * k + 1][0], p[2 * k + 1][1]), pack_half2(p[2 * k + 1][2], p[2 * k + 1][3])};
#pragma unroll
    for (int n = 0; n < kHead / 16; ++n) {
      uint32_t v_regs[4];
      ldmatrix_x4_trans(v_regs, chunk_at(values, k * 16 + lane % 16, n * 2 + lane / 16));
      mma_m16n8k16(out[2 * n], p_regs, v_regs[0], v_regs[1]);
      mma_m16n8k16(out[2 * n + 1], p_regs, v_regs[2], v_regs[3]);
    }
  }
}

extern "C" __global__ void __launch_bounds__(kThreads) attention(const half* q,  // [H, S, 64]
                                                                 const half* k,  // [H, S, 64]
                                                                 const half* v,  // [H, S, 64]
                                                                 half* out,      // [H, S, 64]
                                                                 int length, float scale_log2) {
  __shared__ Smem smem;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const size_t head = static_cast<size_t>(blockIdx.y) * length * kHead;
  const int first = blockIdx.x * kTile;
  const int tiles = (length + kTile - 1) / kTile;
  load_tile(smem.q, q + head, first, length);
  cp_async_commit_group();
  load_tile(smem.k[0], k + head, 0, length);
  load_tile(smem.v[0], v + head, 0, length);
  cp_async_commit_group();

  cp_async_wait_group<1>();
  __syncthreads();
  uint32_t q_regs[4][4];
#pragma unroll
  for (int i = 0; i < kHead / 16; ++i) {
    ldmatrix_x4(q_regs[i], chunk_at(smem.q, warp * 16 + lane % 16, i * 2 + lane / 16));
  }
  float acc[8][4] = {};
  float largest[2] = {-INFINITY, -INFINITY}, total[2] = {};
  for (int tile = 0; tile < tiles; ++tile) {
    if (tile + 1 < tiles) {
      load_tile(smem.k[(tile + 1) % 2], k + head, (tile + 1) * kTile, length);
      load_tile(smem.v[(tile + 1) % 2], v + head, (tile + 1) * kTile, length);
    }
    cp_async_commit_group();
    // This tile has landed for every thread.
    cp_async_wait_group<1>();
    __syncthreads();
    float p[8][4] = {};
    multiply_keys(p, q_regs, smem.k[tile % 2]);

    // Only the last tile can reach past the end.
    if ((tile + 1) * kTile > length) {
#pragma unroll
      for (int n = 0; n < 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          if (tile * kTile + n * 8 + lane % 4 * 2 + i % 2 >= length) p[n][i] = -INFINITY;
        }
      }
    }
    float now[2] = {largest[0], largest[1]};
#pragma unroll
    for (int n = 0; n < 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) now[i / 2] = fmaxf(now[i / 2], p[n][i]);
    }
    float shrink[2], shift[2];
#pragma unroll
    for (int half_row = 0; half_row < 2; ++half_row) {
      now[half_row] = row_max(now[half_row]);
      shrink[half_row] = ex2_approx((largest[half_row] - now[half_row]) * scale_log2);
      shift[half_row] = -now[half_row] * scale_log2;
      largest[half_row] = now[half_row];
      total[half_row] *= shrink[half_row];
    }
#pragma unroll
    for (int n = 0; n < 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        p[n][i] = ex2_approx(fmaf(p[n][i], scale_log2, shift[i / 2]));
        total[i / 2] += p[n][i];
        acc[n][i] *= shrink[i / 2];
      }
    }
    multiply_values(acc, p, smem.v[tile % 2]);
    // Nobody reads this tile's buffer any more: it is refilled in the next round.
    __syncthreads();
  }

#pragma unroll
  for (int half_row = 0; half_row < 2; ++half_row) {
    const float inverse = 1.0f / row_sum(total[half_row]);
    const int row = first + warp * 16 + lane / 4 + half_row * 8;
    if (row >= length) continue;
#pragma unroll
    for (int n = 0; n < 8; ++n) {
      *reinterpret_cast<half2*>(out + head + static_cast<size_t>(row) * kHead + n * 8 +
                                lane % 4 * 2) =
          __floats2half2_rn(acc[n][half_row * 2] * inverse, acc[n][half_row * 2 + 1] * inverse);
    }
  }
}
