// Computes  C[m][n] = sum over k of A[m][k] * B[n][k]  for halves, rounded once.
// Targets: sm_90a
// Data      A [M, K], B [N, K], C [M, N], row-major, through tensor maps with 128-byte swizzle and
//           boxes of 64x64.
// Split     persistent blocks; a block makes 128x64 tiles with one producer warpgroup (TMA loads
//           into a ring) and two consumer warpgroups of 64 rows each.
// Roof      tensor cores.
// Numerics  f32 accumulators, k in order.

#include "hopper.cuh"
#include "wgmma.cuh"

constexpr int kBlockM = 128;
constexpr int kBlockN = 64;
constexpr int kBlockK = 64;  // 128 bytes: the width of the swizzle
constexpr int kStages = 3;
constexpr int kConsumers = 2;
constexpr int kThreads = (1 + kConsumers) * kWarpgroup;
constexpr int kTile = 64;
constexpr uint32_t kStageBytes = (kBlockM + kBlockN) * kBlockK * sizeof(half);
// Together they are what a launch with 384 threads has: 168 each.
constexpr int kProducerRegisters = 40;
constexpr int kConsumerRegisters = 232;

struct Smem {
  alignas(1024) half a[kStages][kConsumers][kTile][kBlockK];
  alignas(1024) half b[kStages][kBlockN][kBlockK];
  alignas(1024) half c[kConsumers][kTile][kBlockN];
  uint64_t full[kStages];
  uint64_t empty[kStages];
};

__device__ __forceinline__ void produce(Smem& smem, const CUtensorMap* a, const CUtensorMap* b,
                                        int tiles, int tiles_n, int steps) {
  Stage<kStages> stage;
  for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int m = tile / tiles_n * kBlockM, n = tile % tiles_n * kBlockN;
    for (int step = 0; step < steps; ++step) {
      // The consumers have read what was in the stage; in the first round it is free already.
      mbarrier_wait(&smem.empty[stage.index], stage.parity ^ 1);
      mbarrier_arrive_expect_tx(&smem.full[stage.index], kStageBytes);
      for (int i = 0; i < kConsumers; ++i) {
        tma_load_2d(smem.a[stage.index][i], a, &smem.full[stage.index], step * kBlockK,
                    m + i * kTile);
      }
      tma_load_2d(smem.b[stage.index], b, &smem.full[stage.index], step * kBlockK, n);
      stage.advance();
    }
  }
}

// Writes the accumulators as halves to the consumer's part of C, in the swizzle of the tensor map.
__device__ __forceinline__ void stage_result(half (&c)[kTile][kBlockN], const float (&acc)[32]) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x % kWarpgroup / kWarp;
  const int row = warp * 16 + lane % 16;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    uint32_t packed[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) packed[j] = pack_half2(acc[i * 8 + j * 2], acc[i * 8 + j * 2 + 1]);
    const int chunk = (i * 2 + lane / 16) ^ (row % 8);
    stmatrix_x4(&c[row][chunk * 8], packed);
  }
}

__device__ __forceinline__ void consume(Smem& smem, const CUtensorMap* c, int tiles, int tiles_n,
                                        int steps) {
  const int consumer = threadIdx.x / kWarpgroup - 1;
  const bool leader = threadIdx.x % kWarpgroup == 0;
  const int barrier = 1 + consumer;
  Stage<kStages> stage;
  for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    float acc[32];
    int last = 0;
    for (int step = 0; step < steps; ++step) {
      // The stage has landed.
      mbarrier_wait(&smem.full[stage.index], stage.parity);
      const uint64_t a = tile_descriptor(smem.a[stage.index][consumer]);
      const uint64_t b = tile_descriptor(smem.b[stage.index]);
      wgmma_fence();
#pragma unroll
      for (int k = 0; k < kBlockK / 16; ++k) {
        // 16 halves are two units of 16 bytes further along the row.
        wgmma_m64n64k16(acc, a + 2 * k, b + 2 * k, step > 0 || k > 0);
      }
      wgmma_commit_group();
      // The products of the step before are done: its stage may be refilled.
      wgmma_wait_group<1>();
      if (step > 0 && leader) mbarrier_arrive(&smem.empty[last]);
      last = stage.index;
      stage.advance();
    }
    wgmma_wait_group<0>();
    if (leader) mbarrier_arrive(&smem.empty[last]);

    // The store of the tile before has read its source: all may overwrite it.
    if (leader) bulk_wait_group_read<0>();
    bar_sync(barrier, kWarpgroup);
    stage_result(smem.c[consumer], acc);
    // Everybody's part is there, and the store sees it.
    fence_proxy_async();
    bar_sync(barrier, kWarpgroup);
    if (leader) {
      tma_store_2d(c, smem.c[consumer], tile % tiles_n * kBlockN,
                   tile / tiles_n * kBlockM + consumer * kTile);
      bulk_commit_group();
    }
  }
  // Shared memory lives until the last store has read it.
  if (leader) bulk_wait_group_read<0>();
}

extern "C" __global__ void __launch_bounds__(kThreads, 1)
    gemm_wgmma(const __grid_constant__ CUtensorMap a, const __grid_constant__ CUtensorMap b,
               const __grid_constant__ CUtensorMap c, int tiles, int tiles_n, int steps) {
  extern __shared__ __align__(1024) uint8_t smem_bytes[];
  Smem& smem = *reinterpret_cast<Smem*>(smem_bytes);
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; ++i) {
      mbarrier_init(&smem.full[i], 1);
      mbarrier_init(&smem.empty[i], kConsumers);
    }
    fence_mbarrier_init();
  }
  // Nobody uses a barrier before it is there.
  __syncthreads();
  if (threadIdx.x < kWarpgroup) {
    setmaxnreg_dec<kProducerRegisters>();
    if (threadIdx.x == 0) produce(smem, &a, &b, tiles, tiles_n, steps);
  } else {
    setmaxnreg_inc<kConsumerRegisters>();
    consume(smem, &c, tiles, tiles_n, steps);
  }
}
