// Computes  C[m][n] = sum over k of A[m][k] * B[n][k]  for halves, C in f32, N = 64.
// Targets: sm_90a
// Data      A [M, K], B [64, K] row-major through tensor maps with 128-byte swizzle (boxes of 64
//           and 32 rows of 64); C [M, 64].
// Split     clusters of two blocks with 64 rows each; both need all of B: each loads half of it for
//           both.
// Roof      tensor cores.
// Numerics  f32 accumulators, k in order.

#include "hopper.cuh"
#include "wgmma.cuh"

constexpr int kCluster = 2;
constexpr uint16_t kBothBlocks = 3;
constexpr int kBlockM = 64;
constexpr int kBlockN = 64;
constexpr int kBlockK = 64;
constexpr int kStages = 2;
constexpr int kThreads = kWarpgroup + kWarp;  // a warpgroup that multiplies, a warp that loads
constexpr uint32_t kStageBytes = (kBlockM + kBlockN) * kBlockK * sizeof(half);

struct Smem {
  alignas(1024) half a[kStages][kBlockM][kBlockK];
  alignas(1024) half b[kStages][kBlockN][kBlockK];
  uint64_t full[kStages];
  uint64_t empty[kStages];
};

__device__ __forceinline__ void produce(Smem& smem, const CUtensorMap* a, const CUtensorMap* b,
                                        int steps) {
  const uint32_t rank = cluster_rank();
  constexpr int kShare = kBlockN / kCluster;
  Stage<kStages> stage;
  for (int step = 0; step < steps; ++step) {
    // Both blocks have read what was in the stage: half of B goes into both.
    mbarrier_wait(&smem.empty[stage.index], stage.parity ^ 1);
    mbarrier_arrive_expect_tx(&smem.full[stage.index], kStageBytes);
    tma_load_2d(smem.a[stage.index], a, &smem.full[stage.index], step * kBlockK,
                blockIdx.x * kBlockM);
    tma_load_2d_multicast(smem.b[stage.index][rank * kShare], b, &smem.full[stage.index],
                          step * kBlockK, rank * kShare, kBothBlocks);
    stage.advance();
  }
}

__device__ __forceinline__ void consume(Smem& smem, float* c, int steps) {
  float acc[32];
  Stage<kStages> stage;
  for (int step = 0; step < steps; ++step) {
    // A and both halves of B have landed.
    mbarrier_wait(&smem.full[stage.index], stage.parity);
    const uint64_t a = tile_descriptor(smem.a[stage.index]);
    const uint64_t b = tile_descriptor(smem.b[stage.index]);
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < kBlockK / 16; ++k)
      wgmma_m64n64k16(acc, a + 2 * k, b + 2 * k, step > 0 || k > 0);
    wgmma_commit_group();
    wgmma_wait_group<0>();
    // Tells the producers of both blocks, for both write into this stage.
    if (threadIdx.x < kCluster) mbarrier_arrive_remote(&smem.empty[stage.index], threadIdx.x);
    stage.advance();
  }
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
#pragma unroll
  for (int i = 0; i < 32; i += 2) {
    const int row = blockIdx.x * kBlockM + warp * 16 + lane / 4 + i / 2 % 2 * 8;
    const int column = i / 4 * 8 + lane % 4 * 2;
    *reinterpret_cast<float2*>(c + static_cast<size_t>(row) * kBlockN + column) =
        make_float2(acc[i], acc[i + 1]);
  }
}

extern "C" __global__ void __cluster_dims__(kCluster, 1, 1) __launch_bounds__(kThreads)
    gemm_multicast(const __grid_constant__ CUtensorMap a, const __grid_constant__ CUtensorMap b,
                   float* c,  // [M, 64]
                   int steps) {
  extern __shared__ __align__(1024) uint8_t smem_bytes[];
  Smem& smem = *reinterpret_cast<Smem*>(smem_bytes);
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; ++i) {
      mbarrier_init(&smem.full[i], 1);
      mbarrier_init(&smem.empty[i], kCluster);
    }
    fence_mbarrier_init();
  }
  // No block sends anything to one whose barriers are not there.
  cluster_arrive();
  cluster_wait();
  if (threadIdx.x < kWarpgroup) {
    consume(smem, c, steps);
  } else if (elect_sync()) {
    produce(smem, &a, &b, steps);
  }
  __syncwarp();
  // No block ends while the other still arrives at its barriers.
  cluster_arrive();
  cluster_wait();
}
