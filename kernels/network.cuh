// What the fused kernels share: the networks, and the two kinds of matrices that they multiply.
#ifndef GPUNET_NETWORK
#define GPUNET_NETWORK
#include "rows.cuh"
#include "encoding.cuh"

typedef unsigned long long uint64;

STRUCTURES  // Network and Layer, whose fields fused.py lists

// The rows of a batch one after the other in memory.
struct Matrix {
    typedef REAL Element;
    const REAL* first;
    int length;

    __device__ __forceinline__ const REAL* row(int r) const { return first + (int64)r * length; }
    __device__ __forceinline__ ACC value(const REAL* row, int at) const { return load(row + at); }
    __device__ __forceinline__ ACC scaled(REAL element) const { return element; }
    __device__ __forceinline__ bool packs(int width) const {
        return length % width == 0 && (uint64)first % (width * sizeof(REAL)) == 0;
    }
};

// The rows of a step's batch where they lie in the data set, in the order of the step.
struct Batch {
    typedef IMAGE Element;
    const Network& net;
    const IMAGE* images;
    const int* order;
    int64 start, ring;
    int columns;
    ACC scale;

    __device__ __forceinline__ Batch(const Network& net, int64 step, int batch)
        : net(net), images(net.images), order(net.order), start(step * batch % net.ring), ring(net.ring),
          columns(net.columns), scale(net.scale) {}
    // The row of the data set that is row r of the batch.
    __device__ __forceinline__ int64 number(int r) const {
        const int64 place = start + r;
        return order[place < ring ? place : place - ring];
    }
    __device__ __forceinline__ const IMAGE* row(int r) const { return images + number(r) * columns; }
    __device__ __forceinline__ ACC scaled(IMAGE element) const { return (ACC)element * scale; }
#if ENCODED
    __device__ __forceinline__ ACC value(const IMAGE* row, int at) const {
        return encoded<REAL>(scaled(row[net.source[at]]), net.kind[at], net.fill[at], net.shift[at], net.factor[at],
                             net.low[at], net.high[at]);
    }
    __device__ __forceinline__ bool packs(int width) const { return false; }
#else
    __device__ __forceinline__ ACC value(const IMAGE* row, int at) const { return scaled(row[at]); }
    __device__ __forceinline__ bool packs(int width) const {
        return columns % width == 0 && (uint64)images % (width * sizeof(IMAGE)) == 0;
    }
#endif
};

#endif
