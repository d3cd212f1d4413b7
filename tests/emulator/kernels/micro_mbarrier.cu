// mbarrier: every way to arrive and to wait.
// Targets: sm_90a

#include "hopper.cuh"

// A ring of two rows from warp 0 to the others, without asynchronous copies.
extern "C" __global__ void __launch_bounds__(128) mbarrier_ring(const int* x, int* y, int rounds) {
  constexpr int kStages = 2;
  __shared__ int row_smem[kStages][kWarp];
  __shared__ uint64_t full_smem[kStages], empty_smem[kStages];
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; ++i) {
      mbarrier_init(&full_smem[i], kWarp);
      mbarrier_init(&empty_smem[i], blockDim.x - kWarp);
    }
  }
  __syncthreads();
  int sum = 0;
  Stage<kStages> stage;
  for (int round = 0; round < rounds; ++round) {
    if (warp == 0) {
      mbarrier_wait(&empty_smem[stage.index], stage.parity ^ 1);
      row_smem[stage.index][lane] = x[round * kWarp + lane];
      mbarrier_arrive(&full_smem[stage.index]);
    } else {
      mbarrier_wait(&full_smem[stage.index], stage.parity);
      sum += row_smem[stage.index][(lane + warp) % kWarp];
      mbarrier_arrive(&empty_smem[stage.index]);
    }
    stage.advance();
  }
  if (warp > 0) y[threadIdx.x - kWarp] = sum;
}

// Waits by the state that an arrival returns; arrivals that count more than one; one that drops
// out.
extern "C" __global__ void __launch_bounds__(64) mbarrier_states(int* y) {
  __shared__ uint64_t barrier_smem;
  __shared__ int value_smem[64];
  const uint32_t barrier = shared_address(&barrier_smem);
  const int i = threadIdx.x;
  if (i == 0) mbarrier_init(&barrier_smem, 64 + 8);
  __syncthreads();
  value_smem[i] = i * 3;
  uint64_t state;
  if (i < 8) {
    asm volatile("mbarrier.arrive.shared::cta.b64 %0, [%1], 2;"
                 : "=l"(state)
                 : "r"(barrier)
                 : "memory");
  } else {
    asm volatile("mbarrier.arrive.shared::cta.b64 %0, [%1];"
                 : "=l"(state)
                 : "r"(barrier)
                 : "memory");
  }
  uint32_t pending, done;
  asm volatile("mbarrier.pending_count.b64 %0, %1;" : "=r"(pending) : "l"(state));
  y[64 + i] = pending >= 1 && pending <= 72;
  do {
    asm volatile(
        "{\n.reg .pred p;\nmbarrier.test_wait.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, "
        "p;\n}"
        : "=r"(done)
        : "r"(barrier), "l"(state)
        : "memory");
  } while (!done);
  const int got = value_smem[63 - i];
  // The second phase: thread 0 drops out for good, and takes its place with it from the third.
  if (i == 0) {
    asm volatile("mbarrier.arrive_drop.shared::cta.b64 _, [%0], 1;" ::"r"(barrier) : "memory");
  } else {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(i < 9 ? 2 : 1)
                 : "memory");
  }
  mbarrier_wait(&barrier_smem, 1);
  value_smem[i] = got;
  if (i > 0)
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(i < 9 ? 2 : 1)
                 : "memory");
  mbarrier_wait(&barrier_smem, 0);
  y[i] = value_smem[i ^ 1];
  __syncthreads();
  if (i == 0) {
    mbarrier_inval(&barrier_smem);
    // The memory is ordinary again.
    *reinterpret_cast<volatile uint64_t*>(&barrier_smem) = 5;
  }
}

// cp.async copies that arrive at an mbarrier when they have landed.
extern "C" __global__ void __launch_bounds__(64) copies_arrive(const float4* x, float4* y) {
  __shared__ float4 row_smem[64];
  __shared__ uint64_t barrier_smem;
  if (threadIdx.x == 0) mbarrier_init(&barrier_smem, 64);
  __syncthreads();
  cp_async_16(&row_smem[threadIdx.x], &x[threadIdx.x]);
  asm volatile(
      "cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(shared_address(&barrier_smem))
      : "memory");
  mbarrier_wait(&barrier_smem, 0);
  y[threadIdx.x] = row_smem[63 - threadIdx.x];
}
