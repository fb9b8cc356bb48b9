// Column sums (bias gradients): a block of 32 x 8 threads sums 32 columns; eight partial sums a column are
// added in a fixed order, so no atomics.
#include "common.cuh"

extern "C" __global__ void column_sum(const REAL* __restrict__ matrix, REAL* __restrict__ out, int rows, int columns) {
    __shared__ ACC partial[8][33];
    const int column = blockIdx.x * 32 + threadIdx.x;
    ACC total = 0;
    if (column < columns)
        for (int row = threadIdx.y; row < rows; row += 8) total += load(matrix + (int64)row * columns + column);
    partial[threadIdx.y][threadIdx.x] = total;
    __syncthreads();
    if (threadIdx.y == 0 && column < columns) {
        for (int i = 1; i < 8; ++i) total += partial[i][threadIdx.x];
        store(out + column, total);
    }
}
