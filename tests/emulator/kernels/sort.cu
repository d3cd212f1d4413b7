// Computes  each row sorted, largest first (bitonic sort in shared memory).
// Data      values [rows, n] 64-bit integers; n a power of two; n * 8 bytes of dynamic shared
//           memory.
// Split     a block a row.
// Roof      shared memory.
// Numerics  exact.

#include "ptx.cuh"

extern "C" __global__ void bitonic_sort(unsigned long long* values,  // [rows, n]
                                        int n) {
  extern __shared__ unsigned long long row_smem[];
  values += static_cast<size_t>(blockIdx.x) * n;
  for (int i = threadIdx.x; i < n; i += blockDim.x) row_smem[i] = values[i];
  __syncthreads();
  for (int span = 2; span <= n; span *= 2) {
    for (int distance = span / 2; distance > 0; distance /= 2) {
      for (int i = threadIdx.x; i < n; i += blockDim.x) {
        const int partner = i ^ distance;
        if (partner < i) continue;
        const unsigned long long low = row_smem[i], high = row_smem[partner];
        const bool falling = (i & span) == 0;
        if (low < high == falling) {
          row_smem[i] = high;
          row_smem[partner] = low;
        }
      }
      // The next distance pairs what other threads wrote.
      __syncthreads();
    }
  }
  for (int i = threadIdx.x; i < n; i += blockDim.x) values[i] = row_smem[i];
}
