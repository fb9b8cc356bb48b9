// Softmax cross-entropy: bias, loss, gradient and right answers of each row (see losses.py).
//
// The gradient comes from the same exponentials as the loss. The loss is sum(w q (log(sum) - (z - max))),
// never -log(exp(z - max) / sum), which is infinite for a confident mistake.
#include "rows.cuh"

// The target mass w q of class c in one row.
__device__ __forceinline__ ACC target(const LABEL* targets, int64 row, int c, int outputs, ACC smoothing,
                                      const double* weights) {
#if SOFT
    ACC q = load(targets + row * outputs + c);
#else
    ACC q = targets[row] == c ? ACC(1) : ACC(0);
#endif
    q = (ACC(1) - smoothing) * q + smoothing / outputs;
    return weights ? q * (ACC)weights[c] : q;
}

// One thread a row. With a single block the column sums of the gradient follow at once.
extern "C" __global__ void rows_by_thread(
    REAL* logits, const REAL* bias, const LABEL* __restrict__ targets, REAL* delta, REAL* grad_bias, ACC* rows,
    int64* control, int batch, int outputs, double label_smoothing, const double* weights) {
    const int64 row = (int64)blockIdx.x * blockDim.x + threadIdx.x;
    const ACC smoothing = (ACC)label_smoothing;
    if (row < batch) {
        REAL* z = logits + row * outputs;
        ACC top = Limits<ACC>::lowest();
        int guess = 0, truth = 0;
        ACC largest = Limits<ACC>::lowest();
        for (int c = 0; c < outputs; ++c) {
            ACC value = load(z + c);
            if (bias) {
                value += load(bias + c);
                store(z + c, value);
            }
            if (value > top) { top = value; guess = c; }
#if SOFT
            const ACC q = load(targets + row * outputs + c);
            if (q > largest) { largest = q; truth = c; }
#endif
        }
#if !SOFT
        truth = targets[row];
#endif
        ACC total = 0, mass = 0, against = 0;
        for (int c = 0; c < outputs; ++c) {
            const ACC shifted = load(z + c) - top;
            const ACC q = target(targets, row, c, outputs, smoothing, weights);
            total += exp(shifted);
            mass += q;
            if (q != ACC(0)) against += q * shifted;
        }
        const ACC loss = mass * log(total) - against;
        const ACC share = mass / total, scale = ACC(1) / batch;
        for (int c = 0; c < outputs; ++c) {
            const ACC q = target(targets, row, c, outputs, smoothing, weights);
            store(delta + row * outputs + c, (exp(load(z + c) - top) * share - q) * scale);
        }
        if (rows) {
            rows[row] = loss;
            rows[batch + row] = guess == truth ? ACC(1) : ACC(0);
        }
        note_nonfinite(loss, control);
    }
    if (grad_bias) {
        __syncthreads();
        bias_gradient(delta, grad_bias, batch, outputs);
    }
}

// One block a row, for many classes.
extern "C" __global__ void rows_by_block(
    REAL* logits, const REAL* bias, const LABEL* __restrict__ targets, REAL* delta, REAL* grad_bias, ACC* rows,
    int64* control, int batch, int outputs, double label_smoothing, const double* weights) {
    __shared__ ACC shared[256];
    __shared__ int places[256];
    const int64 row = blockIdx.x;
    const ACC smoothing = (ACC)label_smoothing;
    REAL* z = logits + row * outputs;
    ACC top = Limits<ACC>::lowest(), largest = Limits<ACC>::lowest();
    int guess = 0, truth = 0;
    for (int c = threadIdx.x; c < outputs; c += blockDim.x) {
        ACC value = load(z + c);
        if (bias) {
            value += load(bias + c);
            store(z + c, value);
        }
        if (value > top) { top = value; guess = c; }
#if SOFT
        const ACC q = load(targets + row * outputs + c);
        if (q > largest) { largest = q; truth = c; }
#endif
    }
    guess = block_argmax(top, guess, shared, places);
    top = block_max(top, shared);
#if SOFT
    truth = block_argmax(largest, truth, shared, places);
#else
    truth = targets[row];
#endif
    ACC total = 0, mass = 0, against = 0;
    for (int c = threadIdx.x; c < outputs; c += blockDim.x) {
        const ACC shifted = load(z + c) - top;
        const ACC q = target(targets, row, c, outputs, smoothing, weights);
        total += exp(shifted);
        mass += q;
        if (q != ACC(0)) against += q * shifted;
    }
    total = block_sum(total, shared);
    mass = block_sum(mass, shared);
    against = block_sum(against, shared);
    const ACC loss = mass * log(total) - against;
    const ACC share = mass / total, scale = ACC(1) / batch;
    for (int c = threadIdx.x; c < outputs; c += blockDim.x) {
        const ACC q = target(targets, row, c, outputs, smoothing, weights);
        store(delta + row * outputs + c, (exp(load(z + c) - top) * share - q) * scale);
    }
    if (threadIdx.x == 0) {
        if (rows) {
            rows[row] = loss;
            rows[batch + row] = guess == truth ? ACC(1) : ACC(0);
        }
        note_nonfinite(loss, control);
    }
}
