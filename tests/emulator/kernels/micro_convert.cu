// Conversions, a row of results an operation: y[operation][i].

#include <cuda_fp8.h>

#include "ptx.cuh"

extern "C" __global__ void from_float(const float* x, uint32_t* y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const float u = x[i];
  int row = 0;
  const auto put = [&](uint32_t value) { y[row++ * n + i] = value; };
  put(__float2int_rn(u));
  put(__float2int_rz(u));
  put(__float2int_rd(u));
  put(__float2int_ru(u));
  put(__float2uint_rn(u));
  put(__half_as_ushort(__float2half_rn(u)));
  put(__half_as_ushort(__float2half_rz(u)));
  put(__bfloat16_as_ushort(__float2bfloat16_rn(u)));
  put(pack_half2(u, -u));
  put(__nv_fp8_e4m3(u).__x);
  put(__nv_fp8_e5m2(u).__x);
  int byte;
  asm("cvt.rni.sat.s8.f32 %0, %1;" : "=r"(byte) : "f"(u));
  put(byte);
  uint32_t rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(u));
  put(rounded);
  put(static_cast<uint32_t>(static_cast<long long>(u) >> 3));
  put(__float_as_uint(static_cast<float>(static_cast<double>(u) * 1.5)));
}

extern "C" __global__ void to_float(const uint32_t* x, float* y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const uint32_t u = x[i];
  int row = 0;
  const auto put = [&](float value) { y[row++ * n + i] = value; };
  put(__int2float_rn(u));
  put(__uint2float_rn(u));
  put(static_cast<float>(static_cast<signed char>(u)));
  put(static_cast<float>(static_cast<unsigned short>(u)));
  put(__half2float(__ushort_as_half(u & 0x7bff)));
  put(__bfloat162float(__ushort_as_bfloat16(u & 0x7eff)));
  __nv_fp8_e4m3 e4m3;
  e4m3.__x = u & 0x7e;
  put(static_cast<float>(e4m3));
  __nv_fp8_e5m2 e5m2;
  e5m2.__x = u & 0x7b;
  put(static_cast<float>(e5m2));
  put(static_cast<float>(static_cast<long long>(u) * 1000003));
  put(static_cast<float>(static_cast<double>(static_cast<int>(u)) / 3.0));
}
