// wmma of every shape, type and layout: d = a * b + c for tiles whose rows (or columns) are 16 bytes
// longer than what they hold.

#include <mma.h>

#include "ptx.cuh"

using namespace nvcuda;

// How tiles lie in memory; the kernels take the sum.
constexpr int kColumnsOfA = 1;
constexpr int kColumnsOfB = 2;
constexpr int kColumnsOfC = 4;  // and of D

// Elements from one row (or column) of `size` to the next.
template <typename T>
__device__ __forceinline__ unsigned stride(int size) {
  return size + 16 / sizeof(T);
}

template <int kM, int kN, int kK, typename Element, typename LayoutA, typename LayoutB,
          typename Stored, typename C, typename D>
__device__ __forceinline__ void multiply_as(const Stored* a, const Stored* b, const C* c, D* d,
                                            int stride_a, int stride_b, bool columns_of_c) {
  wmma::fragment<wmma::matrix_a, kM, kN, kK, Element, LayoutA> a_regs;
  wmma::fragment<wmma::matrix_b, kM, kN, kK, Element, LayoutB> b_regs;
  wmma::fragment<wmma::accumulator, kM, kN, kK, C> c_regs;
  wmma::fragment<wmma::accumulator, kM, kN, kK, D> d_regs;
  const auto layout = columns_of_c ? wmma::mem_col_major : wmma::mem_row_major;
  const int line = columns_of_c ? kM : kN;
  wmma::load_matrix_sync(a_regs, a, stride<Stored>(stride_a));
  wmma::load_matrix_sync(b_regs, b, stride<Stored>(stride_b));
  wmma::load_matrix_sync(c_regs, c, stride<C>(line), layout);
  wmma::mma_sync(d_regs, a_regs, b_regs, c_regs);
  wmma::store_matrix_sync(d, d_regs, stride<D>(line), layout);
}

template <int kM, int kN, int kK, typename Element, typename Stored, typename C, typename D>
__device__ __forceinline__ void multiply(const Stored* a, const Stored* b, const C* c, D* d,
                                         int layouts) {
  using Rows = wmma::row_major;
  using Columns = wmma::col_major;
  const bool columns_of_c = layouts & kColumnsOfC;
  switch (layouts & (kColumnsOfA | kColumnsOfB)) {
    case 0:
      return multiply_as<kM, kN, kK, Element, Rows, Rows>(a, b, c, d, kK, kN, columns_of_c);
    case kColumnsOfA:
      return multiply_as<kM, kN, kK, Element, Columns, Rows>(a, b, c, d, kM, kN, columns_of_c);
    case kColumnsOfB:
      return multiply_as<kM, kN, kK, Element, Rows, Columns>(a, b, c, d, kK, kK, columns_of_c);
    default:
      return multiply_as<kM, kN, kK, Element, Columns, Columns>(a, b, c, d, kM, kK, columns_of_c);
  }
}

extern "C" __global__ void f16_m16n16k16(const half* a, const half* b, const float* c, float* d,
                                         int layouts) {
  multiply<16, 16, 16, half>(a, b, c, d, layouts);
}

extern "C" __global__ void f16_m32n8k16(const half* a, const half* b, const float* c, float* d,
                                        int layouts) {
  multiply<32, 8, 16, half>(a, b, c, d, layouts);
}

extern "C" __global__ void f16_m8n32k16(const half* a, const half* b, const float* c, float* d,
                                        int layouts) {
  multiply<8, 32, 16, half>(a, b, c, d, layouts);
}

extern "C" __global__ void f16_into_f16_m16n16k16(const half* a, const half* b, const half* c,
                                                  half* d, int layouts) {
  multiply<16, 16, 16, half>(a, b, c, d, layouts);
}

extern "C" __global__ void f16_into_f16_m32n8k16(const half* a, const half* b, const half* c,
                                                 half* d, int layouts) {
  multiply<32, 8, 16, half>(a, b, c, d, layouts);
}

extern "C" __global__ void f16_into_f16_m8n32k16(const half* a, const half* b, const half* c,
                                                 half* d, int layouts) {
  multiply<8, 32, 16, half>(a, b, c, d, layouts);
}

// C and D of different types.
extern "C" __global__ void f16_onto_f16_m16n16k16(const half* a, const half* b, const half* c,
                                                  float* d, int layouts) {
  multiply<16, 16, 16, half>(a, b, c, d, layouts);
}

extern "C" __global__ void f32_into_f16_m16n16k16(const half* a, const half* b, const float* c,
                                                  half* d, int layouts) {
  multiply<16, 16, 16, half>(a, b, c, d, layouts);
}

extern "C" __global__ void bf16_m16n16k16(const __nv_bfloat16* a, const __nv_bfloat16* b,
                                          const float* c, float* d, int layouts) {
  multiply<16, 16, 16, __nv_bfloat16>(a, b, c, d, layouts);
}

extern "C" __global__ void bf16_m32n8k16(const __nv_bfloat16* a, const __nv_bfloat16* b,
                                         const float* c, float* d, int layouts) {
  multiply<32, 8, 16, __nv_bfloat16>(a, b, c, d, layouts);
}

extern "C" __global__ void bf16_m8n32k16(const __nv_bfloat16* a, const __nv_bfloat16* b,
                                         const float* c, float* d, int layouts) {
  multiply<8, 32, 16, __nv_bfloat16>(a, b, c, d, layouts);
}

extern "C" __global__ void s8_m16n16k16(const signed char* a, const signed char* b, const int* c,
                                        int* d, int layouts) {
  multiply<16, 16, 16, signed char>(a, b, c, d, layouts);
}

extern "C" __global__ void s8_m32n8k16(const signed char* a, const signed char* b, const int* c,
                                       int* d, int layouts) {
  multiply<32, 8, 16, signed char>(a, b, c, d, layouts);
}

extern "C" __global__ void s8_m8n32k16(const signed char* a, const signed char* b, const int* c,
                                       int* d, int layouts) {
  multiply<8, 32, 16, signed char>(a, b, c, d, layouts);
}

extern "C" __global__ void u8_m16n16k16(const unsigned char* a, const unsigned char* b,
                                        const int* c, int* d, int layouts) {
  multiply<16, 16, 16, unsigned char>(a, b, c, d, layouts);
}

extern "C" __global__ void u8_m32n8k16(const unsigned char* a, const unsigned char* b,
                                       const int* c, int* d, int layouts) {
  multiply<32, 8, 16, unsigned char>(a, b, c, d, layouts);
}

extern "C" __global__ void u8_m8n32k16(const unsigned char* a, const unsigned char* b,
                                       const int* c, int* d, int layouts) {
  multiply<8, 32, 16, unsigned char>(a, b, c, d, layouts);
}

extern "C" __global__ void tf32_m16n16k8(const float* a, const float* b, const float* c, float* d,
                                         int layouts) {
  multiply<16, 16, 8, wmma::precision::tf32>(a, b, c, d, layouts);
}

// d = min(c + a * b, 2^31 - 1); dense tiles of A by rows and of B by columns.
extern "C" __global__ void saturating(const signed char* a, const signed char* b, const int* c,
                                      int* d) {
  wmma::fragment<wmma::matrix_a, 16, 16, 16, signed char, wmma::row_major> a_regs;
  wmma::fragment<wmma::matrix_b, 16, 16, 16, signed char, wmma::col_major> b_regs;
  wmma::fragment<wmma::accumulator, 16, 16, 16, int> acc;
  wmma::load_matrix_sync(a_regs, a, 16);
  wmma::load_matrix_sync(b_regs, b, 16);
  wmma::load_matrix_sync(acc, c, 16, wmma::mem_row_major);
  wmma::mma_sync(acc, a_regs, b_regs, acc, true);
  wmma::store_matrix_sync(d, acc, 16, wmma::mem_row_major);
}

// d = 2 a * b + 1 by way of shared memory; what a lane does to its elements needs no knowledge of
// which they are.
extern "C" __global__ void element_by_element(const half* a, const half* b, half* d) {
  __shared__ alignas(32) half tile_smem[16 * 16];
  wmma::fragment<wmma::matrix_a, 16, 16, 16, half, wmma::row_major> a_regs;
  wmma::fragment<wmma::matrix_b, 16, 16, 16, half, wmma::col_major> b_regs;
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> acc;
  wmma::fragment<wmma::accumulator, 16, 16, 16, half> rounded;
  wmma::load_matrix_sync(a_regs, a, 16);
  wmma::load_matrix_sync(b_regs, b, 16);
  wmma::fill_fragment(acc, 1.0f);
#pragma unroll
  for (int i = 0; i < a_regs.num_elements; ++i) a_regs.x[i] = a_regs.x[i] + a_regs.x[i];
  wmma::mma_sync(acc, a_regs, b_regs, acc);
#pragma unroll
  for (int i = 0; i < acc.num_elements; ++i) rounded.x[i] = __float2half(acc.x[i]);
  wmma::store_matrix_sync(tile_smem, rounded, 16, wmma::mem_row_major);
  __syncwarp();
  for (int i = threadIdx.x; i < 16 * 16; i += kWarp) d[i] = tile_smem[i];
}
