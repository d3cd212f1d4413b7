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
// While whole steps are left, a turn of the loop goes once around the ring: then the place of every
// chunk is a constant away from an address that a thread knows. Of the instructions of that loop 60
// % are mma, in machine code 56 to 58 % (43 % on sm_120a).
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

// What a thread copies and reads in every step, in bytes: addresses in stage 0, from which the same
// in the other stages lies at a constant distance, as do its further rows: a swizzle repeats
// every 8.
template <typename Value>
struct TileAddresses {
  static constexpr int kRowBytes = kTileDepth * int(sizeof(Value));
  static constexpr int kStageBytes = kTileRows * kRowBytes;
  // From A's to B's.
  static constexpr int kOperandBytes = kTileStages * kStageBytes;

  uint32_t copied;
  // First fragment of A, and first two of B, of each k16 of a step.
  uint32_t a[kTileDepth / 16], b[kTileDepth / 16];

  __device__ __forceinline__ explicit TileAddresses(TileSmem<Value>& smem) {
    const int lane = threadIdx.x % kWarp;
    const int chunk = swizzled<kDepthChunks>(copied_row(0), threadIdx.x % kDepthChunks);
    copied = kept(shared_address(&smem.a[0][copied_row(0)][chunk * kChunkValues]));
    // Of A, matrices are rows 0-7, rows 8-15, then the same 8 values further along k. Of B, two
    // fragments: each its first 8 values of k, then the next.
    const int a_row = lane % 16, b_row = lane / 16 * 8 + lane % 8;
#pragma unroll
    for (int k = 0; k < kTileDepth / 16; ++k) {
      const int a_chunk = swizzled<kDepthChunks>(a_row, 2 * k + lane / 16);
      const int b_chunk = swizzled<kDepthChunks>(b_row, 2 * k + lane / 8 % 2);
      a[k] = kept(shared_address(&smem.a[0][warp_row_a() + a_row][a_chunk * kChunkValues]));
      b[k] = kept(shared_address(&smem.b[0][warp_row_b() + b_row][b_chunk * kChunkValues]));
    }
  }
};

// Where this thread's chunk of the next step lies in the rows that it copies.
template <typename Value>
struct TileSources {
  const Value* a[kCopies];
  const Value* b[kCopies];

  __device__ __forceinline__ void advance(int steps) {
#pragma unroll
    for (int copy = 0; copy < kCopies; ++copy) {
      a[copy] += steps * kTileDepth;
      b[copy] += steps * kTileDepth;
    }
  }
};

// Begins to copy the step that is `kAhead` steps after the sources, which exists entirely.
template <int kStage, int kAhead, typename Value>
__device__ __forceinline__ void load_whole_step(const TileAddresses<Value>& smem,
                                                const TileSources<Value>& sources) {
  using Smem = TileAddresses<Value>;
  for_constants<kCopies>([&](auto copy) {
    constexpr int kTo = kStage * Smem::kStageBytes + copy * kRowsPerCopy * Smem::kRowBytes;
    cp_async_16<kTo, kAhead * Smem::kRowBytes>(smem.copied, sources.a[copy]);
    cp_async_16<kTo + Smem::kOperandBytes, kAhead * Smem::kRowBytes>(smem.copied, sources.b[copy]);
  });
}

// The same for a step of which this thread's chunk begins at `k`: past the end there are zeros.
template <typename Value>
__device__ __forceinline__ void load_step(const TileAddresses<Value>& smem,
                                          const TileSources<Value>& sources, unsigned stage,
                                          int ahead, int k, int depth) {
  using Smem = TileAddresses<Value>;
  const bool valid = k < depth;
  // Nothing is read past the end, but the address is one that exists: the row's first.
  const int offset = ahead * kTileDepth - (valid ? 0 : k);
#pragma unroll
  for (int copy = 0; copy < kCopies; ++copy) {
    const uint32_t to =
        smem.copied + stage * Smem::kStageBytes + copy * kRowsPerCopy * Smem::kRowBytes;
    cp_async_16(to, sources.a[copy] + offset, valid);
    cp_async_16(to + Smem::kOperandBytes, sources.b[copy] + offset, valid);
  }
}

// acc += the product over one step, `offset` bytes behind stage `kStage`.
template <int kStage, typename Value>
__device__ __forceinline__ void multiply_step(const TileAddresses<Value>& smem, int offset,
                                              Accumulators& acc) {
  using Smem = TileAddresses<Value>;
#pragma unroll
  for (int k = 0; k < kTileDepth / 16; ++k) {
    uint32_t a_regs[kFragmentsA][4], b_regs[kFragmentsB / 2][4];
    for_constants<kFragmentsA>([&](auto i) {
      constexpr int kFrom = kStage * Smem::kStageBytes + i * 16 * Smem::kRowBytes;
      ldmatrix_x4<kFrom>(a_regs[i], smem.a[k] + offset);
    });
    for_constants<kFragmentsB / 2>([&](auto j) {
      constexpr int kFrom = kStage * Smem::kStageBytes + j * 16 * Smem::kRowBytes;
      ldmatrix_x4<kFrom>(b_regs[j], smem.b[k] + offset);
    });
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

// This step has landed for every thread; and every warp is done with the stage before it, which is
// filled next. Without the barrier a warp would read what another has not copied yet.
__device__ __forceinline__ void begin_step() {
  cp_async_wait_group<kTileStages - 2>();
  __syncthreads();
}

// acc = A * B^T. `a_rows[i]` and `b_rows[i]` are rows copied_row(i) of the two operands: where a
// tile reaches past the end of its matrix, any row that exists. All 256 threads call it. When it
// returns other warps may still read the ring.
template <typename Value>
__device__ __forceinline__ void multiply_tiles(Accumulators& acc, const TileAddresses<Value>& smem,
                                               const Value* const (&a_rows)[kCopies],
                                               const Value* const (&b_rows)[kCopies], int depth) {
  constexpr int kAhead = kTileStages - 1;
  const int steps = (depth + kTileDepth - 1) / kTileDepth, whole_steps = depth / kTileDepth;
  const int chunk = threadIdx.x % kDepthChunks * kChunkValues;
  TileSources<Value> sources;
#pragma unroll
  for (int copy = 0; copy < kCopies; ++copy) {
    sources.a[copy] = a_rows[copy] + chunk;
    sources.b[copy] = b_rows[copy] + chunk;
  }
#pragma unroll
  for (int i = 0; i < kFragmentsA; ++i) {
#pragma unroll
    for (int j = 0; j < kFragmentsB; ++j) {
#pragma unroll
      for (int part = 0; part < 4; ++part) acc[i][j][part] = 0.0f;
    }
  }
#pragma unroll
  for (int stage = 0; stage < kAhead; ++stage) {
    // Copies of steps that do not exist would be under way when the caller uses the ring.
    if (stage < steps) {
      load_step(smem, sources, stage, stage, stage * kTileDepth + chunk, depth);
    }
    cp_async_commit_group();
  }
  int step = 0;
  // Once around the ring while all that is loaded exists: every address is a constant away.
  for (; step + kTileStages + kAhead <= whole_steps; step += kTileStages) {
    for_constants<kTileStages>([&](auto stage) {
      begin_step();
      load_whole_step<(stage + kAhead) % kTileStages, stage + kAhead>(smem, sources);
      cp_async_commit_group();
      multiply_step<stage>(smem, 0, acc);
    });
    sources.advance(kTileStages);
  }
  // The rest, at most seven steps, begins at stage 0 again.
  for (; step < steps; ++step) {
    const unsigned stage = unsigned(step) % kTileStages;
    begin_step();
    const int next = step + kAhead;
    if (next < steps) {
      load_step(smem, sources, (stage + kAhead) % kTileStages, kAhead, next * kTileDepth + chunk,
                depth);
      sources.advance(1);
    }
    // Empty at the end, so that the wait counts the same everywhere.
    cp_async_commit_group();
    multiply_step<0>(smem, stage * TileAddresses<Value>::kStageBytes, acc);
  }
}
