// From a logit to a weight.
#pragma once

// log1p(logit), or log1p of that, of a logit above 0.
__device__ __forceinline__ float splade_weight(float logit, bool twice) {
  const float once = log1pf(logit);
  return twice ? log1pf(once) : once;
}
