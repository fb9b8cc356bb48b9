// Softmax cross-entropy of one row (see loss.cu for what is asked of it).
//
// The gradient comes from the same exponentials as the loss. The loss is sum(q (log(sum) - (z - max))),
// never -log(exp(z - max) / sum), which is infinite for a confident mistake.
#include "rows.cuh"

// The share q of class c in the target.
__device__ __forceinline__ ACC mass_of(const LABEL* target, int c, int outputs) {
#if SOFT
    const ACC q = load(target + c);
#else
    const ACC q = *target == c ? ACC(1) : ACC(0);
#endif
    return (ACC(1) - ACC(LABEL_SMOOTHING)) * q + ACC(LABEL_SMOOTHING) / outputs;
}

__device__ __forceinline__ ACC row_loss(const REAL* z, const LABEL* target, REAL* delta, int outputs, ACC share,
                                        ACC* shared) {
    const int lane = threadIdx.x % GROUP;
    ACC top = Limits<ACC>::lowest();
    for (int c = lane; c < outputs; c += GROUP) {
        const ACC value = load(z + c);
        if (value > top) top = value;
    }
    top = group_max<GROUP>(top, shared);
    ACC total = 0, mass = 0, against = 0;
    for (int c = lane; c < outputs; c += GROUP) {
        const ACC shifted = load(z + c) - top, q = mass_of(target, c, outputs);
        total += exp(shifted);
        mass += q;
        if (q != ACC(0)) against += q * shifted;
    }
    total = group_sum<GROUP>(total, shared);
    mass = group_sum<GROUP>(mass, shared);
    against = group_sum<GROUP>(against, shared);
    const ACC factor = mass / total;
    for (int c = lane; c < outputs; c += GROUP)
        store(delta + c, (exp(load(z + c) - top) * factor - mass_of(target, c, outputs)) * share);
    return mass * log(total) - against;
}
