// A row that a warp holds in registers, for the blocks of 8 such warps.
//
// Rows are a multiple of 8 values long; what a row has beyond its real values is zero. A row is cut
// into chunks of 4 or 8 values, which a lane reads at once:
//
//     a row       | chunk 0 | chunk 1 | ... | chunk 31 | chunk 32 | ...
//     lane             0         1      ...      31          0
#pragma once

#include "numeric.cuh"
#include "reduce.cuh"

constexpr int kRowWarps = 8;  // rows that a block works on at a time, a warp each
constexpr int kRowThreads = kRowWarps * kWarp;

// Values that a lane reads at once of rows of at most `kMostValues` of a type: 16 bytes. In rows of
// f16 that are longer than 1024 values 8 bytes: with 16 ptxas has more loads under way than it has
// registers for, and spills on sm_100a.
template <typename Value, int kMostValues>
constexpr int kRowChunk = sizeof(Value) == 2 && kMostValues <= 1024 ? kChunkValues : 4;

template <int kMostValues, int kChunk>
struct WarpRow {
  static_assert(kMostValues % (kChunk * kWarp) == 0, "lanes hold the same number of chunks");
  static constexpr int kLaneChunks = kMostValues / kChunk / kWarp;

  // What a lane has of a row.
  using Values = float[kLaneChunks][kChunk];

  // Calls `use(chunk, number)` for each chunk of a row of `length` values that the lane has.
  template <typename Use>
  static __device__ __forceinline__ void for_lane_chunks(int length, Use use) {
#pragma unroll
    for (int i = 0; i < kLaneChunks; ++i) {
      const int chunk = threadIdx.x % kWarp + i * kWarp;
      if (chunk < length / kChunk) use(chunk, i);
    }
  }
};
