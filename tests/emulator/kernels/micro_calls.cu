// Functions that nvcc does not inline.

struct alignas(16) Weights {
  float4 of;
  int scale;
};

struct Digits {
  short low;
  double high;
  signed char last[5];
};

struct Table {
  int of[20];
};

struct Counter {
  int value;
  __device__ __noinline__ explicit Counter(int start) : value(3 * start) {}
  __device__ __noinline__ int next() { return ++value; }
};

__device__ __noinline__ int add_unless(int a, int b, bool skip) {
  if (skip) return a;
  return a + b;
}

__device__ __noinline__ float weigh(Weights weights, float x) {
  return (weights.of.x + weights.of.y * x + weights.of.z * x * x + weights.of.w) * weights.scale;
}

// `last[1]` stays as it is: it is passed on and never looked at.
__device__ __noinline__ Digits digits_of(int x) {
  Digits digits;
  digits.low = -x;
  digits.high = x / 4.0;
  digits.last[0] = x;
  digits.last[2] = -2 * x;
  digits.last[3] = x + 1;
  digits.last[4] = x - 100;
  return digits;
}

__device__ __noinline__ int sum_of(Digits digits) {
  return digits.low + static_cast<int>(digits.high * 4) + digits.last[2] + digits.last[4];
}

__device__ __noinline__ int look_up(Table table, int i) { return table.of[i % 20]; }

__device__ __noinline__ void swap(int* a, int* b) {
  const int old = *a;
  *a = *b;
  *b = old;
}

__device__ __noinline__ int twice(int a) {
  return add_unless(a, 1, false) * 1000 + add_unless(a, 2, a % 2 == 0);
}

// Lanes leave the loop where they find a negative number.
__device__ __noinline__ int sum_until_negative(const int* x, int n) {
  int sum = 0;
  for (int i = 0; i < n; ++i) {
    if (x[i] < 0) return sum;
    sum += x[i];
  }
  return -sum;
}

// The value of the mirrored thread, through shared memory.
__device__ __noinline__ int mirrored(int value) {
  __shared__ int row_smem[32];
  __syncthreads();
  row_smem[threadIdx.x] = value;
  __syncthreads();
  return row_smem[31 - threadIdx.x];
}

extern "C" __global__ void structures(float* y, int* z) {
  const int t = threadIdx.x;
  const Weights weights{{1.0f, 2.0f, 3.0f, static_cast<float>(t)}, 2};
  y[t] = weigh(weights, 0.5f);
  const Digits digits = digits_of(t);
  z[t] = sum_of(digits) + 1000 * digits.last[3];
}

extern "C" __global__ void tables(int* y, int n) {
  Table table;
  for (int i = 0; i < 20; ++i) table.of[i] = i * static_cast<int>(threadIdx.x);
  y[threadIdx.x] = look_up(table, n + threadIdx.x);
}

extern "C" __global__ void pointers(int* y) {
  const int t = threadIdx.x;
  __shared__ int row_smem[32];
  int pair[2] = {t, t + 100};
  row_smem[t] = 1000 + t;
  swap(&pair[0], &pair[1]);
  swap(&pair[0], &row_smem[t]);
  swap(&row_smem[t], &y[t]);
  y[32 + t] = pair[0];
  y[64 + t] = pair[1];
}

// The vote behind the call needs all lanes again.
extern "C" __global__ void early_returns(const int* x, int* y, int n) {
  const int sum = sum_until_negative(x + threadIdx.x * n, n);
  y[threadIdx.x] = sum;
  y[32 + threadIdx.x] = __ballot_sync(~0u, sum < 0);
}

extern "C" __global__ void nested_in_loop(int* y, int n) {
  int value = threadIdx.x;
#pragma unroll 1
  for (int i = 0; i < n; ++i) value = twice(value) % 997;
  y[threadIdx.x] = value;
}

extern "C" __global__ void members(int* y) {
  Counter counter(threadIdx.x);
  counter.next();
  y[threadIdx.x] = counter.next();
}

extern "C" __global__ void shared_in_function(int* y) {
  y[threadIdx.x] = mirrored(mirrored(threadIdx.x) * 2);
}

// Far from zero: the reduction of the argument is a function of CUDA's own.
extern "C" __global__ void sines(const double* x, double* y) {
  y[threadIdx.x] = sin(x[threadIdx.x]);
}
