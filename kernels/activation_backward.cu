// delta *= mask * f'(saved), and its column sums in the same pass: a block of 32 x 8 threads takes 32 columns
// and adds their eight partial sums in a fixed order (see dense.py). DERIVATIVE holds the two device functions.
#include "common.cuh"

DERIVATIVE

extern "C" __global__ void activation_backward(
    REAL* delta, const REAL* __restrict__ saved, const REAL* __restrict__ mask, REAL* grad_bias, int rows, int columns) {
    __shared__ ACC partial[8][33];
    const int column = blockIdx.x * 32 + threadIdx.x;
    ACC total = 0;
    if (column < columns)
        for (int row = threadIdx.y; row < rows; row += 8) {
            const int64 at = (int64)row * columns + column;
            ACC value = load(delta + at) * derivative(load(saved + at));
            if (mask) value *= load(mask + at);
            store(delta + at, value);
            total += value;
        }
    partial[threadIdx.y][threadIdx.x] = total;
    __syncthreads();
    if (threadIdx.y == 0 && column < columns) {
        for (int i = 1; i < 8; ++i) total += partial[i][threadIdx.x];
        store(grad_bias + column, total);
    }
}
