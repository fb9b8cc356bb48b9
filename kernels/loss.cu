// The last layer's bias, the loss of each row and its gradient: GROUP threads a row, THREADS / GROUP rows a block.
#include "loss.cuh"

#define THREADS 256
// Blocks that a multiprocessor has registers for: 64 a thread for floats, 128 for doubles. Left to itself the assembler
// takes fewer and spills.
#define BLOCKS (sizeof(ACC) == 4 ? 4 : 2)
#define AHEAD (GROUP < 32 ? 2 : 4)  // logits that a thread reads before it writes the first

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) loss(
    REAL* logits, const REAL* __restrict__ bias, const LABEL* __restrict__ targets, const ACC* __restrict__ weights,
    const ACC* __restrict__ total, REAL* delta, ACC* losses, int64* control, int batch, int outputs) {
    __shared__ ACC shared[THREADS / 32];
    const int64 row = (int64)blockIdx.x * (THREADS / GROUP) + threadIdx.x / GROUP;
    const int lane = threadIdx.x % GROUP, columns = row < batch ? outputs : 0;
    REAL* z = logits + row * outputs;
    if (bias)
        for (int first = lane; first < columns; first += AHEAD * GROUP) {
            ACC sums[AHEAD];
#pragma unroll
            for (int i = 0; i < AHEAD; ++i) {
                const int c = first + i * GROUP < columns ? first + i * GROUP : first;
                sums[i] = load(z + c) + load(bias + c);
            }
#pragma unroll
            for (int i = 0; i < AHEAD; ++i)
                if (first + i * GROUP < columns) store(z + first + i * GROUP, sums[i]);
        }
    example_loss(z, targets + row * (SOFT ? outputs : 1), weights, total, delta + row * outputs, losses, control, row, batch, columns, shared);
}
