// Computes: the sparse row of every sequence s: the terms v, ascending, whose weight is above a
//   threshold, with their weights and, if wanted, positions[s, v].
//     max pooling   weight = activation(pooled[s, v] + bias[v]), pooled the largest dot product;
//                   activation(z) = log1p(relu(z)) or log1p(log1p(relu(z)))
//     sum pooling   weight = pooled[s, v], already the sum of weights
//
// Data: pooled [S, stride] f32, positions [S, stride] u32 or null, bias [stride] f32; stride is V
//   rounded up to a multiple of 8, and what stands in the padding is read and ignored. pooled and
//   bias are aligned to 16 bytes. ids, values, positions out [capacity]: one segment a row,
//   segments in any order, behind the total [1] of earlier launches, to which they are added;
//   starts, counts, damaged [S] u32. A row whose segment would end past the capacity is not
//   written, but counted: total says what to make room for. threshold >= 0.
//
// Work split: grid S, a block a row. The row is cut into one part a warp, a part into groups of 128
//   terms. First the warp reads its part, 4 terms a lane, and marks the kept ones as bits:
//
//     128 terms | 4 | 4 |   |   | ... | 4 |      word 0          word 1    ...
//     lane        0   1   2   3         31       lanes 0 to 7    8 to 15
//
//   Then the block takes its segment by one addition to total, and the warp walks its words, one a
//   lane. A row of few terms, which is the rule, is written densely; a row of nearly all terms
//   rewrites its sectors in the L2 cache up to 8 times.
//
// Roof: memory. 4 S V bytes, and 8 (with positions 16) a kept term. bias comes from the L1
//   and L2 caches: as many requests again. log1p is for kept terms, or candidates if there is a
//   threshold: for all terms it would bind.
//
// Numerics: f32; log1pf is off by 1 ulp at most, so a weight by 1e-6 of itself. A weight that is no
//   finite number, or negative, sets damaged[s] and is not kept; a largest dot product of -inf is a
//   weight of 0, as in a document without positions. Rows are the same bits in every run, their
//   segments lie anywhere.
#include <cfloat>

#include "scan.cuh"
#include "splade_weight.cuh"

// --- launch shape ---
constexpr int kThreads = 512;           // 16 warps: a row of 30,522 terms is 15 groups each
constexpr int kStrideTerms = 8;         // rows begin at multiples of 32 bytes, a sector
constexpr int kMaxTerms = 262144;       // 32 KB of bits, the largest vocabulary has 250,002 terms
constexpr int kBlocksPerProcessor = 2;  // 64 registers; with 4 loads under way 64 KB in flight
// --- end of launch shape ---

constexpr int kWarps = kThreads / kWarp;
constexpr int kLaneTerms = 4;  // a float4
constexpr int kGroupTerms = kWarp * kLaneTerms;
constexpr int kWordTerms = 32;
constexpr int kLanesPerWord = kWordTerms / kLaneTerms;
constexpr int kGroupWords = kGroupTerms / kWordTerms;
constexpr int kGroupsInFlight = 4;  // loads of a lane before it looks at the first
static_assert(kStrideTerms % kLaneTerms == 0, "a lane's terms are all in the row or its padding");
static_assert(kMaxTerms % kGroupTerms == 0, "the words of a part are those of whole groups");

struct Smem {
  unsigned kept[kMaxTerms / kWordTerms];  // bit v % 32 of word v / 32: is term v kept?
  unsigned sums[kWarps];
  unsigned start;
};

enum class Head { kMaxRelu, kMaxLog1pRelu, kSum };

// Of a logit, or of a weight in sum pooling: is its weight 0? Not of what is no number.
template <Head kHead>
__device__ __forceinline__ bool is_nothing(float x) {
  return kHead == Head::kSum ? x == 0.0f : x <= 0.0f;
}

// The weight of what is not nothing: above 0, finite if `x` is.
template <Head kHead>
__device__ __forceinline__ float weight_of(float x) {
  if (kHead == Head::kSum) return x;
  return splade_weight(x, kHead == Head::kMaxLog1pRelu);
}

// What a lane found among its terms.
struct Found {
  unsigned kept = 0;
  bool damaged = false;
};

// Marks the kept terms of the groups `first` to `last` in kept_smem.
template <Head kHead>
__device__ __forceinline__ Found mark_kept(const float* pooled,  // [stride]
                                           const float* bias,    // [stride]
                                           int terms, float threshold, int first, int last,
                                           unsigned* kept_smem) {
  const int lane = threadIdx.x % kWarp;
  Found found;
  for (; first < last; first += kGroupsInFlight) {
    float4 dots[kGroupsInFlight], shifts[kGroupsInFlight];
#pragma unroll
    for (int i = 0; i < kGroupsInFlight; ++i) {
      const int term = (first + i) * kGroupTerms + lane * kLaneTerms;
      dots[i] = shifts[i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      if (first + i >= last || term >= terms) continue;
      // Read once: it need not push the bias out of the L1 cache.
      dots[i] = __ldcs(reinterpret_cast<const float4*>(pooled + term));
      if (kHead != Head::kSum) shifts[i] = *reinterpret_cast<const float4*>(bias + term);
    }
#pragma unroll
    for (int i = 0; i < kGroupsInFlight; ++i) {
      if (first + i >= last) break;
      const int term = (first + i) * kGroupTerms + lane * kLaneTerms;
      const float x[] = {dots[i].x + shifts[i].x, dots[i].y + shifts[i].y, dots[i].z + shifts[i].z,
                         dots[i].w + shifts[i].w};
      unsigned bits = 0;
#pragma unroll
      for (int j = 0; j < kLaneTerms; ++j) {
        if (is_nothing<kHead>(x[j]) || term + j >= terms) continue;
        const bool sound = x[j] > 0.0f && x[j] <= FLT_MAX;
        found.damaged |= !sound;
        // What is above 0 has a weight above 0: without a threshold the logarithm can wait.
        const bool above = threshold == 0.0f || weight_of<kHead>(x[j]) > threshold;
        bits |= unsigned{sound && above} << j;
      }
      found.kept += __popc(bits);
      unsigned word = bits << (lane % kLanesPerWord * kLaneTerms);
#pragma unroll
      for (int distance = 1; distance < kLanesPerWord; distance *= 2) {
        word |= __shfl_xor_sync(kAllLanes, word, distance);
      }
      if (lane % kLanesPerWord == 0) {
        kept_smem[(first + i) * kGroupWords + lane / kLanesPerWord] = word;
      }
    }
  }
  return found;
}

template <Head kHead>
__device__ __forceinline__ void sparsify(const float* pooled,           // [S, stride]
                                         const float* bias,             // [stride]
                                         const unsigned* positions_in,  // [S, stride] or null
                                         int terms, float threshold, unsigned capacity,
                                         unsigned* total,      // [1]
                                         unsigned* starts,     // [S]
                                         unsigned* counts,     // [S]
                                         unsigned* damaged,    // [S]
                                         unsigned* ids,        // [capacity]
                                         float* values,        // [capacity]
                                         unsigned* positions)  // [capacity] or null
{
  __shared__ Smem smem;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int stride = (terms + kStrideTerms - 1) / kStrideTerms * kStrideTerms;
  const size_t row = size_t{blockIdx.x} * stride;
  pooled += row;

  const int groups = (terms + kGroupTerms - 1) / kGroupTerms;
  const int part = (groups + kWarps - 1) / kWarps;
  const int first = min(warp * part, groups), last = min(first + part, groups);
  const Found found = mark_kept<kHead>(pooled, bias, terms, threshold, first, last, smem.kept);

  const RunningSum kept = block_running_sum(found.kept, smem.sums);
  if (threadIdx.x == 0) smem.start = atomicAdd(total, kept.all);
  // All threads wait for the start of the segment, and each warp's lanes for each other's words.
  const bool any_damaged = __syncthreads_or(found.damaged);
  const unsigned start = smem.start;
  if (threadIdx.x == 0) {
    starts[blockIdx.x] = start;
    counts[blockIdx.x] = kept.all;
    damaged[blockIdx.x] = any_damaged;
  }
  if (size_t{start} + kept.all > capacity) return;

  size_t at = size_t{start} + __shfl_sync(kAllLanes, kept.before, 0);
  for (int word = first * kGroupWords; word < last * kGroupWords; word += kWarp) {
    const int mine = word + lane;
    unsigned bits = mine < last * kGroupWords ? smem.kept[mine] : 0;
    const unsigned upto = warp_running_sum(__popc(bits));
    size_t to = at + upto - __popc(bits);
    for (; bits != 0; bits &= bits - 1) {
      const int term = mine * kWordTerms + __ffs(bits) - 1;
      ids[to] = term;
      values[to] = weight_of<kHead>(kHead == Head::kSum ? pooled[term] : pooled[term] + bias[term]);
      if (positions_in != nullptr) positions[to] = positions_in[row + term];
      ++to;
    }
    at += __shfl_sync(kAllLanes, upto, kWarp - 1);
  }
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksPerProcessor)
    sparsify_max_relu(const float* __restrict__ pooled, const float* __restrict__ bias,
                      const unsigned* __restrict__ positions_in, int terms, float threshold,
                      unsigned capacity, unsigned* total, unsigned* starts, unsigned* counts,
                      unsigned* damaged, unsigned* ids, float* values, unsigned* positions) {
  sparsify<Head::kMaxRelu>(pooled, bias, positions_in, terms, threshold, capacity, total, starts,
                           counts, damaged, ids, values, positions);
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksPerProcessor)
    sparsify_max_log1p_relu(const float* __restrict__ pooled, const float* __restrict__ bias,
                            const unsigned* __restrict__ positions_in, int terms, float threshold,
                            unsigned capacity, unsigned* total, unsigned* starts, unsigned* counts,
                            unsigned* damaged, unsigned* ids, float* values, unsigned* positions) {
  sparsify<Head::kMaxLog1pRelu>(pooled, bias, positions_in, terms, threshold, capacity, total,
                                starts, counts, damaged, ids, values, positions);
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksPerProcessor)
    sparsify_sum(const float* __restrict__ pooled, const float* __restrict__ bias,
                 const unsigned* __restrict__ positions_in, int terms, float threshold,
                 unsigned capacity, unsigned* total, unsigned* starts, unsigned* counts,
                 unsigned* damaged, unsigned* ids, float* values, unsigned* positions) {
  sparsify<Head::kSum>(pooled, bias, positions_in, terms, threshold, capacity, total, starts,
                       counts, damaged, ids, values, positions);
}
