// Instructions that CUDA C++ has no name for: one function each, named as in the PTX ISA.
#pragma once

#include <cstdint>

#include "numeric.cuh"

// Address within shared memory, as instructions with `.shared` want it.
__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// Copies 16 bytes into shared memory, asynchronously; where `valid` is false it fills them with
// zeros and reads nothing, wherever `from` points. [cp.async]
__device__ __forceinline__ void cp_async_16(void* to_smem, const void* from, bool valid = true) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to_smem)),
               "l"(from), "r"(valid ? 16 : 0)
               : "memory");
}

// Closes the group of the copies issued since the last one. [cp.async.commit_group]
__device__ __forceinline__ void cp_async_commit_group() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most `kPending` of the thread's newest groups are under way.
// [cp.async.wait_group]
template <int kPending>
__device__ __forceinline__ void cp_async_wait_group() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// Four 8x8 matrices of 16-bit values: lane 8 j + i names row i of matrix j; lane l gets values
// 2 (l % 4) and 2 (l % 4) + 1 of row l / 4 of each. [ldmatrix]
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&d)[4], uint32_t row_smem) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(row_smem)
               : "memory");
}

__device__ __forceinline__ void ldmatrix_x4(uint32_t (&d)[4], const void* row_smem) {
  ldmatrix_x4(d, shared_address(row_smem));
}

// The same with each matrix transposed. [ldmatrix]
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&d)[4], const void* row_smem) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(shared_address(row_smem))
               : "memory");
}

// d[16 x 8] += a[16 x 16] * b[16 x 8], sums in f32. Lane l has d of rows l / 4 (d[0], d[1]) and
// l / 4 + 8 (d[2], d[3]), columns 2 (l % 4) and the next. [mma.sync]
template <typename Value>
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                             uint32_t b1);

template <>
__device__ __forceinline__ void mma_m16n8k16<half>(float (&d)[4], const uint32_t (&a)[4],
                                                   uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

template <>
__device__ __forceinline__ void mma_m16n8k16<bf16>(float (&d)[4], const uint32_t (&a)[4],
                                                   uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// The larger one; what is no number stays so, which fmaxf would lose. [max.NaN]
__device__ __forceinline__ float max_nan(float a, float b) {
  float larger;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(larger) : "f"(a), "f"(b));
  return larger;
}

// 2^x, off by 2 ulp at most. [ex2.approx]
__device__ __forceinline__ float ex2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
