// Computes  C[m][n] = sum over k of A[m][k] * B[k][n] + bias[n]  for halves, rounded once.
// Data      A [M, K], B [K, N], C [M, N], row-major; K and N multiples of 8; bias [N].
// Split     a block makes a 128x128 tile of C with 8 warps, 2x4, each 64x32 of it; K in steps of 32
//           through a ring of three stages that cp.async fills two steps ahead.
// Roof      tensor cores; shared memory without bank conflicts: 16-byte chunks are swizzled.
// Numerics  f32 accumulators, k in order.

#include "ptx.cuh"

constexpr int kBlockM = 128;
constexpr int kBlockN = 128;
constexpr int kBlockK = 32;
constexpr int kStages = 3;  // two in flight hide the latency of global memory, one is multiplied
constexpr int kThreads = 256;
constexpr int kChunk = 8;  // halves in 16 bytes

struct Smem {
  alignas(128) half a[kStages][kBlockM][kBlockK];
  alignas(128) half b[kStages][kBlockK][kBlockN];
};

// Rows of A are 64 bytes, two to a line of banks: rows 2i and 2i + 1 share a swizzle, four chunks
// wide.
__device__ __forceinline__ half* chunk_of_a(half (&tile)[kBlockM][kBlockK], int row, int chunk) {
  return &tile[row][(chunk ^ (row / 2 % 4)) * kChunk];
}

// Rows of B are 256 bytes: two lines of banks, swizzled alike.
__device__ __forceinline__ half* chunk_of_b(half (&tile)[kBlockK][kBlockN], int row, int chunk) {
  return &tile[row][(chunk ^ (row % 8)) * kChunk];
}

__device__ __forceinline__ void load_stage(Smem& smem, int stage, const half* a, const half* b,
                                           int m, int n, int k, int rows, int columns, int depth) {
  for (int i = threadIdx.x; i < kBlockM * kBlockK / kChunk; i += kThreads) {
    const int row = i / (kBlockK / kChunk), chunk = i % (kBlockK / kChunk);
    const bool valid = m + row < rows && k + chunk * kChunk < depth;
    const half* from = a + static_cast<size_t>(m + row) * depth + k + chunk * kChunk;
    cp_async_16(chunk_of_a(smem.a[stage], row, chunk), valid ? from : a, valid);
  }
  for (int i = threadIdx.x; i < kBlockK * kBlockN / kChunk; i += kThreads) {
    const int row = i / (kBlockN / kChunk), chunk = i % (kBlockN / kChunk);
    const bool valid = k + row < depth && n + chunk * kChunk < columns;
    const half* from = b + static_cast<size_t>(k + row) * columns + n + chunk * kChunk;
    cp_async_16(chunk_of_b(smem.b[stage], row, chunk), valid ? from : b, valid);
  }
}

extern "C" __global__ void __launch_bounds__(kThreads) gemm_f16(const half* a,     // [M, K]
                                                                const half* b,     // [K, N]
                                                                const half* bias,  // [N]
                                                                half* c,           // [M, N]
                                                                int rows, int columns, int depth) {
  __shared__ Smem smem;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int m = blockIdx.y * kBlockM, n = blockIdx.x * kBlockN;
  const int warp_m = warp / 4 * 64, warp_n = warp % 4 * 32;
  const int steps = (depth + kBlockK - 1) / kBlockK;
  float acc[4][4][4] = {};

  for (int stage = 0; stage < kStages - 1; ++stage) {
    if (stage < steps) load_stage(smem, stage, a, b, m, n, stage * kBlockK, rows, columns, depth);
    cp_async_commit_group();
  }
  for (int step = 0; step < steps; ++step) {
    // The stage of this step has landed for every thread, and nobody still reads the one that is
    // refilled next.
    cp_async_wait_group<kStages - 2>();
    __syncthreads();
    const int next = step + kStages - 1;
    if (next < steps)
      load_stage(smem, next % kStages, a, b, m, n, next * kBlockK, rows, columns, depth);
    cp_async_commit_group();

    const int stage = step % kStages;
#pragma unroll
    for (int k = 0; k < kBlockK / 16; ++k) {
      uint32_t a_regs[4][4], b_regs[2][4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        ldmatrix_x4(a_regs[i],
                    chunk_of_a(smem.a[stage], warp_m + i * 16 + lane % 16, k * 2 + lane / 16));
      }
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        ldmatrix_x4_trans(b_regs[i], chunk_of_b(smem.b[stage], k * 16 + lane % 16,
                                                warp_n / 8 + i * 2 + lane / 16));
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          mma_m16n8k16(acc[i][j], a_regs[i], b_regs[j / 2][j % 2 * 2],
                       b_regs[j / 2][j % 2 * 2 + 1]);
        }
      }
    }
  }

#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int column = n + warp_n + j * 8 + lane % 4 * 2;
      if (column >= columns) continue;
      const float2 shift = __half22float2(*reinterpret_cast<const half2*>(bias + column));
#pragma unroll
      for (int high = 0; high < 2; ++high) {
        const int row = m + warp_m + i * 16 + lane / 4 + high * 8;
        if (row >= rows) continue;
        *reinterpret_cast<half2*>(c + static_cast<size_t>(row) * columns + column) =
            __floats2half2_rn(acc[i][j][high * 2] + shift.x, acc[i][j][high * 2 + 1] + shift.y);
      }
    }
  }
}
