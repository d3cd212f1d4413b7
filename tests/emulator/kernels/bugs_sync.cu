// Kernels with one bug each, in how threads and blocks wait for each other. The comment `here:
// NAME` ends the line at which it is found.

#include <mma.h>

#include "ptx.cuh"

using namespace nvcuda;

constexpr int kThreads = 128;

extern "C" __global__ void missing_syncthreads(const float* x, float* y) {
  __shared__ float row_smem[kThreads];
  row_smem[threadIdx.x] = 0.0f;
  __syncthreads();
  row_smem[threadIdx.x] = x[threadIdx.x];  // here: missing_syncthreads
  y[threadIdx.x] = row_smem[kThreads - 1 - threadIdx.x];
}

// Every warp multiplies a tile that all have written.
extern "C" __global__ void missing_syncthreads_tile(const half* x, float* y) {
  __shared__ alignas(32) half tile_smem[16 * 16];
  for (int i = threadIdx.x; i < 16 * 16; i += kThreads) tile_smem[i] = 0.0f;
  __syncthreads();
  for (int i = threadIdx.x; i < 16 * 16; i += kThreads) tile_smem[i] = x[i];
  wmma::fragment<wmma::matrix_a, 16, 16, 16, half, wmma::row_major> a_regs;
  wmma::fragment<wmma::matrix_b, 16, 16, 16, half, wmma::col_major> b_regs;
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> acc;
  wmma::load_matrix_sync(a_regs, tile_smem, 16);  // here: missing_syncthreads_tile
  wmma::load_matrix_sync(b_regs, tile_smem, 16);
  wmma::fill_fragment(acc, 0.0f);
  wmma::mma_sync(acc, a_regs, b_regs, acc);
  if (threadIdx.x / kWarp == 0) wmma::store_matrix_sync(y, acc, 16, wmma::mem_row_major);
}

extern "C" __global__ void missing_syncwarp(const float* x, float* y) {
  __shared__ float row_smem[kWarp];
  row_smem[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = row_smem[threadIdx.x ^ 1];  // here: missing_syncwarp
}

// An atomic orders the lanes of a warp no more than a store does.
extern "C" __global__ void missing_syncwarp_after_atomic(int* y) {
  __shared__ int bin_smem[kWarp];
  bin_smem[threadIdx.x] = 0;
  __syncwarp();
  atomicAdd(&bin_smem[threadIdx.x ^ 1], 1);
  y[threadIdx.x] = bin_smem[threadIdx.x];  // here: missing_syncwarp_after_atomic
}

extern "C" __global__ void missing_syncwarp_before_atomic(int* y) {
  __shared__ int bin_smem[kWarp];
  bin_smem[threadIdx.x] = 0;
  __syncwarp();
  const int before = bin_smem[threadIdx.x ^ 1];
  atomicAdd(&bin_smem[threadIdx.x], 1);  // here: missing_syncwarp_before_atomic
  y[threadIdx.x] = before;
}

// The wait is for the lane's own copies only.
extern "C" __global__ void missing_syncwarp_after_wait(const float4* x, float4* y) {
  __shared__ float4 row_smem[kWarp];
  cp_async_16(&row_smem[threadIdx.x], &x[threadIdx.x]);
  cp_async_wait_all();
  y[threadIdx.x] = row_smem[threadIdx.x ^ 1];  // here: missing_syncwarp_after_wait
}

// A lane's copy overwrites what another lane may still read.
extern "C" __global__ void missing_syncwarp_before_copy(const float4* x, float4* y) {
  __shared__ float4 row_smem[kWarp];
  row_smem[threadIdx.x] = x[threadIdx.x];
  __syncwarp();
  const float4 first = row_smem[threadIdx.x ^ 1];
  cp_async_16(&row_smem[threadIdx.x], &x[threadIdx.x]);  // here: missing_syncwarp_before_copy
  cp_async_wait_all();
  y[threadIdx.x] = first;
}

// The barrier orders the two, but `__ldg` may be served from a cache that no write reaches.
extern "C" __global__ void constant_load_of_written(int* x, int* y) {
  x[threadIdx.x] = threadIdx.x;
  __syncthreads();
  y[threadIdx.x] = __ldg(&x[threadIdx.x ^ 1]);  // here: constant_load_of_written
}

// Every block adds to the same word.
extern "C" __global__ void plain_sum(int* total) {
  if (threadIdx.x == 0) total[0] += 1;  // here: plain_sum
}

// An atomic and a plain access to the same word.
extern "C" __global__ void plain_reset(int* total) {
  if (threadIdx.x == 0) atomicAdd(total, 1);
  if (threadIdx.x == 64) *total = 0;  // here: plain_reset
}

// The block that finishes last reads the others' values.
extern "C" __global__ void missing_release(int* values, unsigned* counter, int* total) {
  if (threadIdx.x != 0) return;
  values[blockIdx.x] = blockIdx.x;
  const bool last = atomicAdd(counter, 1) == gridDim.x - 1;
  __threadfence();
  if (last) {
    int sum = 0;
    for (int i = 0; i < gridDim.x; ++i) sum += values[i];  // here: missing_release
    *total = sum;
  }
}

extern "C" __global__ void missing_acquire(int* values, unsigned* counter, int* total) {
  if (threadIdx.x != 0) return;
  values[blockIdx.x] = blockIdx.x;
  __threadfence();
  const bool last = atomicAdd(counter, 1) == gridDim.x - 1;
  if (last) {
    int sum = 0;
    for (int i = 0; i < gridDim.x; ++i) sum += values[i];  // here: missing_acquire
    *total = sum;
  }
}

// A fence of the block is none for other blocks.
extern "C" __global__ void block_fence_only(int* values, unsigned* counter, int* total) {
  if (threadIdx.x != 0) return;
  values[blockIdx.x] = blockIdx.x;
  __threadfence_block();
  const bool last = atomicAdd(counter, 1) == gridDim.x - 1;
  __threadfence_block();
  if (last) {
    int sum = 0;
    for (int i = 0; i < gridDim.x; ++i) sum += values[i];  // here: block_fence_only
    *total = sum;
  }
}

extern "C" __global__ void missing_copy_wait(const float4* x, float4* y) {
  __shared__ float4 row_smem[kThreads];
  cp_async_16(&row_smem[threadIdx.x], &x[threadIdx.x]);
  cp_async_commit_group();
  __syncthreads();
  y[threadIdx.x] = row_smem[threadIdx.x];  // here: missing_copy_wait
}

// Waits for one group too few.
extern "C" __global__ void short_copy_wait(const float4* x, float4* y) {
  __shared__ float4 row_smem[2][kThreads];
  for (int i = 0; i < 2; ++i) {
    cp_async_16(&row_smem[i][threadIdx.x], &x[i * kThreads + threadIdx.x]);
    cp_async_commit_group();
  }
  cp_async_wait_group<1>();
  __syncthreads();
  y[threadIdx.x] = row_smem[1][threadIdx.x];  // here: short_copy_wait
}

// The wait is for the thread's own copies only.
extern "C" __global__ void missing_barrier_after_wait(const float4* x, float4* y) {
  __shared__ float4 row_smem[kThreads];
  cp_async_16(&row_smem[threadIdx.x], &x[threadIdx.x]);
  cp_async_wait_all();
  __syncwarp();
  y[threadIdx.x] = row_smem[(threadIdx.x + kWarp) % kThreads];  // here: missing_barrier_after_wait
}

// A stage is filled again while other warps still read it.
extern "C" __global__ void early_refill(const float4* x, float4* y, int steps) {
  __shared__ float4 stage_smem[kThreads];
  for (int step = 0; step < steps; ++step) {
    cp_async_16(&stage_smem[threadIdx.x], &x[step * kThreads + threadIdx.x]);
    cp_async_wait_all();
    __syncthreads();
    y[step * kThreads + threadIdx.x] =
        stage_smem[kThreads - 1 - threadIdx.x];  // here: early_refill
  }
}

extern "C" __global__ void divergent_syncthreads(const float* x, float* y) {
  __shared__ float row_smem[kThreads];
  row_smem[threadIdx.x] = x[threadIdx.x];
  if (x[threadIdx.x] > 0.0f) {
    __syncthreads();  // here: divergent_syncthreads
    y[threadIdx.x] = row_smem[threadIdx.x ^ 1];
  } else {
    y[threadIdx.x] = 0.0f;
    __syncthreads();
    y[threadIdx.x] += row_smem[threadIdx.x ^ 2];
  }
}

extern "C" __global__ void shuffle_without_all(const int* x, int* y) {
  int value = x[threadIdx.x];
  if (threadIdx.x < 16) value = __shfl_sync(kAllLanes, value, 20);  // here: shuffle_without_all
  __syncwarp();
  y[threadIdx.x] = value;
}

// Lane 5 is in the mask of the others' shuffle but makes another one.
extern "C" __global__ void shuffles_apart(const int* x, int* y) {
  int value = x[threadIdx.x];
  if (threadIdx.x == 5) {
    value = __shfl_sync(kAllLanes, value, 0);  // here: shuffles_apart
  } else {
    value = __shfl_sync(kAllLanes, value, 5);
  }
  y[threadIdx.x] = value;
}

extern "C" __global__ void shared_flag_never_set(int* y) {
  __shared__ volatile int flag_smem;
  if (threadIdx.x == 0) flag_smem = 0;
  __syncthreads();
  while (flag_smem == 0) {  // here: shared_flag_never_set
  }
  y[threadIdx.x] = 1;
}

extern "C" __global__ void global_flag_never_set(volatile int* flag, int* y) {
  while (*flag == 0) {  // here: global_flag_never_set
  }
  y[threadIdx.x] = 1;
}

extern "C" __global__ void barrier_too_many_threads(int* y) {
  y[threadIdx.x] = 0;
  bar_sync(1, 64);  // here: barrier_too_many_threads
}

extern "C" __global__ void barrier_for_nobody(int* y) {
  if (threadIdx.x < 64) bar_sync(1, 96);  // here: barrier_for_nobody
  y[threadIdx.x] = 0;
}

extern "C" __global__ void barrier_counts_differ(int* y) {
  bar_sync(1, threadIdx.x < 64 ? 128 : 64);  // here: barrier_counts_differ
  y[threadIdx.x] = 0;
}

extern "C" __global__ void trap(const int* x, int* y) {
  if (x[threadIdx.x] == 7) __trap();  // here: trap
  y[threadIdx.x] = 0;
}

extern "C" __global__ void __launch_bounds__(kThreads) bounded_launch(int* y) {
  y[threadIdx.x] = 0;
}
