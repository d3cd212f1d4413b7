// Computes: context[t, h, :] = sum over u of softmax over u (scale q[t, h] . k[u, h]) v[u, h, :],
//   for every token t and head h; u runs over all tokens of t's own document.
//
// Data: qkv [T, 3, heads, D], context [T, heads, D] in f16 or bf16, row by row, every pointer
//   aligned to 16 bytes; D is 32, 64 or 128, smaller heads are padded with zeros. tiles [N]: 64
//   query rows of one document each, or what is left of them. Nothing overlaps.
//
// Work split: grid (N, heads); a block makes the context of its tile with 4 warps of 16 rows and
//   walks over the document in tiles of 64 keys, which cp.async brings one tile ahead:
//
//               keys 0-63   64-127   ...   the rest
//     warp 0    16 x 64  ->  16 x 64  ->   at most 64, in steps of 16
//     warp 1..3 the same for the next 16 rows each; warps without a row only copy
//
//   A tile of Q, K or V is read from global memory once a block. Blocks of one document and head
//   follow each other, so that the L2 cache answers all but the first.
//
// Roof: tensor cores. 4 D flops for each head and pair of tokens of a document; at least 8 D bytes
//   for each head and token: a document of L tokens has L / 2 flops a byte. What surrounds the
//   products binds first: of a warp's 380 instructions a tile (D = 64) 64 are mma, 34 exponentials.
//
// Numerics: scores, softmax and sums in f32. The largest score so far is subtracted; when it grows,
//   sums shrink with it. Exponentials are ex2.approx (2 ulp) of one fma, which has the scale in it;
//   they are rounded to the storage type for the second product, the sum of them is not. The result
//   is divided once and rounded once. Tiles begin with the document, so a row depends on its own
//   document alone, bit for bit.
#include "ptx.cuh"
#include "reduce.cuh"
#include "smem.cuh"

// --- launch shape ---
constexpr int kTileRows = 64;  // queries of a block, keys of a step: 16 x 64 scores, 32 registers
constexpr int kThreads = 128;  // 4 warps of 16 queries, what one mma takes
constexpr int kStages = 2;     // the next keys and values come while these are multiplied
constexpr int kSmemBytes32 = 20480;   // Q and two stages of K and V, 64 rows each, D = 32
constexpr int kSmemBytes64 = 40960;   // D = 64: four blocks fill the 164 KB of an A100
constexpr int kSmemBytes128 = 81920;  // D = 128: two blocks
constexpr int kBlocks32 = 5;          // on a processor: 96 registers a thread
constexpr int kBlocks64 = 4;          // 128 registers
constexpr int kBlocks128 = 2;         // 255 registers, of which the sums take 64
// --- end of launch shape ---

constexpr int kStep = 16;  // rows or depth of one mma
constexpr int kSteps = kTileRows / kStep;
static_assert(kThreads / kWarp == kSteps, "a warp has the rows of one mma");

// 64 query rows of a document, or fewer at its end. Rows are tokens of the batch.
struct QueryTile {
  uint32_t start, end;  // the document
  uint32_t row;         // first query
};

template <typename Value, int kHead>
struct Smem {
  using Tile = Value[kTileRows][kHead];
  alignas(128) Tile q;  // queries; when all is done, their context
  alignas(128) Tile k[kStages];
  alignas(128) Tile v[kStages];
};
static_assert(sizeof(Smem<half, 32>) == kSmemBytes32 && sizeof(Smem<half, 64>) == kSmemBytes64 &&
                  sizeof(Smem<half, 128>) == kSmemBytes128 && sizeof(half) == sizeof(bf16),
              "the host asks for what a block uses");

// What a lane has of its warp's 16 rows: those of lane / 4 and lane / 4 + 8, as mma_m16n8k16 gives
// them. `shift` is the exponent that is added to all others, -scale * the largest score so far.
template <int kHead>
struct Context {
  float sums[kHead / 8][4] = {};
  float shift[2] = {INFINITY, INFINITY};
  float total[2] = {};  // of this lane's columns
};

template <typename Value, int kHead>
__device__ __forceinline__ Value* chunk_at(Value (&tile_smem)[kTileRows][kHead], int row,
                                           int chunk) {
  return &tile_smem[row][swizzled<kHead / kChunkValues>(row, chunk) * kChunkValues];
}

// Begins to copy a tile's rows, which are `pitch` values apart: the first `rows`, after them zeros,
// for which nothing is read.
template <typename Value, int kHead>
__device__ __forceinline__ void load_tile(Value (&tile_smem)[kTileRows][kHead], const Value* from,
                                          int pitch, int rows) {
  constexpr int kRowChunks = kHead / kChunkValues;
  constexpr int kRowsPerCopy = kThreads / kRowChunks;
  const int first = threadIdx.x / kRowChunks, chunk = threadIdx.x % kRowChunks;
  const Value* source = from + size_t(first) * pitch + chunk * kChunkValues;
#pragma unroll
  for (int copy = 0; copy < kTileRows / kRowsPerCopy; ++copy) {
    const int row = first + copy * kRowsPerCopy;
    cp_async_16(chunk_at(tile_smem, row, chunk), source, row < rows);
    source += kRowsPerCopy * pitch;
  }
  cp_async_commit_group();
}

// What all threads have begun to copy has landed, and every warp is done with what it read before:
// without the barrier a warp would read what another has not copied yet, and the next copies would
// overwrite what another still reads.
__device__ __forceinline__ void land() {
  cp_async_wait_group<0>();
  __syncthreads();
}

// Over the four lanes that share a row.
__device__ __forceinline__ float row_max(float value) {
  return quad_reduce(value, [](float a, float b) { return fmaxf(a, b); });
}

__device__ __forceinline__ float row_sum(float value) {
  return quad_reduce(value, [](float a, float b) { return a + b; });
}

// One tile of keys and values. In the last one only the first `keys` exist: the others get no
// weight, and steps of 16 without any are left out, 3 of 8 in a document of 65 to 80 tokens.
template <bool kLast, typename Value, int kHead>
__device__ __forceinline__ void attend(Context<kHead>& context, Value (&q_smem)[kTileRows][kHead],
                                       Value (&k_smem)[kTileRows][kHead],
                                       Value (&v_smem)[kTileRows][kHead], int keys,
                                       float scale_log2e) {
  const int lane = threadIdx.x % kWarp, first = threadIdx.x / kWarp * kStep;
  float p[kTileRows / 8][4] = {};  // scores, then what softmax makes of them
#pragma unroll
  for (int k = 0; k < kHead / kStep; ++k) {
    // Matrices: queries 0-7 and 8-15, then the next 8 values of each. They are read again for every
    // tile: kept in registers they spill others, at 128 registers for D = 64.
    uint32_t q_regs[4];
    ldmatrix_x4(q_regs, chunk_at(q_smem, first + lane % 16, 2 * k + lane / 16));
#pragma unroll
    for (int n = 0; n < kSteps; ++n) {
      if (kLast && n * kStep >= keys) continue;
      // Matrices: keys 0-7, each their first 8 values and the next 8; then keys 8-15.
      uint32_t k_regs[4];
      ldmatrix_x4(k_regs,
                  chunk_at(k_smem, n * kStep + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
      mma_m16n8k16<Value>(p[2 * n], q_regs, k_regs[0], k_regs[1]);
      mma_m16n8k16<Value>(p[2 * n + 1], q_regs, k_regs[2], k_regs[3]);
    }
  }

  float largest[2] = {-INFINITY, -INFINITY};
#pragma unroll
  for (int n = 0; n < kTileRows / 8; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (kLast && n * 8 + lane % 4 * 2 + i % 2 >= keys) p[n][i] = -INFINITY;
      largest[i / 2] = fmaxf(largest[i / 2], p[n][i]);
    }
  }
  float shrink[2];
#pragma unroll
  for (int half_row = 0; half_row < 2; ++half_row) {
    // The difference of what was added, not of the scores: rounding of the two then cancels.
    const float shift = fminf(context.shift[half_row], -row_max(largest[half_row]) * scale_log2e);
    shrink[half_row] = ex2_approx(shift - context.shift[half_row]);
    context.shift[half_row] = shift;
    context.total[half_row] *= shrink[half_row];
  }
#pragma unroll
  for (int n = 0; n < kTileRows / 8; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      p[n][i] = ex2_approx(fmaf(p[n][i], scale_log2e, context.shift[i / 2]));
      context.total[i / 2] += p[n][i];
    }
  }
#pragma unroll
  for (int n = 0; n < kHead / 8; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) context.sums[n][i] *= shrink[i / 2];
  }

#pragma unroll
  for (int k = 0; k < kSteps; ++k) {
    if (kLast && k * kStep >= keys) continue;
    // Two fragments of scores side by side are one of the left operand.
    const uint32_t p_regs[4] = {narrowed<Value>(p[2 * k][0], p[2 * k][1]),
                                narrowed<Value>(p[2 * k][2], p[2 * k][3]),
                                narrowed<Value>(p[2 * k + 1][0], p[2 * k + 1][1]),
                                narrowed<Value>(p[2 * k + 1][2], p[2 * k + 1][3])};
#pragma unroll
    for (int n = 0; n < kHead / kStep; ++n) {
      // Matrices: keys 0-7 and 8-15 of 8 columns, then of the next 8.
      uint32_t v_regs[4];
      ldmatrix_x4_trans(v_regs, chunk_at(v_smem, k * kStep + lane % 16, 2 * n + lane / 16));
      mma_m16n8k16<Value>(context.sums[2 * n], p_regs, v_regs[0], v_regs[1]);
      mma_m16n8k16<Value>(context.sums[2 * n + 1], p_regs, v_regs[2], v_regs[3]);
    }
  }
}

// Divides the warp's rows by their totals and writes those of the first `rows` of the tile. They
// cross `tile_smem`, whose rows of this warp nobody else touches, so that a lane has 16 bytes.
template <typename Value, int kHead>
__device__ __forceinline__ void store_context(const Context<kHead>& context,
                                              Value (&tile_smem)[kTileRows][kHead], Value* to,
                                              int pitch, int rows) {
  const int lane = threadIdx.x % kWarp, first = threadIdx.x / kWarp * kStep;
  // The warp's queries, which lay there, have been read by all its lanes.
  __syncwarp();
#pragma unroll
  for (int half_row = 0; half_row < 2; ++half_row) {
    const float inverse = 1.0f / row_sum(context.total[half_row]);
    const int row = first + half_row * 8 + lane / 4;
#pragma unroll
    for (int n = 0; n < kHead / 8; ++n) {
      const float* sums = &context.sums[n][2 * half_row];
      *reinterpret_cast<uint32_t*>(chunk_at(tile_smem, row, n) + lane % 4 * 2) =
          narrowed<Value>(sums[0] * inverse, sums[1] * inverse);
    }
  }
  // A lane reads what the others have written.
  __syncwarp();
  constexpr int kRowChunks = kHead / kChunkValues;
#pragma unroll
  for (int copy = 0; copy < kStep * kRowChunks / kWarp; ++copy) {
    const int at = copy * kWarp + lane;
    const int row = first + at / kRowChunks, chunk = at % kRowChunks;
    if (row >= rows) return;
    *reinterpret_cast<uint4*>(to + size_t(row) * pitch + chunk * kChunkValues) =
        *reinterpret_cast<const uint4*>(chunk_at(tile_smem, row, chunk));
  }
}

template <int kHead, typename Value>
__device__ __forceinline__ void attention(const QueryTile* tiles,  // [N]
                                          const Value* qkv,        // [T, 3, heads, D]
                                          Value* context_out,      // [T, heads, D]
                                          int heads, float scale_log2e) {
  extern __shared__ __align__(128) unsigned char raw_smem[];
  Smem<Value, kHead>& smem = *reinterpret_cast<Smem<Value, kHead>*>(raw_smem);
  const QueryTile tile = tiles[blockIdx.x];
  const int width = heads * kHead, pitch = 3 * width;
  const int rows = tile.end - tile.row;
  int keys = tile.end - tile.start;
  const Value* head = qkv + blockIdx.y * kHead;
  const Value* k = head + size_t(tile.start) * pitch + width;

  load_tile(smem.q, head + size_t(tile.row) * pitch, pitch, rows);
  load_tile(smem.k[0], k, pitch, keys);
  load_tile(smem.v[0], k + width, pitch, keys);
  land();

  // A vote, though all lanes agree: ptxas then knows it, and keeps no detour for a split warp.
  const bool has_rows = __any_sync(kAllLanes, int(threadIdx.x / kWarp * kStep) < rows);
  Context<kHead> context;
  int stage = 0;
  for (; keys > kTileRows; keys -= kTileRows, stage ^= 1) {
    k += kTileRows * pitch;
    load_tile(smem.k[stage ^ 1], k, pitch, keys - kTileRows);
    load_tile(smem.v[stage ^ 1], k + width, pitch, keys - kTileRows);
    if (has_rows) attend<false>(context, smem.q, smem.k[stage], smem.v[stage], keys, scale_log2e);
    land();
  }
  if (!has_rows) return;
  attend<true>(context, smem.q, smem.k[stage], smem.v[stage], keys, scale_log2e);
  store_context(context, smem.q, context_out + size_t(tile.row) * width + blockIdx.y * kHead, width,
                rows);
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocks32)
    attention_32_f16(const QueryTile* __restrict__ tiles, const half* __restrict__ qkv,
                     half* __restrict__ context, int heads, float scale_log2e) {
  attention<32>(tiles, qkv, context, heads, scale_log2e);
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocks32)
    attention_32_bf16(const QueryTile* __restrict__ tiles, const bf16* __restrict__ qkv,
                      bf16* __restrict__ context, int heads, float scale_log2e) {
  attention<32>(tiles, qkv, context, heads, scale_log2e);
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocks64)
    attention_64_f16(const QueryTile* __restrict__ tiles, const half* __restrict__ qkv,
                     half* __restrict__ context, int heads, float scale_log2e) {
  attention<64>(tiles, qkv, context, heads, scale_log2e);
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocks64)
    attention_64_bf16(const QueryTile* __restrict__ tiles, const bf16* __restrict__ qkv,
                      bf16* __restrict__ context, int heads, float scale_log2e) {
  attention<64>(tiles, qkv, context, heads, scale_log2e);
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocks128)
    attention_128_f16(const QueryTile* __restrict__ tiles, const half* __restrict__ qkv,
                      half* __restrict__ context, int heads, float scale_log2e) {
  attention<128>(tiles, qkv, context, heads, scale_log2e);
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocks128)
    attention_128_bf16(const QueryTile* __restrict__ tiles, const bf16* __restrict__ qkv,
                       bf16* __restrict__ context, int heads, float scale_log2e) {
  attention<128>(tiles, qkv, context, heads, scale_log2e);
}
