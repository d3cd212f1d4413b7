// 16-bit storage, 32-bit arithmetic: a chunk is the 16 bytes that a thread loads or stores at once.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstring>

using bf16 = __nv_bfloat16;

constexpr int kChunkValues = 8;

// Two neighbouring values as the hardware converts them.
template <typename Value>
struct PairOf;
template <>
struct PairOf<half> {
  using type = half2;
};
template <>
struct PairOf<bf16> {
  using type = __nv_bfloat162;
};

__device__ __forceinline__ float2 widen(half2 pair) { return __half22float2(pair); }
__device__ __forceinline__ float2 widen(__nv_bfloat162 pair) { return __bfloat1622float2(pair); }

// Rounds to nearest, ties to even.
__device__ __forceinline__ void narrow(float2 values, half2& pair) {
  pair = __float22half2_rn(values);
}
__device__ __forceinline__ void narrow(float2 values, __nv_bfloat162& pair) {
  pair = __float22bfloat162_rn(values);
}

// `source` is aligned to 16 bytes. As one vector of words: nvcc would load a struct
// of pairs pair by pair.
template <typename Value>
__device__ __forceinline__ void load_chunk(const Value* source, float (&values)[kChunkValues]) {
  const uint4 chunk = *reinterpret_cast<const uint4*>(source);
  const unsigned words[kChunkValues / 2] = {chunk.x, chunk.y, chunk.z, chunk.w};
#pragma unroll
  for (int i = 0; i < kChunkValues / 2; ++i) {
    typename PairOf<Value>::type pair;
    static_assert(sizeof pair == sizeof words[i], "a word is two values");
    memcpy(&pair, &words[i], sizeof pair);
    const float2 wide = widen(pair);
    values[2 * i] = wide.x;
    values[2 * i + 1] = wide.y;
  }
}

// `target` is aligned to 16 bytes.
template <typename Value>
__device__ __forceinline__ void store_chunk(const float (&values)[kChunkValues], Value* target) {
  unsigned words[kChunkValues / 2];
#pragma unroll
  for (int i = 0; i < kChunkValues / 2; ++i) {
    typename PairOf<Value>::type pair;
    narrow(make_float2(values[2 * i], values[2 * i + 1]), pair);
    memcpy(&words[i], &pair, sizeof pair);
  }
  *reinterpret_cast<uint4*>(target) = make_uint4(words[0], words[1], words[2], words[3]);
}
