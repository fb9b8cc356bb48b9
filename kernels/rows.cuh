// Sums and maxima over a group of threads, in a fixed order: no atomics, so that runs repeat bit for bit.
#include "common.cuh"
#ifndef GPUNET_ROWS
#define GPUNET_ROWS

// MEMBERS threads that follow each other in a block, a power of two up to 256; all threads of the block must come
// here. `shared` holds one T for each warp of the block; it is not used by groups within a warp. All threads of the
// group get the result.
template <int MEMBERS, typename T> __device__ __forceinline__ T group_sum(T value, T* shared) {
#pragma unroll
    for (int apart = (MEMBERS < 32 ? MEMBERS : 32) / 2; apart > 0; apart /= 2)
        value += __shfl_xor_sync(0xffffffffu, value, apart);
    if (MEMBERS <= 32) return value;
    __syncthreads();  // `shared` may still be read from the time before
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
    __syncthreads();
    const T* mine = shared + threadIdx.x / MEMBERS * (MEMBERS / 32);
    T total = mine[0];
    for (int i = 1; i < MEMBERS / 32; ++i) total += mine[i];
    return total;
}

template <int MEMBERS, typename T> __device__ __forceinline__ T group_max(T value, T* shared) {
#pragma unroll
    for (int apart = (MEMBERS < 32 ? MEMBERS : 32) / 2; apart > 0; apart /= 2) {
        const T other = __shfl_xor_sync(0xffffffffu, value, apart);
        if (other > value) value = other;
    }
    if (MEMBERS <= 32) return value;
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
    __syncthreads();
    const T* mine = shared + threadIdx.x / MEMBERS * (MEMBERS / 32);
    T top = mine[0];
    for (int i = 1; i < MEMBERS / 32; ++i)
        if (mine[i] > top) top = mine[i];
    return top;
}

#endif
