// The last layer's bias, the loss of each row and its gradient: GROUP threads a row, THREADS / GROUP rows a block.
//
// In front of this comes the file of a loss, which defines
//     row_loss(z, target, delta, outputs, share, shared)
// for the GROUP threads of a row: from logits z (outputs) and a target (a label, or SOFT numbers, one an output) it
// writes the gradient times `share` to delta (outputs) and returns the loss to every thread. A group without a row
// is given no outputs.
#include "rows.cuh"

#define THREADS 256
// Blocks that a multiprocessor has registers for: 64 a thread for floats, 128 for doubles. Left to itself the assembler
// takes fewer and spills.
#define BLOCKS (sizeof(ACC) == 4 ? 4 : 2)

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) loss(
    REAL* logits, const REAL* __restrict__ bias, const LABEL* __restrict__ targets, const ACC* __restrict__ weights,
    const ACC* __restrict__ total, REAL* delta, ACC* losses, int64* control, int batch, int outputs) {
    __shared__ ACC shared[THREADS / 32];
    const int64 row = (int64)blockIdx.x * (THREADS / GROUP) + threadIdx.x / GROUP;
    const int lane = threadIdx.x % GROUP, columns = row < batch ? outputs : 0;
    REAL* z = logits + row * outputs;
    if (bias)
        for (int c = lane; c < columns; c += GROUP) store(z + c, load(z + c) + load(bias + c));
    ACC share = ACC(1) / batch;
    if (weights) share = columns && *total > ACC(0) ? weights[row] / *total : ACC(0);
    const ACC value = row_loss(z, targets + row * (SOFT ? outputs : 1), delta + row * outputs, columns, share, shared);
    if (row >= batch || lane > 0) return;
    if (losses) losses[row] = value;
    // Whoever sees a loss that is not finite writes the same step, so the race is harmless.
    if (control && !(fabs(value) <= -Limits<ACC>::lowest()) && control[NONFINITE] < 0)
        control[NONFINITE] = control[STEP];
}
