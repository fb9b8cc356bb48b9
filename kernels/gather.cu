// Batch gather (see gather.py): GROUP threads copy a row of the batch, scaled, its label and its weight.
#include "rows.cuh"

#define THREADS 128
// Blocks that a multiprocessor has registers for: 64 a thread. Left to itself the assembler takes fewer and spills.
#define BLOCKS 8
#define AHEAD 4

// WIDE neighbours of a row, which are read or written at once.
template <typename T> struct alignas(WIDE * sizeof(T) < 16 ? WIDE * sizeof(T) : 16) Pack { T of[WIDE]; };

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) gather(
    const IMAGE* images, const LABEL* __restrict__ labels, const int* __restrict__ order,
    int64* __restrict__ control, double scale, int64 ring, int batch, int features, int columns,
    REAL* x, LABEL* __restrict__ targets, const REAL* __restrict__ weights, REAL* __restrict__ taken_weights,
    REAL* __restrict__ total) {
    const int64 step = control[NEXT], place = (int64)blockIdx.x * (THREADS / GROUP) + threadIdx.x / GROUP;
    const int lane = threadIdx.x % GROUP, packs = features / WIDE;
    if (place < batch) {
        const int64 row = order[(step * batch + place) % ring];
        const Pack<IMAGE>* source = (const Pack<IMAGE>*)(images + row * features);
        Pack<REAL>* target = (Pack<REAL>*)(x + place * features);
        for (int first = lane; first < packs; first += AHEAD * GROUP) {
            // All are read before the first is written, so that no read waits for another. If images and x were
            // __restrict__, the compiler would put each read behind the write before.
            Pack<IMAGE> found[AHEAD];
#pragma unroll
            for (int i = 0; i < AHEAD; ++i) {
                const int at = first + i * GROUP;
                found[i] = source[at < packs ? at : first];
            }
#pragma unroll
            for (int i = 0; i < AHEAD; ++i) {
                const int at = first + i * GROUP;
                if (at >= packs) break;
                Pack<REAL> scaled;
#pragma unroll
                for (int k = 0; k < WIDE; ++k) store(scaled.of + k, load(found[i].of + k) * (ACC)scale);
                target[at] = scaled;
            }
        }
        for (int i = lane; i < columns; i += GROUP) targets[place * columns + i] = labels[row * columns + i];
        if (weights && lane == 0) taken_weights[place] = weights[row];
    }
    if (weights && blockIdx.x == 0) {  // adds up all weights of the batch by itself, so that their order is fixed
        __shared__ ACC shared[THREADS / 32];
        ACC sum = 0;
        for (int r = threadIdx.x; r < batch; r += THREADS) sum += load(weights + order[(step * batch + r) % ring]);
        sum = group_sum<THREADS>(sum, shared);
        if (threadIdx.x == 0) store(total, sum);
    }
    // No other thread of this kernel reads STEP, so writing it here races with nobody.
    if (blockIdx.x == 0 && threadIdx.x == 0) control[STEP] = step;
}
