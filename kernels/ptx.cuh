// Instructions that CUDA C++ has no name for: one function each, named as in the PTX ISA.
#pragma once

#include <cstdint>

#include "numeric.cuh"

// A number that the compiler knows wherever it goes.
template <int kNumber>
struct Constant {
  __device__ constexpr operator int() const { return kNumber; }
};

// Calls `use` with each number below `kCount`, as a constant: an instruction takes that as a part
// of an address. The counter of an unrolled loop costs an addition.
template <int kCount, int kFirst = 0, typename Use>
__device__ __forceinline__ void for_constants(Use use) {
  if constexpr (kFirst < kCount) {
    use(Constant<kFirst>());
    for_constants<kCount, kFirst + 1>(use);
  }
}

// Holds a number in a register from here on: otherwise the compiler computes it again, from its
// parts, wherever a loop needs it.
__device__ __forceinline__ uint32_t kept(uint32_t number) {
  asm volatile("" : "+r"(number));
  return number;
}
__device__ __forceinline__ int64_t kept(int64_t number) {
  asm volatile("" : "+l"(number));
  return number;
}

// Address within shared memory, as instructions with `.shared` want it.
__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// Copies 16 bytes into shared memory, asynchronously; where `valid` is false it fills them with
// zeros and reads nothing, wherever `from` points. [cp.async]
__device__ __forceinline__ void cp_async_16(uint32_t to_smem, const void* from, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to_smem), "l"(from),
               "r"(valid ? 16 : 0)
               : "memory");
}

// The same at constant distances, in bytes, from both addresses. [cp.async]
template <int kToOffset, int kFromOffset>
__device__ __forceinline__ void cp_async_16(uint32_t to_smem, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0+%2], [%1+%3], 16;" ::"r"(to_smem), "l"(from),
               "n"(kToOffset), "n"(kFromOffset)
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

// Waits for all copies of the thread. [cp.async.wait_all]
__device__ __forceinline__ void cp_async_wait_all() {
  asm volatile("cp.async.wait_all;" ::: "memory");
}

// Four 8x8 matrices of 16-bit values, `kOffset` bytes behind the address: lane 8 j + i names row i
// of matrix j; lane l gets values 2 (l % 4) and 2 (l % 4) + 1 of row l / 4 of each. [ldmatrix]
template <int kOffset = 0>
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&d)[4], uint32_t row_smem) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4+%5];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(row_smem), "n"(kOffset)
               : "memory");
}

// The same with each matrix transposed. [ldmatrix]
template <int kOffset = 0>
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&d)[4], uint32_t row_smem) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4+%5];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(row_smem), "n"(kOffset)
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

// d = a * b. [mma.sync]
template <typename Value>
__device__ __forceinline__ void first_mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4],
                                                   uint32_t b0, uint32_t b1);

template <>
__device__ __forceinline__ void first_mma_m16n8k16<half>(float (&d)[4], const uint32_t (&a)[4],
                                                         uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %10, %10, %10};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "f"(0.0f));
}

template <>
__device__ __forceinline__ void first_mma_m16n8k16<bf16>(float (&d)[4], const uint32_t (&a)[4],
                                                         uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %10, %10, %10};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "f"(0.0f));
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
