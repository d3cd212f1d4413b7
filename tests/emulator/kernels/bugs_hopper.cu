// Kernels with one bug each, in the asynchronous operations of sm_90a. The comment `here: NAME`
// ends the line at which it is found.
// Targets: sm_90a

#include "hopper.cuh"
#include "wgmma.cuh"

constexpr int kThreads = 128;
constexpr uint32_t kRowBytes = kThreads * sizeof(float);

__device__ __forceinline__ void init_for_all(uint64_t* barrier, uint32_t arrivals) {
  if (threadIdx.x == 0) {
    mbarrier_init(barrier, arrivals);
    fence_mbarrier_init();
  }
  __syncthreads();
}

// --- mbarrier ---

extern "C" __global__ void barrier_not_yet_there(int* y) {
  __shared__ uint64_t barrier_smem;
  if (threadIdx.x == kThreads - 1) mbarrier_init(&barrier_smem, kThreads);
  mbarrier_arrive(&barrier_smem);  // here: barrier_not_yet_there
  y[threadIdx.x] = 0;
}

// The barrier is there in the default order, but nothing makes the others wait for it.
extern "C" __global__ void missing_sync_after_init(int* y) {
  __shared__ uint64_t barrier_smem;
  if (threadIdx.x == 0) mbarrier_init(&barrier_smem, kThreads - kWarp);
  if (threadIdx.x >= kWarp) mbarrier_arrive(&barrier_smem);  // here: missing_sync_after_init
  y[threadIdx.x] = 0;
}

extern "C" __global__ void too_many_arrivals(int* y) {
  __shared__ uint64_t barrier_smem;
  init_for_all(&barrier_smem, kThreads + 1);
  mbarrier_arrive(&barrier_smem);
  __syncthreads();
  if (threadIdx.x < 2) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0], 2;" ::"r"(
        shared_address(&barrier_smem)));  // here: too_many_arrivals
  }
  y[threadIdx.x] = 0;
}

extern "C" __global__ void plain_access_to_barrier(unsigned long long* y) {
  __shared__ uint64_t barrier_smem;
  init_for_all(&barrier_smem, 1);
  y[threadIdx.x] =
      *reinterpret_cast<volatile uint64_t*>(&barrier_smem);  // here: plain_access_to_barrier
}

extern "C" __global__ void barrier_made_twice(int* y) {
  __shared__ uint64_t barrier_smem;
  init_for_all(&barrier_smem, 1);
  if (threadIdx.x == 0) mbarrier_init(&barrier_smem, 1);  // here: barrier_made_twice
  y[threadIdx.x] = 0;
}

extern "C" __global__ void too_few_arrivals(int* y) {
  __shared__ uint64_t barrier_smem;
  init_for_all(&barrier_smem, kThreads);
  if (threadIdx.x != 17) mbarrier_arrive(&barrier_smem);
  mbarrier_wait(&barrier_smem, 0);  // here: too_few_arrivals
  y[threadIdx.x] = 0;
}

// --- bulk copies ---

extern "C" __global__ void expects_too_much(const float* x, float* y) {
  __shared__ alignas(128) float row_smem[kThreads];
  __shared__ uint64_t barrier_smem;
  init_for_all(&barrier_smem, 1);
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect_tx(&barrier_smem, kRowBytes + 16);
    bulk_load(row_smem, x, kRowBytes, &barrier_smem);
  }
  mbarrier_wait(&barrier_smem, 0);  // here: expects_too_much
  y[threadIdx.x] = row_smem[threadIdx.x];
}

extern "C" __global__ void expects_too_little(const float* x, float* y) {
  __shared__ alignas(128) float row_smem[2][kThreads];
  __shared__ uint64_t barrier_smem;
  init_for_all(&barrier_smem, 1);
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect_tx(&barrier_smem, kRowBytes);
    bulk_load(row_smem[0], x, kRowBytes, &barrier_smem);
    bulk_load(row_smem[1], x, kRowBytes, &barrier_smem);
  }
  mbarrier_wait(&barrier_smem, 0);
  y[threadIdx.x] = row_smem[0][threadIdx.x];
  y[threadIdx.x] = row_smem[1][threadIdx.x];  // here: expects_too_little
}

extern "C" __global__ void load_not_waited_for(const float* x, float* y) {
  __shared__ alignas(128) float row_smem[kThreads];
  __shared__ uint64_t barrier_smem;
  init_for_all(&barrier_smem, 1);
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect_tx(&barrier_smem, kRowBytes);
    bulk_load(row_smem, x, kRowBytes, &barrier_smem);
  }
  __syncthreads();
  y[threadIdx.x] = row_smem[threadIdx.x];  // here: load_not_waited_for
  mbarrier_wait(&barrier_smem, 0);
}

// Waits for the phase before the first: it is complete from the start.
extern "C" __global__ void wrong_parity(const float* x, float* y) {
  __shared__ alignas(128) float row_smem[kThreads];
  __shared__ uint64_t barrier_smem;
  init_for_all(&barrier_smem, 1);
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect_tx(&barrier_smem, kRowBytes);
    bulk_load(row_smem, x, kRowBytes, &barrier_smem);
  }
  __syncthreads();
  mbarrier_wait(&barrier_smem, 1);
  y[threadIdx.x] = row_smem[threadIdx.x];  // here: wrong_parity
}

// The producer does not wait until the consumers have read.
extern "C" __global__ void stage_refilled_early(const float* x, float* y, int steps) {
  __shared__ alignas(128) float row_smem[kThreads];
  __shared__ uint64_t barrier_smem;
  init_for_all(&barrier_smem, 1);
  for (int step = 0; step < steps; ++step) {
    if (threadIdx.x == 0) {
      mbarrier_arrive_expect_tx(&barrier_smem, kRowBytes);
      bulk_load(row_smem, x + step * kThreads, kRowBytes, &barrier_smem);
    }
    mbarrier_wait(&barrier_smem, step % 2);
    y[step * kThreads + threadIdx.x] = row_smem[threadIdx.x];  // here: stage_refilled_early
  }
}

extern "C" __global__ void bulk_load_past_end(const float* x, float* y) {
  __shared__ alignas(128) float row_smem[kThreads];
  __shared__ uint64_t barrier_smem;
  init_for_all(&barrier_smem, 1);
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect_tx(&barrier_smem, kRowBytes);
    bulk_load(row_smem, x, kRowBytes, &barrier_smem);  // here: bulk_load_past_end
  }
  mbarrier_wait(&barrier_smem, 0);
  y[threadIdx.x] = row_smem[threadIdx.x];
}

extern "C" __global__ void store_without_proxy_fence(float* y) {
  __shared__ alignas(128) float row_smem[kThreads];
  row_smem[threadIdx.x] = threadIdx.x;
  __syncthreads();
  if (threadIdx.x == 0) {
    bulk_store(y, row_smem, kRowBytes);  // here: store_without_proxy_fence
    bulk_commit_group();
    bulk_wait_group_read<0>();
  }
}

extern "C" __global__ void store_not_waited_for(float* y) {
  __shared__ alignas(128) float row_smem[kThreads];
  row_smem[threadIdx.x] = threadIdx.x;
  fence_proxy_async();
  __syncthreads();
  if (threadIdx.x == 0) {
    bulk_store(y, row_smem, kRowBytes);  // here: store_not_waited_for
    bulk_commit_group();
  }
}

extern "C" __global__ void source_overwritten(float* y) {
  __shared__ alignas(128) float row_smem[kThreads];
  row_smem[threadIdx.x] = threadIdx.x;
  fence_proxy_async();
  __syncthreads();
  if (threadIdx.x == 0) {
    bulk_store(y, row_smem, kRowBytes);  // here: source_overwritten
    bulk_commit_group();
  }
  __syncthreads();
  row_smem[threadIdx.x] = 0.0f;
  if (threadIdx.x == 0) bulk_wait_group_read<0>();
}

// --- wgmma ---

struct Operands {
  alignas(1024) half a[64][64];
  alignas(1024) half b[64][64];
};

// All of both operands is 1: the swizzle does not show.
__device__ __forceinline__ void fill(Operands& smem) {
  for (int i = threadIdx.x; i < 64 * 64; i += kThreads) {
    smem.a[i / 64][i % 64] = __float2half(1.0f);
    smem.b[i / 64][i % 64] = __float2half(1.0f);
  }
}

extern "C" __global__ void __launch_bounds__(kThreads) operands_without_proxy_fence(float* y) {
  __shared__ Operands smem;
  fill(smem);
  __syncthreads();
  float acc[32];
  wgmma_fence();
  const uint64_t a = tile_descriptor(smem.a), b = tile_descriptor(smem.b);
  wgmma_m64n64k16(acc, a, b, false);  // here: operands_without_proxy_fence
  wgmma_commit_group();
  wgmma_wait_group<0>();
  y[threadIdx.x] = acc[0];
}

extern "C" __global__ void __launch_bounds__(kThreads)
    missing_wgmma_fence(const float* x, float* y) {
  __shared__ Operands smem;
  fill(smem);
  fence_proxy_async();
  __syncthreads();
  float acc[32];
  for (int i = 0; i < 32; ++i) acc[i] = x[i];
  const uint64_t a = tile_descriptor(smem.a), b = tile_descriptor(smem.b);
  wgmma_m64n64k16(acc, a, b, true);  // here: missing_wgmma_fence
  wgmma_commit_group();
  wgmma_wait_group<0>();
  y[threadIdx.x] = acc[0];
}

extern "C" __global__ void __launch_bounds__(kThreads) accumulators_read_early(float* y) {
  __shared__ Operands smem;
  fill(smem);
  fence_proxy_async();
  __syncthreads();
  float acc[32];
  wgmma_fence();
  wgmma_m64n64k16(acc, tile_descriptor(smem.a), tile_descriptor(smem.b), false);
  wgmma_commit_group();
  y[threadIdx.x] = acc[0];  // here: accumulators_read_early
  wgmma_wait_group<0>();
}

// The operands are overwritten while the products may still read them.
extern "C" __global__ void __launch_bounds__(kThreads) operands_overwritten(float* y) {
  __shared__ Operands smem;
  fill(smem);
  fence_proxy_async();
  __syncthreads();
  float acc[32];
  wgmma_fence();
  const uint64_t a = tile_descriptor(smem.a), b = tile_descriptor(smem.b);
  wgmma_m64n64k16(acc, a, b, false);  // here: operands_overwritten
  wgmma_commit_group();
  smem.a[threadIdx.x / 2][threadIdx.x % 2] = __float2half(2.0f);
  wgmma_wait_group<0>();
  y[threadIdx.x] = acc[0];
}

extern "C" __global__ void __launch_bounds__(kThreads) warpgroup_incomplete(float* y) {
  __shared__ Operands smem;
  fill(smem);
  fence_proxy_async();
  __syncthreads();
  if (threadIdx.x >= 96) return;
  float acc[32];
  wgmma_fence();
  wgmma_m64n64k16(acc, tile_descriptor(smem.a), tile_descriptor(smem.b), false);
  wgmma_commit_group();
  wgmma_wait_group<0>();  // here: warpgroup_incomplete
  y[threadIdx.x] = acc[0];
}

// Two warpgroups of 240 and 168 registers a thread were launched with 2 * 168.
extern "C" __global__ void __launch_bounds__(384, 1) too_many_registers(int* y) {
  setmaxnreg_inc<240>();  // here: too_many_registers
  y[threadIdx.x] = 0;
}

// --- clusters ---

__device__ __forceinline__ uint32_t remote_address(const void* pointer, uint32_t rank) {
  uint32_t address;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
               : "=r"(address)
               : "r"(shared_address(pointer)), "r"(rank));
  return address;
}

__device__ __forceinline__ void store_remote(uint32_t address, int value) {
  asm volatile("st.shared::cluster.u32 [%0], %1;" ::"r"(address), "r"(value) : "memory");
}

// Block 1 may have ended when block 0 writes to it.
extern "C" __global__ void __cluster_dims__(2, 1, 1) peer_has_ended(int* y) {
  __shared__ int word_smem;
  cluster_arrive();
  cluster_wait();
  if (cluster_rank() == 1) return;
  for (int i = 0; i < 10000; ++i) __nanosleep(1);
  if (threadIdx.x == 0) store_remote(remote_address(&word_smem, 1), 7);  // here: peer_has_ended
  y[threadIdx.x] = 0;
}

extern "C" __global__ void __cluster_dims__(2, 1, 1) remote_write_unordered(int* y) {
  __shared__ int word_smem;
  if (threadIdx.x == 0) word_smem = 0;
  cluster_arrive();
  cluster_wait();
  if (threadIdx.x == 0) {
    const uint32_t peer = remote_address(&word_smem, cluster_rank() ^ 1);
    store_remote(peer, 7);  // here: remote_write_unordered
    y[blockIdx.x] = word_smem;
  }
  cluster_arrive();
  cluster_wait();
}

extern "C" __global__ void __cluster_dims__(2, 1, 1) arrives_twice(int* y) {
  cluster_arrive();
  cluster_arrive();  // here: arrives_twice
  cluster_wait();
  y[threadIdx.x] = 0;
}
