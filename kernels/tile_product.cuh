// The product of two tiles by a block: the main loop of every matrix product here.
//
//   acc[m][n] = sum over k of A[m][k] * B[n][k]     128 rows of A, 128 rows of B, any depth K
//
// Both operands have k last: weights are [out, in], activations [T, in]. K is a multiple of 8; what
// is missing to a whole step counts as zeros.
//
// A step is 32 values of k. A ring of 4 stages in shared memory is filled by cp.async three steps
// ahead. 8 warps, 2 x 4, make 64 x 32 of the tile each:
//
//                 B rows 0-31  32-63  64-95  96-127
//     A rows  0-63    warp 0      1      2      3
//            64-127        4      5      6      7
//
// Every element of both tiles is read from global memory once and lands in shared memory swizzled,
// where ldmatrix meets no bank conflict. The sum runs over k in order: it depends on the two rows
// and nothing else.
#pragma once

#include "ptx.cuh"
#include "reduce.cuh"
#include "smem.cuh"

constexpr int kTileRows = 128;  // of A and of B: 64 accumulators a thread leave room for two blocks
constexpr int kTileDepth = 32;  // 64-byte rows: two k16 products a step
constexpr int kTileStages = 4;  // three in flight hide about 600 ns; 64 KB, two blocks on an A100
constexpr int kTileThreads = 256;  // 8 warps, 2 x 4
constexpr int kWarpsAlongB = 4;
constexpr int kWarpRowsA = 64;
constexpr int kWarpRowsB = 32;
constexpr int kFragmentsA = kWarpRowsA / 16;
constexpr int kFragmentsB = kWarpRowsB / 8;
constexpr int kDepthChunks = kTileDepth / kChunkValues;
// Rows between those of which a thread copies a chunk each.
constexpr int kRowsPerCopy = kTileThreads / kDepthChunks;
constexpr int kCopies = kTileRows / kRowsPerCopy;

template <typename Value>
struct TileSmem {
  alignas(128) Value a[kTileStages][kTileRows][kTileDepth];
  alignas(128) Value b[kTileStages][kTileRows][kTileDepth];
};

// Of a warp's 64 x 32: fragment (i, j) is rows 16 i of A, rows 8 j of B, as mma_m16n8k16 has them.
using Accumulators = float[kFragmentsA][kFragmentsB][4];

// Which rows of the two tiles this thread copies: its first one, the others `kRowsPerCopy` apart.
__device__ __forceinline__ int copied_row(int copy) {
  return threadIdx.x / kDepthChunks + copy * kRowsPerCopy;
}

// The first row of A and of B in the tile that this warp multiplies.
__device__ __forceinline__ int warp_row_a() {
  return threadIdx.x / kWarp / kWarpsAlongB * kWarpRowsA;
}
__device__ __forceinline__ int warp_row_b() {
  return threadIdx.x / kWarp % kWarpsAlongB * kWarpRowsB;
}

template <typename Value>
__device__ __forceinline__ void load_step(Value (&a_smem)[kTileRows][kTileDepth],
                                          Value (&b_smem)[kTileRows][kTileDepth],
                                          const Value* const (&a_rows)[kCopies],
                                          const Value* const (&b_rows)[kCopies], int k, int depth) {
  const int chunk = threadIdx.x % kDepthChunks;
  const int from = k + chunk * kChunkValues;
  const bool valid = from < depth;
  const int offset = valid ? from : 0;
#pragma unroll
  for (int copy = 0; copy < kCopies; ++copy) {
    const int row = copied_row(copy);
    const int at = swizzled<kDepthChunks>(row, chunk) * kChunkValues;
    cp_async_16(&a_smem[row][at], a_rows[copy] + offset, valid);
    cp_async_16(&b_smem[row][at], b_rows[copy] + offset, valid);
  }
}

// acc += the product over one step.
template <typename Value>
__device__ __forceinline__ void multiply_step(const Value (&a_smem)[kTileRows][kTileDepth],
                                              const Value (&b_smem)[kTileRows][kTileDepth],
                                              Accumulators& acc) {
  const int lane = threadIdx.x % kWarp;
  // A row's swizzle repeats every 8 rows, so fragments lie at a fixed distance from the first: an
  // address is one addition, not a calculation each.
  const int a_row = lane % 16, b_row = lane / 16 * 8 + lane % 8;
#pragma unroll
  for (int k = 0; k < kTileDepth / 16; ++k) {
    // Of A, matrices are rows 0-7, rows 8-15, then the same 8 values further along k. Of B, two
    // fragments: each its first 8 values of k, then the next.
    const int a_chunk = swizzled<kDepthChunks>(a_row, 2 * k + lane / 16);
    const int b_chunk = swizzled<kDepthChunks>(b_row, 2 * k + lane / 8 % 2);
    const uint32_t a_first = shared_address(&a_smem[warp_row_a() + a_row][a_chunk * kChunkValues]);
    const uint32_t b_first = shared_address(&b_smem[warp_row_b() + b_row][b_chunk * kChunkValues]);
    uint32_t a_regs[kFragmentsA][4], b_regs[kFragmentsB / 2][4];
#pragma unroll
    for (int i = 0; i < kFragmentsA; ++i) {
      ldmatrix_x4(a_regs[i], a_first + i * int(sizeof a_smem[0]) * 16);
    }
#pragma unroll
    for (int j = 0; j < kFragmentsB / 2; ++j) {
      ldmatrix_x4(b_regs[j], b_first + j * int(sizeof b_smem[0]) * 16);
    }
#pragma unroll
    for (int i = 0; i < kFragmentsA; ++i) {
#pragma unroll
      for (int j = 0; j < kFragmentsB; ++j) {
        mma_m16n8k16<Value>(acc[i][j], a_regs[i], b_regs[j / 2][j % 2 * 2],
                            b_regs[j / 2][j % 2 * 2 + 1]);
      }
    }
  }
}

// acc = A * B^T. `a_rows[i]` and `b_rows[i]` are rows copied_row(i) of the two operands: where a
// tile reaches past the end of its matrix, any row that exists. All 256 threads call it. When it
// returns nobody reads the ring any more.
template <typename Value>
__device__ __forceinline__ void multiply_tiles(Accumulators& acc, TileSmem<Value>& smem,
                                               const Value* const (&a_rows)[kCopies],
                                               const Value* const (&b_rows)[kCopies], int depth) {
  const int steps = (depth + kTileDepth - 1) / kTileDepth;
#pragma unroll
  for (int i = 0; i < kFragmentsA; ++i) {
#pragma unroll
    for (int j = 0; j < kFragmentsB; ++j) {
#pragma unroll
      for (int part = 0; part < 4; ++part) acc[i][j][part] = 0.0f;
    }
  }
#pragma unroll
  for (int stage = 0; stage < kTileStages - 1; ++stage) {
    if (stage < steps) {
      load_step(smem.a[stage], smem.b[stage], a_rows, b_rows, stage * kTileDepth, depth);
    }
    cp_async_commit_group();
  }
  for (int step = 0; step < steps; ++step) {
    // This step has landed for every thread; and every warp is done with the stage before it, which
    // is filled next. Without the barrier a warp would read what another has not copied yet.
    cp_async_wait_group<kTileStages - 2>();
    __syncthreads();
    const int next = step + kTileStages - 1;
    if (next < steps) {
      load_step(smem.a[next % kTileStages], smem.b[next % kTileStages], a_rows, b_rows,
                next * kTileDepth, depth);
    }
    // Empty at the end, so that the wait above counts the same everywhere.
    cp_async_commit_group();
    multiply_step(smem.a[step % kTileStages], smem.b[step % kTileStages], acc);
  }
  // The caller uses the ring for something else.
  __syncthreads();
}
