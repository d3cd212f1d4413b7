// Loads and stores of every space and size; atomics.

#include "ptx.cuh"

__constant__ int kTable[8] = {3, 1, 4, 1, 5, 9, 2, 6};
__constant__ float kScale = 0.5f;
__device__ unsigned device_counter = 7;
__device__ int device_values[4] = {10, 20, 30};
__device__ const int* device_pointer = device_values + 1;

// Sub-words, signs, vectors. A row of results a load: y[load][i].
extern "C" __global__ void widths(const uint8_t* bytes, int64_t* y) {
  const int i = threadIdx.x, n = blockDim.x;
  int row = 0;
  const auto put = [&](int64_t value) { y[row++ * n + i] = value; };
  put(bytes[i]);
  put(reinterpret_cast<const int8_t*>(bytes)[i]);
  put(reinterpret_cast<const uint16_t*>(bytes)[i]);
  put(reinterpret_cast<const int16_t*>(bytes)[i]);
  put(reinterpret_cast<const int32_t*>(bytes)[i]);
  put(reinterpret_cast<const int64_t*>(bytes)[i]);
  const uint2 two = reinterpret_cast<const uint2*>(bytes)[i];
  put(static_cast<int64_t>(two.x) * two.y);
  const uint4 four = reinterpret_cast<const uint4*>(bytes)[i];
  put(static_cast<int64_t>(four.x ^ four.z) - (four.y ^ four.w));
  const ushort4 shorts = reinterpret_cast<const ushort4*>(bytes)[i];
  put(shorts.x + shorts.y * shorts.z - shorts.w);
  const uchar4 chars = __ldg(reinterpret_cast<const uchar4*>(bytes) + i);
  put(chars.x + chars.y * chars.z - chars.w);
  const longlong2 wide = reinterpret_cast<const longlong2*>(bytes)[i];
  put(wide.x ^ wide.y);
}

extern "C" __global__ void narrow_stores(const uint32_t* x, uint8_t* bytes, uint16_t* shorts,
                                         uint4* vectors) {
  const int i = threadIdx.x;
  bytes[i] = x[i];
  shorts[i] = x[i] >> 8;
  vectors[i] = make_uint4(x[i], i, ~x[i], 0);
}

// Variables of the module, and a pointer among them.
extern "C" __global__ void variables(int* y) {
  const int i = threadIdx.x;
  y[i] = kTable[i % 8] + static_cast<int>(kScale * 10.0f) + device_pointer[i % 2];
  if (i == 0) {
    y[32] = atomicAdd(&device_counter, 1);
    device_values[3] = 40;
    y[33] = device_values[3];
  }
}

// An array with run-time index lives in local memory.
extern "C" __global__ void local_array(const int* places, int* y) {
  int counts[16];
#pragma unroll
  for (int i = 0; i < 16; ++i) counts[i] = 0;
  for (int i = 0; i < 8; ++i) counts[places[i * blockDim.x + threadIdx.x]] += i + 1;
  int sum = 0;
  for (int i = 0; i < 16; ++i) sum = sum * 3 + counts[i];
  y[threadIdx.x] = sum;
}

// One pointer that is to shared memory in some lanes and to global memory in others.
extern "C" __global__ void generic_pointers(const int* x, int* y) {
  __shared__ int row_smem[kWarp];
  row_smem[threadIdx.x] = x[threadIdx.x] * 2;
  __syncwarp();
  const int* from = threadIdx.x % 3 == 0 ? row_smem + (threadIdx.x ^ 1) : x + (threadIdx.x ^ 2);
  y[threadIdx.x] = *from;
}

// Many threads, few words.
extern "C" __global__ void integer_atomics(const uint32_t* x, int n, uint32_t* words,
                                           unsigned long long* wide) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const uint32_t value = x[i];
  atomicAdd(&words[0], value);
  atomicSub(&words[1], value);
  atomicMin(reinterpret_cast<int*>(&words[2]), static_cast<int>(value));
  atomicMax(&words[3], value);
  atomicAnd(&words[4], value | 0xff);
  atomicOr(&words[5], value & 0xf0f0);
  atomicXor(&words[6], value);
  atomicInc(&words[7], 9);
  atomicDec(&words[8], 9);
  // A maximum by compare-and-swap.
  uint32_t seen = *reinterpret_cast<volatile uint32_t*>(&words[9]), assumed;
  do {
    assumed = seen;
    seen = atomicCAS(&words[9], assumed, max(assumed, value));
  } while (seen != assumed);
  atomicAdd(wide, static_cast<unsigned long long>(value) << 8);
  atomicMax(wide + 1, static_cast<unsigned long long>(value) * value);
  if (value == 77) atomicExch(&words[10], 78);
}

extern "C" __global__ void float_atomics(const float* x, int n, float* sum, double* wide_sum,
                                         half2* pair) {
  __shared__ float sum_smem;
  if (threadIdx.x == 0) sum_smem = 0.0f;
  __syncthreads();
  for (int i = threadIdx.x; i < n; i += blockDim.x) {
    atomicAdd(&sum_smem, x[i]);
    atomicAdd(wide_sum, static_cast<double>(x[i]));
    atomicAdd(pair, __floats2half2_rn(x[i], 1.0f));
  }
  __syncthreads();
  if (threadIdx.x == 0) atomicAdd(sum, sum_smem);
}

extern "C" __global__ void shared_atomics(const uint32_t* x, int n, uint32_t* histogram) {
  __shared__ uint32_t bins_smem[64];
  for (int i = threadIdx.x; i < 64; i += blockDim.x) bins_smem[i] = 0;
  __syncthreads();
  for (int i = threadIdx.x; i < n; i += blockDim.x) atomicAdd(&bins_smem[x[i] % 64], 1);
  __syncthreads();
  for (int i = threadIdx.x; i < 64; i += blockDim.x) histogram[i] = bins_smem[i];
}
