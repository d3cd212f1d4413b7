// Bugs and messages in functions that nvcc does not inline.

#include <cassert>
#include <cstdio>

__device__ __noinline__ int pick(const int* x, int i) {
  return x[i];  // here: argument_never_written
}

extern "C" __global__ void argument_never_written(const int* x, int* y) {
  int i;
  if (x[0] > 5) i = x[1];
  y[threadIdx.x] = pick(x, i);
}

__device__ __noinline__ int at(const int* x, int i) {
  return x[i];
}

extern "C" __global__ void past_end_in_function(const int* x, int* y) {
  y[threadIdx.x] = at(x, 3);
  y[threadIdx.x] += at(x, threadIdx.x + 30);  // here: past_end_in_function
}

__device__ __noinline__ void check(int value) {
  assert(value < 40 && "too large");
}

extern "C" __global__ void assertion(const int* x) {
  check(x[threadIdx.x]);  // here: assertion
}

extern "C" __global__ void printing(const int* x, int* y) {
  const int t = threadIdx.x;
  if (t % 16 == 3) {
    y[32 * blockIdx.x + t] = printf(
        "block %d thread %2d: %s %c %5.2f %lld|%-4u|%#x\n", blockIdx.x, t,
        t == 3 ? "three" : "other", 'a' + t, x[t] / 4.0f, 1LL << 40, x[t], 255);
  }
  if (t == 0) printf("plain\n");
}
