// Dropout: mask and masked outputs, eight elements a thread, as many as a block of random numbers has (see dropout.py).
#include "common.cuh"
#include "philox.cuh"

extern "C" __global__ void __launch_bounds__(256) dropout(
    const REAL* __restrict__ y, uint64 seed, uint64 word, uint64 limit, double factor, int64 first,
    const int64* __restrict__ control, REAL* __restrict__ mask, REAL* __restrict__ out, int64 size) {
    const int64 block = first / 8 + (int64)blockIdx.x * blockDim.x + threadIdx.x;
    if (block * 8 >= first + size) return;
    uint64 words[4];
    philox_block(seed, word, control[STEP], block, words);
#pragma unroll
    for (int lane = 0; lane < 8; ++lane) {
        const int64 at = block * 8 + lane - first;
        if (at < 0 || at >= size) continue;
        const ACC share = (words[lane / 2] >> lane % 2 * 32 & 0xFFFFFFFFULL) < limit ? (ACC)factor : ACC(0);
        store(mask + at, share);
        store(out + at, load(y + at) * share);
    }
}
