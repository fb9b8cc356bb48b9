// Losses that compare each output z with its target t (see ElementwiseLoss in losses.py, which defines
// LOSS_VALUE, LOSS_SLOPE and SIGNED).
#include "rows.cuh"

__device__ __forceinline__ ACC wanted(const LABEL* targets, int64 row, int c, int outputs) {
#if SOFT
    const ACC t = load(targets + row * outputs + c);
#else
    const ACC t = outputs == 1 ? (ACC)targets[row] : (targets[row] == c ? ACC(1) : ACC(0));
#endif
    return SIGNED ? ACC(2) * t - ACC(1) : t;
}

__device__ __forceinline__ ACC with_bias(REAL* z, const REAL* bias, int c) {
    ACC value = load(z + c);
    if (bias) {
        value += load(bias + c);
        store(z + c, value);
    }
    return value;
}

__device__ __forceinline__ ACC is_right(ACC only, int guess, int truth, ACC first_target, int outputs, ACC threshold) {
    // A single output is compared with the threshold; its target lies above the middle of the two classes or below.
    const ACC middle = SIGNED ? ACC(0) : ACC(0.5);
    const bool right = outputs == 1 ? (only > threshold) == (first_target > middle) : guess == truth;
    return right ? ACC(1) : ACC(0);
}

extern "C" __global__ void rows_by_thread(
    REAL* logits, const REAL* bias, const LABEL* __restrict__ targets, REAL* delta, REAL* grad_bias, ACC* rows,
    int64* control, int batch, int outputs, double share, double threshold) {
    const int64 row = (int64)blockIdx.x * blockDim.x + threadIdx.x;
    if (row < batch) {
        const ACC scale = (ACC)(share / batch);
        ACC loss = 0, top = Limits<ACC>::lowest(), largest = Limits<ACC>::lowest(), first = 0, only = 0;
        int guess = 0, truth = 0;
        for (int c = 0; c < outputs; ++c) {
            const ACC z = with_bias(logits + row * outputs, bias, c);
            const ACC t = wanted(targets, row, c, outputs);
            if (c == 0) { first = t; only = z; }
            if (z > top) { top = z; guess = c; }
            if (t > largest) { largest = t; truth = c; }
            loss += LOSS_VALUE(z, t);
            store(delta + row * outputs + c, LOSS_SLOPE(z, t) * scale);
        }
        loss *= (ACC)share;
        if (rows) {
            rows[row] = loss;
            rows[batch + row] = is_right(only, guess, truth, first, outputs, (ACC)threshold);
        }
        note_nonfinite(loss, control);
    }
    if (grad_bias) {
        __syncthreads();
        bias_gradient(delta, grad_bias, batch, outputs);
    }
}

extern "C" __global__ void rows_by_block(
    REAL* logits, const REAL* bias, const LABEL* __restrict__ targets, REAL* delta, REAL* grad_bias, ACC* rows,
    int64* control, int batch, int outputs, double share, double threshold) {
    __shared__ ACC shared[256];
    __shared__ int places[256];
    const int64 row = blockIdx.x;
    const ACC scale = (ACC)(share / batch);
    ACC loss = 0, top = Limits<ACC>::lowest(), largest = Limits<ACC>::lowest();
    int guess = 0, truth = 0;
    for (int c = threadIdx.x; c < outputs; c += blockDim.x) {
        const ACC z = with_bias(logits + row * outputs, bias, c);
        const ACC t = wanted(targets, row, c, outputs);
        if (z > top) { top = z; guess = c; }
        if (t > largest) { largest = t; truth = c; }
        loss += LOSS_VALUE(z, t);
        store(delta + row * outputs + c, LOSS_SLOPE(z, t) * scale);
    }
    loss = block_sum(loss, shared) * (ACC)share;
    guess = block_argmax(top, guess, shared, places);
    truth = block_argmax(largest, truth, shared, places);
    if (threadIdx.x == 0) {
        if (rows) {
            rows[row] = loss;
            rows[batch + row] = guess == truth ? ACC(1) : ACC(0);
        }
        note_nonfinite(loss, control);
    }
}
