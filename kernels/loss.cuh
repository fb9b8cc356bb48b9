// The loss of one example and its gradient, by the GROUP threads of its row.
//
// In front of this comes the file of a loss, which defines
//     row_loss(z, target, delta, outputs, share, shared)
// for the GROUP threads of a row: from logits z (outputs) and a target (a label, or SOFT numbers, one an output) it
// writes the gradient times `share` to delta (outputs) and returns the loss to every thread. A group without a row
// is given no outputs.
#ifndef GPUNET_LOSS
#define GPUNET_LOSS
#include "rows.cuh"

// Of example `row` of the batch, whose logits with their bias are z and whose target is `target`; `weights`, `losses` and
// `control` may be null.
__device__ __forceinline__ void example_loss(
    const REAL* z, const LABEL* target, const ACC* weights, const ACC* total, REAL* delta, ACC* losses, int64* control,
    int64 row, int batch, int outputs, ACC* shared) {
    ACC share = ACC(1) / batch;
    if (weights) share = outputs && *total > ACC(0) ? weights[row] / *total : ACC(0);
    const ACC value = row_loss(z, target, delta, outputs, share, shared);
    if (!outputs || threadIdx.x % GROUP > 0) return;
    if (losses) losses[row] = value;
    // Whoever sees a loss that is not finite writes the same step, so the race is harmless.
    if (control && !(fabs(value) <= -Limits<ACC>::lowest()) && control[NONFINITE] < 0)
        control[NONFINITE] = control[STEP];
}

#endif
