// TMA: loads and stores of 1 to 5 dimensions, bulk copies and reductions. Tiles are moved as they
// lie in shared memory, so that their swizzle shows.
// Targets: sm_90a

#include "hopper.cuh"

extern __shared__ __align__(1024) uint32_t tile_smem[];

struct Coordinates {
  int c[5];
};

__device__ __forceinline__ void load(int rank, uint32_t to, const CUtensorMap* map,
                                     uint32_t barrier, const int* c) {
  switch (rank) {
    case 1:
      asm volatile(
          "cp.async.bulk.tensor.1d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], "
          "[%1, {%3}], [%2];" ::"r"(to),
          "l"(map), "r"(barrier), "r"(c[0])
          : "memory");
      break;
    case 2:
      asm volatile(
          "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], "
          "[%1, {%3, %4}], "
          "[%2];" ::"r"(to),
          "l"(map), "r"(barrier), "r"(c[0]), "r"(c[1])
          : "memory");
      break;
    case 3:
      asm volatile(
          "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], "
          "[%1, {%3, %4, %5}], "
          "[%2];" ::"r"(to),
          "l"(map), "r"(barrier), "r"(c[0]), "r"(c[1]), "r"(c[2])
          : "memory");
      break;
    case 4:
      asm volatile(
          "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], "
          "[%1, {%3, %4, %5, %6}], [%2];" ::"r"(to),
          "l"(map), "r"(barrier), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3])
          : "memory");
      break;
    default:
      asm volatile(
          "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], "
          "[%1, {%3, %4, %5, %6, %7}], [%2];" ::"r"(to),
          "l"(map), "r"(barrier), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]), "r"(c[4])
          : "memory");
  }
}

__device__ __forceinline__ void store(int rank, const CUtensorMap* map, uint32_t from,
                                      const int* c) {
  switch (rank) {
    case 1:
      asm volatile(
          "cp.async.bulk.tensor.1d.global.shared::cta.tile.bulk_group [%0, {%2}], [%1];" ::"l"(map),
          "r"(from), "r"(c[0])
          : "memory");
      break;
    case 2:
      asm volatile(
          "cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%2, %3}], [%1];" ::"l"(
              map),
          "r"(from), "r"(c[0]), "r"(c[1])
          : "memory");
      break;
    case 3:
      asm volatile(
          "cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4}], [%1];" ::
              "l"(map),
          "r"(from), "r"(c[0]), "r"(c[1]), "r"(c[2])
          : "memory");
      break;
    case 4:
      asm volatile(
          "cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5}], "
          "[%1];" ::"l"(map),
          "r"(from), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3])
          : "memory");
      break;
    default:
      asm volatile(
          "cp.async.bulk.tensor.5d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5, %6}], "
          "[%1];" ::"l"(map),
          "r"(from), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]), "r"(c[4])
          : "memory");
  }
}

// Loads a box and writes the tile to `y` as it lies in shared memory.
extern "C" __global__ void tma_load(const __grid_constant__ CUtensorMap map, uint32_t* y, int rank,
                                    int bytes, const __grid_constant__ Coordinates at) {
  __shared__ uint64_t barrier_smem;
  if (threadIdx.x == 0) {
    mbarrier_init(&barrier_smem, 1);
    fence_mbarrier_init();
    mbarrier_arrive_expect_tx(&barrier_smem, bytes);
    load(rank, shared_address(tile_smem), &map, shared_address(&barrier_smem), at.c);
  }
  __syncthreads();
  mbarrier_wait(&barrier_smem, 0);
  for (int i = threadIdx.x; i < bytes / 4; i += blockDim.x) y[i] = tile_smem[i];
}

// Fills a tile from `x` as it is to lie in shared memory, and stores it as a box.
extern "C" __global__ void tma_store(const __grid_constant__ CUtensorMap map, const uint32_t* x,
                                     int rank, int bytes, const __grid_constant__ Coordinates at) {
  for (int i = threadIdx.x; i < bytes / 4; i += blockDim.x) tile_smem[i] = x[i];
  fence_proxy_async();
  __syncthreads();
  if (threadIdx.x == 0) {
    store(rank, &map, shared_address(tile_smem), at.c);
    bulk_commit_group();
    bulk_wait_group_read<0>();
  }
}

// A tensor map in global memory instead of a parameter.
extern "C" __global__ void tma_load_by_pointer(const CUtensorMap* map, uint32_t* y, int bytes) {
  __shared__ uint64_t barrier_smem;
  if (threadIdx.x == 0) {
    mbarrier_init(&barrier_smem, 1);
    fence_mbarrier_init();
    mbarrier_arrive_expect_tx(&barrier_smem, bytes);
    tma_load_2d(tile_smem, map, &barrier_smem, 0, 0);
  }
  __syncthreads();
  mbarrier_wait(&barrier_smem, 0);
  for (int i = threadIdx.x; i < bytes / 4; i += blockDim.x) y[i] = tile_smem[i];
}

// y += x by the asynchronous engine, many blocks at once; x comes by bulk copy.
extern "C" __global__ void __launch_bounds__(128) bulk_sum(const float* x, float* y) {
  __shared__ alignas(128) float row_smem[128];
  __shared__ uint64_t barrier_smem;
  if (threadIdx.x == 0) {
    mbarrier_init(&barrier_smem, 1);
    fence_mbarrier_init();
    mbarrier_arrive_expect_tx(&barrier_smem, sizeof row_smem);
    bulk_load(row_smem, x + blockIdx.x * 128, sizeof row_smem, &barrier_smem);
  }
  __syncthreads();
  mbarrier_wait(&barrier_smem, 0);
  row_smem[threadIdx.x] *= 2.0f;
  fence_proxy_async();
  __syncthreads();
  if (threadIdx.x == 0) {
    asm volatile(
        "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%0], [%1], %2;" ::"l"(y),
        "r"(shared_address(row_smem)), "r"(static_cast<uint32_t>(sizeof row_smem))
        : "memory");
    bulk_commit_group();
    bulk_wait_group_read<0>();
  }
}
