// Softmax of each row, one block a row.
#include "rows.cuh"

extern "C" __global__ void softmax(const REAL* logits, REAL* out, int outputs) {
    __shared__ ACC shared[128];
    const REAL* z = logits + (int64)blockIdx.x * outputs;
    REAL* p = out + (int64)blockIdx.x * outputs;
    ACC top = Limits<ACC>::lowest(), total = 0;
    for (int c = threadIdx.x; c < outputs; c += blockDim.x) top = load(z + c) > top ? load(z + c) : top;
    top = block_max(top, shared);
    for (int c = threadIdx.x; c < outputs; c += blockDim.x) total += exp(load(z + c) - top);
    total = block_sum(total, shared);
    for (int c = threadIdx.x; c < outputs; c += blockDim.x) store(p + c, exp(load(z + c) - top) / total);
}
