// Batch gather (see gather.py): block r copies row r of the batch, scaled, its label and its weight.
#include "rows.cuh"

#define THREADS 128
// Blocks that a multiprocessor has registers for: 64 a thread. Left to itself the assembler takes fewer and spills.
#define BLOCKS 8

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) gather(
    const IMAGE* __restrict__ images, const LABEL* __restrict__ labels, const int* __restrict__ order,
    int64* __restrict__ control, double scale, int64 ring, int batch, int features, int columns,
    REAL* __restrict__ x, LABEL* __restrict__ targets, const REAL* __restrict__ weights, REAL* __restrict__ taken_weights,
    REAL* __restrict__ total) {
    const int64 step = control[NEXT];
    const int64 row = order[(step * batch + blockIdx.x) % ring];
    const IMAGE* source = images + row * features;
    REAL* target = x + (int64)blockIdx.x * features;
    for (int i = threadIdx.x; i < features; i += THREADS) store(target + i, load(source + i) * (ACC)scale);
    for (int i = threadIdx.x; i < columns; i += THREADS)
        targets[(int64)blockIdx.x * columns + i] = labels[row * columns + i];
    if (weights) {
        if (threadIdx.x == 0) taken_weights[blockIdx.x] = weights[row];
        if (blockIdx.x == 0) {  // adds up all weights of the batch by itself, so that their order is fixed
            __shared__ ACC shared[THREADS / 32];
            ACC sum = 0;
            for (int r = threadIdx.x; r < batch; r += THREADS) sum += load(weights + order[(step * batch + r) % ring]);
            sum = group_sum<THREADS>(sum, shared);
            if (threadIdx.x == 0) store(total, sum);
        }
    }
    // No other thread of this kernel reads STEP, so writing it here races with nobody.
    if (blockIdx.x == 0 && threadIdx.x == 0) control[STEP] = step;
}
