// Floating-point arithmetic, a row of results an operation: y[operation][i].

#include "ptx.cuh"

// Operations that IEEE 754 defines to the bit.
extern "C" __global__ void float_exact(const float* a, const float* b, const float* c, float* y,
                                       int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const float u = a[i], v = b[i], w = c[i];
  int row = 0;
  const auto put = [&](float value) { y[row++ * n + i] = value; };
  put(__fadd_rn(u, v));
  put(__fsub_rn(u, v));
  put(__fmul_rn(u, v));
  put(fmaf(u, v, w));
  put(__fdiv_rn(u, v));
  put(__fsqrt_rn(fabsf(u)));
  put(fminf(u, v));
  put(fmaxf(u, v));
  put(-u);
  put(copysignf(u, v));
  put(floorf(u * 100.0f));
  put(ceilf(u * 100.0f));
  put(truncf(u * 100.0f));
  put(rintf(u * 100.0f));
  put(u < v ? w : v);
  put(isnan(u / (v - v)) ? 1.0f : 2.0f);
  put(__saturatef(u * 2.0f));
}

// Directed rounding: a result and the next one on the other side hold the exact value between them.
extern "C" __global__ void float_directed(const float* a, const float* b, const float* c, float* y,
                                          int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const float u = a[i], v = b[i], w = c[i];
  int row = 0;
  const auto put = [&](float value) { y[row++ * n + i] = value; };
  put(__fadd_rd(u, v));
  put(__fadd_ru(u, v));
  put(__fadd_rz(u, v));
  put(__fmul_rd(u, v));
  put(__fmul_ru(u, v));
  put(__fmul_rz(u, v));
  put(__fmaf_rd(u, v, w));
  put(__fmaf_ru(u, v, w));
  put(__fmaf_rz(u, v, w));
}

// Functions that are approximations on the device, too.
extern "C" __global__ void float_functions(const float* a, const float* b, float* y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const float u = a[i], v = b[i], positive = fabsf(u) + 0.001f;
  int row = 0;
  const auto put = [&](float value) { y[row++ * n + i] = value; };
  put(expf(u));
  put(logf(positive));
  put(log1pf(positive));
  put(expm1f(u));
  put(tanhf(u));
  put(erff(u));
  put(sinf(u));
  put(cosf(u * 10.0f));
  put(powf(positive, v));
  put(rsqrtf(positive));
  put(1.0f / positive);
  put(exp2f(u));
  put(log2f(positive));
  put(cbrtf(u));
  put(atan2f(u, v));
  put(__expf(u));
  put(__logf(positive));
  put(__sinf(u));
  put(__fdividef(u, positive));
  put(ex2_approx(u));
  float approximate;
  asm("tanh.approx.f32 %0, %1;" : "=f"(approximate) : "f"(u));
  put(approximate);
}

extern "C" __global__ void double_exact(const double* a, const double* b, double* y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const double u = a[i], v = b[i];
  int row = 0;
  const auto put = [&](double value) { y[row++ * n + i] = value; };
  put(u + v);
  put(u * v);
  put(fma(u, v, u));
  put(u / v);
  put(sqrt(fabs(u)));
  put(fmin(u, v));
  put(rint(u * 100.0));
}
