// Exchange between the lanes of a warp, a row of results an operation: y[operation][lane]; one
// warp.

#include "ptx.cuh"

extern "C" __global__ void shuffles(const uint32_t* x, uint32_t* y) {
  const uint32_t lane = threadIdx.x, value = x[lane];
  int row = 0;
  const auto put = [&](uint32_t result) { y[row++ * kWarp + lane] = result; };
  put(__shfl_sync(kAllLanes, value, 5));
  put(__shfl_sync(kAllLanes, value, lane * 7 + 3));
  put(__shfl_sync(kAllLanes, value, lane + 2, 8));
  put(__shfl_up_sync(kAllLanes, value, 3));
  put(__shfl_up_sync(kAllLanes, value, 1, 4));
  put(__shfl_down_sync(kAllLanes, value, 6));
  put(__shfl_down_sync(kAllLanes, value, 5, 16));
  put(__shfl_xor_sync(kAllLanes, value, 9));
  // Only some lanes: each half for itself.
  if (lane < 16) {
    put(__shfl_sync(0x0000ffffu, value, 15));
  } else {
    put(__shfl_sync(0xffff0000u, value, 16));
  }
  const unsigned long long wide = static_cast<unsigned long long>(value) << 32 | lane;
  put(static_cast<uint32_t>(__shfl_xor_sync(kAllLanes, wide, 31) >> 16));
}

extern "C" __global__ void votes(const uint32_t* x, uint32_t* y) {
  const uint32_t lane = threadIdx.x, value = x[lane];
  int row = 0;
  const auto put = [&](uint32_t result) { y[row++ * kWarp + lane] = result; };
  put(__ballot_sync(kAllLanes, value % 3 == 0));
  put(__any_sync(kAllLanes, value == 1));
  put(__all_sync(kAllLanes, value < 100));
  put(__match_any_sync(kAllLanes, value % 5));
  int same;
  put(__match_all_sync(kAllLanes, value / 1000, &same));
  put(same);
  put(__reduce_add_sync(kAllLanes, value));
  put(__reduce_min_sync(kAllLanes, value));
  put(__reduce_max_sync(kAllLanes, static_cast<int>(value) - 50));
  put(__reduce_xor_sync(kAllLanes, value));
  // Lanes that a branch took aside.
  if (value % 2 == 0) {
    put(__ballot_sync(__activemask(), 1));
  } else {
    put(__activemask());
  }
}

// Loops of different lengths, a switch, early returns: every lane computes what it would alone.
extern "C" __global__ void divergence(const uint32_t* x, uint32_t* y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  uint32_t value = x[i];
  uint32_t steps = 0;
  while (value != 1 && steps < 200) {
    value = value % 2 == 0 ? value / 2 : 3 * value + 1;
    ++steps;
  }
  switch (x[i] % 7) {
    case 0:
      steps *= 3;
      break;
    case 1:
      steps ^= 0x55;
      break;
    case 2:
      if (steps > 50) return;
      steps += 1000;
      break;
    case 3:
      for (uint32_t j = 0; j < x[i] % 4; ++j) steps = steps * 5 + j;
      break;
    case 4:
      steps = ~steps;
      break;
    case 5:
      steps = __brev(steps);
      break;
    default:
      steps -= 7;
  }
  y[i] = steps;
}

// A counter taken once for all lanes that want a place: what the shuffle's other lanes hold was never
// written, and nobody looks at it.
extern "C" __global__ void places(const int* x, unsigned* count, int* y) {
  if (x[threadIdx.x] <= 0) return;
  const unsigned wanted = __activemask();
  const int leader = __ffs(wanted) - 1;
  unsigned first;
  if (threadIdx.x % kWarp == leader) first = atomicAdd(count, __popc(wanted));
  first = __shfl_sync(wanted, first, leader);
  const unsigned below = wanted & ((1u << threadIdx.x % kWarp) - 1);
  y[first + __popc(below)] = x[threadIdx.x];
}
