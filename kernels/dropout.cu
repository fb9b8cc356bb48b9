// Dropout: mask and masked outputs, eight elements a thread, as many as a block of random numbers has (see dropout.py).
#include "common.cuh"
#include "philox.cuh"

extern "C" __global__ void __launch_bounds__(256) dropout(
    const REAL* __restrict__ y, uint64 seed, uint64 word, uint64 limit, double factor, int64 first,
    const int64* __restrict__ control, REAL* __restrict__ mask, REAL* __restrict__ out, int64 size) {
    const int64 block = first / 8 + (int64)blockIdx.x * blockDim.x + threadIdx.x;
    const int lane = threadIdx.x % 32;
    uint64 words[4];
    philox_block(seed, word, control[STEP], block, words);
    unsigned int kept = 0;  // a bit for each element of the block
#pragma unroll
    for (int i = 0; i < 8; ++i)
        kept |= (unsigned int)((words[i / 2] >> i % 2 * 32 & 0xFFFFFFFFULL) < limit) << i;
    // What a thread drew lies side by side, but a GPU writes at once what lies side by side for the threads of a warp:
    // each takes every 32nd element of those that the warp drew, and the bits from who has them.
    const int64 start = (block - lane) * 8 + lane - first;
    ACC found[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        const int64 at = start + i * 32;
        found[i] = at < 0 || at >= size ? ACC(0) : load(y + at);
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        const int64 at = start + i * 32;
        const unsigned int bits = __shfl_sync(0xffffffffu, kept, i * 4 + lane / 8);
        const ACC share = bits >> lane % 8 & 1 ? (ACC)factor : ACC(0);
        if (at < 0 || at >= size) continue;
        store(mask + at, share);
        store(out + at, found[i] * share);
    }
}
