// 16-bit storage, 32-bit arithmetic: a chunk is the 16 bytes that a thread loads or stores at once.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstring>

using bf16 = __nv_bfloat16;

constexpr int kChunkBytes = 16;
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

// The widest access of a thread that holds `kCount` values: one instruction loads or stores them.
template <int kCount>
struct WordsOf;
template <>
struct WordsOf<4> {
  using type = uint2;
};
template <>
struct WordsOf<8> {
  using type = uint4;
};

// `source` is aligned to the size of all values. As one vector of words: nvcc would load a struct
// of pairs pair by pair.
template <typename Value, int kCount>
__device__ __forceinline__ void load_values(const Value* source, float (&values)[kCount]) {
  using Words = typename WordsOf<kCount>::type;
  const Words all = *reinterpret_cast<const Words*>(source);
  unsigned words[kCount / 2];
  static_assert(sizeof all == sizeof words, "a word is two values");
  memcpy(words, &all, sizeof words);
#pragma unroll
  for (int i = 0; i < kCount / 2; ++i) {
    typename PairOf<Value>::type pair;
    static_assert(sizeof pair == sizeof words[i], "a word is two values");
    memcpy(&pair, &words[i], sizeof pair);
    const float2 wide = widen(pair);
    values[2 * i] = wide.x;
    values[2 * i + 1] = wide.y;
  }
}

__device__ __forceinline__ void load_values(const float* source, float (&values)[4]) {
  const float4 four = *reinterpret_cast<const float4*>(source);
  values[0] = four.x;
  values[1] = four.y;
  values[2] = four.z;
  values[3] = four.w;
}

// Two values as the word that holds them.
template <typename Value>
__device__ __forceinline__ unsigned narrowed(float low, float high) {
  typename PairOf<Value>::type pair;
  narrow(make_float2(low, high), pair);
  unsigned word;
  static_assert(sizeof pair == sizeof word, "a word is two values");
  memcpy(&word, &pair, sizeof word);
  return word;
}

// `target` is aligned to the size of all values.
template <typename Value, int kCount>
__device__ __forceinline__ void store_values(const float (&values)[kCount], Value* target) {
  using Words = typename WordsOf<kCount>::type;
  unsigned words[kCount / 2];
#pragma unroll
  for (int i = 0; i < kCount / 2; ++i) {
    words[i] = narrowed<Value>(values[2 * i], values[2 * i + 1]);
  }
  Words all;
  memcpy(&all, words, sizeof all);
  *reinterpret_cast<Words*>(target) = all;
}

__device__ __forceinline__ void store_values(const float (&values)[4], float* target) {
  *reinterpret_cast<float4*>(target) = make_float4(values[0], values[1], values[2], values[3]);
}
