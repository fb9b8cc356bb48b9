// Norms and clipping (see penalties.py); sums in a fixed order, so no atomics, and in float64, so that the square of
// any float32 has room.
#include "column_sum.cuh"
#include "rows.cuh"

// The sum of squares of one block's share of the vector; shares are the same for every launch of a size.
extern "C" __global__ void sum_of_squares(const REAL* __restrict__ vector, int64 size, double* __restrict__ partial) {
    __shared__ double shared[8];
    double total = 0;
    for (int64 i = (int64)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += (int64)gridDim.x * blockDim.x) {
        const double value = load(vector + i);
        total += value * value;
    }
    total = group_sum<256>(total, shared);
    if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

// Scale the vector to the norm `limit` if it is longer; every block adds up the partial sums in the same order.
extern "C" __global__ void clip_by_norm(
    REAL* __restrict__ vector, int64 size, const double* __restrict__ partial, int count, double limit) {
    __shared__ double shared[8];
    double total = 0;
    for (int i = threadIdx.x; i < count; i += blockDim.x) total += partial[i];
    const double norm = sqrt(group_sum<256>(total, shared));
    if (!(norm > limit)) return;
    const ACC factor = (ACC)(limit / norm);
    for (int64 i = (int64)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += (int64)gridDim.x * blockDim.x)
        store(vector + i, load(vector + i) * factor);
}

// Scale each column of a matrix to the norm `limit` if it is longer.
extern "C" __global__ void __launch_bounds__(512) clip_columns(
    REAL* __restrict__ matrix, int rows, int columns, double limit) {
    const Part part = part_of_block(rows, columns, rows);
    const int column = part.column;
    const double norm = sqrt(sum_of_column<double>(part, columns, [=](int row) {
        const double value = load(matrix + (int64)row * columns + column);
        return value * value;
    }));
    if (column >= columns || !(norm > limit)) return;
    const ACC factor = (ACC)(limit / norm);
    for (int row = threadIdx.y; row < rows; row += blockDim.y) {
        REAL* at = matrix + (int64)row * columns + column;
        store(at, load(at) * factor);
    }
}
