// mma.sync of every type that sm_80 has: d = a * b + c. A is row-major, B column-major, C and D
// row-major 16x8.

#include "fragments.cuh"

// A lambda's asm makes one product from loaded fragments.
template <typename Accumulator, typename Product>
__device__ __forceinline__ void multiply(const uint32_t* a, const uint32_t* b, const Accumulator* c,
                                         Accumulator* d, int words, Product product) {
  uint32_t a_regs[4], b_regs[2];
  load_a(a_regs, a, words);
  load_b(b_regs, b, words);
  Accumulator acc[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) acc[i] = c[accumulator_place(i)];
  product(acc, a_regs, b_regs);
#pragma unroll
  for (int i = 0; i < 4; ++i) d[accumulator_place(i)] = acc[i];
}

extern "C" __global__ void mma_f16(const uint32_t* a, const uint32_t* b, const float* c, float* d) {
  multiply(a, b, c, d, 8, [](float (&acc)[4], const uint32_t (&x)[4], const uint32_t (&y)[2]) {
    mma_m16n8k16(acc, x, y[0], y[1]);
  });
}

extern "C" __global__ void mma_f16_k8(const uint32_t* a, const uint32_t* b, const float* c,
                                      float* d) {
  multiply(a, b, c, d, 4, [](float (&acc)[4], const uint32_t (&x)[4], const uint32_t (&y)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, "
        "%1, %2, %3};"
        : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
        : "r"(x[0]), "r"(x[1]), "r"(y[0]));
  });
}

extern "C" __global__ void mma_bf16(const uint32_t* a, const uint32_t* b, const float* c,
                                    float* d) {
  multiply(a, b, c, d, 8, [](float (&acc)[4], const uint32_t (&x)[4], const uint32_t (&y)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
        : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
  });
}

extern "C" __global__ void mma_tf32(const uint32_t* a, const uint32_t* b, const float* c,
                                    float* d) {
  multiply(a, b, c, d, 8, [](float (&acc)[4], const uint32_t (&x)[4], const uint32_t (&y)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
        : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
  });
}

extern "C" __global__ void mma_s8(const uint32_t* a, const uint32_t* b, const int* c, int* d) {
  multiply(a, b, c, d, 8, [](int (&acc)[4], const uint32_t (&x)[4], const uint32_t (&y)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, "
        "%9}, "
        "{%0, %1, %2, %3};"
        : "+r"(acc[0]), "+r"(acc[1]), "+r"(acc[2]), "+r"(acc[3])
        : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
  });
}

extern "C" __global__ void mma_u8_s8(const uint32_t* a, const uint32_t* b, const int* c, int* d) {
  multiply(a, b, c, d, 4, [](int (&acc)[4], const uint32_t (&x)[4], const uint32_t (&y)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, "
        "%1, %2, %3};"
        : "+r"(acc[0]), "+r"(acc[1]), "+r"(acc[2]), "+r"(acc[3])
        : "r"(x[0]), "r"(x[1]), "r"(y[0]));
  });
}

// Accumulators of halves: two in a register.
extern "C" __global__ void mma_f16_into_f16(const uint32_t* a, const uint32_t* b, const uint32_t* c,
                                            uint32_t* d) {
  uint32_t a_regs[4], b_regs[2];
  load_a(a_regs, a, 8);
  load_b(b_regs, b, 8);
  uint32_t low = c[accumulator_place(0) / 2], high = c[accumulator_place(2) / 2];
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0, %1}, {%2, %3, %4, %5}, {%6, %7}, "
      "{%0, %1};"
      : "+r"(low), "+r"(high)
      : "r"(a_regs[0]), "r"(a_regs[1]), "r"(a_regs[2]), "r"(a_regs[3]), "r"(b_regs[0]),
        "r"(b_regs[1]));
  d[accumulator_place(0) / 2] = low;
  d[accumulator_place(2) / 2] = high;
}
