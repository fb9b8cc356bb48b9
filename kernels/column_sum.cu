// Column sums (bias gradients).
#include "column_sum.cuh"

extern "C" __global__ void __launch_bounds__(512) column_sum(
    const REAL* __restrict__ matrix, REAL* __restrict__ out, int rows, int columns) {
    const int column = COLUMN_OF_THREAD;
    const ACC total = sum_of_column<ACC>(
        rows, columns, [=](int row) { return load(matrix + (int64)row * columns + column); });
    if (threadIdx.y == 0 && column < columns) store(out + column, total);
}
