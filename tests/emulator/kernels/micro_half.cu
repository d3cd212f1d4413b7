// Arithmetic on 16-bit floats, a row of results an operation: y[operation][i].

#include "ptx.cuh"

template <typename Pair>
__device__ __forceinline__ void arithmetic(const Pair* a, const Pair* b, const Pair* c, Pair* y,
                                           int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const Pair u = a[i], v = b[i], w = c[i];
  int row = 0;
  const auto put = [&](Pair value) { y[row++ * n + i] = value; };
  put(__hadd2(u, v));
  put(__hsub2(u, v));
  put(__hmul2(u, v));
  put(__hfma2(u, v, w));
  put(__hmin2(u, v));
  put(__hmax2(u, v));
  put(__hneg2(u));
  put(__habs2(u));
  Pair one_by_one = u;
  one_by_one.x = __hadd(u.x, v.y);
  one_by_one.y = __hfma(u.y, v.x, w.x);
  put(one_by_one);
  put(__hlt(u.x, v.x) ? v : u);
}

extern "C" __global__ void half_pairs(const half2* a, const half2* b, const half2* c, half2* y,
                                      int n) {
  arithmetic(a, b, c, y, n);
}

extern "C" __global__ void bf16_pairs(const __nv_bfloat162* a, const __nv_bfloat162* b,
                                      const __nv_bfloat162* c, __nv_bfloat162* y, int n) {
  arithmetic(a, b, c, y, n);
}

extern "C" __global__ void half_functions(const half2* a, half2* y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  y[i] = h2exp2(a[i]);
  y[n + i] = h2rcp(__hadd2(__habs2(a[i]), __float2half2_rn(0.25f)));
  y[2 * n + i] = h2sqrt(__habs2(a[i]));
}
