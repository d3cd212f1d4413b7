// Computes  the k largest of each row with their places, in no particular order (radix select).
// Data      x [rows, n] floats; keys [rows, k], places [rows, k]; found [rows]. Keys are floats
//           made order-preserving integers.
// Split     a block a row; four passes over the row fix eight bits of the k-th largest key each.
// Roof      memory (five reads of x).
// Numerics  exact; ties at the k-th key: any of them, and the count says how many were taken.

#include "ptx.cuh"

constexpr int kThreads = 256;
constexpr int kBins = 256;
constexpr int kDigitBits = 8;
constexpr int kBinsPerLane = kBins / kWarp;

struct Smem {
  unsigned histogram[kBins];
  unsigned prefix;
  unsigned rank;
  int taken;
};

// Orders as the floats do.
__device__ __forceinline__ unsigned key_of(float value) {
  const unsigned bits = __float_as_uint(value);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// Finds the bin in which the running count from the top reaches `rank`, by one warp.
__device__ __forceinline__ void choose_bin(Smem& smem, unsigned prefix, unsigned rank, int shift) {
  const int lane = threadIdx.x % kWarp;
  unsigned counts[kBinsPerLane], sum = 0;
#pragma unroll
  for (int i = 0; i < kBinsPerLane; ++i)
    sum += counts[i] = smem.histogram[kBins - 1 - (lane * kBinsPerLane + i)];
  unsigned upto = sum;
#pragma unroll
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const unsigned before = __shfl_up_sync(kAllLanes, upto, distance);
    if (lane >= distance) upto += before;
  }
  unsigned above = upto - sum;
  if (above < rank && upto >= rank) {
    for (int i = 0; i < kBinsPerLane; ++i) {
      if (above + counts[i] >= rank) {
        smem.prefix = prefix | static_cast<unsigned>(kBins - 1 - (lane * kBinsPerLane + i))
                                   << shift;
        smem.rank = rank - above;
        break;
      }
      above += counts[i];
    }
  }
}

extern "C" __global__ void __launch_bounds__(kThreads) topk(const float* x,  // [rows, n]
                                                            int n, int k,
                                                            unsigned* keys,  // [rows, k]
                                                            int* places,     // [rows, k]
                                                            int* found) {    // [rows]
  __shared__ Smem smem;
  const int lane = threadIdx.x % kWarp;
  x += static_cast<size_t>(blockIdx.x) * n;
  unsigned prefix = 0, mask = 0, rank = k;
  for (int shift = 32 - kDigitBits; shift >= 0; shift -= kDigitBits) {
    smem.histogram[threadIdx.x] = 0;
    // The histogram is empty before anybody counts.
    __syncthreads();
    for (int first = 0; first < n; first += kThreads) {
      const int i = first + threadIdx.x;
      const unsigned key = i < n ? key_of(x[i]) : 0;
      const bool counts = i < n && (key & mask) == prefix;
      const unsigned bin = counts ? key >> shift & (kBins - 1) : kBins;
      // One atomic for all lanes of one bin.
      const unsigned peers = __match_any_sync(kAllLanes, bin);
      if (counts && lane == __ffs(peers) - 1) atomicAdd(&smem.histogram[bin], __popc(peers));
    }
    // Everybody has counted.
    __syncthreads();
    if (threadIdx.x < kWarp) choose_bin(smem, prefix, rank, shift);
    // The choice is there.
    __syncthreads();
    prefix = smem.prefix;
    rank = smem.rank;
    mask |= (kBins - 1u) << shift;
  }
  if (threadIdx.x == 0) smem.taken = 0;
  __syncthreads();
  for (int first = 0; first < n; first += kThreads) {
    const int i = first + threadIdx.x;
    const unsigned key = i < n ? key_of(x[i]) : 0;
    const bool takes = i < n && key >= prefix;
    const unsigned votes = __ballot_sync(kAllLanes, takes);
    int at = 0;
    if (lane == 0 && votes) at = atomicAdd(&smem.taken, __popc(votes));
    at = __shfl_sync(kAllLanes, at, 0) + __popc(votes & ((1u << lane) - 1));
    if (takes && at < k) {
      keys[static_cast<size_t>(blockIdx.x) * k + at] = key;
      places[static_cast<size_t>(blockIdx.x) * k + at] = i;
    }
  }
  __syncthreads();
  if (threadIdx.x == 0) found[blockIdx.x] = min(smem.taken, k);
}
