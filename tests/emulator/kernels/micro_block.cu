// Threads and blocks that wait for each other: barriers with reductions and numbers, flags in
// memory.

#include "ptx.cuh"

extern "C" __global__ void barrier_votes(const int* x, int* y) {
  const int i = threadIdx.x, n = blockDim.x;
  y[i] = __syncthreads_count(x[i] > 5);
  y[n + i] = __syncthreads_and(x[i] > 0) != 0;
  y[2 * n + i] = __syncthreads_or(x[i] == 3) != 0;
}

// One warp fills a ring of two rows, the others empty it: barriers 1 and 2 say full, 3 and 4 empty.
extern "C" __global__ void __launch_bounds__(128) named_barriers(const int* x, int* y, int rounds) {
  constexpr int kRing = 2;
  constexpr int kFull = 1, kEmpty = kFull + kRing;
  __shared__ int row_smem[kRing][kWarp];
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  int sum = 0;
  for (int round = 0; round < rounds; ++round) {
    const int at = round % kRing;
    if (warp == 0) {
      if (round >= kRing) bar_sync(kEmpty + at, blockDim.x);
      row_smem[at][lane] = x[round * kWarp + lane];
      bar_arrive(kFull + at, blockDim.x);
    } else {
      bar_sync(kFull + at, blockDim.x);
      sum += row_smem[at][(lane + warp) % kWarp];
      if (round + kRing < rounds) bar_arrive(kEmpty + at, blockDim.x);
    }
  }
  if (warp > 0) y[threadIdx.x - kWarp] = sum;
}

// Threads that end early are not waited for.
extern "C" __global__ void early_exit(const int* x, int* y) {
  __shared__ int row_smem[128];
  row_smem[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  if (threadIdx.x >= 64) return;
  const int sum = row_smem[threadIdx.x] + row_smem[threadIdx.x + 64];
  __syncthreads();
  row_smem[63 - threadIdx.x] = sum;
  __syncthreads();
  y[threadIdx.x] = row_smem[threadIdx.x];
}

// A flag in shared memory, a warp that spins on it.
extern "C" __global__ void shared_flag(const int* x, int* y) {
  __shared__ int value_smem;
  __shared__ volatile int flag_smem;
  if (threadIdx.x == 0) flag_smem = 0;
  __syncthreads();
  if (threadIdx.x == 32) {
    value_smem = x[0] + 1;
    __threadfence_block();
    flag_smem = 1;
  }
  if (threadIdx.x == 0) {
    while (flag_smem == 0) {
    }
    __threadfence_block();
    y[0] = value_smem * 2;
  }
}

// Block i waits for block i - 1: flags with release and acquire.
extern "C" __global__ void chain(const int* x, int* sums, int* flags) {
  if (threadIdx.x != 0) return;
  int before = 0;
  if (blockIdx.x > 0) {
    int ready;
    do {
      __nanosleep(20);
      asm volatile("ld.acquire.gpu.global.u32 %0, [%1];"
                   : "=r"(ready)
                   : "l"(flags + blockIdx.x - 1)
                   : "memory");
    } while (!ready);
    before = sums[blockIdx.x - 1];
  }
  sums[blockIdx.x] = before + x[blockIdx.x];
  asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(flags + blockIdx.x), "r"(1) : "memory");
}

// A lock that one lane of a warp takes.
extern "C" __global__ void lock(unsigned* held, int* counter) {
  if (threadIdx.x % kWarp != 0) return;
  while (atomicCAS(held, 0u, 1u) != 0) {
  }
  __threadfence();
  counter[0] = counter[0] + 1;
  __threadfence();
  atomicExch(held, 0u);
}
