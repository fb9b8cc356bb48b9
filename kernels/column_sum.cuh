// The sum of a column, by the threads of a block that have the same x: no atomics, so that runs repeat bit for bit.
// The shape of the blocks is that of `by_column` or `shared_out` in column_sum.py: up to 512 threads, a power of two in y.
#ifndef GPUNET_COLUMN_SUM
#define GPUNET_COLUMN_SUM
#include "common.cuh"

#define AHEAD 8  // also in column_sum.py

// What of a matrix is a block's: columns, one for each x, and of the rows a share.
struct Part {
    int column, share, first, last;  // of this thread, perhaps beyond the last; the rows from `first` to before `last`
};

// Blocks go over the columns first, and then over the shares, of `each` rows.
__device__ __forceinline__ Part part_of_block(int rows, int columns, int each) {
    const int across = (columns - 1) / (int)blockDim.x + 1, share = blockIdx.x / across, first = share * each;
    const int column = blockIdx.x % across * blockDim.x + threadIdx.x;
    return {column, share, first, each < rows - first ? first + each : rows};
}

// The sum of read(row) over the rows of a part, nothing beyond the last column; keep(row, value) is told of each. A
// thread reads a few rows before it keeps the first, since no read behind a write would begin before that. Partial sums
// are added in a fixed order. All threads of the block must come here, and those of a column get its sum.
template <typename T, typename Read, typename Keep>
__device__ __forceinline__ T sum_of_column(const Part& part, int columns, Read read, Keep keep) {
    __shared__ T partial[512];
    T total = 0;
    if (part.column < columns)
        for (int first = part.first + threadIdx.y; first < part.last; first += AHEAD * blockDim.y) {
            T found[AHEAD];
#pragma unroll
            for (int i = 0; i < AHEAD; ++i) {
                const int row = first + i * blockDim.y;
                found[i] = read(row < part.last ? row : first);  // no branch, where the reads before would be awaited
            }
#pragma unroll
            for (int i = 0; i < AHEAD; ++i) {
                const int row = first + i * blockDim.y;
                total += row < part.last ? found[i] : T(0);  // no branch, behind which the compiler would put the read
                if (row < part.last) keep(row, found[i]);
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

template <typename T, typename Read>
__device__ __forceinline__ T sum_of_column(const Part& part, int columns, Read read) {
    return sum_of_column<T>(part, columns, read, [](int, T) {});
}

#endif
