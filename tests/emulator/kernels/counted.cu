// One access each, for the counters: what a request costs is known by hand.

#include "ptx.cuh"

// 32 stores without conflict, then one load of lane * stride.
extern "C" __global__ void shared_load(float* y, int stride) {
  __shared__ float words_smem[kWarp * kWarp];
  for (int i = 0; i < kWarp; ++i) words_smem[i * kWarp + threadIdx.x] = 0.0f;
  __syncthreads();
  y[threadIdx.x] = words_smem[threadIdx.x * stride % (kWarp * kWarp)];
}

// The same with four words a lane.
extern "C" __global__ void shared_load_vector(float4* y, int stride) {
  __shared__ float4 words_smem[kWarp * 8];
  for (int i = 0; i < 8; ++i) words_smem[i * kWarp + threadIdx.x] = make_float4(0, 0, 0, 0);
  __syncthreads();
  y[threadIdx.x] = words_smem[threadIdx.x * stride % (kWarp * 8)];
}

// Four matrices whose rows are `pitch` bytes apart.
extern "C" __global__ void matrix_load(uint32_t* y, int pitch) {
  __shared__ alignas(128) char bytes_smem[kWarp * 128];
  for (int i = threadIdx.x; i < kWarp * 8; i += kWarp)
    reinterpret_cast<float4*>(bytes_smem)[i] = make_float4(0, 0, 0, 0);
  __syncthreads();
  uint32_t d[4];
  ldmatrix_x4(d, bytes_smem + threadIdx.x * pitch);
  y[threadIdx.x] = d[0] + d[1] + d[2] + d[3];
}

extern "C" __global__ void global_copy(const float* x, float* y, int stride, int first) {
  y[threadIdx.x] = x[threadIdx.x * stride + first];
}

extern "C" __global__ void global_copy_vector(const float4* x, float4* y) {
  y[threadIdx.x] = x[threadIdx.x];
}

// Half the lanes only.
extern "C" __global__ void half_a_warp(const float* x, float* y) {
  if (threadIdx.x % 2 == 0) y[threadIdx.x] = x[threadIdx.x];
}

extern "C" __global__ void count_up(unsigned* global, unsigned* y) {
  __shared__ unsigned word_smem;
  if (threadIdx.x == 0) word_smem = 0;
  __syncthreads();
  atomicAdd(&word_smem, threadIdx.x);
  atomicMax(&global[threadIdx.x % 4], threadIdx.x);
  __syncthreads();
  y[blockIdx.x * blockDim.x + threadIdx.x] = word_smem;
}

// The order in which blocks run.
extern "C" __global__ void take_ticket(unsigned* ticket, unsigned* order) {
  order[atomicAdd(ticket, 1)] = blockIdx.x;
}
