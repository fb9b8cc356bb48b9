// The loss of one row where each output z is compared with its target t by itself (see loss.cu for what is asked of
// it, and ElementwiseLoss for LOSS_VALUE, LOSS_SLOPE, SIGNED and MEAN).
#include "rows.cuh"

__device__ __forceinline__ ACC row_loss(const REAL* z, const LABEL* target, REAL* delta, int outputs, ACC share,
                                        ACC* shared) {
    const ACC factor = MEAN ? ACC(1) / outputs : ACC(1);
    ACC loss = 0;
    for (int c = threadIdx.x % GROUP; c < outputs; c += GROUP) {
#if SOFT
        ACC t = load(target + c);
#else
        ACC t = outputs == 1 ? (ACC)*target : (*target == c ? ACC(1) : ACC(0));
#endif
        if (SIGNED) t = ACC(2) * t - ACC(1);
        const ACC value = load(z + c);
        loss += LOSS_VALUE(value, t);
        store(delta + c, LOSS_SLOPE(value, t) * factor * share);
    }
    return group_sum<GROUP>(loss, shared) * factor;
}
