// Batch gather (see gather.py): block r copies row r of the batch, scaled, and its label.
#include "common.cuh"

extern "C" __global__ void gather(
    const IMAGE* __restrict__ images, const LABEL* __restrict__ labels, const int* __restrict__ order,
    int64* __restrict__ control, double scale, int64 ring, int batch, int features, int columns,
    REAL* __restrict__ x, LABEL* __restrict__ targets) {
    const int64 step = control[NEXT];
    const int64 row = order[(step * batch + blockIdx.x) % ring];
    const IMAGE* source = images + row * features;
    REAL* target = x + (int64)blockIdx.x * features;
    for (int i = threadIdx.x; i < features; i += blockDim.x) store(target + i, load(source + i) * (ACC)scale);
    for (int i = threadIdx.x; i < columns; i += blockDim.x)
        targets[(int64)blockIdx.x * columns + i] = labels[row * columns + i];
    // No other thread of this kernel reads STEP, so writing it here races with nobody.
    if (blockIdx.x == 0 && threadIdx.x == 0) control[STEP] = step;
}
