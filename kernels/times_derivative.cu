// delta *= mask * f'(saved), and its column sums in the same pass (see dense.py), a row of `sums` for each share of the
// rows. DERIVATIVE holds the two device functions of the activation.
#include "column_sum.cuh"

DERIVATIVE

// Blocks that a multiprocessor has registers for: 64 a thread for floats, 128 for doubles.
#define BLOCKS (sizeof(ACC) == 4 ? 2 : 1)

extern "C" __global__ void __launch_bounds__(512, BLOCKS) times_derivative(
    REAL* delta, const REAL* __restrict__ saved, const REAL* __restrict__ mask, SUM* sums, int rows, int columns,
    int each) {
    const Part part = part_of_block(rows, columns, each);
    const auto place = [=](int row) { return (int64)row * columns + part.column; };
    const ACC total = sum_of_column<ACC>(
        part, columns,
        [=](int row) {
            const int64 at = place(row);
            const ACC value = load(delta + at) * derivative(load(saved + at));
            return mask ? value * load(mask + at) : value;
        },
        [=](int row, ACC value) { store(delta + place(row), value); });
    if (threadIdx.y == 0 && part.column < columns) store(sums + (int64)part.share * columns + part.column, total);
}
