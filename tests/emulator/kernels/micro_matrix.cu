// ldmatrix in all its forms, movmatrix, and cp.async in all its sizes.

#include "ptx.cuh"

// Four 8x8 matrices, one below the other.
struct Matrices {
  alignas(16) uint16_t rows[32][8];
};

__device__ __forceinline__ void load_matrices(Matrices& smem, const uint16_t* x) {
  for (int i = threadIdx.x; i < 32 * 8; i += kWarp) smem.rows[i / 8][i % 8] = x[i];
  __syncwarp();
}

// y[form][register][lane], forms x1, x2, x4, then the same transposed.
extern "C" __global__ void ldmatrix_forms(const uint16_t* x, uint32_t* y) {
  __shared__ Matrices smem;
  load_matrices(smem, x);
  const int lane = threadIdx.x;
  const uint32_t row = shared_address(smem.rows[lane]);
  uint32_t d[4];
  const auto put = [&](int form, int count) {
    for (int i = 0; i < count; ++i) y[(form * 4 + i) * kWarp + lane] = d[i];
  };
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
               : "=r"(d[0])
               : "r"(row)
               : "memory");
  put(0, 1);
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(d[0]), "=r"(d[1])
               : "r"(row)
               : "memory");
  put(1, 2);
  ldmatrix_x4(d, smem.rows[lane]);
  put(2, 4);
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
               : "=r"(d[0])
               : "r"(row)
               : "memory");
  put(3, 1);
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(d[0]), "=r"(d[1])
               : "r"(row)
               : "memory");
  put(4, 2);
  ldmatrix_x4_trans(d, smem.rows[lane]);
  put(5, 4);
}

extern "C" __global__ void movmatrix(const uint32_t* x, uint32_t* y) {
  uint32_t value;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(value) : "r"(x[threadIdx.x]));
  y[threadIdx.x] = value;
}

// Copies of 4, 8 and 16 bytes; 16 of which only some are read; groups waited for one after the
// other.
extern "C" __global__ void copy_forms(const uint32_t* x, uint32_t* y) {
  __shared__ alignas(16) uint32_t rows_smem[4][kWarp * 4];
  const int lane = threadIdx.x;
  cp_async_small<4>(&rows_smem[0][lane], x + lane);
  cp_async_commit_group();
  cp_async_small<8>(&rows_smem[1][2 * lane], x + 2 * lane);
  cp_async_commit_group();
  cp_async_16(&rows_smem[2][4 * lane], x + 4 * lane);
  asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;" ::"r"(
                   shared_address(&rows_smem[3][4 * lane])),
               "l"(x + 4 * lane), "r"(lane % 5 * 4)
               : "memory");
  cp_async_commit_group();
  // The first two groups.
  cp_async_wait_group<1>();
  y[lane] = rows_smem[0][lane];
  y[kWarp * 4 + 2 * lane] = rows_smem[1][2 * lane];
  y[kWarp * 4 + 2 * lane + 1] = rows_smem[1][2 * lane + 1];
  cp_async_wait_group<0>();
  for (int i = 0; i < 4; ++i) {
    y[kWarp * 8 + 4 * lane + i] = rows_smem[2][4 * lane + i];
    y[kWarp * 12 + 4 * lane + i] = rows_smem[3][4 * lane + i];
  }
}
