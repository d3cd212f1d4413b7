// Computes  C[m][n] = sum over k of A[m][k] * B[k][n].
// Data      halves A [M, K] and B [K, N], f32 C [M, N], row-major; M and N multiples of 32, K of 16.
// Split     a block makes a 32x32 tile of C with 4 warps, 2x2, each 16x16 of it; K in steps of 16
//           through shared memory, one step at a time.
// Roof      latency: no copy is under way while a step is multiplied.
// Numerics  f32 accumulators, k in order.

#include <mma.h>

#include "ptx.cuh"

using namespace nvcuda;

constexpr int kBlock = 32;  // rows and columns of C a block
constexpr int kTile = 16;   // rows, columns and depth of a wmma
constexpr int kThreads = 128;
constexpr int kPad = 8;  // halves after a row, so that neighbouring rows begin in other banks

struct Smem {
  alignas(32) half a[kBlock][kTile + kPad];
  alignas(32) half b[kTile][kBlock + kPad];
};

extern "C" __global__ void __launch_bounds__(kThreads) gemm_wmma(const half* a,  // [M, K]
                                                                 const half* b,  // [K, N]
                                                                 float* c,       // [M, N]
                                                                 int columns, int depth) {
  __shared__ Smem smem;
  const int warp = threadIdx.x / kWarp;
  const int m = blockIdx.y * kBlock, n = blockIdx.x * kBlock;
  const int warp_m = warp / 2 * kTile, warp_n = warp % 2 * kTile;
  wmma::fragment<wmma::accumulator, kTile, kTile, kTile, float> acc;
  wmma::fill_fragment(acc, 0.0f);
  for (int k = 0; k < depth; k += kTile) {
    for (int i = threadIdx.x; i < kBlock * kTile; i += kThreads) {
      const int row = i / kTile, at = i % kTile;
      smem.a[row][at] = a[static_cast<size_t>(m + row) * depth + k + at];
    }
    for (int i = threadIdx.x; i < kTile * kBlock; i += kThreads) {
      const int at = i / kBlock, column = i % kBlock;
      smem.b[at][column] = b[static_cast<size_t>(k + at) * columns + n + column];
    }
    __syncthreads();  // the step is there for all warps
    wmma::fragment<wmma::matrix_a, kTile, kTile, kTile, half, wmma::row_major> a_regs;
    wmma::fragment<wmma::matrix_b, kTile, kTile, kTile, half, wmma::row_major> b_regs;
    wmma::load_matrix_sync(a_regs, smem.a[warp_m], kTile + kPad);
    wmma::load_matrix_sync(b_regs, &smem.b[0][warp_n], kBlock + kPad);
    wmma::mma_sync(acc, a_regs, b_regs, acc);
    __syncthreads();  // nobody reads the step that is overwritten next
  }
  float* tile = c + static_cast<size_t>(m + warp_m) * columns + n + warp_n;
  wmma::store_matrix_sync(tile, acc, columns, wmma::mem_row_major);
}
