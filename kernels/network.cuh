// What the fused kernels share: the networks, and the two kinds of matrices that they multiply.
#ifndef GPUNET_NETWORK
#define GPUNET_NETWORK
#include "rows.cuh"
#include "encoding.cuh"

typedef unsigned long long uint64;

STRUCTURES  // Network and Layer, whose fields fused.py lists

// A factor of a product says which number its row r has, and where the row of a number lies: the number may have to be
// fetched, so one asks for it before one needs the row. What is fetched of a row is `made` a number to compute with only
// when that is needed, since whoever touches it has to wait for it.

// The rows of a batch one after the other in memory.
struct Matrix {
    typedef REAL Element;
    typedef REAL Held;
    const REAL* first;
    int length;

    __device__ __forceinline__ int number(int r) const { return r; }
    __device__ __forceinline__ const REAL* row(int number) const { return first + (int64)number * length; }
    __device__ __forceinline__ REAL fetched(const REAL* row, int at) const { return row[at]; }
    __device__ __forceinline__ ACC made(REAL element) const { return element; }
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
    __device__ __forceinline__ int number(int r) const {
        const int64 place = start + r;
        return order[place < ring ? place : place - ring];
    }
    __device__ __forceinline__ const IMAGE* row(int number) const { return images + (int64)number * columns; }
#if ENCODED
    typedef ACC Held;
    __device__ __forceinline__ ACC fetched(const IMAGE* row, int at) const {
        return encoded<REAL>((ACC)row[net.source[at]] * scale, net.kind[at], net.fill[at], net.shift[at], net.factor[at],
                             net.low[at], net.high[at]);
    }
    __device__ __forceinline__ ACC made(ACC value) const { return value; }
    __device__ __forceinline__ bool packs(int width) const { return false; }
#else
    typedef IMAGE Held;
    __device__ __forceinline__ IMAGE fetched(const IMAGE* row, int at) const { return row[at]; }
    __device__ __forceinline__ ACC made(IMAGE element) const { return (ACC)element * scale; }
    __device__ __forceinline__ bool packs(int width) const {
        return columns % width == 0 && (uint64)images % (width * sizeof(IMAGE)) == 0;
    }
#endif
};

#endif
