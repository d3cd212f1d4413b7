// wgmma of every type, with operands in every layout: d = a * b. Operands lie in shared memory byte
// by byte as given.
// Targets: sm_90a

#include "hopper.cuh"
#include "wgmma.cuh"

extern __shared__ __align__(1024) uint32_t operands_smem[];

// Where an operand lies and how its descriptor steps along k.
struct Operand {
  uint32_t offset;   // bytes from the start of shared memory, a multiple of 1024
  uint32_t leading;  // bytes
  uint32_t stride;   // bytes
  uint32_t step;     // bytes from one k16 (or k8, k32) to the next
  uint32_t swizzle;  // field of the descriptor
};

__device__ __forceinline__ uint64_t descriptor(const Operand& operand, int step) {
  const uint32_t address = shared_address(operands_smem) + operand.offset + step * operand.step;
  return matrix_descriptor(address, operand.leading, operand.stride, operand.swizzle);
}

__device__ __forceinline__ void fill(const uint32_t* x, int bytes) {
  for (int i = threadIdx.x; i < bytes / 4; i += blockDim.x) operands_smem[i] = x[i];
  fence_proxy_async();
  __syncthreads();
}

// Row and column of element i of a 64xN accumulator.
__device__ __forceinline__ int place_of(int i, int columns) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  return (warp * 16 + lane / 4 + i / 2 % 2 * 8) * columns + i / 4 * 8 + lane % 4 * 2 + i % 2;
}

// d[64 x 64] of halves, from k16 steps.
template <int kTransA, int kTransB>
__device__ __forceinline__ void multiply(const uint32_t* x, int bytes, const Operand& a,
                                         const Operand& b, int steps, float* d) {
  fill(x, bytes);
  float acc[32];
  for (int step = 0; step < steps; ++step) {
    wgmma_fence();
    wgmma_m64n64k16<kTransA, kTransB>(acc, descriptor(a, step), descriptor(b, step), step > 0);
    wgmma_commit_group();
    wgmma_wait_group<0>();
  }
#pragma unroll
  for (int i = 0; i < 32; ++i) d[place_of(i, 64)] = acc[i];
}

extern "C" __global__ void __launch_bounds__(kWarpgroup)
    wgmma_f16_nn(const uint32_t* x, int bytes, const __grid_constant__ Operand a,
                 const __grid_constant__ Operand b, int steps, float* d) {
  multiply<0, 0>(x, bytes, a, b, steps, d);
}

extern "C" __global__ void __launch_bounds__(kWarpgroup)
    wgmma_f16_tn(const uint32_t* x, int bytes, const __grid_constant__ Operand a,
                 const __grid_constant__ Operand b, int steps, float* d) {
  multiply<1, 0>(x, bytes, a, b, steps, d);
}

extern "C" __global__ void __launch_bounds__(kWarpgroup)
    wgmma_f16_nt(const uint32_t* x, int bytes, const __grid_constant__ Operand a,
                 const __grid_constant__ Operand b, int steps, float* d) {
  multiply<0, 1>(x, bytes, a, b, steps, d);
}

extern "C" __global__ void __launch_bounds__(kWarpgroup)
    wgmma_f16_tt(const uint32_t* x, int bytes, const __grid_constant__ Operand a,
                 const __grid_constant__ Operand b, int steps, float* d) {
  multiply<1, 1>(x, bytes, a, b, steps, d);
}

// d[64 x 8] of other types, one step; a lambda's asm makes the product.
template <typename Accumulator, typename Product>
__device__ __forceinline__ void multiply_once(const uint32_t* x, int bytes, const Operand& a,
                                              const Operand& b, Accumulator* d, Product product) {
  fill(x, bytes);
  Accumulator acc[4] = {};
  hold(acc);
  wgmma_fence();
  product(acc, descriptor(a, 0), descriptor(b, 0));
  wgmma_commit_group();
  wgmma_wait_group<0>();
#pragma unroll
  for (int i = 0; i < 4; ++i) d[place_of(i, 8)] = acc[i];
}

extern "C" __global__ void __launch_bounds__(kWarpgroup)
    wgmma_s8(const uint32_t* x, int bytes, const __grid_constant__ Operand a,
             const __grid_constant__ Operand b, int* d) {
  multiply_once(x, bytes, a, b, d, [](int (&acc)[4], uint64_t a_desc, uint64_t b_desc) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n8k32.s32.s8.s8 {%0, %1, %2, %3}, %4, %5, 1;"
                 : "+r"(acc[0]), "+r"(acc[1]), "+r"(acc[2]), "+r"(acc[3])
                 : "l"(a_desc), "l"(b_desc));
  });
}

extern "C" __global__ void __launch_bounds__(kWarpgroup)
    wgmma_e4m3(const uint32_t* x, int bytes, const __grid_constant__ Operand a,
               const __grid_constant__ Operand b, float* d) {
  multiply_once(x, bytes, a, b, d, [](float (&acc)[4], uint64_t a_desc, uint64_t b_desc) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n8k32.f32.e4m3.e4m3 {%0, %1, %2, %3}, %4, %5, 1, 1, 1;"
        : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
        : "l"(a_desc), "l"(b_desc));
  });
}

// A scale of -1 subtracts.
extern "C" __global__ void __launch_bounds__(kWarpgroup)
    wgmma_tf32_negated(const uint32_t* x, int bytes, const __grid_constant__ Operand a,
                       const __grid_constant__ Operand b, float* d) {
  multiply_once(x, bytes, a, b, d, [](float (&acc)[4], uint64_t a_desc, uint64_t b_desc) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n8k8.f32.tf32.tf32 {%0, %1, %2, %3}, %4, %5, 1, -1, 1;"
        : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
        : "l"(a_desc), "l"(b_desc));
  });
}

// A comes in registers, row-major [64, 16] in global memory; B is bf16.
extern "C" __global__ void __launch_bounds__(kWarpgroup)
    wgmma_bf16_registers(const uint32_t* x, int bytes, const uint32_t* a,
                         const __grid_constant__ Operand b, float* d) {
  fill(x, bytes);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  uint32_t regs[4];
#pragma unroll
  for (int i = 0; i < 4; ++i)
    regs[i] = a[(warp * 16 + lane / 4 + i % 2 * 8) * 8 + lane % 4 + i / 2 * 4];
  float acc[4] = {};
  hold(acc);
  hold(regs);
  wgmma_fence();
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%0, %1, %2, %3}, {%4, %5, %6, %7}, %8, "
      "1, 1, 1, 0;"
      : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
      : "r"(regs[0]), "r"(regs[1]), "r"(regs[2]), "r"(regs[3]), "l"(descriptor(b, 0)));
  wgmma_commit_group();
  wgmma_wait_group<0>();
#pragma unroll
  for (int i = 0; i < 4; ++i) d[place_of(i, 8)] = acc[i];
}
