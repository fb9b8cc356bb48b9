// Philox 4x64-10 (Salmon et al. 2011), bit for bit as numpy.random.Philox draws it (see random.py).
#ifndef GPUNET_PHILOX
#define GPUNET_PHILOX

typedef unsigned long long uint64;

// The `block`-th block of a step: four 64-bit words, which are eight 32-bit numbers, low half first.
__device__ __forceinline__ void philox_block(uint64 seed, uint64 word, uint64 step, uint64 block, uint64* words) {
    uint64 c0 = block + 1, c1 = 0, c2 = step, c3 = 0, k0 = seed, k1 = word;
    for (int round = 0; round < 10; ++round) {
        const uint64 h0 = __umul64hi(0xD2E7470EE14C6C93ULL, c0), l0 = 0xD2E7470EE14C6C93ULL * c0;
        const uint64 h1 = __umul64hi(0xCA5A826395121157ULL, c2), l1 = 0xCA5A826395121157ULL * c2;
        c0 = h1 ^ c1 ^ k0;
        c2 = h0 ^ c3 ^ k1;
        c1 = l1;
        c3 = l0;
        k0 += 0x9E3779B97F4A7C15ULL;
        k1 += 0xBB67AE8584CAA73BULL;
    }
    words[0] = c0;
    words[1] = c1;
    words[2] = c2;
    words[3] = c3;
}

// The `index`-th 32-bit number of a step.
__device__ __forceinline__ unsigned int philox(uint64 seed, uint64 word, uint64 step, uint64 index) {
    uint64 words[4];
    philox_block(seed, word, step, index / 8, words);
    const int lane = (int)(index % 8);
    const uint64 pick = lane < 2 ? words[0] : lane < 4 ? words[1] : lane < 6 ? words[2] : words[3];
    return (unsigned int)(lane % 2 ? pick >> 32 : pick);
}

#endif
