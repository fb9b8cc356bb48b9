// Reductions over the threads of a block, in a fixed order: no atomics, so that runs repeat bit for bit.
#include "common.cuh"
#ifndef GPUNET_ROWS
#define GPUNET_ROWS

// Sum over the block; `shared` holds one T per thread; blockDim.x is a power of two. All threads get the sum.
template <typename T> __device__ __forceinline__ T block_sum(T value, T* shared) {
    shared[threadIdx.x] = value;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
        __syncthreads();
    }
    const T total = shared[0];
    __syncthreads();  // before `shared` is used again
    return total;
}

__device__ __forceinline__ ACC block_max(ACC value, ACC* shared) {
    shared[threadIdx.x] = value;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half && shared[threadIdx.x + half] > shared[threadIdx.x])
            shared[threadIdx.x] = shared[threadIdx.x + half];
        __syncthreads();
    }
    const ACC top = shared[0];
    __syncthreads();
    return top;
}

// Where is the largest value of the block, the lowest index among equals? All threads get the index.
__device__ __forceinline__ int block_argmax(ACC value, int index, ACC* shared, int* places) {
    shared[threadIdx.x] = value;
    places[threadIdx.x] = index;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) {
            const ACC other = shared[threadIdx.x + half];
            const int place = places[threadIdx.x + half];
            if (other > shared[threadIdx.x] || (other == shared[threadIdx.x] && place < places[threadIdx.x])) {
                shared[threadIdx.x] = other;
                places[threadIdx.x] = place;
            }
        }
        __syncthreads();
    }
    const int best = places[0];
    __syncthreads();
    return best;
}

// Column sums of a delta that one block has written, one thread a column. The caller has synchronised.
__device__ __forceinline__ void bias_gradient(const REAL* delta, REAL* grad_bias, int batch, int outputs) {
    for (int c = threadIdx.x; c < outputs; c += blockDim.x) {
        ACC total = 0;
        for (int r = 0; r < batch; ++r) total += load(delta + (int64)r * outputs + c);
        store(grad_bias + c, total);
    }
}

// Every thread that sees a loss which is not finite writes the same step, so the race is harmless.
__device__ __forceinline__ void note_nonfinite(ACC loss, int64* control) {
    if (control && !(fabs(loss) <= -Limits<ACC>::lowest()) && control[NONFINITE] < 0)
        control[NONFINITE] = control[STEP];
}

#endif
