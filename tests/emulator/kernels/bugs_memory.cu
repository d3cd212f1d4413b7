// Kernels with one bug each, in what they do to memory. The comment `here: NAME` ends the line at
// which it is found.

#include <mma.h>

#include "ptx.cuh"

using namespace nvcuda;

extern "C" __global__ void read_past_end(const float* x, float* y) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i] = x[i + 1];  // here: read_past_end
}

extern "C" __global__ void write_past_end(float* y) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i] = i;  // here: write_past_end
}

extern "C" __global__ void atomic_past_end(int* counts) {
  atomicAdd(&counts[threadIdx.x], 1);  // here: atomic_past_end
}

extern "C" __global__ void tile_past_end(float* y) {
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> acc;
  wmma::fill_fragment(acc, 1.0f);
  wmma::store_matrix_sync(y, acc, 16, wmma::mem_row_major);  // here: tile_past_end
}

extern "C" __global__ void shared_past_end(const float* x, float* y) {
  __shared__ float row_smem[128];
  row_smem[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = row_smem[threadIdx.x + 1];  // here: shared_past_end
}

extern "C" __global__ void dynamic_shared_past_end(float* y) {
  extern __shared__ float row_smem[];
  row_smem[threadIdx.x] = threadIdx.x;  // here: dynamic_shared_past_end
  y[threadIdx.x] = row_smem[threadIdx.x];
}

extern "C" __global__ void local_past_end(const int* places, int* y) {
  int counts[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) counts[i] = i;
  y[threadIdx.x] = counts[places[threadIdx.x]];  // here: local_past_end
}

extern "C" __global__ void read_freed(const float* x, float* y) {
  y[threadIdx.x] = x[threadIdx.x];  // here: read_freed
}

extern "C" __global__ void null_pointer(const float* x, float* y) {
  y[threadIdx.x] = x[threadIdx.x];  // here: null_pointer
}

extern "C" __global__ void misaligned_vector(const float* x, float4* y) {
  y[threadIdx.x] =
      *reinterpret_cast<const float4*>(x + 4 * threadIdx.x + 1);  // here: misaligned_vector
}

extern "C" __global__ void misaligned_shared(float* y) {
  __shared__ alignas(16) char bytes_smem[1024];
  *reinterpret_cast<float*>(bytes_smem + 4 * threadIdx.x + 2) = 1.0f;  // here: misaligned_shared
  y[threadIdx.x] = bytes_smem[0];
}

extern "C" __global__ void misaligned_matrix_row(uint32_t* y) {
  __shared__ alignas(16) half tile_smem[64][8];
  for (int i = threadIdx.x; i < 64 * 8; i += kWarp) tile_smem[i / 8][i % 8] = __float2half(1.0f);
  __syncwarp();
  uint32_t d[4];
  ldmatrix_x4(d, &tile_smem[threadIdx.x][4]);  // here: misaligned_matrix_row
  y[threadIdx.x] = d[0] + d[1] + d[2] + d[3];
}

extern "C" __global__ void copy_from_past_end(const float4* x, float4* y) {
  __shared__ float4 row_smem[64];
  cp_async_16(&row_smem[threadIdx.x], &x[threadIdx.x]);  // here: copy_from_past_end
  cp_async_wait_all();
  y[threadIdx.x] = row_smem[threadIdx.x];
}

extern "C" __global__ void uninitialised_global(const float* x, float* y) {
  y[threadIdx.x] = x[threadIdx.x];  // here: uninitialised_global
}

extern "C" __global__ void uninitialised_shared(const float* x, float* y) {
  __shared__ float row_smem[64];
  row_smem[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = row_smem[threadIdx.x ^ 32];  // here: uninitialised_shared
}

extern "C" __global__ void uninitialised_local(const int* places, int* y) {
  int counts[8];
#pragma unroll
  for (int i = 0; i < 4; ++i) counts[places[i]] = i;
  y[threadIdx.x] = counts[places[threadIdx.x]];  // here: uninitialised_local
}

extern "C" __global__ void uninitialised_register(int* y) {
  int value;
  asm volatile("" : "=r"(value));
  y[threadIdx.x] = value;  // here: uninitialised_register
}

extern "C" __global__ void uninitialised_branch(int* y) {
  int value;
  asm volatile("" : "=r"(value));
  if (value == 1) {  // here: uninitialised_branch
    __syncwarp();
    y[threadIdx.x] = 1;
  }
  y[threadIdx.x + 32] = 0;
}

// Lanes of one store disagree about one address.
extern "C" __global__ void lanes_disagree(int* y) {
  y[threadIdx.x / 2] = threadIdx.x;  // here: lanes_disagree
}
