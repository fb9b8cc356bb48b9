// The sum of a column, by the threads of a block that have the same x: no atomics, so that runs repeat bit for bit.
// The shape of the blocks is that of `by_column` in column_sum.py: up to 512 threads, a power of two in y.
#ifndef GPUNET_COLUMN_SUM
#define GPUNET_COLUMN_SUM
#include "common.cuh"

#define COLUMN_OF_THREAD (int)(blockIdx.x * blockDim.x + threadIdx.x)
#define AHEAD 4

// The sum of read(row) over all rows, nothing beyond the last column; keep(row, value) is told of each. A thread reads
// a few rows before it keeps the first, since no read behind a write would begin before that. Partial sums are added in
// a fixed order. All threads of the block must come here, and those of a column get its sum.
template <typename T, typename Read, typename Keep>
__device__ __forceinline__ T sum_of_column(int rows, int columns, Read read, Keep keep) {
    __shared__ T partial[512];
    T total = 0;
    if (COLUMN_OF_THREAD < columns)
        for (int first = threadIdx.y; first < rows; first += AHEAD * blockDim.y) {
            T found[AHEAD];
#pragma unroll
            for (int i = 0; i < AHEAD; ++i) {
                const int row = first + i * blockDim.y;
                found[i] = read(row < rows ? row : first);  // no branch, at which the reads before would be waited for
            }
#pragma unroll
            for (int i = 0; i < AHEAD; ++i) {
                const int row = first + i * blockDim.y;
                if (row >= rows) break;
                keep(row, found[i]);
                total += found[i];
            }
        }
    const int at = threadIdx.y * blockDim.x + threadIdx.x;
    partial[at] = total;
    for (int half = blockDim.y / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half) partial[at] += partial[at + half * blockDim.x];
    }
    __syncthreads();
    return partial[threadIdx.x];
}

template <typename T, typename Read> __device__ __forceinline__ T sum_of_column(int rows, int columns, Read read) {
    return sum_of_column<T>(rows, columns, read, [](int, T) {});
}

#endif
