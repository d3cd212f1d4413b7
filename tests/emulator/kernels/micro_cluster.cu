// Clusters: ranks, distributed shared memory, remote atomics and barriers; the rest of sm_90a.
// Targets: sm_90a

#include <cuda_fp8.h>

#include "fragments.cuh"
#include "hopper.cuh"

__device__ __forceinline__ uint32_t remote_address(const void* pointer, uint32_t rank) {
  uint32_t address;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
               : "=r"(address)
               : "r"(shared_address(pointer)), "r"(rank));
  return address;
}

// Each block reads from the next of its cluster, and adds to a counter in block 0 of it.
extern "C" __global__ void exchange(const int* x, int* y, int* sums) {
  __shared__ int row_smem[64];
  __shared__ int sum_smem;
  uint32_t blocks;
  asm volatile("mov.u32 %0, %%cluster_nctarank;" : "=r"(blocks));
  const uint32_t rank = cluster_rank();
  const int i = threadIdx.x, at = blockIdx.x * 64 + i;
  row_smem[i] = x[at];
  if (i == 0) sum_smem = 0;
  cluster_arrive();
  cluster_wait();
  int value;
  asm volatile("ld.shared::cluster.s32 %0, [%1];"
               : "=r"(value)
               : "r"(remote_address(&row_smem[63 - i], (rank + 1) % blocks))
               : "memory");
  y[at] = value;
  asm volatile("red.shared::cluster.add.s32 [%0], %1;" ::"r"(remote_address(&sum_smem, 0)),
               "r"(value)
               : "memory");
  cluster_arrive();
  cluster_wait();
  if (rank == 0 && i == 0) sums[blockIdx.x / blocks] = sum_smem;
}

// Block 1 waits at its own barrier for block 0, which writes to it before it arrives.
extern "C" __global__ void __cluster_dims__(2, 1, 1) remote_arrival(const int* x, int* y) {
  __shared__ int row_smem[32];
  __shared__ uint64_t barrier_smem;
  if (threadIdx.x == 0) {
    mbarrier_init(&barrier_smem, 32);
    fence_mbarrier_init();
  }
  cluster_arrive();
  cluster_wait();
  if (cluster_rank() == 0) {
    asm volatile(
        "st.shared::cluster.s32 [%0], %1;" ::"r"(remote_address(&row_smem[threadIdx.x], 1)),
        "r"(x[blockIdx.x * 32 + threadIdx.x] + 5)
        : "memory");
    mbarrier_arrive_remote(&barrier_smem, 1);
  } else {
    mbarrier_wait(&barrier_smem, 0);
    y[blockIdx.x / 2 * 32 + threadIdx.x] = row_smem[31 - threadIdx.x];
  }
  cluster_arrive();
  cluster_wait();
}

extern "C" __global__ void ranks(uint32_t* y) {
  const auto put = [&](int row, uint32_t value) { y[row * gridDim.x + blockIdx.x] = value; };
  uint32_t value;
  put(0, cluster_rank());
  asm volatile("mov.u32 %0, %%clusterid.x;" : "=r"(value));
  put(1, value);
  asm volatile("mov.u32 %0, %%cluster_ctaid.x;" : "=r"(value));
  put(2, value);
  asm volatile("mov.u32 %0, %%nclusterid.x;" : "=r"(value));
  put(3, value);
}

// stmatrix, with and without transposition: y[form][row][word], forms x4 and x4.trans.
extern "C" __global__ void stmatrix_forms(const uint32_t* x, uint32_t* y) {
  __shared__ alignas(16) uint32_t rows_smem[2][32][4];
  const int lane = threadIdx.x;
  uint32_t d[4];
  for (int i = 0; i < 4; ++i) d[i] = x[i * kWarp + lane];
  stmatrix_x4(rows_smem[0][lane], d);
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(
                   shared_address(rows_smem[1][lane])),
               "r"(d[0]), "r"(d[1]), "r"(d[2]), "r"(d[3])
               : "memory");
  __syncwarp();
  for (int i = lane; i < 2 * 32 * 4; i += kWarp) y[i] = rows_smem[i / 128][i / 4 % 32][i % 4];
}

// fp8 products, and the conversions that the hardware has.
extern "C" __global__ void mma_e4m3_e5m2(const uint32_t* a, const uint32_t* b, const float* c,
                                         float* d) {
  uint32_t a_regs[4], b_regs[2];
  load_a(a_regs, a, 8);
  load_b(b_regs, b, 8);
  float acc[4];
  for (int i = 0; i < 4; ++i) acc[i] = c[accumulator_place(i)];
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e5m2.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
      : "r"(a_regs[0]), "r"(a_regs[1]), "r"(a_regs[2]), "r"(a_regs[3]), "r"(b_regs[0]),
        "r"(b_regs[1]));
  for (int i = 0; i < 4; ++i) d[accumulator_place(i)] = acc[i];
}

extern "C" __global__ void fp8_conversions(const float* x, uint8_t* e4m3, uint8_t* e5m2,
                                           float* back) {
  const int i = threadIdx.x;
  const __nv_fp8_e4m3 narrow(x[i]);
  const __nv_fp8_e5m2 wide(x[i]);
  e4m3[i] = narrow.__x;
  e5m2[i] = wide.__x;
  back[i] = static_cast<float>(narrow);
  back[blockDim.x + i] = static_cast<float>(wide);
}

// Before sm_90 this is a loop around compare-and-swap.
extern "C" __global__ void bf16_atomics(const float* x, __nv_bfloat162* sums) {
  atomicAdd(sums, __floats2bfloat162_rn(1.0f, x[threadIdx.x]));
}

// Of programmatic dependent launch.
extern "C" __global__ void dependent(const int* x, int* y) {
  asm volatile("griddepcontrol.wait;" ::: "memory");
  y[threadIdx.x] = x[threadIdx.x] + 1;
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}
