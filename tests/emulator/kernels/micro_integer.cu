// Integer arithmetic, a row of results an operation: y[operation][i].

#include "ptx.cuh"

extern "C" __global__ void integer_32(const uint32_t* a, const uint32_t* b, const uint32_t* c,
                                      uint32_t* y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const uint32_t u = a[i], v = b[i], w = c[i];
  const int s = u, t = v, r = w;
  int row = 0;
  const auto put = [&](uint32_t value) { y[row++ * n + i] = value; };
  put(u + v * w);
  put(u - v);
  put(__umulhi(u, v));
  put(__mulhi(s, t));
  put(v == 0 ? 0 : u / v);
  put(v == 0 ? 0 : u % v);
  put(t == 0 || t == -1 ? 0 : s / t);
  put(t == 0 || t == -1 ? 0 : s % t);
  put(min(s, t));
  put(max(u, v));
  put(abs(s));
  put(u << (v & 31));
  put(u >> (v & 31));
  put(s >> (v & 31));
  put(__popc(u));
  put(__clz(s));
  put(__ffs(s));
  put(__brev(u));
  put(__byte_perm(u, v, w & 0x7777));
  put(__funnelshift_l(u, v, w));
  put(__funnelshift_rc(u, v, w));
  put((u & v) | (~u & w));
  put(u ^ v ^ w);
  put(__usad(u, v, w));
  put(__sad(s, t, w));
  put(__dp4a(s, t, r));
  put(__dp4a(u, v, w));
  put(__dp2a_lo(s, t, r));
  put(__mul24(s, t));
  put(__rhadd(s, t));
  put(static_cast<short>(u) * static_cast<short>(v));
  put(static_cast<unsigned short>(u) / static_cast<unsigned short>(v | 1));
  put(s < t ? w : u > v);
}

extern "C" __global__ void integer_64(const uint64_t* a, const uint64_t* b, uint64_t* y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const uint64_t u = a[i], v = b[i];
  const int64_t s = u, t = v;
  int row = 0;
  const auto put = [&](uint64_t value) { y[row++ * n + i] = value; };
  put(u + v);
  put(u * v);
  put(__umul64hi(u, v));
  put(v == 0 ? 0 : u / v);
  put(v == 0 ? 0 : u % v);
  put(t == 0 || t == -1 ? 0 : s / t);
  put(u << (v & 63));
  put(s >> (v & 63));
  put(__popcll(u));
  put(__clzll(s));
  put(__brevll(u));
  put(s < t ? u : v);
  put(static_cast<uint64_t>(static_cast<uint32_t>(u)) * static_cast<uint32_t>(v) + u);
}

// What CUDA C++ has no name for.
extern "C" __global__ void integer_ptx(const uint32_t* a, const uint32_t* b, const uint32_t* c,
                                       uint32_t* y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const uint32_t u = a[i], v = b[i], w = c[i];
  uint32_t value, high;
  int row = 0;
  const auto put = [&](uint32_t result) { y[row++ * n + i] = result; };
  asm("bfe.u32 %0, %1, %2, %3;" : "=r"(value) : "r"(u), "r"(v & 31), "r"(w & 31));
  put(value);
  asm("bfe.s32 %0, %1, %2, %3;" : "=r"(value) : "r"(u), "r"(v & 31), "r"(w & 31));
  put(value);
  asm("bfi.b32 %0, %1, %2, %3, %4;" : "=r"(value) : "r"(u), "r"(v), "r"(w & 15), "r"(w >> 4 & 15));
  put(value);
  asm("add.sat.s32 %0, %1, %2;" : "=r"(value) : "r"(u), "r"(v));
  put(value);
  asm("bfind.u32 %0, %1;" : "=r"(value) : "r"(u));
  put(value);
  // A sum of 64 bits by halves, with carry.
  asm("add.cc.u32 %0, %2, %3;\n\taddc.u32 %1, %4, 0;"
      : "=r"(value), "=r"(high)
      : "r"(u), "r"(v), "r"(w));
  put(value);
  put(high);
  asm("lop3.b32 %0, %1, %2, %3, 0x96;" : "=r"(value) : "r"(u), "r"(v), "r"(w));
  put(value);
  asm("prmt.b32 %0, %1, %2, 0xba98;" : "=r"(value) : "r"(u), "r"(v));
  put(value);
}

// SIMD intrinsics: four bytes or two halves a word.
extern "C" __global__ void integer_simd(const uint32_t* a, const uint32_t* b, uint32_t* y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const uint32_t u = a[i], v = b[i];
  int row = 0;
  const auto put = [&](uint32_t value) { y[row++ * n + i] = value; };
  put(__vabsdiffu4(u, v));
  put(__vabsdiffs4(u, v));
  put(__vabs4(u));
  put(__vsadu4(u, v));
  put(__vsads4(u, v));
  put(__vsadu2(u, v));
  put(__vabsdiffu2(u, v));
  put(__vadd4(u, v));
  put(__vsub4(u, v));
  put(__vaddus4(u, v));
  put(__vmins4(u, v));
  put(__vmaxu4(u, v));
  put(__vavgu4(u, v));
  put(__vcmpgts4(u, v));
  put(__vmaxs2(u, v));
}
