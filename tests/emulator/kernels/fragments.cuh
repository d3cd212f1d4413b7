// Fragments of mma.sync, loaded element by element from row-major matrices, as the PTX ISA lays
// them out.
#pragma once

#include "ptx.cuh"

// A is 16 rows of `words` 32-bit words: lane 4g + t holds words t and t + 4 of rows g and g + 8.
__device__ __forceinline__ void load_a(uint32_t (&regs)[4], const uint32_t* a, int words) {
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int word = t + i / 2 * 4;
    regs[i] = word < words ? a[(g + i % 2 * 8) * words + word] : 0;
  }
}

// B is given transposed: 8 rows, one a column.
__device__ __forceinline__ void load_b(uint32_t (&regs)[2], const uint32_t* b, int words) {
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int word = t + i * 4;
    regs[i] = word < words ? b[g * words + word] : 0;
  }
}

// Row and column of element i of the 16x8 accumulator.
__device__ __forceinline__ int accumulator_place(int i) {
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  return (g + i / 2 * 8) * 8 + 2 * t + i % 2;
}
