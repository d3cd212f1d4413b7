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
// Roof: 4 D flops for each head and pair of tokens of a document, at least 8 D bytes for each head
//   and token: L / 2 flops a byte in a document of L tokens. Memory, up to L = 413 on an H100; then
//   tensor cores, were it not for what surrounds the products: of a warp's 320 instructions a tile
//   (D = 64) 64 are mma and 32 exponentials.
//
// Numerics: scores, softmax and sums in f32. A row subtracts its largest score so far, or one that
//   was at most 8 in base 2 smaller: weights reach 256 then, and sums need not shrink for every new
//   maximum. Exponentials are ex2.approx (2 ulp) of one fma, which has the scale in it; they are
//   rounded to the storage type for the second product, the sum of them is not. The result is
//   divided once and rounded once. Tiles begin with the document, so a row depends on its own
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
constexpr int kBlocks32 = 4;          // 100 to 106 registers a thread: 96 would spill
constexpr int kBlocks64 = 4;          // 128 registers at most
constexpr int kBlocks128 = 2;         // 173 to 187 registers, of which the sums take 64
// --- end of launch shape ---

constexpr int kStep = 16;  // rows or depth of one mma
constexpr int kSteps = kTileRows / kStep;
static_assert(kThreads / kWarp == kSteps, "a warp has the rows of one mma");

// Sums shrink when a score is larger by this in base 2: until then weights reach 256, which costs
// no bit of any storage type.
constexpr float kSlack = 8.0f;

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
// them. `shift` is the exponent that is added to all others: -scale * the largest score so far, or
// of one that was not much smaller.
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

// Copies tiles of rows that are `pitch` values apart: a thread a chunk of every few rows.
template <typename Value, int kHead>
struct Copier {
  static constexpr int kRowChunks = kHead / kChunkValues;
  static constexpr int kRowsPerCopy = kThreads / kRowChunks;
  static constexpr int kCopies = kTileRows / kRowsPerCopy;
  static constexpr int kCopyBytes = kRowsPerCopy * kHead * int(sizeof(Value));
  static_assert(kRowsPerCopy % 8 == 0, "a swizzle repeats every 8 rows");

  uint32_t to;           // this thread's first chunk, in Smem::q
  int64_t first, apart;  // values from a tile's begin to that chunk, and from one chunk to the next

  __device__ __forceinline__ Copier(Smem<Value, kHead>& smem, int pitch) {
    const int row = threadIdx.x / kRowChunks, chunk = threadIdx.x % kRowChunks;
    to = kept(shared_address(chunk_at(smem.q, row, chunk)));
    first = kept(int64_t(row) * pitch + chunk * kChunkValues);
    apart = kept(int64_t(kRowsPerCopy) * pitch);
  }

  // Begins to copy a whole tile, `offset` bytes behind Smem::q.
  __device__ __forceinline__ void load(uint32_t offset, const Value* tile) const {
    const Value* from = tile + first;
    for_constants<kCopies>([&](auto copy) {
      cp_async_16<copy * kCopyBytes, 0>(to + offset, from);
      from += apart;
    });
  }

  // The same for a tile of which only the first `rows` exist: the others become zeros, for which
  // nothing is read. They get an address that exists all the same.
  __device__ __forceinline__ void load(uint32_t offset, const Value* tile, int rows) const {
    const int row = threadIdx.x / kRowChunks;
    const Value* from = tile + first;
#pragma unroll
    for (int copy = 0; copy < kCopies; ++copy) {
      const bool valid = row + copy * kRowsPerCopy < rows;
      cp_async_16(to + offset + copy * kCopyBytes, valid ? from : tile, valid);
      from += apart;
    }
  }
};

// What all threads have begun to copy has landed, and every warp is done with what it read before:
// without the barrier a warp would read what another has not copied yet, and the next copies would
// overwrite what another still reads.
__device__ __forceinline__ void land() {
  cp_async_wait_all();
  __syncthreads();
}

// Over the four lanes that share a row.
__device__ __forceinline__ float row_max(float value) {
  return quad_reduce(value, [](float a, float b) { return fmaxf(a, b); });
}

__device__ __forceinline__ float row_sum(float value) {
  return quad_reduce(value, [](float a, float b) { return a + b; });
}

// Where a lane's rows of the matrices for ldmatrix lie in stage 0. Further rows are a constant
// away; the chunks of the next 16 columns are an exclusive or away, as the swizzle is one.
struct Fragments {
  uint32_t q, k, v;

  template <typename Value, int kHead>
  __device__ __forceinline__ explicit Fragments(Smem<Value, kHead>& smem) {
    const int lane = threadIdx.x % kWarp, first = threadIdx.x / kWarp * kStep;
    // Of Q, matrices are queries 0-7 and 8-15, then the next 8 values of each. Of K, keys 0-7, each
    // their first 8 values and the next 8; then keys 8-15. Of V, transposed, keys 0-7 and 8-15 of 8
    // columns, then of the next 8.
    q = kept(shared_address(chunk_at(smem.q, first + lane % 16, lane / 16)));
    k = kept(shared_address(chunk_at(smem.k[0], lane / 16 * 8 + lane % 8, lane / 8 % 2)));
    v = kept(shared_address(chunk_at(smem.v[0], lane % 16, lane / 16)));
  }

  // The same 16 columns further on, `count` times.
  static __device__ __forceinline__ uint32_t columns(uint32_t address, int count) {
    return address ^ count * 2 * kChunkBytes;
  }
};

// One tile of keys and values, `stage_offset` bytes behind stage 0. Of a partial one only the first
// `keys` exist: the others get no weight, and steps of 16 without any are left out, 3 of 8 in a
// document of 65 to 80 tokens.
template <bool kPartial, typename Value, int kHead>
__device__ __forceinline__ void attend(Context<kHead>& context, const Fragments& fragments,
                                       uint32_t stage_offset, int keys, float scale_log2e) {
  constexpr int kStepBytes = kStep * kHead * int(sizeof(Value));
  const int lane = threadIdx.x % kWarp;
  const uint32_t k_first = fragments.k + stage_offset, v_first = fragments.v + stage_offset;
  float p[kTileRows / 8][4];  // scores, then what softmax makes of them
  for_constants<kHead / kStep>([&](auto k) {
    // They are read again for every tile: kept in registers they spill others, at 128 registers for
    // D = 64.
    uint32_t q_regs[4];
    ldmatrix_x4(q_regs, Fragments::columns(fragments.q, k));
    for_constants<kSteps>([&](auto n) {
      if (kPartial && n * kStep >= keys) return;
      uint32_t k_regs[4];
      ldmatrix_x4<n * kStepBytes>(k_regs, Fragments::columns(k_first, k));
      if constexpr (k == 0) {
        first_mma_m16n8k16<Value>(p[2 * n], q_regs, k_regs[0], k_regs[1]);
        first_mma_m16n8k16<Value>(p[2 * n + 1], q_regs, k_regs[2], k_regs[3]);
      } else {
        mma_m16n8k16<Value>(p[2 * n], q_regs, k_regs[0], k_regs[1]);
        mma_m16n8k16<Value>(p[2 * n + 1], q_regs, k_regs[2], k_regs[3]);
      }
    });
  });

  float largest[2] = {-INFINITY, -INFINITY};
#pragma unroll
  for (int n = 0; n < kTileRows / 8; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (kPartial && n * 8 + lane % 4 * 2 + i % 2 >= keys) p[n][i] = -INFINITY;
      largest[i / 2] = fmaxf(largest[i / 2], p[n][i]);
    }
  }
  float shift[2];
  bool grew = false;
#pragma unroll
  for (int half_row = 0; half_row < 2; ++half_row) {
    const float before = context.shift[half_row];
    const float wanted = -scale_log2e * row_max(largest[half_row]);
    shift[half_row] = wanted < before - kSlack ? wanted : before;
    grew |= shift[half_row] < before;
  }
  // Seldom after the first tile. Whether the others of the warp grew does not matter: a row that
  // did not is multiplied by 1.
  if (__any_sync(kAllLanes, grew)) {
#pragma unroll
    for (int half_row = 0; half_row < 2; ++half_row) {
      // The difference of what was added, not of the scores: rounding of the two then cancels.
      const float shrink = ex2_approx(shift[half_row] - context.shift[half_row]);
      context.shift[half_row] = shift[half_row];
      context.total[half_row] *= shrink;
#pragma unroll
      for (int n = 0; n < kHead / 8; ++n) {
        context.sums[n][2 * half_row] *= shrink;
        context.sums[n][2 * half_row + 1] *= shrink;
      }
    }
  }
#pragma unroll
  for (int n = 0; n < kTileRows / 8; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      p[n][i] = ex2_approx(fmaf(p[n][i], scale_log2e, context.shift[i / 2]));
      context.total[i / 2] += p[n][i];
    }
  }

  for_constants<kSteps>([&](auto k) {
    if (kPartial && k * kStep >= keys) return;
    // Two fragments of scores side by side are one of the left operand.
    const uint32_t p_regs[4] = {narrowed<Value>(p[2 * k][0], p[2 * k][1]),
                                narrowed<Value>(p[2 * k][2], p[2 * k][3]),
                                narrowed<Value>(p[2 * k + 1][0], p[2 * k + 1][1]),
                                narrowed<Value>(p[2 * k + 1][2], p[2 * k + 1][3])};
#pragma unroll
    for (int n = 0; n < kHead / kStep; ++n) {
      uint32_t v_regs[4];
      ldmatrix_x4_trans<k * kStepBytes>(v_regs, Fragments::columns(v_first, n));
      mma_m16n8k16<Value>(context.sums[2 * n], p_regs, v_regs[0], v_regs[1]);
      mma_m16n8k16<Value>(context.sums[2 * n + 1], p_regs, v_regs[2], v_regs[3]);
    }
  });
}

// Divides the warp's rows by their totals and writes those of the first `rows` of the tile. They
// cross `tile_smem`, whose rows of this warp nobody else touches, so that a lane has 16 bytes.
template <typename Value, int kHead>
__device__ __forceinline__ void store_context(const Context<kHead>& context,
                                              Value (&tile_smem)[kTileRows][kHead], Value* to,
                                              int pitch, int rows) {
  const int lane = threadIdx.x % kWarp, first = threadIdx.x / kWarp * kStep;
  // The warp's queries lay there: ldmatrix read them for all its lanes at once, before anything
  // that is written now could be computed.
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
  using Tile = typename Smem<Value, kHead>::Tile;
  constexpr uint32_t kTileBytes = sizeof(Tile);
  // K and V behind Q, as Smem has them.
  constexpr uint32_t kFirstK = kTileBytes, kFirstV = (1 + kStages) * kTileBytes;

  const Copier<Value, kHead> copier(smem, pitch);
  const Value* k = head + size_t(tile.start) * pitch + width;
  // Begins to copy the next keys and values, of which `left` are left.
  const auto load_keys = [&](uint32_t stage_offset, int left) {
    if (left >= kTileRows) {
      copier.load(kFirstK + stage_offset, k);
      copier.load(kFirstV + stage_offset, k + width);
    } else {
      copier.load(kFirstK + stage_offset, k, left);
      copier.load(kFirstV + stage_offset, k + width, left);
    }
    k += size_t(kTileRows) * pitch;
  };
  copier.load(0, head + size_t(tile.row) * pitch, rows);
  load_keys(0, keys);
  land();

  // A vote, though all lanes agree: ptxas then knows it, and keeps no detour for a split warp.
  const bool has_rows = __any_sync(kAllLanes, int(threadIdx.x / kWarp * kStep) < rows);
  const Fragments fragments(smem);
  Context<kHead> context;
  uint32_t stage_offset = 0;
  for (; keys >= kTileRows; keys -= kTileRows) {
    const uint32_t next_offset = kTileBytes - stage_offset;
    if (keys > kTileRows) load_keys(next_offset, keys - kTileRows);
    if (has_rows) attend<false, Value>(context, fragments, stage_offset, keys, scale_log2e);
    land();
    stage_offset = next_offset;
  }
  if (!has_rows) return;
  if (keys > 0) attend<true, Value>(context, fragments, stage_offset, keys, scale_log2e);
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
