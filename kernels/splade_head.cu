// Computes: the logits z[t, v] = sum over k of hidden[t, k] * decoder[v, k], pooled over the tokens
//   of each document, without storing them:
//
//     max: pooled[s, v] = max over t of z[t, v]; bias, relu and log1p are monotone and wait
//     sum: pooled[s, v] = sum over t of weight(z[t, v] + bias[v]); log1p(relu), or log1p of that
//
//   and, in the entry points called so, positions[s, v]: the first t with the largest z[t, v].
//
// Data: hidden [T, H] and decoder [V, H] f16, bias [V] f32 (sum only), pooled [S, W] f32, positions
//   [S, W] u32, W >= V a multiple of 8: a row begins with a sector. Pointers are aligned to 32
//   bytes, H is a multiple of 8. Columns [C] u32 are the tokens in the order of their
//   documents, each document filled up to a multiple of 8 with its last token; groups [C / 8] u32
//   tell of each 8 of them the document s, how many are real, and whether it is the document's last
//   (`Group`). Spans [B + 1] u32 cut the columns between documents. Elements of pooled beyond V are
//   not written.
//
// Work split: grid (B, V / 128); a block takes 128 terms and the tokens of a span, 128 at a time:
//
//            tokens of the span ->
//            | tile 0 | tile 1 | ...      a tile is 16 groups of 8 columns, each of one document
//     128    |  8 warps: 2 x 4, 64 terms x 32 tokens each, as tile_product.cuh draws them
//    terms   |
//
//   The terms are the rows of the product, so that a thread holds many tokens of few terms: a group
//   is pooled in a thread and across the four lanes of a quad, which share out its terms. Then one
//   thread a term runs through the 16 groups in order; it alone writes the term, once, where a
//   document ends.
//
// Roof: tensor cores, or the L2 cache: 2 V C H flops, and a tile reads (128 + 128) H values, 64
//   flops a byte. Written: 4 S V bytes.
//
// Numerics: products summed in f32 over k in order. Max is exact and keeps what is no number. Sum
//   adds the 8 of a group as a tree and the groups in order: the result depends on the document
//   alone.
#include "splade_weight.cuh"
#include "tile_product.cuh"

// --- launch shape ---
constexpr int kBlockTerms = 128;            // rows of the decoder
constexpr int kBlockTokens = 128;           // columns of a tile
constexpr int kThreads = 256;               // 8 warps
constexpr int kBlocksPerProcessor = 2;      // one multiplies while the other pools
constexpr int kGroup = 8;                   // columns of a fragment of mma: of one document
constexpr int kSmemBytes = 73728;           // the ring, and a value a group and term
constexpr int kSmemBytesPositions = 90112;  // and the largest logit and its column
// --- end of launch shape ---

static_assert(kBlockTerms == kTileRows && kBlockTokens == kTileRows && kThreads == kTileThreads,
              "a block multiplies tiles");

constexpr int kGroupsPerTile = kBlockTokens / kGroup;

template <bool kPositions>
struct Smem {
  TileSmem<half> ring;
  float pooled[kGroupsPerTile][kBlockTerms];
  // Of each group, the largest logit and the first column that has it.
  float largest[kPositions ? kGroupsPerTile : 0][kBlockTerms];
  int column[kPositions ? kGroupsPerTile : 0][kBlockTerms];
};
static_assert(sizeof(Smem<false>) == kSmemBytes, "the host asks for what a block uses");
static_assert(sizeof(Smem<true>) == kSmemBytesPositions, "the host asks for what a block uses");

enum class Pooling { kMax, kSum };

// A word of `groups`.
struct Group {
  uint32_t word;

  __device__ __forceinline__ int document() const { return word & 0x0fffffffu; }
  // Columns that are tokens; those behind repeat the last one.
  __device__ __forceinline__ int real() const { return (word >> 28 & 7u) + 1; }
  __device__ __forceinline__ bool is_last() const { return word >> 31; }
};

// log1p(relu(logit)), or log1p of that.
__device__ __forceinline__ float weight_of(float logit, bool twice) {
  // Nearly all logits are below zero. What is no number goes on.
  if (logit <= 0.0f) return 0.0f;
  return splade_weight(logit, twice);
}

template <Pooling kPooling>
__device__ __forceinline__ float combine(float a, float b) {
  return kPooling == Pooling::kMax ? max_nan(a, b) : a + b;
}

// A logit and its column.
struct Place {
  float logit;
  int column;
};

__device__ __forceinline__ Place shuffled_xor(Place place, int distance) {
  return {shuffled_xor(place.logit, distance), __shfl_xor_sync(kAllLanes, place.column, distance)};
}

// The place of the larger logit, of equal ones the first.
__device__ __forceinline__ Place first_largest(Place a, Place b) {
  const bool is_b = b.logit > a.logit || (b.logit == a.logit && b.column < a.column);
  return {is_b ? b.logit : a.logit, is_b ? b.column : a.column};
}

// Pools the 8 columns of each group of the warp's tile.
template <Pooling kPooling, bool kPositions>
__device__ __forceinline__ void pool_groups(Smem<kPositions>& smem, const Accumulators& acc,
                                            const uint32_t* groups,  // [groups of this tile]
                                            int group_count, const float* bias, int terms,
                                            bool twice) {
  const int lane = threadIdx.x % kWarp;
  const int lane_term = warp_row_a() + lane / 4;
  // Read here: below, the compiler would read it again for every group.
  float shifts[kFragmentsA][2];
  if (kPooling == Pooling::kSum) {
#pragma unroll
    for (int i = 0; i < kFragmentsA; ++i) {
#pragma unroll
      for (int high = 0; high < 2; ++high) {
        const int term = lane_term + 16 * i + 8 * high;
        shifts[i][high] = term < terms ? bias[term] : 0.0f;
      }
    }
  }
#pragma unroll
  for (int j = 0; j < kFragmentsB; ++j) {
    const int group = warp_row_b() / kGroup + j;
    // The same for all lanes.
    if (group >= group_count) continue;
    const int real = Group{groups[group]}.real();
    // Four terms of a lane lie 8 apart: each lane of a quad gets one of them.
#pragma unroll
    for (int four = 0; four < kFragmentsA / 2; ++four) {
      const int column = lane % 4 * 2;
      float values[4];
      Place places[4];
#pragma unroll
      for (int part = 0; part < 4; ++part) {
        const int i = 2 * four + part / 2, high = part % 2;
        const float left = acc[i][j][2 * high], right = acc[i][j][2 * high + 1];
        if (kPooling == Pooling::kMax) {
          values[part] = combine<kPooling>(left, right);
        } else {
          const float shift = shifts[i][high];
          values[part] = column < real ? weight_of(left + shift, twice) : 0.0f;
          values[part] += column + 1 < real ? weight_of(right + shift, twice) : 0.0f;
        }
        places[part] = first_largest({left, column}, {right, column + 1});
      }
      const int term = lane_term + 32 * four + 8 * (lane % 4);
      smem.pooled[group][term] = quad_spread(values, combine<kPooling>);
      if (kPositions) {
        const Place place = quad_spread(places, first_largest);
        smem.largest[group][term] = place.logit;
        smem.column[group][term] = place.column;
      }
    }
  }
}

// What a thread knows of its term in the document that it is in.
struct Running {
  float pooled;
  float largest;
  int position;
  // Groups of the document before this one.
  int groups;

  template <Pooling kPooling>
  __device__ __forceinline__ void restart() {
    pooled = kPooling == Pooling::kMax ? -INFINITY : 0.0f;
    largest = -INFINITY;
    position = 0;
    groups = 0;
  }
};

template <Pooling kPooling, bool kPositions>
__device__ __forceinline__ void splade_head(const half* hidden,       // [T, H]
                                            const half* decoder,      // [V, H]
                                            const float* bias,        // [V]
                                            const uint32_t* columns,  // [C]
                                            const uint32_t* groups,   // [C / 8]
                                            const uint32_t* spans,    // [B + 1]
                                            float* pooled,            // [S, W]
                                            uint32_t* positions,      // [S, W]
                                            int vocabulary, int width, int depth, bool twice) {
  extern __shared__ __align__(128) unsigned char raw_smem[];
  auto& smem = *reinterpret_cast<Smem<kPositions>*>(raw_smem);
  const int first_term = blockIdx.y * kBlockTerms;
  const int terms = min(kBlockTerms, vocabulary - first_term);
  const int end = spans[blockIdx.x + 1];

  // Past the end the last term stands in: what is computed from it is not written.
  const half* a_rows[kCopies];
#pragma unroll
  for (int copy = 0; copy < kCopies; ++copy) {
    a_rows[copy] = decoder + size_t(first_term + min(copied_row(copy), terms - 1)) * depth;
  }
  const TileAddresses<half> addresses(smem.ring);
  Running running;
  running.restart<kPooling>();

  for (int first = spans[blockIdx.x]; first < end; first += kBlockTokens) {
    const half* b_rows[kCopies];
#pragma unroll
    for (int copy = 0; copy < kCopies; ++copy) {
      b_rows[copy] = hidden + size_t{columns[min(first + copied_row(copy), end - 1)]} * depth;
    }
    Accumulators acc;
    multiply_tiles(acc, addresses, a_rows, b_rows, depth);
    const uint32_t* tile_groups = groups + first / kGroup;
    const int group_count = min(kGroupsPerTile, (end - first) / kGroup);
    pool_groups<kPooling>(smem, acc, tile_groups, group_count, bias + first_term, terms, twice);
    // The threads below read what all warps have pooled. They are done before anyone pools again:
    // the next product has barriers enough.
    __syncthreads();
    if (threadIdx.x >= terms) continue;
    for (int i = 0; i < group_count; ++i) {
      const Group group{tile_groups[i]};
      running.pooled = combine<kPooling>(running.pooled, smem.pooled[i][threadIdx.x]);
      if (kPositions && smem.largest[i][threadIdx.x] > running.largest) {
        running.largest = smem.largest[i][threadIdx.x];
        running.position = running.groups * kGroup + smem.column[i][threadIdx.x];
      }
      ++running.groups;
      if (!group.is_last()) continue;
      const size_t at = size_t(group.document()) * width + first_term + threadIdx.x;
      pooled[at] = running.pooled;
      if (kPositions) positions[at] = running.position;
      running.restart<kPooling>();
    }
  }
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksPerProcessor)
    splade_head_max_f16(const half* __restrict__ hidden, const half* __restrict__ decoder,
                        const uint32_t* __restrict__ columns, const uint32_t* __restrict__ groups,
                        const uint32_t* __restrict__ spans, float* __restrict__ pooled,
                        int vocabulary, int width, int depth) {
  splade_head<Pooling::kMax, false>(hidden, decoder, nullptr, columns, groups, spans, pooled,
                                    nullptr, vocabulary, width, depth, false);
}

extern "C" __global__ void __launch_bounds__(kThreads)
    splade_head_max_positions_f16(const half* __restrict__ hidden, const half* __restrict__ decoder,
                                  const uint32_t* __restrict__ columns,
                                  const uint32_t* __restrict__ groups,
                                  const uint32_t* __restrict__ spans, float* __restrict__ pooled,
                                  uint32_t* __restrict__ positions, int vocabulary, int width,
                                  int depth) {
  splade_head<Pooling::kMax, true>(hidden, decoder, nullptr, columns, groups, spans, pooled,
                                   positions, vocabulary, width, depth, false);
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksPerProcessor)
    splade_head_sum_f16(const half* __restrict__ hidden, const half* __restrict__ decoder,
                        const float* __restrict__ bias, const uint32_t* __restrict__ columns,
                        const uint32_t* __restrict__ groups, const uint32_t* __restrict__ spans,
                        float* __restrict__ pooled, int vocabulary, int width, int depth,
                        int twice) {
  splade_head<Pooling::kSum, false>(hidden, decoder, bias, columns, groups, spans, pooled, nullptr,
                                    vocabulary, width, depth, twice != 0);
}

extern "C" __global__ void __launch_bounds__(kThreads)
    splade_head_sum_positions_f16(const half* __restrict__ hidden, const half* __restrict__ decoder,
                                  const float* __restrict__ bias,
                                  const uint32_t* __restrict__ columns,
                                  const uint32_t* __restrict__ groups,
                                  const uint32_t* __restrict__ spans, float* __restrict__ pooled,
                                  uint32_t* __restrict__ positions, int vocabulary, int width,
                                  int depth, int twice) {
  splade_head<Pooling::kSum, true>(hidden, decoder, bias, columns, groups, spans, pooled, positions,
                                   vocabulary, width, depth, twice != 0);
}
