// Computes: of every sparse row the k heaviest entries, in place: of equal weights those with the
//   lowest ids, ids still ascending. counts[s] becomes min(counts[s], k).
//
// Data: rows as sparsify.cu leaves them: row s is ids, values and, if not null, positions, from
//   starts[s] on, counts[s] entries of u32, f32, u32, ids ascending; starts, counts [S] u32.
//   Weights are finite and above 0. A row whose segment ends past the capacity was never written
//   and is left alone, and so is a row of at most k entries. k >= 1.
//
// Work split: grid S, a block a row, a thread one of 256 neighbouring entries. Four passes over the
//   weights find the bits of the k-th heaviest, 8 at a time from the top: a histogram of the
//   weights that begin with the bits known so far, then the bin in which the count from above
//   reaches k. A fifth pass moves what is kept to the front.
//
// Roof: latency: a row of a few hundred entries is a few KB, read from DRAM once and then from the
//   caches, against 17 barriers or more. Bytes: 8 (with positions 12) an entry read and as many a
//   kept one written.
//
// Numerics: exact. Floats above 0 are ordered as their bits are.
#include "scan.cuh"

// --- launch shape ---
constexpr int kThreads = 256;  // one a bin of the histogram
// --- end of launch shape ---

constexpr int kDigitBits = 8;
constexpr int kBins = 1 << kDigitBits;
constexpr int kWeightBits = 32;
constexpr int kWarps = kThreads / kWarp;
static_assert(kBins == kThreads, "a thread counts up to a bin of its own");
static_assert(kWeightBits % kDigitBits == 0, "weights are whole digits");

struct Smem {
  unsigned histogram[kBins];
  // Two in turn, so that one barrier an addition is enough.
  unsigned sums[2][kWarps];
  unsigned bits;
  unsigned rank;
};

// The lightest weight that is kept.
struct Border {
  unsigned bits;   // of the weight
  unsigned equal;  // how many entries of just this weight are kept
};

__device__ __forceinline__ Border find_border(const float* values,  // [count]
                                              unsigned count, unsigned k, Smem& smem) {
  unsigned known = 0, rank = k;
#pragma unroll
  for (int shift = kWeightBits - kDigitBits; shift >= 0; shift -= kDigitBits) {
    smem.histogram[threadIdx.x] = 0;
    // Whoever counts waits for the thread that empties its bin, or its count would be lost.
    __syncthreads();
    for (unsigned i = threadIdx.x; i < count; i += kThreads) {
      const unsigned bits = __float_as_uint(values[i]);
      // In two steps: shifting by all 32 bits at once is not defined.
      if ((bits ^ known) >> shift >> kDigitBits != 0) continue;
      atomicAdd(&smem.histogram[(bits >> shift) % kBins], 1u);
    }
    // All threads wait for the counts of all; without this a bin could be read half full.
    __syncthreads();
    const unsigned bin = kBins - 1 - threadIdx.x;
    const unsigned in_bin = smem.histogram[bin];
    const unsigned above = block_running_sum(in_bin, smem.sums[0]).before;
    if (above < rank && rank - above <= in_bin) {
      smem.bits = known | bin << shift;
      smem.rank = rank - above;
    }
    // All threads wait for the one whose bin it is.
    __syncthreads();
    known = smem.bits;
    rank = smem.rank;
  }
  return {known, rank};
}

extern "C" __global__ void __launch_bounds__(kThreads)
    topk(const unsigned* __restrict__ starts,  // [S]
         unsigned* counts,                     // [S]
         unsigned* ids,                        // [capacity]
         float* values,                        // [capacity]
         unsigned* positions,                  // [capacity] or null
         unsigned capacity, unsigned k) {
  __shared__ Smem smem;
  const size_t start = starts[blockIdx.x];
  const unsigned count = counts[blockIdx.x];
  if (count <= k || start + count > capacity) return;
  ids += start;
  values += start;
  if (positions != nullptr) positions += start;
  const Border border = find_border(values, count, k, smem);

  unsigned heavier_before = 0, equal_before = 0;
  for (unsigned first = 0, turn = 0; first < count; first += kThreads, turn ^= 1) {
    const unsigned i = first + threadIdx.x;
    unsigned id = 0, bits = 0, position = 0;
    if (i < count) {
      id = ids[i];
      bits = __float_as_uint(values[i]);
      if (positions != nullptr) position = positions[i];
    }
    // Both counts in one sum: neither passes kThreads, which 16 bits hold.
    const bool heavier = bits > border.bits, equal = bits == border.bits;
    const RunningSum sum =
        block_running_sum(unsigned{heavier} | unsigned{equal} << 16, smem.sums[turn]);
    const unsigned heavier_here = sum.before & 0xffff, equal_here = sum.before >> 16;
    const unsigned equals = equal_before + equal_here;
    // An entry moves forward or stays. What it overwrites was read before the barrier in the sum.
    if (heavier || (equal && equals < border.equal)) {
      const unsigned to = heavier_before + heavier_here + min(equals, border.equal);
      ids[to] = id;
      values[to] = __uint_as_float(bits);
      if (positions != nullptr) positions[to] = position;
    }
    heavier_before += sum.all & 0xffff;
    equal_before += sum.all >> 16;
  }
  if (threadIdx.x == 0) counts[blockIdx.x] = k;
}
