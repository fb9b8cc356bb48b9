// Column sums (bias gradients): a row of `out` for each share of the rows.
#include "column_sum.cuh"

extern "C" __global__ void __launch_bounds__(512, 2) column_sum(
    const REAL* __restrict__ matrix, SUM* __restrict__ out, int rows, int columns, int each) {
    const Part part = part_of_block(rows, columns, each);
    const ACC total = sum_of_column<ACC>(
        part, columns, [=](int row) { return load(matrix + (int64)row * columns + part.column); });
    if (threadIdx.y == 0 && part.column < columns) store(out + (int64)part.share * columns + part.column, total);
}
