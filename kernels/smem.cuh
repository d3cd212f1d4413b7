// Where the 16-byte chunks of a tile lie in shared memory.
#pragma once

// Shared memory has 32 banks of 4 bytes: a line of 128 bytes is 8 chunks, the groups of banks that
// a 16-byte access is served from.
constexpr int kChunksPerLine = 8;

// The place of chunk `chunk` in row `row` of a tile whose rows have `kRowChunks` chunks.
//
// ldmatrix reads one chunk of 8 neighbouring rows at a time. With chunks in order those would lie
// in one or two groups of banks and take turns; so row r's chunks change places with the number of
// its line. Drawn for rows of 8 chunks, a row a line; each digit is the chunk stored there:
//
//     place   0 1 2 3 4 5 6 7
//     row 0   0 1 2 3 4 5 6 7
//     row 1   1 0 3 2 5 4 7 6
//     row 2   2 3 0 1 6 7 4 5
//     row 3   3 2 1 0 7 6 5 4
//     row 4   4 5 6 7 0 1 2 3
//     row 5   5 4 7 6 1 0 3 2
//     row 6   6 7 4 5 2 3 0 1
//     row 7   7 6 5 4 3 2 1 0
//
// Chunk 0 of rows 0 to 7 is on the diagonal: 8 consecutive lanes touch 8 different bank groups.
// Rows of 4 chunks lie two in a line and change places by their line; rows of 16 are two lines,
// each swizzled alike.
template <int kRowChunks>
__device__ __forceinline__ int swizzled(int row, int chunk) {
  static_assert(kRowChunks == 4 || kRowChunks == 8 || kRowChunks == 16,
                "rows are half a line, a line or two lines");
  constexpr int kPlaces = kRowChunks < kChunksPerLine ? kRowChunks : kChunksPerLine;
  constexpr int kRowsPerLine = kChunksPerLine / kPlaces;
  return chunk ^ (row / kRowsPerLine % kPlaces);
}
