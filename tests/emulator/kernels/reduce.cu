// Computes  sums of x in two ways that need fences: the block that ends last adds up, and a barrier
//           of the whole grid.
// Data      x [n] floats; counter one word, zero before.
// Split     each block sums a stride of x by a tree in shared memory.
// Roof      memory.
// Numerics  f32, in an order that the grid alone decides.

#include "ptx.cuh"

constexpr int kThreads = 128;

__device__ __forceinline__ float block_sum(float value, float (&sums_smem)[kThreads]) {
  sums_smem[threadIdx.x] = value;
  __syncthreads();
  for (int distance = kThreads / 2; distance >= kWarp; distance /= 2) {
    if (threadIdx.x < distance) sums_smem[threadIdx.x] += sums_smem[threadIdx.x + distance];
    // The next round reads what this one wrote.
    __syncthreads();
  }
  if (threadIdx.x < kWarp) {
    for (int distance = kWarp / 2; distance > 0; distance /= 2) {
      if (threadIdx.x < distance) sums_smem[threadIdx.x] += sums_smem[threadIdx.x + distance];
      // One warp is left: its lanes wait for each other.
      __syncwarp();
    }
  }
  return sums_smem[0];
}

// The block that finishes last adds up the sums of all blocks.
extern "C" __global__ void __launch_bounds__(kThreads)
    reduce_last_block(const float* x, int n, float* partial, unsigned* counter, float* total) {
  __shared__ float sums_smem[kThreads];
  __shared__ bool last_smem;
  float sum = 0.0f;
  for (int i = blockIdx.x * kThreads + threadIdx.x; i < n; i += gridDim.x * kThreads) sum += x[i];
  const float of_block = block_sum(sum, sums_smem);
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = of_block;
    // The sum is visible to whoever sees the counter count this block.
    __threadfence();
    last_smem = atomicAdd(counter, 1) == gridDim.x - 1;
    // And whoever saw the others counted sees their sums.
    __threadfence();
  }
  __syncthreads();
  if (!last_smem) return;
  sum = 0.0f;
  for (int i = threadIdx.x; i < gridDim.x; i += kThreads) sum += partial[i];
  const float all = block_sum(sum, sums_smem);
  if (threadIdx.x == 0) {
    *total = all;
    *counter = 0;
  }
}

// All blocks of the grid wait for each other: as a cooperative launch promises, they are all
// resident.
__device__ __forceinline__ void grid_barrier(unsigned* counter) {
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    atomicAdd(counter, 1);
    while (*reinterpret_cast<volatile unsigned*>(counter) < gridDim.x) {
    }
    __threadfence();
  }
  __syncthreads();
}

// sums[b][t] of every block b: the sum over the elements whose place is t modulo the block size.
extern "C" __global__ void __launch_bounds__(kThreads)
    reduce_grid_barrier(const float* x, int n,
                        float* partial,  // [blocks, kThreads]
                        unsigned* counter,
                        float* sums) {  // [blocks, kThreads]
  const int at = blockIdx.x * kThreads + threadIdx.x;
  float sum = 0.0f;
  for (int i = at; i < n; i += gridDim.x * kThreads) sum += x[i];
  partial[at] = sum;
  grid_barrier(counter);
  sum = 0.0f;
  for (int block = 0; block < gridDim.x; ++block) sum += partial[block * kThreads + threadIdx.x];
  sums[at] = sum;
}
