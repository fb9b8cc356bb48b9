// delta *= mask * f'(saved), and its column sums in the same pass (see dense.py). DERIVATIVE holds the two device
// functions of the activation.
#include "column_sum.cuh"

DERIVATIVE

extern "C" __global__ void __launch_bounds__(512, 1) times_derivative(
    REAL* delta, const REAL* __restrict__ saved, const REAL* __restrict__ mask, REAL* grad_bias, int rows, int columns) {
    const int column = COLUMN_OF_THREAD;
    const auto place = [=](int row) { return (int64)row * columns + column; };
    const ACC total = sum_of_column<ACC>(
        rows, columns,
        [=](int row) {
            const int64 at = place(row);
            const ACC value = load(delta + at) * derivative(load(saved + at));
            return mask ? value * load(mask + at) : value;
        },
        [=](int row, ACC value) { store(delta + place(row), value); });
    if (threadIdx.y == 0 && column < columns) store(grad_bias + column, total);
}
