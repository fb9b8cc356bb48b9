// Softmax of each row, one block a row.
#include "rows.cuh"

#define THREADS 128

extern "C" __global__ void __launch_bounds__(THREADS) softmax(const REAL* logits, REAL* out, int outputs) {
    __shared__ ACC shared[THREADS / 32];
    const REAL* z = logits + (int64)blockIdx.x * outputs;
    REAL* p = out + (int64)blockIdx.x * outputs;
    ACC top = Limits<ACC>::lowest(), total = 0;
    for (int c = threadIdx.x; c < outputs; c += THREADS) top = load(z + c) > top ? load(z + c) : top;
    top = group_max<THREADS>(top, shared);
    for (int c = threadIdx.x; c < outputs; c += THREADS) total += exp(load(z + c) - top);
    total = group_sum<THREADS>(total, shared);
    for (int c = threadIdx.x; c < outputs; c += THREADS) store(p + c, exp(load(z + c) - top) / total);
}
