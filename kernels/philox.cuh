// Philox 4x64-10 (Salmon et al. 2011), bit for bit as numpy.random.Philox draws it (see random.py).
#ifndef GPUNET_PHILOX
#define GPUNET_PHILOX

typedef unsigned long long uint64;

// The `index`-th 32-bit number of a step: a block of the generator gives four 64-bit words, low half first.
__device__ __forceinline__ unsigned int philox(uint64 seed, uint64 word, uint64 step, uint64 index) {
    uint64 c0 = index / 8 + 1, c1 = 0, c2 = step, c3 = 0, k0 = seed, k1 = word;
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
    const int lane = (int)(index % 8);
    const uint64 pick = lane < 2 ? c0 : lane < 4 ? c1 : lane < 6 ? c2 : c3;
    return (unsigned int)(lane % 2 ? pick >> 32 : pick);
}

#endif
