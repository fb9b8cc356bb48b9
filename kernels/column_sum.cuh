// The sum of a column, by a block of 32 x 8 threads for 32 columns: no atomics, so that runs repeat bit for bit.
#ifndef GPUNET_COLUMN_SUM
#define GPUNET_COLUMN_SUM
#include "common.cuh"

#define COLUMN_OF_THREAD (int)(blockIdx.x * 32 + threadIdx.x)

// The sum of value(row) over all rows, nothing beyond the last column; eight partial sums a column are added in a
// fixed order. All threads of the block must come here, and those of a column get its sum.
template <typename T, typename Value>
__device__ __forceinline__ T sum_of_column(int rows, int columns, Value value) {
    __shared__ T partial[8][33];
    T total = 0;
    if (COLUMN_OF_THREAD < columns)
        for (int row = threadIdx.y; row < rows; row += 8) total += value(row);
    partial[threadIdx.y][threadIdx.x] = total;
    __syncthreads();
    total = partial[0][threadIdx.x];
    for (int i = 1; i < 8; ++i) total += partial[i][threadIdx.x];
    return total;
}

#endif
