// What comes with CUDA, as others' kernels use it: cooperative groups, barriers and atomics of
// libcu++.

#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>

#include <cuda/atomic>
#include <cuda/barrier>

#include "ptx.cuh"

namespace cg = cooperative_groups;

// y[tile] = sum of x over tiles of 8 threads; largest[0] = the largest of the block.
extern "C" __global__ void groups(const int* x, int* y, int* largest) {
  __shared__ int of_warp_smem[4];
  const cg::thread_block block = cg::this_thread_block();
  const auto tile = cg::tiled_partition<8>(block);
  const int value = x[block.thread_rank()];
  const int sum = cg::reduce(tile, value, cg::plus<int>());
  if (tile.thread_rank() == 0) y[block.thread_rank() / 8] = sum;
  const auto warp = cg::tiled_partition<kWarp>(block);
  const int most = cg::reduce(warp, value, cg::greater<int>());
  if (warp.thread_rank() == 0) of_warp_smem[warp.meta_group_rank()] = most;
  block.sync();
  if (block.thread_rank() == 0) {
    int all = of_warp_smem[0];
    for (int i = 1; i < warp.meta_group_size(); ++i) all = max(all, of_warp_smem[i]);
    *largest = all;
  }
}

// A copy of the block's values in reverse, through a barrier in shared memory.
extern "C" __global__ void library_barrier(const int* x, int* y) {
  __shared__ int row_smem[128];
  using Barrier = cuda::barrier<cuda::thread_scope_block>;
  // As bytes: shared memory has no constructors.
  __shared__ alignas(Barrier) char bytes_smem[sizeof(Barrier)];
  Barrier& barrier = *reinterpret_cast<Barrier*>(bytes_smem);
  if (threadIdx.x == 0) init(&barrier, blockDim.x);
  __syncthreads();
  row_smem[threadIdx.x] = x[threadIdx.x];
  barrier.arrive_and_wait();
  y[threadIdx.x] = row_smem[blockDim.x - 1 - threadIdx.x];
}

// Block 0 hands a value to block 1 through a flag.
extern "C" __global__ void library_atomics(int* value, int* flag, int* y) {
  cuda::atomic_ref<int, cuda::thread_scope_device> ready(*flag);
  if (threadIdx.x != 0) return;
  if (blockIdx.x == 0) {
    *value = 41;
    ready.store(1, cuda::memory_order_release);
  } else {
    while (ready.load(cuda::memory_order_acquire) == 0) {
    }
    y[0] = *value + 1;
  }
}
